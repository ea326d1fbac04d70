"""The fused overlap: the plain expression in float64 is the truth, its float32 the rounding."""

import numpy as np
import pytest
import torch
from hypothesis import given as for_all
from hypothesis import settings
from hypothesis import strategies as st
from torch.nn import functional as F

import upscore
from upscore.heads.overlap import cpu, sums_of, torch_op

# scores N x C x (d x) h x w, size of the target, grid
RAGGED = [
    ((2, 5, 7, 9), (33, 41), {}),
    ((1, 3, 4, 5), (64, 600), {}),  # more than one chunk of columns
    ((2, 4, 21, 6), (168, 13), {}),  # more than one strip of rows
    ((1, 7, 9, 11), (36, 44), {"align_corners": True}),
    ((2, 5, 4, 6), (14, 21), {"stride": 4}),
    ((2, 3, 4, 5), (6, 9), {"stride": 1}),  # its size, but held at the edges
    ((2, 3, 8, 9), (6, 300), {"stride": 1}),
    ((1, 4, 2, 2), (40, 39), {"stride": 16}),  # held at the edges
    ((1, 3, 1, 1), (4, 5), {}),
    ((1, 1, 4, 3), (9, 10), {}),
    ((1, 6, 19, 1), (5, 3), {"align_corners": True}),
    ((2, 3, 20, 21), (10, 8), {}),  # smaller than the scores
    ((2, 4, 9, 300), (9, 300), {}),  # of their size
    ((2, 3, 97, 101), (97, 101), {}),  # more than one run of pixels
    ((1, 300, 2, 2), (5, 40), {}),  # narrow chunks
    ((0, 3, 4, 5), (8, 9), {}),
    ((2, 4, 3, 5, 6), (3, 5, 6), {}),
    ((2, 4, 3, 5, 6), (7, 11, 10), {}),
    ((1, 3, 5, 4, 4), (2, 9, 9), {"align_corners": True}),
]
IDS = ["x".join(map(str, (*s, *size))) + "".join(grid) for s, size, grid in RAGGED]
KINDS = ("softmax", "sigmoid", "channels")

DTYPES = [  # each is kernels to compile; float16 is read as bfloat16 is
    *(torch.bfloat16, torch.float32, torch.float64),
    pytest.param(torch.float16, marks=pytest.mark.release),
]


def case(shape, size, kind, *, spread=3.0, ignored=0.2, seed=0):
    """Scores, a target of which some is to be ignored, and what each pixel counts for."""
    generator = torch.Generator().manual_seed(seed)
    scores = torch.randn(shape, generator=generator) * spread
    full = (*shape[:2], *size) if kind == "channels" else (shape[0], *size)
    limit = 2 if kind == "channels" or (kind == "sigmoid" and shape[1] == 1) else shape[1]
    target = torch.randint(limit, full, generator=generator)
    target[torch.rand(full, generator=generator) < ignored] = 255
    weight = torch.rand((shape[0], *size), generator=generator)
    weight[weight < 0.1] = 0
    return scores, target.to(torch.uint8), weight


def plain(scores, target, weight, kind, *, align_corners=False, stride=None):
    """The sums as the docstrings write them, N x 5 x C."""
    size = target.shape[2 if kind == "channels" else 1 :]
    mode = "bilinear" if scores.ndim == 4 else "trilinear"
    if stride is None:
        full = F.interpolate(scores, size, mode=mode, align_corners=align_corners)
    else:
        full = (
            F.interpolate(scores, scale_factor=float(stride), mode=mode) if stride > 1 else scores
        )
        full = full[..., : size[0], : size[1]]
        edge = (0, size[1] - full.shape[-1], 0, size[0] - full.shape[-2])
        full = F.pad(full, edge, mode="replicate")
    p = full.softmax(1) if kind == "softmax" else full.sigmoid()
    counts = target != 255
    labels = target.where(counts, 0).long()
    if kind == "channels":
        t = labels
    elif kind == "sigmoid" and scores.shape[1] == 1:
        t, counts = labels[:, None], counts[:, None]
    else:
        t, counts = F.one_hot(labels, scores.shape[1]).movedim(-1, 1), counts[:, None]
    m = counts * weight[:, None].to(scores.dtype)
    pixels = tuple(range(2, p.ndim))
    parts = [p * t, p, t.to(p.dtype)]
    if kind == "softmax":
        parts += [-full.log_softmax(1).where(t * m > 0, 0), t]
    else:
        log_p = torch.where(t == 1, F.logsigmoid(full), F.logsigmoid(-full))
        parts += [-log_p.where(m > 0, 0), torch.ones_like(p)]
    return torch.stack([(x * m).sum(pixels) for x in parts], 1)


