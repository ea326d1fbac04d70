"""What the GPU's kernels must do: test_gpu.py runs this in Triton's interpreter or on a GPU."""

import os
from functools import partial

import numpy as np
import pytest
import torch

import upscore
from upscore.heads.argmax import eager as eager_labels
from upscore.heads.argmax import gpu as gpu_labels
from upscore.heads.cross_entropy import eager as eager_loss
from upscore.heads.cross_entropy import gpu as gpu_loss
from upscore.heads.cross_entropy.options import Options
from upscore.heads.grid import CORNERS, HALF_PIXEL, Grid, interpolate_tensor
from upscore.heads.masks import Masks
from upscore.heads.masks import gpu as gpu_masks
from upscore.heads.overlap import sums_of

# The interpreter computes in NumPy, which warns of infinities and NaNs.
pytestmark = pytest.mark.filterwarnings("ignore::RuntimeWarning")

DEVICE = "cpu" if os.environ.get("TRITON_INTERPRET") == "1" else "cuda"

# scores N x C x h x w, labels H x W, grid
RAGGED = [
    ((1, 11, 3, 5), (24, 40), HALF_PIXEL),
    ((2, 18, 2, 20), (9, 133), HALF_PIXEL),  # more than one tile of columns and block of classes
    ((1, 17, 3, 3), (31, 23), CORNERS),
    ((2, 5, 4, 6), (14, 21), Grid("fcn", 4)),
    ((1, 4, 2, 2), (21, 19), Grid("fcn", 8)),  # held at the edges
    ((1, 3, 1, 1), (4, 5), HALF_PIXEL),
    ((1, 1, 4, 3), (9, 10), HALF_PIXEL),
    ((1, 2, 1, 6), (7, 6), HALF_PIXEL),
    ((1, 6, 9, 1), (5, 3), CORNERS),
    ((2, 7, 9, 13), (4, 3), HALF_PIXEL),  # smaller than the scores
    ((1, 20, 1, 3), (40, 1), HALF_PIXEL),
]
IDS = ["x".join(map(str, (*s, *size))) + grid.name for s, size, grid in RAGGED]
RARELY = pytest.mark.release  # the interpreter takes minutes for all


def random(*shape: int, seed: int = 0) -> torch.Tensor:
    return torch.randn(shape, generator=torch.Generator().manual_seed(seed)).to(DEVICE) * 3


