"""What the GPU's kernels must do: test_gpu.py runs this in Triton's interpreter or on a GPU."""

import os

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
    ours = gpu_loss.cross_entropy(*case, options=OPTIONS, with_gradient=True)
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


def truth_of(scores, target, weight, factor, *, options, dtype):
    """The unfused losses, weight and gradient in `dtype`."""
    scores = scores.detach().to(dtype).requires_grad_()
    weight = None if weight is None else weight.to(dtype)
    losses, total = eager_loss.cross_entropy(scores, target, weight, options)
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
    ours = gpu_loss.cross_entropy(*case, options=options, with_gradient=True)
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
    ours = gpu_loss.cross_entropy(*case, options=options, with_gradient=True)
    truth = truth_of(*case, options=options, dtype=torch.float64)
    assert all(off(got, exact) < 1e-14 for got, exact in zip(ours, truth, strict=True))


@pytest.mark.parametrize("i", range(5))
def test_loss_of_any_strides(i):
    scores = strided(random(1, 8, 4, 6))[i]
    wide = make_target(scores, (20, 30))
    target = wide[:, ::2, ::2] if i % 2 else wide.transpose(1, 2)[:, :9, 1:21]
    case = (scores, target, None, None)
    ours = gpu_loss.cross_entropy(*case, options=OPTIONS, with_gradient=True)
    truth = truth_of(*case, options=OPTIONS, dtype=torch.float64)
    assert all(off(got, exact) < 1e-6 for got, exact in zip(ours, truth, strict=True))


@pytest.mark.parametrize("dtype", [torch.float16, torch.bfloat16])
def test_loss_of_half_precision_is_computed_in_float32(dtype):
    scores = random(1, 5, 4, 6).to(dtype)
    case = (scores, make_target(scores, (15, 22)), None, None)
    ours = gpu_loss.cross_entropy(*case, options=OPTIONS, with_gradient=True)
    truth = truth_of(*case, options=OPTIONS, dtype=torch.float64)
    assert ours[2].dtype == torch.float32
    assert all(off(got, exact) < 1e-6 for got, exact in zip(ours, truth, strict=True))


def test_the_gradient_is_the_same_every_time():
    scores = random(1, 3, 9, 18)
    case = (scores, make_target(scores, (23, 40)), None, None)
    first, again = (
        gpu_loss.cross_entropy(*case, options=OPTIONS, with_gradient=True) for _ in range(2)
    )
    assert all(torch.equal(a, b) for a, b in zip(first, again, strict=True))


def test_all_ignored_is_zero():
    scores = random(2, 3, 4, 5)
    target = torch.full((2, 12, 15), 255, device=DEVICE)
    found = gpu_loss.cross_entropy(scores, target, None, options=OPTIONS, with_gradient=True)
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
