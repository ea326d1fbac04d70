"""The fused cross-entropy: torch in float64 is the truth, in float32 the measure of rounding."""

import platform
import re

import numpy as np
import pytest
import torch
from numba import njit
from torch.nn import functional as F

import upscore
from upscore.heads.cross_entropy import cpu, cpu_kernels, torch_op
from upscore.heads.grid import choose_grid, interpolate_tensor

# scores N x C x h x w, target H x W, grid
RAGGED = [
    ((2, 5, 7, 9), (33, 41), {}),
    ((1, 3, 4, 5), (64, 600), {}),  # more than one chunk of columns
    ((2, 4, 21, 6), (168, 13), {}),  # more than one strip of rows
    ((1, 7, 9, 11), (36, 44), {"align_corners": True}),
    ((2, 5, 4, 6), (14, 21), {"stride": 4}),
    ((2, 3, 4, 5), (6, 9), {"stride": 1}),  # its size, but held at the edges
    ((1, 4, 2, 2), (40, 39), {"stride": 16}),  # held at the edges
    ((1, 3, 1, 1), (4, 5), {}),
    ((1, 1, 4, 3), (9, 10), {}),
    ((1, 2, 1, 6), (7, 6), {}),
    ((1, 6, 19, 1), (5, 3), {"align_corners": True}),
    ((2, 3, 20, 21), (10, 8), {}),  # smaller than the scores
    ((1, 3, 40, 5), (1, 1), {}),
    ((2, 4, 9, 300), (9, 300), {}),  # of their size
    ((1, 3, 97, 101), (97, 101), {}),  # more than one run of pixels
    ((1, 3000, 2, 2), (5, 40), {}),  # narrow chunks
    ((0, 3, 4, 5), (8, 9), {}),
]
IDS = ["x".join(map(str, (*s, *size))) + "".join(grid) for s, size, grid in RAGGED]

DTYPES = [  # each is kernels to compile; float16 is read as bfloat16 is
    *(torch.bfloat16, torch.float32, torch.float64),
    pytest.param(torch.float16, marks=pytest.mark.release),
]


def case(shape, size, *, spread=3.0, ignored=0.2, dtype=torch.uint8, seed=0):
    """Random scores, and labels of which some are to be ignored."""
    generator = torch.Generator().manual_seed(seed)
    scores = torch.randn(shape, generator=generator) * spread
    target = torch.randint(shape[1], (shape[0], *size), generator=generator)
    ignore = torch.rand(target.shape, generator=generator) < ignored
    return scores, target.masked_fill(ignore, 255).to(dtype)


def plain(scores, target, *, dtype, reduction="sum", weight=None, **options):
    """The loss and its gradient by the expression that the docstring gives, in `dtype`."""
    grid = choose_grid(options.pop("align_corners", False), options.pop("stride", None))
    scores = scores.detach().to(dtype).requires_grad_()
    loss = F.cross_entropy(
        interpolate_tensor(scores, target.shape[-2:], grid),
        target.long(),
        None if weight is None else weight.to(dtype),
        ignore_index=255,
        reduction=reduction,
        **options,
    )
    loss.sum().backward()
    return loss.detach(), scores.grad


def fused(scores, target, *, reduction="sum", backend="cpu", **options):
    scores = scores.detach().requires_grad_()
    loss = upscore.cross_entropy(scores, target, reduction=reduction, backend=backend, **options)
    loss.sum().backward()
    return loss.detach(), scores.grad


def error(found, truth):
    return float(torch.linalg.vector_norm(found.double() - truth))


@pytest.fixture
def poisoned(monkeypatch):
    """Fill every array that is handed to the kernels to be written with NaN."""
    fused(*case((1, 1, 1, 1), (1, 1)))  # compile first
    empty = np.empty

    def poison(shape, dtype=np.float64):
        array = empty(shape, dtype)
        array.reshape(-1).view(np.uint8).fill(255)  # NaN
        return array

    monkeypatch.setattr(cpu.np, "empty", poison)