def slopes_of(sums):
    """What each sum of N x 5 x C counts for in a loss, all different."""
    return torch.arange(1.0, sums.numel() + 1, dtype=torch.float64).view(sums.shape).sin()


def fused(scores, target, weight, kind, *, backend="cpu", **options):
    """The sums N x 5 x C and the gradient of a loss of them."""
    leaf = scores.detach().requires_grad_()
    activation = "softmax" if kind == "softmax" else "sigmoid"
    found = sums_of(
        leaf, target, losses=True, activation=activation, weight=weight,
        per_image=True, backend=backend, **options,
    )  # fmt: skip
    sums = torch.stack(list(found), 1)
    (sums * slopes_of(sums)).sum().backward()
    return sums.detach(), leaf.grad


def truth_of(scores, target, weight, kind, **options):
    leaf = scores.detach().double().requires_grad_()
    sums = plain(leaf, target, weight, kind, **options)
    (sums * slopes_of(sums)).sum().backward()
    return sums.detach(), leaf.grad


def error(found, truth):
    return float(torch.linalg.vector_norm(found.double() - truth))


def rounding(given):
    """Of a gradient that is the small difference of many pixels' terms near 1."""
    return 1e-6 + 1e-8 * given[1].numel()


@pytest.fixture
def poisoned(monkeypatch):
    """Fill every array that is handed to the kernels to be written with NaN."""
    for kind in KINDS:
        fused(*case((1, 2, 1, 1), (1, 1), kind), kind)  # compile first
    empty = np.empty

    def poison(shape, dtype=np.float64):
        array = empty(shape, dtype)
        array.reshape(-1).view(np.uint8).fill(255)  # NaN
        return array

    monkeypatch.setattr(cpu.np, "empty", poison)


@pytest.mark.parametrize("spread", [3, 60])
@pytest.mark.parametrize("kind", KINDS)
@pytest.mark.parametrize(("shape", "size", "grid"), RAGGED, ids=IDS)
def test_sums_and_gradient_of_ragged_shapes(shape, size, grid, kind, spread, poisoned):
    given = case(shape, size, kind, spread=spread)
    sums, gradient = fused(*given, kind, **grid)
    truth, gradient_truth = truth_of(*given, kind, **grid)
    assert error(sums, truth) <= 2e-7 * float(truth.norm())
    assert error(gradient, gradient_truth) <= 2e-6 * float(gradient_truth.norm()) + rounding(given)


@settings(deadline=None, max_examples=60)
@for_all(
    st.tuples(*[st.integers(1, 6)] * 2, *[st.integers(1, 12)] * 2),
    st.tuples(st.integers(1, 40), st.integers(1, 70)),
    st.sampled_from(KINDS),
    st.booleans(),
)
def test_any_shape(shape, size, kind, align_corners):
    given = case(shape, size, kind, seed=sum(shape))
    sums, gradient = fused(*given, kind, align_corners=align_corners)
    truth, gradient_truth = truth_of(*given, kind, align_corners=align_corners)
    assert error(sums, truth) <= 2e-7 * float(truth.norm())
    assert error(gradient, gradient_truth) <= 2e-6 * float(gradient_truth.norm()) + rounding(given)


@pytest.mark.parametrize("kind", KINDS)
@pytest.mark.parametrize("spread", [0.1, 3, 15, 60])
@pytest.mark.parametrize("side", [16, 128])
def test_no_less_exact_than_torch(spread, kind, side):
    """Of the sums and the gradient (a quarter more allowed: it is noise)."""
    given = case((3, 19, side, side), (128, 128), kind, spread=spread)
    found = fused(*given, kind)
    torchs = fused(*given, kind, backend="eager")
    for ours, theirs, exact in zip(found, torchs, truth_of(*given, kind), strict=True):
        least = 6e-8 * float(exact.norm())
        assert error(ours, exact) <= max(1.25 * error(theirs, exact), least)


