"""The fused binary cross-entropy: torch in float64 is the truth, in float32 the rounding."""

import numpy as np
import pytest
import torch
from torch.nn import functional as F

import upscore
from upscore.heads.binary_cross_entropy import cpu, torch_op
from upscore.heads.grid import choose_grid, interpolate_tensor

# scores N x C x (d x) h x w, size of the target, grid
RAGGED = [
    ((2, 5, 7, 9), (33, 41), {}),
    ((1, 3, 4, 5), (64, 600), {}),  # more than one chunk of columns
    ((2, 4, 21, 6), (168, 13), {}),  # more than one strip of rows
    ((1, 7, 9, 11), (36, 44), {"align_corners": True}),
    ((2, 5, 4, 6), (14, 21), {"stride": 4}),
    ((2, 3, 4, 5), (6, 9), {"stride": 1}),  # its size, but held at the edges
    ((1, 3, 1, 1), (4, 5), {}),
    ((1, 1, 4, 3), (9, 10), {}),
    ((2, 3, 20, 21), (10, 8), {}),  # smaller than the scores
    ((2, 4, 9, 300), (9, 300), {}),  # of their size
    ((1, 2, 97, 101), (97, 101), {}),  # more than one run of pixels
    ((0, 3, 4, 5), (8, 9), {}),
    ((2, 4, 3, 5, 6), (3, 5, 6), {}),
    ((2, 4, 3, 5, 6), (7, 11, 10), {}),
]
IDS = ["x".join(map(str, (*s, *size))) + "".join(grid) for s, size, grid in RAGGED]

DTYPES = [  # each is kernels to compile; float16 is read as bfloat16 is
    *(torch.bfloat16, torch.float32, torch.float64),
    pytest.param(torch.float16, marks=pytest.mark.release),
]


def case(shape, size, *, spread=3.0, ignored=0.2, seed=0):
    """Scores, a target of 0 and 1 of which some is to be ignored, and what 1 counts for."""
    generator = torch.Generator().manual_seed(seed)
    scores = torch.randn(shape, generator=generator) * spread
    target = torch.randint(2, (*shape[:2], *size), generator=generator)
    target[torch.rand(target.shape, generator=generator) < ignored] = 255
    return scores, target.to(torch.uint8), torch.linspace(0.5, 2, shape[1])


def plain(scores, target, pos_weight, *, dtype=torch.float64, reduction="sum", **options):
    """The loss and its gradient by the expression that the docstring gives, in `dtype`."""
    leaf = scores.detach().to(dtype).requires_grad_()
    grid = choose_grid(options.pop("align_corners", False), options.pop("stride", None))
    size = target.shape[2:]
    if scores.ndim == 5:
        full = F.interpolate(leaf, size, mode="trilinear")
    else:
        full = interpolate_tensor(leaf, size, grid)
    counts = target != 255
    weight = pos_weight.to(dtype).view(-1, *[1] * len(size))
    losses = F.binary_cross_entropy_with_logits(
        full, target.where(counts, 0).to(dtype), pos_weight=weight, reduction="none"
    ).where(counts, 0)
    loss = losses if reduction == "none" else losses.sum()
    loss = loss / counts.sum() if reduction == "mean" else loss
    loss.sum().backward()
    return loss.detach(), leaf.grad


def fused(scores, target, pos_weight, *, reduction="sum", backend="cpu", **options):
    leaf = scores.detach().requires_grad_()
    loss = upscore.binary_cross_entropy(
        leaf, target, pos_weight=pos_weight, reduction=reduction, backend=backend, **options
    )
    loss.sum().backward()
    return loss.detach(), leaf.grad


def error(found, truth):
    return float(torch.linalg.vector_norm(found.double() - truth))


@pytest.fixture
def poisoned(monkeypatch):
    """Fill every array that is handed to the kernels to be written with NaN."""
    fused(*case((1, 2, 1, 1), (1, 1)))  # compile first
    empty = np.empty

    def poison(shape, dtype=np.float64):
        array = empty(shape, dtype)
        array.reshape(-1).view(np.uint8).fill(255)  # NaN
        return array

    monkeypatch.setattr(cpu.np, "empty", poison)


@pytest.mark.parametrize("spread", [3, 80])
@pytest.mark.parametrize("reduction", ["sum", "none"])
@pytest.mark.parametrize(("shape", "size", "grid"), RAGGED, ids=IDS)
def test_loss_and_gradient_of_ragged_shapes(shape, size, grid, reduction, spread, poisoned):
    given = case(shape, size, spread=spread)
    loss, gradient = fused(*given, reduction=reduction, **grid)
    truth, gradient_truth = plain(*given, reduction=reduction, **grid)
    assert loss.shape == truth.shape
    assert error(loss, truth) <= 3e-7 * float(truth.norm())
    assert error(gradient, gradient_truth) <= 3e-7 * float(gradient_truth.norm())