@pytest.mark.parametrize(
    "options",
    [{}, {"weight": True}, {"label_smoothing": 0.1}, {"weight": True, "label_smoothing": 1.0}],
    ids=["plain", "weighted", "smoothed", "spread"],
)
@pytest.mark.parametrize(("shape", "size", "grid"), RAGGED, ids=IDS)
def test_loss_and_gradient_of_ragged_shapes(shape, size, grid, options, poisoned):
    scores, target = case(shape, size)
    if "weight" in options:
        options = {**options, "weight": torch.linspace(0.5, 2, shape[1])}
    loss, gradient = fused(scores, target, **grid, **options)
    truth, gradient_truth = plain(scores, target, dtype=torch.float64, **grid, **options)
    assert error(loss, truth) <= 3e-7 * float(truth) + 1e-7 * target.numel() ** 0.5
    assert error(gradient, gradient_truth) <= 3e-7 * float(gradient_truth.norm()) + 1e-6


@pytest.mark.parametrize("reduction", ["mean", "none"])
@pytest.mark.parametrize("weighted", [False, True])
@pytest.mark.parametrize("size", [(30, 41), (6, 7)])
def test_reductions(reduction, weighted, size):
    scores, target = case((2, 5, 6, 7), size)
    weight = torch.linspace(0, 2, 5) if weighted else None
    loss, gradient = fused(scores, target, reduction=reduction, weight=weight)
    truth, gradient_truth = plain(
        scores, target, dtype=torch.float64, reduction=reduction, weight=weight
    )
    torch.testing.assert_close(loss.double(), truth, rtol=1e-6, atol=1e-6)
    torch.testing.assert_close(gradient.double(), gradient_truth, rtol=1e-5, atol=1e-7)
    assert loss.dtype == torch.float32


@pytest.mark.parametrize("dtype", DTYPES)
@pytest.mark.parametrize("size", [(48, 55), (6, 7)])
def test_score_types(dtype, size):
    scores, target = case((2, 5, 6, 7), size, dtype=torch.int64)
    scores = scores.to(dtype)
    loss, gradient = fused(scores, target, reduction="mean")
    truth, gradient_truth = plain(scores, target, dtype=torch.float64, reduction="mean")
    single = torch.float64 if dtype == torch.float64 else torch.float32
    assert loss.dtype == single
    assert gradient.dtype == dtype
    assert error(loss, truth) <= torch.finfo(single).eps * 4 * float(truth)
    assert error(gradient, gradient_truth) <= torch.finfo(dtype).eps * 4 * float(
        gradient_truth.norm()
    )


@pytest.mark.parametrize(
    "dtype", [torch.int32, pytest.param(torch.int16, marks=pytest.mark.release)]
)
def test_target_types(dtype):
    scores, target = case((1, 4, 5, 6), (21, 22))
    torch.testing.assert_close(
        fused(scores, target.to(dtype)), fused(scores, target), rtol=0, atol=0
    )


@pytest.mark.parametrize("spread", [0.1, 3, 15, 60])
@pytest.mark.parametrize(
    ("shape", "size"),
    [((3, 19, 16, 16), (128, 128)), ((3, 40, 12, 12), (48, 48)), ((3, 40, 64, 64), (64, 64))],
)
def test_no_less_exact_than_torch(shape, size, spread):
    """Of the loss, the gradient and the pixels' losses (a quarter more allowed: it is noise)."""
    scores, target = case(shape, size, spread=spread)
    for reduction in ("sum", "none"):
        found = fused(scores, target, reduction=reduction)
        truth = plain(scores, target, dtype=torch.float64, reduction=reduction)
        torchs = plain(scores, target, dtype=torch.float32, reduction=reduction)
        for ours, theirs, exact in zip(found, torchs, truth, strict=True):
            rounding = 6e-8 * float(torch.linalg.vector_norm(exact))
            assert error(ours, exact) <= max(1.25 * error(theirs, exact), rounding)