@pytest.mark.parametrize("dtype", DTYPES)
@pytest.mark.parametrize("kind", KINDS)
@pytest.mark.parametrize("size", [(48, 55), (6, 7)])
def test_score_types(dtype, kind, size):
    scores, target, weight = case((2, 5, 6, 7), size, kind)
    scores = scores.to(dtype)
    sums, gradient = fused(scores, target.long(), weight, kind)
    truth, gradient_truth = truth_of(scores, target, weight, kind)
    single = torch.float64 if dtype == torch.float64 else torch.float32
    assert (sums.dtype, gradient.dtype) == (single, dtype)
    assert error(sums, truth) <= torch.finfo(single).eps * 4 * float(truth.norm())
    assert error(gradient, gradient_truth) <= torch.finfo(dtype).eps * 8 * float(
        gradient_truth.norm()
    )


@pytest.mark.parametrize("kind", KINDS)
@pytest.mark.parametrize("size", [(40, 50), (9, 10)])
def test_strides_and_memory_formats(kind, size):
    scores, target, weight = case((2, 6, 9, 10), size, kind)
    expected = fused(scores, target, weight, kind)
    strided = torch.zeros(2, 12, 9, 20)[:, ::2, :, ::2].copy_(scores)
    turned = target.transpose(-1, -2).contiguous().transpose(-1, -2)
    for other in (scores.to(memory_format=torch.channels_last), strided):
        for labels in (target, turned):
            torch.testing.assert_close(fused(other, labels, weight, kind), expected, rtol=0, atol=0)


@pytest.mark.parametrize("backend", ["cpu", "eager"])
@pytest.mark.parametrize("kind", KINDS)
def test_arrays_without_a_batch_and_sums_over_it(kind, backend):
    scores, target, weight = case((2, 4, 5, 6), (30, 31), kind)
    truth = plain(scores.double(), target, weight, kind)
    options = {"activation": "softmax" if kind == "softmax" else "sigmoid", "backend": backend}
    arrays = [x.numpy() for x in (scores, target, weight)]
    found = upscore.overlap(arrays[0], arrays[1], weight=arrays[2], **options)
    one = upscore.overlap(arrays[0][0], arrays[1][0], weight=arrays[2][0], **options)
    for i in range(3):
        np.testing.assert_allclose(found[i], truth[:, i].sum(0), rtol=1e-5)
        np.testing.assert_allclose(one[i], truth[0, i], rtol=1e-5)


@pytest.mark.parametrize("kind", KINDS)
def test_infinite_scores_and_nan(kind):
    """As the expression has them; scores of the target's size are copied, infinities too."""
    scores, target, weight = case((1, 4, 8, 8), (64, 64), kind, ignored=0)
    for c, value in ((1, -torch.inf), (2, torch.inf), (3, torch.nan), (0, -1e9), (0, 3e38)):
        strange = scores.clone()
        strange[0, c, 3, 2:6] = value
        for size in ((64, 64), (8, 8)):
            labels = target[..., : size[0], : size[1]]
            given = strange, labels, weight[:, : size[0], : size[1]]
            sums, gradient = fused(*given, kind)
            eager_sums, eager_gradient = fused(given[0].double(), *given[1:], kind, backend="eager")
            torch.testing.assert_close(
                sums, eager_sums.float(), rtol=1e-5, atol=1e-4, equal_nan=True
            )
            torch.testing.assert_close(
                gradient.double(), eager_gradient, rtol=1e-4, atol=1e-4, equal_nan=True
            )


@pytest.mark.parametrize("kind", KINDS)
def test_even_scores_over_many_pixels(kind):
    """Sums of millions of equal terms do not drift, and what is left of them is not below 0."""
    scores = torch.tensor([12.0, 0.0]).view(1, 2, 1, 1)
    shape = (1, 2, 4096, 256) if kind == "channels" else (1, 4096, 256)
    target = torch.zeros(shape, dtype=torch.uint8)
    weight = torch.full((1, 4096, 256), 0.1)
    found = fused(scores, target, weight, kind)[0][:, :3]
    truth = plain(scores.double(), target, weight, kind)[:, :3]
    torch.testing.assert_close(found.double(), truth, rtol=3e-7, atol=1e-3)
    activation = "softmax" if kind == "softmax" else "sigmoid"
    options = {"smooth": 0, "absent": "zero", "activation": activation, "weight": weight}
    loss = upscore.tversky(scores, target, **options)
    assert (loss**0.75).isfinite()