@pytest.mark.parametrize("spread", [0.1, 3, 15, 60])
@pytest.mark.parametrize("side", [16, 128])
def test_no_less_exact_than_torch(spread, side):
    """Of the loss, the gradient and the pixels' losses (a quarter more allowed: it is noise)."""
    given = case((3, 19, side, side), (128, 128), spread=spread)
    for reduction in ("sum", "none"):
        found = fused(*given, reduction=reduction)
        torchs = plain(*given, dtype=torch.float32, reduction=reduction)
        for ours, theirs, exact in zip(
            found, torchs, plain(*given, reduction=reduction), strict=True
        ):
            least = 6e-8 * float(torch.linalg.vector_norm(exact))
            assert error(ours, exact) <= max(1.25 * error(theirs, exact), least)


def test_certain_scores_have_exact_losses():
    """A small loss is not what is left of a large difference."""
    scores = torch.tensor([20.0, -20.0, 40.0, -40.0, 85.0, -85.0]).view(6, 1, 1)
    target = (scores > 0).to(torch.uint8)
    loss, gradient = fused(scores, target, torch.ones(6), reduction="none")
    small = torch.exp(-scores.double().abs())
    torch.testing.assert_close(loss.double(), torch.log1p(small), rtol=1e-5, atol=0)
    slope = (1 - 2.0 * target) * small / (1 + small)
    torch.testing.assert_close(gradient.double(), slope, rtol=1e-5, atol=0)


@pytest.mark.parametrize("dtype", DTYPES)
@pytest.mark.parametrize("size", [(48, 55), (6, 7)])
def test_score_types(dtype, size):
    scores, target, pos_weight = case((2, 5, 6, 7), size)
    scores = scores.to(dtype)
    loss, gradient = fused(scores, target.long(), pos_weight, reduction="mean")
    truth, gradient_truth = plain(scores, target, pos_weight, reduction="mean")
    single = torch.float64 if dtype == torch.float64 else torch.float32
    assert (loss.dtype, gradient.dtype) == (single, dtype)
    assert error(loss, truth) <= torch.finfo(single).eps * 4 * float(truth)
    assert error(gradient, gradient_truth) <= torch.finfo(dtype).eps * 4 * float(
        gradient_truth.norm()
    )


def test_class_numbers_are_one_class_each():
    scores, _, pos_weight = case((2, 4, 5, 6), (20, 23))
    numbers = torch.randint(4, (2, 20, 23), generator=torch.Generator().manual_seed(1))
    numbers[:, :5] = 255
    channels = F.one_hot(numbers.where(numbers != 255, 0), 4).movedim(-1, 1)
    channels[:, :, :5] = 255
    for backend in ("cpu", "eager"):
        for reduction in ("mean", "none"):
            options = {"reduction": reduction, "backend": backend}
            torch.testing.assert_close(
                fused(scores, numbers, pos_weight, **options),
                fused(scores, channels, pos_weight, **options),
            )
    one = fused(scores[:, :1], channels[:, 0], pos_weight[:1])
    torch.testing.assert_close(one, fused(scores[:, :1], channels[:, :1], pos_weight[:1]))


def test_strides_and_memory_formats():
    scores, target, pos_weight = case((2, 6, 9, 10), (40, 50))
    expected = fused(scores, target, pos_weight)
    strided = torch.zeros(2, 12, 9, 20)[:, ::2, :, ::2].copy_(scores)
    turned = target.transpose(-1, -2).contiguous().transpose(-1, -2)
    for other in (scores.to(memory_format=torch.channels_last), strided):
        for labels in (target, turned):
            torch.testing.assert_close(fused(other, labels, pos_weight), expected, rtol=0, atol=0)


def test_infinite_scores_and_nan():
    """As the expression has them, but that it makes NaN of an infinite score of the right sign."""
    scores, target, pos_weight = case((1, 4, 8, 8), (64, 64))
    for c, value in ((1, -torch.inf), (2, torch.inf), (3, torch.nan), (0, -1e9), (0, 3e38)):
        strange = scores.clone()
        strange[0, c, 3, 2:6] = value
        found = fused(strange, target, pos_weight, reduction="none")
        eager = fused(strange.double(), target, pos_weight, reduction="none", backend="eager")
        for ours, exact in zip(found, eager, strict=True):
            torch.testing.assert_close(ours.double(), exact, rtol=1e-5, atol=1e-5, equal_nan=True)
        truth = plain(strange, target, pos_weight, reduction="none")[0]
        known = ~truth.isnan()
        torch.testing.assert_close(found[0][known].double(), truth[known], rtol=1e-5, atol=1e-5)