@pytest.mark.parametrize("size", [(96, 96), (12, 12)])
def test_confident_scores_of_a_trained_network(size):
    """Where nearly every pixel is right by far, the gradient is what is left of a difference."""
    winner = torch.randint(4, (4, 3, 3), generator=torch.Generator().manual_seed(0))
    winner = winner.repeat_interleave(4, 1).repeat_interleave(4, 2)
    scores = 20.0 * F.one_hot(winner, 4).movedim(-1, 1) + case((4, 4, 12, 12), (1, 1))[0] / 3
    target = interpolate_tensor(scores, size).argmax(1)
    found, torchs = fused(scores, target), plain(scores, target, dtype=torch.float32)
    truth = plain(scores, target, dtype=torch.float64)
    for ours, theirs, exact in zip(found, torchs, truth, strict=True):
        assert error(ours, exact) <= 1.25 * error(theirs, exact)


@pytest.mark.parametrize("size", [(40, 50), (9, 10)])
def test_strides_and_memory_formats(size):
    scores, target = case((2, 6, 9, 10), size)
    expected = fused(scores, target)
    strided = torch.zeros(2, 12, 9, 20)[:, ::2, :, ::2].copy_(scores)
    turned = target.transpose(1, 2).contiguous().transpose(1, 2)
    for other in (scores.to(memory_format=torch.channels_last), strided):
        for labels in (target, turned):
            torch.testing.assert_close(fused(other, labels), expected, rtol=0, atol=0)


def test_one_image_without_a_batch():
    scores, target = case((1, 3, 4, 5), (13, 14))
    loss, gradient = fused(scores[0], target[0], reduction="none")
    losses, gradients = fused(scores, target, reduction="none")
    assert loss.shape == (13, 14)
    assert gradient.shape == (3, 4, 5)
    assert torch.equal(loss, losses[0])
    assert torch.equal(gradient, gradients[0])


@pytest.mark.parametrize("backend", ["eager", "cpu"])
def test_all_ignored_is_zero(backend):
    scores, target = case((1, 3, 4, 5), (13, 14), ignored=1.1)
    loss, gradient = fused(scores, target, reduction="mean", backend=backend)
    assert loss == 0
    assert (gradient == 0).all()
    assert upscore.cross_entropy(scores.numpy(), target.numpy(), backend=backend) == 0


@pytest.mark.parametrize("ignore", [-100, 2, 1000])
def test_other_values_to_ignore(ignore):
    scores, target = case((1, 3, 4, 5), (13, 14), ignored=0, dtype=torch.int64)
    target[0, 3:7] = ignore
    loss = upscore.cross_entropy(scores, target, ignore_index=ignore)
    expected = F.cross_entropy(
        F.interpolate(scores, (13, 14), mode="bilinear"), target, ignore_index=ignore
    )
    torch.testing.assert_close(loss, expected)


def test_infinite_scores_and_nan_are_torchs():
    scores, target = case((1, 4, 8, 8), (64, 64), ignored=0)
    for c, value in ((1, -torch.inf), (2, torch.inf), (3, torch.nan), (0, -1e9), (0, 3e38)):
        strange = scores.clone()
        strange[0, c, 3, 2:6] = value
        loss, gradient = fused(strange, target, reduction="none")
        truth, gradient_truth = plain(strange, target, dtype=torch.float64, reduction="none")
        assert torch.equal(loss.isnan(), truth.isnan())
        torch.testing.assert_close(loss.double(), truth, rtol=1e-5, atol=1e-5, equal_nan=True)
        torch.testing.assert_close(
            gradient.double(), gradient_truth, rtol=1e-4, atol=1e-5, equal_nan=True
        )
    masked = scores.clone()
    masked[:, 1] = -1e4
    target[target == 1] = 0
    loss, gradient = fused(masked, target)
    truth, gradient_truth = plain(masked, target, dtype=torch.float64)
    torch.testing.assert_close(loss.double(), truth)
    torch.testing.assert_close(gradient.double(), gradient_truth, rtol=1e-5, atol=1e-5)