@pytest.mark.parametrize("backend", ["cpu", "eager"])
@pytest.mark.parametrize("ignore", [256, -1, -(2**63), 2**63 - 1])
def test_an_ignore_index_that_the_target_cannot_hold(ignore, backend):
    """It is no label in disguise: torch takes 256 for 0 where the target is uint8."""
    scores, _, _ = case((2, 3, 4, 5), (20, 23), "softmax")
    target = torch.randint(3, (2, 20, 23), dtype=torch.uint8)
    channels = torch.randint(2, (2, 3, 20, 23), dtype=torch.uint8)
    for function, labels, options in (
        (upscore.dice, target, {}),
        (upscore.dice, channels, {"activation": "sigmoid"}),
        (upscore.cross_entropy, target, {"focal": 1.0, "z_loss": 0.1}),
        (upscore.binary_cross_entropy, channels, {}),
        (upscore.confusion, target, {}),
    ):
        found = function(scores, labels, ignore_index=ignore, backend=backend, **options)
        expected = function(scores.double().numpy(), labels.numpy().astype(int), **options)
        np.testing.assert_allclose(found, expected, rtol=1e-5)


@pytest.mark.parametrize("kind", KINDS)
@pytest.mark.parametrize("shape", [(3, 5, 33, 20), (3, 5, 260, 300)])
def test_same_bits_whatever_the_threads(kind, shape):
    given = case(shape, (260, 300), kind)
    before = torch.get_num_threads()
    try:
        found = []
        for threads in (1, 2, 3, 7):
            torch.set_num_threads(threads)
            found.append(fused(*given, kind))
    finally:
        torch.set_num_threads(before)
    for sums, gradient in found[1:]:
        assert torch.equal(sums, found[0][0])
        assert torch.equal(gradient, found[0][1])


@pytest.mark.parametrize("kind", KINDS)
def test_gradcheck(kind):
    scores, target, weight = case((2, 3, 3, 4), (9, 7), kind)
    activation = "softmax" if kind == "softmax" else "sigmoid"
    torch.autograd.gradcheck(
        lambda s: upscore.overlap(
            s, target, activation=activation, weight=weight, backend="cpu"
        )[:2],
        scores.double().requires_grad_(),
    )  # fmt: skip


@pytest.mark.filterwarnings("ignore:The .grad attribute")  # opcheck's own
@pytest.mark.parametrize("kind", KINDS)
def test_opcheck(kind):
    scores, target, weight = case((1, 3, 3, 4), (9, 7), kind)
    for leaf in (scores, scores.clone().requires_grad_()):
        torch.library.opcheck(
            torch_op.operator,
            (
                leaf,
                target,
                weight,
                None,
                kind != "softmax",
                kind == "softmax",
                255,
                "fcn",
                2,
                "cpu",
            ),
        )


@pytest.mark.slow
@pytest.mark.parametrize("shape", [(2, 3, 3, 4), (1, 3, 2, 3, 4)])
def test_compiles_without_a_graph_break(shape):
    scores, target, _ = case(shape, (5, 9, 7)[-(len(shape) - 2) :], "softmax")

    def loss(scores):
        return upscore.dice(scores, target) + upscore.binary_cross_entropy(scores, target)

    compiled = torch.compile(loss, fullgraph=True, backend="aot_eager")
    results = []
    for function in (loss, compiled):
        leaf = scores.clone().requires_grad_()
        value = function(leaf)
        value.backward()
        results.append((value, leaf.grad))
    torch.testing.assert_close(*results)


@pytest.mark.filterwarnings("ignore:`torch.jit.script`:FutureWarning")  # torch's own
@pytest.mark.parametrize("name", ["dice", "cross_entropy", "binary_cross_entropy"])
def test_forward_mode_is_refused(name):
    loss = getattr(upscore, name)
    scores, target, _ = case((1, 3, 3, 4), (9, 7), "softmax")

    def derivative(backend):
        return torch.func.jvp(lambda s: loss(s, target, backend=backend), (scores,), (scores,))[1]

    with pytest.raises(NotImplementedError, match='backend="eager"'):
        derivative("cpu")
    assert derivative("eager") != 0