@pytest.mark.parametrize("backend", ["cpu", "eager"])
@pytest.mark.parametrize("reduction", ["mean", "sum", "none"])
def test_arrays(reduction, backend):
    scores, target, pos_weight = case((2, 4, 5, 6), (30, 31))
    truth, _ = plain(scores, target, pos_weight, reduction=reduction)
    arrays = [x.numpy() for x in (scores, target)]
    loss = upscore.binary_cross_entropy(
        *arrays, pos_weight=pos_weight.numpy(), reduction=reduction, backend=backend
    )
    assert isinstance(loss, np.ndarray if reduction == "none" else float)
    np.testing.assert_allclose(loss, truth.numpy(), rtol=1e-5, atol=1e-6)


@pytest.mark.parametrize("backend", ["eager", "cpu"])
def test_all_ignored_is_zero(backend):
    scores, target, pos_weight = case((1, 3, 4, 5), (13, 14), ignored=1.1)
    loss, gradient = fused(scores, target, pos_weight, reduction="mean", backend=backend)
    assert loss == 0
    assert (gradient == 0).all()


def test_same_bits_whatever_the_threads():
    given = case((3, 5, 33, 20), (260, 300))
    before = torch.get_num_threads()
    try:
        found = []
        for threads in (1, 2, 3, 7):
            torch.set_num_threads(threads)
            found.append(fused(*given))
    finally:
        torch.set_num_threads(before)
    for loss, gradient in found[1:]:
        assert torch.equal(loss, found[0][0])
        assert torch.equal(gradient, found[0][1])


@pytest.mark.parametrize("reduction", ["mean", "sum", "none"])
def test_gradcheck(reduction):
    scores, target, pos_weight = case((2, 3, 3, 4), (9, 7))
    torch.autograd.gradcheck(
        lambda s: upscore.binary_cross_entropy(
            s, target, pos_weight=pos_weight, reduction=reduction, backend="cpu"
        ),
        scores.double().requires_grad_(),
    )


@pytest.mark.filterwarnings("ignore:The .grad attribute")  # opcheck's own
@pytest.mark.parametrize("per_pixel", [False, True])
def test_opcheck(per_pixel):
    scores, target, pos_weight = case((1, 3, 3, 4), (9, 7))
    for leaf in (scores, scores.clone().requires_grad_()):
        with_gradient = leaf.requires_grad and not per_pixel
        torch.library.opcheck(
            torch_op.operator,
            (leaf, target, pos_weight, None, 255, "fcn", 2, per_pixel, False, with_gradient),
        )


@pytest.mark.parametrize("reduction", ["mean", "none"])
def test_second_derivatives_are_refused(reduction):
    scores, target, _ = case((1, 3, 3, 4), (9, 7))
    scores.requires_grad_()
    loss = upscore.binary_cross_entropy(scores, target, reduction=reduction, backend="cpu").sum()
    with pytest.raises(NotImplementedError, match='backend="eager"'):
        torch.autograd.grad(loss, scores, create_graph=True)


@pytest.mark.parametrize("backend", ["eager", "cpu"])
def test_a_label_of_no_meaning_is_named(backend):
    scores, target, _ = case((1, 3, 4, 5), (6, 7))
    target[0, 2, 5, 6] = 2
    with pytest.raises(ValueError, match=r"label 2 at \(0, 2, 5, 6\)"):
        upscore.binary_cross_entropy(scores, target, backend=backend)
    numbers = torch.zeros(1, 6, 7, dtype=torch.uint8)
    numbers[0, 5, 6] = 3
    with pytest.raises(ValueError, match=r"label 3 at \(0, 5, 6\)"):
        upscore.binary_cross_entropy(scores, numbers, backend=backend)


@pytest.mark.parametrize(
    ("change", "message"),
    [
        ({"scores": torch.zeros(2, 3, 4, dtype=torch.int32)}, "convert them first"),
        ({"target": torch.zeros(1, 3, 8, 9)}, "class numbers of uint8"),
        ({"target": torch.zeros(1, 2, 8, 9, dtype=torch.uint8)}, "1 x 3 x H x W"),
        ({"target": torch.zeros(8, 9, dtype=torch.uint8)}, "1 x H x W"),
        ({"pos_weight": torch.ones(2)}, "pos_weight must hold a number for each of the 3"),
        ({"reduction": "median"}, "reduction"),
        ({"ignore_index": 2.5}, "whole number"),
        ({"backend": "gpu"}, "backend"),
    ],
)
def test_bad_input_says_what_to_do(change, message):
    good = {"scores": torch.zeros(1, 3, 4, 5)}
    good["target"] = torch.zeros(1, 3, 8, 9, dtype=torch.uint8)
    upscore.binary_cross_entropy(**good)
    with pytest.raises((ValueError, TypeError), match=message):
        upscore.binary_cross_entropy(**{**good, **change})


@pytest.mark.release  # kernels that check every index are compiled for minutes
def test_nothing_is_read_or_written_out_of_bounds(with_checked_indices):
    with_checked_indices(__file__, "ragged or infinite")