@pytest.mark.parametrize("shape", [(3, 5, 33, 20), (3, 5, 260, 300)])
def test_same_bits_whatever_the_threads(shape):
    scores, target = case(shape, (260, 300))
    before = torch.get_num_threads()
    try:
        found = []
        for threads in (1, 2, 3, 7):
            torch.set_num_threads(threads)
            found += [fused(scores, target) for _ in range(2)]
    finally:
        torch.set_num_threads(before)
    for loss, gradient in found[1:]:
        assert torch.equal(loss, found[0][0])
        assert torch.equal(gradient, found[0][1])


@pytest.mark.parametrize("reduction", ["mean", "sum", "none"])
def test_gradcheck(reduction):
    scores, target = case((2, 3, 3, 4), (9, 7), dtype=torch.int64)
    torch.autograd.gradcheck(
        lambda s: upscore.cross_entropy(
            s,
            target,
            reduction=reduction,
            weight=torch.tensor([0.5, 1, 2]),
            label_smoothing=0.1,
            backend="cpu",
        ),
        scores.double().requires_grad_(),
    )


@pytest.mark.parametrize("size", [(29, 31), (5, 4)])
def test_an_upstream_factor_of_each_pixel(size):
    scores, target = case((2, 3, 5, 4), size)
    factor = torch.rand(target.shape, generator=torch.Generator().manual_seed(1))
    gradients = []
    for backend in ("eager", "cpu"):
        leaf = scores.clone().requires_grad_()
        losses = upscore.cross_entropy(leaf, target, reduction="none", backend=backend)
        (losses * factor).sum().backward()
        gradients.append(leaf.grad)
    torch.testing.assert_close(*gradients)


@pytest.mark.parametrize("reduction", ["sum", "none"])
def test_second_derivatives_are_refused(reduction):
    scores, target = case((1, 3, 3, 4), (9, 7))
    scores.requires_grad_()
    loss = upscore.cross_entropy(scores, target, reduction=reduction, backend="cpu").sum()
    with pytest.raises(NotImplementedError, match='backend="eager"'):
        torch.autograd.grad(loss, scores, create_graph=True)


def hardened(scores, target, *, weight=None, focal=0.0, z_loss=0.0, top_k=1.0, reduction="mean"):
    """What the docstring says of `focal`, `z_loss` and `top_k`, on full-resolution scores."""
    leaf = scores.detach().double().requires_grad_()
    full = F.interpolate(leaf, target.shape[-2:], mode="bilinear")
    counts = target != 255
    labels = target.where(counts, 0).long()
    plain_losses = F.cross_entropy(full, labels, reduction="none") * counts
    weights = counts * (1.0 if weight is None else weight.double()[labels])
    p = full.softmax(1).gather(1, labels[:, None])[:, 0]
    losses = weights * (1 - p) ** focal * plain_losses
    losses = losses + z_loss * (full.logsumexp(1) * counts) ** 2
    total = weights.sum()
    if top_k < 1:
        total = max(1, int(top_k * losses.numel()))
        losses = losses.flatten().topk(total).values
    divisor = total if reduction == "mean" else 1
    loss = losses if reduction == "none" else losses.sum() / divisor
    loss.sum().backward()
    return loss.detach(), leaf.grad