def test_a_batch_of_upstream_factors():
    scores, target, _ = case((1, 3, 3, 4), (9, 7), "softmax")
    scores.requires_grad_()
    for loss in (upscore.cross_entropy, upscore.binary_cross_entropy):
        value = loss(scores, target, backend="cpu")
        (both,) = torch.autograd.grad(
            value, scores, torch.tensor([1.0, 2.0]), is_grads_batched=True, retain_graph=True
        )
        (one,) = torch.autograd.grad(value, scores)
        torch.testing.assert_close(both, torch.stack((one, 2 * one)))


def test_second_derivatives_are_refused():
    scores, target, _ = case((1, 3, 3, 4), (9, 7), "softmax")
    scores.requires_grad_()
    loss = upscore.dice(scores, target, backend="cpu")
    with pytest.raises(NotImplementedError, match='backend="eager"'):
        torch.autograd.grad(loss, scores, create_graph=True)


@pytest.mark.parametrize("backend", ["eager", "cpu"])
def test_a_label_of_no_meaning_is_named(backend):
    scores, target, _ = case((2, 3, 4, 5), (40, 300), "softmax")
    target[1, 30, 290] = 3
    for activation in ("softmax", "sigmoid"):
        with pytest.raises(ValueError, match=r"label 3 at \(1, 30, 290\)"):
            upscore.overlap(scores, target, activation=activation, backend=backend)
    channels = case((1, 3, 4, 5), (6, 7), "channels")[1]
    channels[0, 2, 5, 6] = 2
    with pytest.raises(ValueError, match=r"label 2 at \(0, 2, 5, 6\)"):
        upscore.overlap(scores[:1], channels, activation="sigmoid", backend=backend)
    volumes = torch.zeros(1, 4, 6, 7, dtype=torch.uint8)
    volumes[0, 3, 5, 6] = 9
    for size in ((4, 6, 7), (2, 3, 4)):
        with pytest.raises(ValueError, match=r"label 9 at \(0, 3, 5, 6\)"):
            upscore.overlap(torch.zeros(1, 3, *size), volumes, backend=backend)


@pytest.mark.parametrize(
    ("change", "message"),
    [
        ({"scores": torch.zeros(2, 3, 4, dtype=torch.int32)}, "convert them first"),
        ({"scores": torch.zeros(1, 0, 4, 5)}, "classes"),
        ({"scores": torch.zeros(1, 3, 2, 4, 5)}, "1 x D x H x W"),
        (
            {
                "scores": torch.zeros(1, 3, 2, 4, 5),
                "target": torch.zeros(1, 4, 8, 9, dtype=torch.uint8),
                "stride": 2,
            },
            "stride is for images",
        ),
        ({"ignore_index": 2**63}, "below"),
        ({"target": torch.zeros(1, 8, 9)}, "class numbers of uint8"),
        ({"target": torch.zeros(1, 3, 8, 9, dtype=torch.uint8)}, "1 x H x W"),
        (
            {"target": torch.zeros(1, 2, 8, 9, dtype=torch.uint8), "activation": "sigmoid"},
            "1 x 3 x H x W",
        ),
        ({"target": np.zeros((1, 8, 9), np.uint8)}, "like the scores"),
        ({"weight": torch.ones(8, 9)}, r"shape \(1, 8, 9\)"),
        ({"weight": torch.ones(1, 8, 9, dtype=torch.int64)}, "floating point"),
        ({"weight": np.ones((1, 8, 9))}, "weight must be a Tensor"),
        ({"activation": "relu"}, "activation"),
        ({"ignore_index": 2.5}, "whole number"),
        ({"stride": 2, "align_corners": True}, "two different grids"),
        ({"backend": "fast"}, "backend"),
    ],
)
def test_bad_input_says_what_to_do(change, message):
    good = {"scores": torch.zeros(1, 3, 4, 5), "target": torch.zeros(1, 8, 9, dtype=torch.uint8)}
    upscore.overlap(**good)
    with pytest.raises((ValueError, TypeError), match=message):
        upscore.overlap(**{**good, **change})


@pytest.mark.release  # kernels that check every index are compiled for minutes
def test_nothing_is_read_or_written_out_of_bounds(with_checked_indices):
    with_checked_indices(__file__, "ragged or infinite")