def smooth(*shape: int) -> torch.Tensor:
    """Scores as of a network: near each pixel one or two classes are far above the others."""
    n, classes, h, w = shape
    winner = torch.randint(
        classes, (n, 1, h // 3 + 1, w // 3 + 1), generator=torch.Generator().manual_seed(1)
    )
    winner = winner.repeat_interleave(3, 2).repeat_interleave(3, 3)[:, :, :h, :w].to(DEVICE)
    return random(*shape) + 20 * (winner == torch.arange(classes, device=DEVICE)[:, None, None])


def labels_of(scores: torch.Tensor, size: tuple[int, int], **options: object) -> torch.Tensor:
    """Run the kernel into the middle of a poisoned array and see that the rim stays as it was."""
    poison = 201
    dtype = torch.uint8 if scores.shape[1] <= 256 else torch.int16
    whole = torch.full((len(scores), size[0] + 2, size[1] + 5), poison, dtype=dtype, device=DEVICE)
    labels = whole[:, 1:-1, 2:-3]
    gpu_labels.argmax(scores, labels, **options)
    rim = whole.clone()
    rim[:, 1:-1, 2:-3] = poison
    assert (rim == poison).all()
    return labels


def check_labels(labels: torch.Tensor, scores: torch.Tensor, grid: Grid = HALF_PIXEL) -> None:
    """The labels are float64's, but for classes that lie within the rounding of float32."""
    full = interpolate_tensor(scores.double(), labels.shape[1:], grid)
    best = full.argmax(1)
    short = full.amax(1) - full.gather(1, labels.long()[:, None])[:, 0]
    rounding = 4 * torch.finfo(torch.float32).eps * full.abs().amax()
    assert ((labels == best) | (short <= rounding)).all()
    assert (labels == best).float().mean() > 0.99


@pytest.mark.parametrize(("shape", "size", "grid"), RAGGED, ids=IDS)
def test_labels_of_ragged_shapes(shape, size, grid):
    scores = random(*shape)
    check_labels(labels_of(scores, size, grid=grid), scores, grid)


@pytest.mark.parametrize(
    ("shape", "size", "axes"),
    [
        ((2, 11, 5, 7), (24, 40), ((0.2, 0.3), (0.17, -0.4))),
        ((1, 5, 9, 40), (7, 133), ((1.7, 2.0), (0.31, 0.0))),
        ((1, 4, 3, 5), (40, 30), ((0.2, -3.0), (0.4, 9.0))),  # held at the edges, and beyond them
        ((1, 6, 1, 9), (4, 5), ((0.5, 0.0), (2.5, -1.0))),
    ],
)
def test_labels_at_coordinates(shape, size, axes):
    scores, grid = random(*shape), Grid("affine", axes=axes)
    check_labels(labels_of(scores, size, grid=grid), scores, grid)
    check_confidence("margin", scores, size, grid)


@pytest.mark.parametrize("classes", [3, 40])
def test_labels_of_smooth_scores(classes):
    scores = smooth(1, classes, 4, 5)
    check_labels(labels_of(scores, (25, 40)), scores)


@pytest.mark.parametrize("dtype", [torch.float16, torch.bfloat16, torch.float64])
def test_labels_of_other_types(dtype):
    scores = random(1, 9, 4, 5).to(dtype)
    check_labels(labels_of(scores, (17, 22)), scores)


def test_labels_of_float64_are_computed_in_it():
    scores = random(1, 3, 3, 3).double()
    scores[:, 2] = scores[:, 0] + 1e-12
    scores[:, 1] -= 100
    assert (labels_of(scores, (12, 12)) == 2).all()


def check_confidence(
    measure: str, scores: torch.Tensor, size: tuple[int, int], grid: Grid = HALF_PIXEL
):
    found = torch.full((len(scores), *size), 7.0, device=DEVICE)
    expected, labels = torch.empty_like(found), torch.empty_like(found, dtype=torch.uint8)
    labels_of(scores, size, confidence=found, measure=measure, grid=grid)
    eager_labels.argmax(scores.double(), labels, expected, measure=measure, grid=grid)
    torch.testing.assert_close(found, expected, rtol=1e-5, atol=5e-6, equal_nan=True)


def strided(scores: torch.Tensor) -> list[torch.Tensor]:
    return [
        scores.contiguous(memory_format=torch.channels_last),
        scores.transpose(2, 3).contiguous().transpose(2, 3),
        scores[:, ::2],
        scores[:, :, 1:, :-2],
        scores[:, :1].expand(-1, 4, -1, -1),
    ]


@pytest.mark.parametrize("i", range(5))
def test_labels_of_any_strides(i):
    scores = strided(random(1, 8, 4, 6))[i]
    check_labels(labels_of(scores, (14, 20)), scores)


def test_labels_beyond_a_byte():
    scores = random(1, 300, 1, 2)
    check_labels(labels_of(scores, (6, 7)), scores)


def far_apart(*shape: int, axis: int, dtype: torch.dtype = torch.float16) -> torch.Tensor:
    """A tensor whose steps along `axis` do not fit 32 bits together; few of its pages are used."""
    step = 2**31 // (shape[axis] - 1) + 64
    whole = torch.empty(step * shape[axis], dtype=dtype, device=DEVICE)
    inner = torch.empty([1 if i == axis else n for i, n in enumerate(shape)])
    strides = [step if i == axis else stride for i, stride in enumerate(inner.stride())]
    return whole.as_strided(shape, strides)


@pytest.mark.parametrize("axis", range(4))
def test_indices_have_64_bits(axis):
    scores = far_apart(3, 3, 3, 3, axis=axis).copy_(random(3, 3, 3, 3))
    labels = far_apart(3, 8, 8, axis=0, dtype=torch.uint8)
    gpu_labels.argmax(scores, labels)
    check_labels(labels, scores)
    case = (scores, make_target(scores, (8, 8)), None, None)
    ours = loss_of(*case, options=OPTIONS)
    truth = truth_of(*case, options=OPTIONS, dtype=torch.float64)
    assert all(off(got, exact) < 1e-6 for got, exact in zip(ours, truth, strict=True))


def test_ties_go_to_the_lowest_class():
    scores = random(1, 4, 3, 4).repeat(1, 5, 1, 1)
    assert labels_of(scores, (15, 16)).max() < 4


@pytest.mark.parametrize("bad", [float("nan"), float("inf"), -float("inf")])
def test_nan_is_the_greatest(bad):
    scores = smooth(1, 18, 2, 3)
    scores[0, 7, 0, 2] = bad
    scores[0, 16, 1, 2] = bad
    for size in [(14, 15), (2, 9), (5, 3)]:
        full = interpolate_tensor(scores.double(), size)
        assert torch.equal(labels_of(scores, size).long(), full.argmax(1))
    for measure in ("probability", "margin", "entropy"):
        check_confidence(measure, scores[:, 5:9], (5, 7))


@pytest.mark.parametrize("measure", ["probability", "margin", "entropy"])
@pytest.mark.parametrize(("shape", "size", "grid"), RAGGED[2::4], ids=IDS[2::4])
def test_confidence(measure, shape, size, grid):
    check_confidence(measure, random(*shape), size, grid)


def test_the_public_argmax_reaches_the_kernels():
    scores = random(3, 4, 5)
    labels, margin = upscore.argmax(scores, size=(9, 11), return_confidence="margin", backend="gpu")
    expected, gap = upscore.argmax(
        scores, size=(9, 11), return_confidence="margin", backend="eager"
    )
    assert torch.equal(labels, expected)
    torch.testing.assert_close(margin, gap, rtol=1e-5, atol=1e-5)


def make_target(scores: torch.Tensor, size: tuple[int, int], dtype=torch.int64) -> torch.Tensor:
    """Labels of all classes, a fifth of the pixels ignored."""
    made = np.random.default_rng(5)
    target = made.integers(scores.shape[1], size=(len(scores), *size))
    target[made.random(target.shape) < 0.2] = 255
    return torch.from_numpy(target).to(DEVICE, dtype)


OPTIONS = Options(ignore_index=255, label_smoothing=0.0, grid=HALF_PIXEL, per_pixel=False)


def loss_of(*case, options):
    """The kernels' losses, weight and gradient."""
    losses, total, _, gradient = gpu_loss.cross_entropy(*case, options=options, with_gradient=True)
    return losses, total, gradient


def truth_of(scores, target, weight, factor, *, options, dtype):
    """The unfused losses, weight and gradient in `dtype`."""
    scores = scores.detach().to(dtype).requires_grad_()
    weight = None if weight is None else weight.to(dtype)
    losses, total, _ = eager_loss.cross_entropy(scores, target, weight, options)
    (losses.sum() if factor is None else (losses * factor).sum()).backward()
    return losses.detach(), total, scores.grad


def off(x: torch.Tensor, truth: torch.Tensor) -> float:
    """Relative error, as a whole."""
    truth = truth.double()
    return float((x - truth).norm() / truth.norm().clamp(min=len(truth.reshape(-1)) ** 0.5))


@pytest.mark.parametrize("i", range(len(RAGGED)), ids=IDS)
def test_loss_and_gradient(i):
    shape, size, grid = RAGGED[i]
    weighted, per_pixel = i % 2 == 1, i % 3 == 1
    options = Options(255, 0.1 if weighted else 0.0, grid, per_pixel)
    scores = random(*shape)
    target = make_target(scores, size, torch.uint8 if per_pixel else torch.int64)
    weight = random(shape[1]).abs() + 0.1 if weighted else None
    factor = random(len(scores), *size) if per_pixel else None
    case = (scores, target, weight, factor)
    ours = loss_of(*case, options=options)
    truth = truth_of(*case, options=options, dtype=torch.float64)
    plain = truth_of(*case, options=options, dtype=torch.float32)
    for name, got, exact, same in zip(
        ("loss", "weight", "gradient"), ours, truth, plain, strict=True
    ):
        assert off(got, exact) <= 2 * off(same, exact) + 4e-7, name


@pytest.mark.parametrize("weighted", [False, True])
def test_loss_in_float64(weighted):
    options = OPTIONS._replace(label_smoothing=0.2 * weighted)
    scores = random(1, 17, 3, 4).double()
    target = make_target(scores, (13, 19))
    weight = random(17).double().abs() if weighted else None
    case = (scores, target, weight, None)
    ours = loss_of(*case, options=options)
    truth = truth_of(*case, options=options, dtype=torch.float64)
    assert all(off(got, exact) < 1e-14 for got, exact in zip(ours, truth, strict=True))


@pytest.mark.parametrize("i", range(5))
def test_loss_of_any_strides(i):
    scores = strided(random(1, 8, 4, 6))[i]
    wide = make_target(scores, (20, 30))
    target = wide[:, ::2, ::2] if i % 2 else wide.transpose(1, 2)[:, :9, 1:21]
    case = (scores, target, None, None)
    ours = loss_of(*case, options=OPTIONS)
    truth = truth_of(*case, options=OPTIONS, dtype=torch.float64)
    assert all(off(got, exact) < 1e-6 for got, exact in zip(ours, truth, strict=True))


@pytest.mark.parametrize("dtype", [torch.float16, torch.bfloat16])
def test_loss_of_half_precision_is_computed_in_float32(dtype):
    scores = random(1, 5, 4, 6).to(dtype)
    case = (scores, make_target(scores, (15, 22)), None, None)
    ours = loss_of(*case, options=OPTIONS)
    truth = truth_of(*case, options=OPTIONS, dtype=torch.float64)
    assert ours[2].dtype == torch.float32
    assert all(off(got, exact) < 1e-6 for got, exact in zip(ours, truth, strict=True))


@RARELY
def test_the_gradient_is_the_same_every_time():
    scores = random(1, 3, 9, 18)
    case = (scores, make_target(scores, (23, 40)), None, None)
    first, again = (loss_of(*case, options=OPTIONS) for _ in range(2))
    assert all(torch.equal(a, b) for a, b in zip(first, again, strict=True))


LOSSES = [upscore.cross_entropy, upscore.dice, partial(upscore.dice, cross_entropy=1.0)]


@pytest.mark.parametrize("head", LOSSES)
def test_confident_pixels_keep_their_small_loss(head):
    target = make_target(random(2, 5, 6, 7), (6, 7)) % 3
    scores = random(2, 5, 6, 7) / 10
    scores.scatter_(1, target[:, None], 12.0)
    scores += 300
    found, exact = head(scores, target, backend="gpu"), head(scores.double(), target)
    torch.testing.assert_close(found.double(), exact, rtol=1e-3, atol=2e-7)


@pytest.mark.parametrize("head", LOSSES)
def test_ignored_nan_spreads_to_no_neighbour(head):
    scores = random(1, 3, 6, 20)
    target = make_target(scores, (6, 20)) % 3
    scores[0, :, 2, 3], target[0, 2, 3] = torch.nan, 255
    scores.requires_grad_()
    head(scores, target, backend="gpu").backward()
    assert scores.grad.isfinite().sum() >= scores.numel() - 3


@pytest.mark.parametrize("head", LOSSES)
def test_scores_of_the_targets_size_are_copied(head):
    """A class that is ruled out by -inf spreads no NaN to its neighbours."""
    scores = random(2, 5, 6, 7)
    scores[:, 3, 1:4, 2:5] = -torch.inf
    target = make_target(scores, (6, 7)) % 3
    found, exact = (x.clone().requires_grad_() for x in (scores, scores.double()))
    loss, truth = head(found, target, backend="gpu"), head(exact, target, backend="eager")
    loss.backward()
    truth.backward()
    torch.testing.assert_close(loss.double(), truth, rtol=1e-6, atol=1e-6)
    torch.testing.assert_close(found.grad.double(), exact.grad, rtol=1e-5, atol=1e-8)


def test_all_ignored_is_zero():
    scores = random(2, 3, 4, 5)
    target = torch.full((2, 12, 15), 255, device=DEVICE)
    found = loss_of(scores, target, None, options=OPTIONS)
    assert [float(x.abs().sum()) for x in found] == [0, 0, 0]


@pytest.mark.parametrize("label", [3, -1, 2**32])
def test_a_label_outside_the_classes_is_named(label):
    target = torch.zeros((2, 12, 15), dtype=torch.int64, device=DEVICE)
    target[0, 1] = 255
    target[1, 3, 4] = target[1, 7, 2] = label
    with pytest.raises(ValueError, match=rf"target holds label {label} at \(1, 3, 4\), .*0 to 2"):
        gpu_loss.cross_entropy(
            random(2, 3, 4, 5), target, None, options=OPTIONS, with_gradient=False
        )


def test_the_public_loss_passes_gradcheck():
    scores = random(1, 2, 2, 3).double().requires_grad_()
    target = make_target(scores, (3, 4))

    def loss(scores):
        return upscore.cross_entropy(scores, target, reduction="none", backend="gpu")

    assert torch.autograd.gradcheck(loss, scores)


def test_the_public_loss_of_bfloat16():
    scores = random(2, 6, 3, 4).bfloat16().requires_grad_()
    target = make_target(scores, (12, 15), torch.uint8)
    loss = upscore.cross_entropy(scores, target, backend="gpu")
    loss.backward()
    truth = scores.detach().double().requires_grad_()
    exact = upscore.cross_entropy(truth, target, backend="eager")
    exact.backward()
    assert loss.dtype == torch.float32
    assert scores.grad.dtype == torch.bfloat16
    torch.testing.assert_close(loss.double(), exact, rtol=1e-6, atol=0)
    torch.testing.assert_close(scores.grad.double(), truth.grad, rtol=2**-8, atol=1e-9)


def overlap_case(shape, size, channels, *, spread=1.0):
    """Scores, a target with pixels to ignore, and the pixels' weight."""
    generator = torch.Generator().manual_seed(2)
    full = (shape[0], shape[1], *size) if channels else (shape[0], *size)
    target = torch.randint(2 if channels else shape[1], full, generator=generator)
    target[torch.rand(full, generator=generator) < 0.2] = 255
    weight = torch.rand((shape[0], *size), generator=generator)
    weight[:, ::3] = 0
    return random(*shape) * spread, target.to(torch.uint8).to(DEVICE), weight.to(DEVICE)


def sums_and_gradient(scores, target, weight, **options):
    """The sums, and the gradient of a loss that each sum counts for differently."""
    leaf = scores.detach().requires_grad_()
    sums = torch.stack(sums_of(leaf, target, losses=True, weight=weight, per_image=True, **options))
    steps = torch.arange(1, sums.numel() + 1, device=DEVICE).view_as(sums)
    (sums * steps.sin()).sum().backward()
    return sums.detach().double(), leaf.grad.double()


@pytest.mark.parametrize(
    "kind",
    ["softmax", pytest.param("sigmoid", marks=RARELY), pytest.param("channels", marks=RARELY)],
)
@pytest.mark.parametrize(("shape", "size", "grid"), RAGGED, ids=IDS)
def test_overlap_of_ragged_shapes(shape, size, grid, kind):
    scores, target, weight = overlap_case(shape, size, kind == "channels")
    options = {"activation": "softmax" if kind == "softmax" else "sigmoid"}
    options |= {"align_corners": grid == CORNERS, "stride": grid.stride or None}
    found = sums_and_gradient(scores, target, weight, backend="gpu", **options)
    truth = sums_and_gradient(scores.double(), target, weight, backend="eager", **options)
    torch.testing.assert_close(found, truth, rtol=1e-5, atol=2e-6)


@RARELY
@pytest.mark.parametrize("dtype", [torch.float16, torch.bfloat16, torch.float64])
@pytest.mark.parametrize("activation", ["softmax", "sigmoid"])
def test_overlap_of_other_types_and_strides(dtype, activation):
    scores, target, _ = overlap_case((2, 4, 3, 5), (11, 14), False, spread=10)
    for other in strided(scores.to(dtype)):
        labels = target.where(target < other.shape[1], 255)
        options = {"activation": activation}
        found = sums_and_gradient(other, labels, None, backend="gpu", **options)
        truth = sums_and_gradient(other.double(), labels, None, backend="eager", **options)
        eps = torch.finfo(dtype).eps
        torch.testing.assert_close(found[0], truth[0], rtol=1e-5, atol=1e-5)
        torch.testing.assert_close(found[1], truth[1], rtol=2 * eps, atol=max(1e-5, eps / 16))


def test_overlap_names_a_label_of_no_meaning():
    scores, target, _ = overlap_case((1, 3, 4, 5), (9, 10), False)
    target[0, 4, 5] = 7
    with pytest.raises(ValueError, match=r"label 7 at \(0, 4, 5\)"):
        upscore.overlap(scores, target, backend="gpu")


def test_the_squared_log_sums_of_pixels():
    scores, target, _ = overlap_case((2, 5, 4, 5), (17, 21), False)
    found = []
    for backend in ("gpu", "eager"):
        leaf = scores.clone().requires_grad_()
        loss = upscore.cross_entropy(leaf, target, z_loss=0.1, focal=1.5, backend=backend)
        loss.backward()
        found.append((loss.detach(), leaf.grad))
    torch.testing.assert_close(*found)


def test_the_confusion_matrix_is_that_of_the_labels():
    scores = smooth(2, 6, 3, 4)
    target = make_target(scores, (12, 15), torch.uint8)
    found = upscore.confusion(scores, target, backend="gpu")
    assert torch.equal(found, upscore.confusion(scores, target, backend="eager"))
    assert found.sum() == (target != 255).sum()


@pytest.fixture(autouse=True)
def few_programs(monkeypatch):
    if DEVICE == "cpu":  # where they run one after another
        monkeypatch.setattr(gpu_masks, "PROGRAMS", 4)


def check_masks(scores: torch.Tensor, size: tuple[int, int], **options: object) -> Masks:
    """The masks are float64's, but for rounding, and all that they give out is that of their runs.

    Returns them.
    """
    found = upscore.masks(scores, size, backend="gpu", **options)
    dense = found.dense()
    threshold = options.pop("threshold", 0.0)
    finite = scores[scores.isfinite()].double().abs()
    rounding = 1e-6 * float(finite.max()) if len(finite) else 0.0
    least, most = (
        upscore.masks(scores.double(), size, threshold=limit, backend="eager", **options).dense()
        for limit in (threshold + rounding, threshold - rounding)
    )
    assert (dense >= least).all()
    assert (dense <= most).all()
    same = Masks(found.size, found.runs, found.offsets)
    assert np.array_equal(same.dense(), dense.cpu())
    assert np.array_equal(same.areas, found.areas.cpu())
    assert np.array_equal(same.boxes, found.boxes.cpu())
    for i in range(len(found)):
        assert (np.diff(found.runs[found.offsets[i] : found.offsets[i + 1]].reshape(-1)) > 0).all()
    return found


# scores N x h x w, size
SIZES = [
    ((3, 7, 9), (20, 31)),
    ((2, 2, 20), (9, 133)),  # more than one tile of columns
    ((2, 9, 13), (4, 3)),  # smaller
    ((2, 6, 6), (6, 6)),  # the same size
    ((2, 5, 9), (3, 30)),  # larger and smaller
    ((1, 1, 6), (5, 30)),
    ((2, 6, 1), (50, 3)),
    ((2, 1, 1), (4, 5)),
    ((1, 3, 3), (70, 1)),  # one column; more than one strip to paint
]


@pytest.mark.parametrize("corners", [False, True])
@pytest.mark.parametrize(("shape", "size"), SIZES)
def test_masks_of_ragged_shapes(shape, size, corners):
    check_masks(random(*shape), size, threshold=1.4 * corners, align_corners=corners)


@RARELY
@pytest.mark.parametrize("shares", [3, 16])
def test_masks_in_shares_of_their_rows(shares, monkeypatch):
    monkeypatch.setattr(gpu_masks, "PROGRAMS", 2048)
    monkeypatch.setattr(gpu_masks, "MOST_SHARES", shares)
    for scores in (random(2, 5, 4), random(1, 5, 4).abs()):  # also columns that go on
        check_masks(scores, (23, 9))


@pytest.mark.parametrize("dtype", [torch.float16, torch.bfloat16, torch.float64])
def test_masks_of_other_types(dtype):
    check_masks(random(2, 4, 5).to(dtype), (17, 22))
    for inclusive in (False, True):  # the threshold is of the type that is computed in
        same = torch.full((1, 2, 2), 0.3, dtype=dtype, device=DEVICE)
        limit = float(same[0, 0, 0])
        options = {"threshold": limit, "inclusive": inclusive, "backend": "gpu"}
        assert (upscore.masks(same, (2, 2), **options).dense() == inclusive).all()


def test_masks_of_float64_are_computed_in_it():
    scores = torch.full((1, 3, 3), 1 + 1e-12, dtype=torch.float64, device=DEVICE)
    assert upscore.masks(scores, (9, 9), threshold=1.0, backend="gpu").dense().all()


@pytest.mark.parametrize("i", range(5))
def test_masks_of_any_strides(i):
    check_masks(strided(random(1, 8, 4, 6))[i], (14, 20))


@RARELY
@pytest.mark.parametrize("axis", range(3))
def test_masks_have_indices_of_64_bits(axis):
    found = check_masks(far_apart(3, 3, 3, axis=axis).copy_(random(3, 3, 3)), (8, 9))
    out = far_apart(3, 8, 9, axis=axis, dtype=torch.uint8)
    assert torch.equal(found.dense(out).bool(), found.dense())


@RARELY
def test_masks_of_scores_that_meet_the_threshold_exactly():
    for scores in ((random(2, 9, 6) / 2).round(), torch.full((2, 4, 5), 0.3, device=DEVICE)):
        for threshold in (0.0, 0.3, 1.0):
            check_masks(scores, (27, 41), threshold=threshold)


@RARELY
@pytest.mark.parametrize("size", [(20, 30), (5, 6), (3, 4), (4, 40)])
def test_masks_of_infinities_and_nan(size):
    scores = random(4, 5, 6).double()
    scores[0, 2, 3], scores[1, 4, 5], scores[2, 0, 0] = torch.nan, torch.inf, -torch.inf
    scores[3] = torch.nan
    for options in ({}, {"through": (9, 11)}, {"crop": (1, 0, 4, 5)}):
        found = check_masks(scores, size, **options)
        expected = upscore.masks(scores, size, backend="eager", **options)
        assert np.array_equal(found.runs, expected.runs)


@pytest.mark.parametrize(
    ("through", "crop", "size"),
    [((20, 24), (16, 24), (31, 40)), ((4, 5), (1, 2, 3, 2), (30, 9)), (None, (2, 3, 5, 4), (9, 8))],
)
def test_masks_through_another_size(through, crop, size):
    check_masks(random(2, 8, 8), size, through=through, crop=crop)


BOXES = [
    [3.2, 4.7, 40.1, 30.9],
    [-10.5, -4, 25, 70.2],  # beyond the picture
    [100, 100, 120, 130],  # outside of it
    [20, 20, 20, 40],  # of no area
    [30, 35, 10, 12],  # from right to left and from bottom to top
    [5, 5, 6.5, 5.2],  # smaller than a pixel
    [float("nan"), 0, 10, 10],
    [0, 0, float("inf"), 10],
    [0, 0, 60, 50],
    [-1e300, 0, 1e300, 9],
]


@RARELY
@pytest.mark.parametrize("paste", ["aligned", "torchvision"])
def test_masks_in_boxes(paste):
    scores = random(len(BOXES), 5, 6).abs()
    scores[0, 2, 2] = torch.nan
    boxes = torch.tensor(BOXES, dtype=torch.float64, device=DEVICE)
    options = {"boxes": boxes, "threshold": 0.5, "paste": paste, "inclusive": True}
    assert check_masks(scores, (50, 60), **options).areas.gt(0).sum() > 2
    check_masks(scores, (50, 60), **options, within=boxes.flip(0))


def test_masks_within_boxes():
    boxes = torch.tensor([[3.5, 4, 20, 17.5], [-5, 2, 99, 99], [40, 2, 45, 8], [9, 9, 4, 20]])
    check_masks(random(4, 5, 6) + 2, (30, 31), within=boxes)


@RARELY
def test_the_stability_of_masks():
    scores = random(3, 6, 6)
    scores[2] = -9
    options = {"threshold": 0.2, "stability": 0.5}
    found = upscore.masks(scores, (20, 25), backend="gpu", **options)
    expected = upscore.masks(scores, (20, 25), backend="eager", **options)
    torch.testing.assert_close(found.stability, expected.stability, equal_nan=True)
    assert found.stability.device == scores.device
    torch.testing.assert_close(found[[1]].stability, expected.stability[[1]])


@RARELY
def test_what_masks_on_a_device_give_out():
    found = check_masks(random(5, 4, 4), (70, 90))
    dense = found.dense()
    plain = Masks(found.size, found.runs, found.offsets)
    assert found.rle() == plain.rle()
    assert dense.device == found.boxes.device == found.areas.device == found.label_map().device
    for order in (None, [3, 1, 4], slice(None, None, -1), []):
        assert np.array_equal(found.label_map(order).cpu(), plain.label_map(order))
    assert found.label_map([], background=9).eq(9).all()
    assert torch.equal(found[-1], dense[-1])
    for which in (slice(1, 5, 2), [4, 0, 4], found.areas > found.areas.median(), range(0)):
        some = found[which]
        assert torch.equal(some.dense(), dense[list(which) if isinstance(which, range) else which])
        assert np.array_equal(some.areas.cpu(), some.dense().sum((1, 2)).cpu())
    for out in (
        torch.full((5, 70, 90), 7, dtype=torch.uint8, device=DEVICE),
        torch.ones(70, 5, 180, dtype=torch.bool, device=DEVICE)[:, :, ::2].transpose(0, 1),
        np.full((5, 70, 90), 7, np.uint8),  # in main memory
    ):
        assert found.dense(out) is out
        assert np.array_equal(torch.as_tensor(out).cpu(), dense.cpu())
    with pytest.raises(ValueError, match="out must be bool or uint8"):
        found.dense(torch.zeros(5, 70, 90, device=DEVICE))
    none = upscore.masks(random(0, 4, 4), (7, 9), backend="gpu")
    assert none.dense().shape == (0, 7, 9)


def test_regions_of_volumes_are_painted_by_the_kernels():
    scores = random(3, 2, 4, 5)
    options = {"size": (3, 9, 11), "regions": (2, 1, 3)}
    found = upscore.argmax(scores, **options, backend="gpu")
    assert torch.equal(found, upscore.argmax(scores, **options, backend="eager"))