@pytest.mark.parametrize("backend", ["cpu", "eager"])
@pytest.mark.parametrize("reduction", ["mean", "sum", "none"])
@pytest.mark.parametrize(
    "options",
    [
        {"focal": 2.0},
        {"focal": 0.5},
        {"z_loss": 1e-2},
        {"top_k": 0.1},
        {"top_k": 1e-9},
        {"focal": 1.0, "z_loss": 1e-2, "top_k": 0.5},
    ],
    ids=str,
)
@pytest.mark.parametrize("weighted", [False, True])
@pytest.mark.parametrize("size", [(30, 41), (6, 7)])
def test_losses_that_look_at_each_pixel(options, reduction, weighted, backend, size):
    if "top_k" in options and reduction == "none":
        pytest.skip("top_k chooses pixels to sum")
    scores, target = case((2, 5, 6, 7), size)
    weight = torch.linspace(0.5, 2, 5) if weighted else None
    options = {**options, "weight": weight, "reduction": reduction}
    loss, gradient = fused(scores, target, backend=backend, **options)
    truth, gradient_truth = hardened(scores, target, **options)
    assert error(loss, truth) <= 1e-6 * float(torch.linalg.vector_norm(truth))
    assert error(gradient, gradient_truth) <= 1e-6 * float(gradient_truth.norm())
    array = upscore.cross_entropy(
        scores.numpy(),
        target.numpy(),
        backend=backend,
        **{**options, "weight": None if weight is None else weight.numpy()},
    )
    np.testing.assert_allclose(array, truth.numpy(), rtol=1e-5, atol=1e-6)


def test_certain_pixels_have_a_finite_focal_gradient():
    scores = torch.zeros(1, 2, 2, 2)
    scores[:, 0] = 200
    target = torch.zeros(1, 8, 8, dtype=torch.uint8)
    for focal in (0.5, 2.0):
        assert fused(scores, target, focal=focal)[1].isfinite().all()


@pytest.mark.parametrize("backend", ["cpu", "eager"])
@pytest.mark.parametrize("reduction", ["mean", "none"])
@pytest.mark.parametrize("size", [(3, 5, 6), (3, 11, 13), (7, 5, 6), (8, 4, 17), (1, 1, 1)])
def test_volumes(size, reduction, backend):
    generator = torch.Generator().manual_seed(0)
    scores = 3 * torch.randn((2, 4, 3, 5, 6), generator=generator)
    target = torch.randint(4, (2, *size), generator=generator)
    target[:, :, ::3] = 255 if size != (1, 1, 1) else 1
    weight = torch.linspace(0.5, 2, 4)
    loss, gradient = fused(scores, target, weight=weight, reduction=reduction, backend=backend)
    leaf = scores.double().requires_grad_()
    truth = F.cross_entropy(
        F.interpolate(leaf, size, mode="trilinear"),
        target,
        weight.double(),
        ignore_index=255,
        reduction=reduction,
    )
    truth.sum().backward()
    torch.testing.assert_close(loss.double(), truth.detach(), rtol=1e-5, atol=1e-5)
    torch.testing.assert_close(gradient.double(), leaf.grad, rtol=1e-5, atol=1e-5)
    array = upscore.cross_entropy(
        scores.numpy(), target.numpy(), weight=weight.numpy(), reduction=reduction, backend=backend
    )
    np.testing.assert_allclose(array, truth.detach().numpy(), rtol=1e-5, atol=1e-5)


def test_scores_of_the_targets_size_are_copied_and_may_be_infinite():
    scores, target = case((2, 4, 9, 10), (9, 10), ignored=0)
    scores[:, 3] = -torch.inf
    target[target == 3] = 0
    for backend in ("cpu", "eager"):
        loss, gradient = fused(scores, target, backend=backend)
        leaf = scores.double().requires_grad_()
        truth = F.cross_entropy(leaf, target.long(), reduction="sum")
        truth.backward()
        torch.testing.assert_close(loss.double(), truth.detach())
        torch.testing.assert_close(gradient.double(), leaf.grad, rtol=1e-5, atol=1e-6)


def test_gradients_of_two_losses_and_of_two_backward_passes():
    """The kept gradient is handed out as it is where the factor is 1: nothing may change it."""
    scores, target = case((2, 5, 6, 7), (30, 41))
    leaf = scores.clone().requires_grad_()
    loss = upscore.cross_entropy(leaf, target, backend="cpu")
    (first,) = torch.autograd.grad(loss, leaf, retain_graph=True)
    first = first.clone()
    for _ in range(3):
        (loss + upscore.dice(leaf, target)).backward(retain_graph=True)
    (again,) = torch.autograd.grad(loss, leaf)
    assert torch.equal(first, again)


@pytest.mark.filterwarnings("ignore:The .grad attribute")  # opcheck's own
@pytest.mark.parametrize("per_pixel", [False, True])
def test_opcheck(per_pixel):
    scores, target = case((1, 3, 3, 4), (9, 7))
    weight = torch.ones(3)
    for leaf in (scores, scores.clone().requires_grad_()):
        with_gradient = leaf.requires_grad and not per_pixel
        torch.library.opcheck(
            torch_op.operator,
            (
                *(leaf, target, weight, None, None, 255, 0.1, "fcn", 2),
                *(per_pixel, False, per_pixel, with_gradient, "cpu"),
            ),
        )


@pytest.mark.slow
@pytest.mark.parametrize("backend", ["auto", "cpu", "eager"])
@pytest.mark.parametrize(
    "options",
    [{}, {"reduction": "none"}, {"focal": 2.0, "z_loss": 0.1, "top_k": 0.5}],
    ids=str,
)
def test_compiles_without_a_graph_break(options, backend):
    scores, target = case((1, 3, 3, 4), (9, 7))

    def loss(scores):
        return upscore.cross_entropy(scores, target, backend=backend, **options).sum()

    torch.compiler.reset()  # what was compiled for the other parameters counts towards a limit
    compiled = torch.compile(loss, fullgraph=True, backend="aot_eager")
    results = []
    for function in (loss, compiled):
        leaf = scores.clone().requires_grad_()
        value = function(leaf)
        value.backward()
        results.append((value, leaf.grad))
    torch.testing.assert_close(*results)


def test_autocast_leaves_the_loss_in_single_precision():
    scores, target = case((1, 3, 3, 4), (9, 7))
    leaf = scores.bfloat16().requires_grad_()
    with torch.autocast("cpu", torch.bfloat16):
        loss = upscore.cross_entropy(leaf, target)
    loss.backward()
    assert loss.dtype == torch.float32
    assert leaf.grad.dtype == torch.bfloat16
    assert torch.equal(loss, upscore.cross_entropy(scores.bfloat16().float(), target))


@pytest.mark.parametrize("backend", ["eager", "cpu"])
@pytest.mark.parametrize("reduction", ["mean", "sum", "none"])
def test_arrays(reduction, backend):
    scores, target = case((2, 4, 5, 6), (30, 31))
    weight = torch.linspace(0.5, 2, 4)
    options = {"reduction": reduction, "label_smoothing": 0.1}
    truth, _ = plain(scores, target, dtype=torch.float64, weight=weight, **options)
    loss = upscore.cross_entropy(
        scores.numpy(), target.numpy(), weight=weight.numpy(), backend=backend, **options
    )
    assert isinstance(loss, np.ndarray if reduction == "none" else float)
    np.testing.assert_allclose(loss, truth.numpy(), rtol=1e-5, atol=1e-6)


@pytest.mark.parametrize("backend", ["eager", "cpu"])
def test_a_label_outside_the_classes_is_named(backend):
    scores, target = case((2, 3, 4, 5), (40, 300), dtype=torch.int64)
    target[1, 30, 290] = 7
    for value, place in ((3, (1, 20, 280)), (-1, (1, 20, 270)), (254, (0, 39, 299))):
        target[place] = value
        with pytest.raises(ValueError, match=rf"{value} at \({', '.join(map(str, place))}\)"):
            upscore.cross_entropy(scores, target, backend=backend)
        with pytest.raises(ValueError, match="ignore_index"):
            upscore.cross_entropy(scores.numpy(), target.numpy(), backend=backend)


@pytest.mark.parametrize(
    ("change", "message"),
    [
        ({"scores": torch.zeros(2, 3, 4, dtype=torch.int32)}, "convert them first"),
        ({"scores": torch.zeros(4, 5)}, "C x h x w"),
        ({"scores": torch.zeros(1, 0, 4, 5)}, "classes"),
        ({"scores": torch.zeros(1, 3, 0, 5)}, "no pixel"),
        ({"scores": [[1.0]]}, "NumPy array or a torch tensor"),
        ({"target": torch.zeros(1, 8, 9)}, "class numbers of uint8"),
        ({"target": torch.zeros(2, 8, 9, dtype=torch.uint8)}, "1 x H x W"),
        ({"target": torch.zeros(8, 9, dtype=torch.uint8)}, "1 x H x W"),
        ({"target": torch.zeros(1, 0, 9, dtype=torch.uint8)}, "no pixels"),
        ({"target": np.zeros((1, 8, 9), np.uint8)}, "like the scores"),
        ({"target": [[0]]}, "like the scores"),
        ({"target": torch.zeros(1, 8, 9, dtype=torch.uint8, device="meta")}, "move one"),
        ({"weight": torch.ones(2)}, "3 classes"),
        ({"weight": [1.0, 1, 1]}, "weight must be a Tensor"),
        ({"label_smoothing": 1.5}, "0 to 1"),
        ({"focal": -1.0}, "focal must be 0 or more"),
        ({"z_loss": float("nan")}, "z_loss must be 0 or more"),
        ({"top_k": 0}, "top_k must be a share"),
        ({"top_k": 10}, "top_k must be a share"),
        ({"focal": 2.0, "label_smoothing": 0.1}, "do not go together"),
        ({"top_k": 0.1, "reduction": "none"}, "chooses pixels to sum"),
        ({"scores": torch.zeros(1, 3, 2, 4, 5)}, "1 x D x H x W"),
        ({"reduction": "median"}, "reduction"),
        ({"ignore_index": 2.5}, "whole number"),
        ({"stride": 0}, "at least 1"),
        ({"stride": 2, "align_corners": True}, "two different grids"),
        ({"backend": "fast"}, "backend"),
    ],
)
def test_bad_input_says_what_to_do(change, message):
    good = {"scores": torch.zeros(1, 3, 4, 5), "target": torch.zeros(1, 8, 9, dtype=torch.uint8)}
    upscore.cross_entropy(**good)
    with pytest.raises((ValueError, TypeError), match=message):
        upscore.cross_entropy(**{**good, **change})


@pytest.mark.release
@pytest.mark.slow
def test_nothing_is_read_or_written_out_of_bounds(with_checked_indices):
    with_checked_indices(__file__, "ragged or infinite")


@pytest.mark.skipif(platform.machine() not in ("x86_64", "AMD64"), reason="reads x86 assembly")
@pytest.mark.parametrize("name", ["exponentials", "gather", "_losses", "_smooth"])
def test_inner_loops_are_vectorised(name):
    """The assembly holds packed products: a loop that LLVM gave up on has scalar ones only."""
    kernel = getattr(cpu_kernels, name).py_func  # some are shared: strips.kernels
    lines = np.ones((4, 4, 256), np.float32)
    row, one = lines[0, 0], np.float32(0.5)
    arguments = {
        "exponentials": (*lines[:2], one, one, row, one, 4, *lines[2:], row, *lines[:2]),
        "gather": (lines[0], lines[1], lines[2], 4, row, lines[3]),
        "_losses": (row, row, 3, row, row, row, row),
        "_smooth": (row[:4], *[row] * 2, *lines[:2], one, one, *[row] * 4, *lines[2:]),
    }[name]
    compiled = njit(fastmath={"contract"}, error_model="numpy")(kernel)
    compiled(*arguments)
    (assembly,) = compiled.inspect_asm().values()
    assert re.search(r"v?(mul|fn?madd\d*)ps", assembly)
