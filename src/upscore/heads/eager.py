"""The unfused compositions: interpolate the scores to full resolution, then reduce.

What the fused heads are compared with, and what serves where they cannot. Torch is imported by the
functions that are handed tensors, never for NumPy arrays.
"""

from typing import TYPE_CHECKING, Any

import numpy as np
from numpy.typing import NDArray

from upscore.geometry import linear_positions

if TYPE_CHECKING:
    from torch import Tensor


def positions(
    size_in: int, size_out: int, *, align_corners: bool, stride: int | None
) -> tuple[NDArray[np.int64], NDArray[np.int64], NDArray[np.float64]]:
    """Return `linear_positions` that treat infinite scores and NaN as torch does.

    Zero times infinity is NaN, so it matters which pixels are read with weight zero. Torch reads
    one pixel alone where the sizes are equal, and beyond the last pixel that one with two positive
    weights.
    """
    low, high, weight = linear_positions(
        size_in, size_out, align_corners=align_corners, stride=stride
    )
    if stride == 1 or (stride is None and size_in == size_out):
        return low, low, weight
    if not align_corners:
        i = np.arange(size_out)
        up, down = (size_out, size_in) if stride is None else (stride, 1)
        weight[(2 * i + 1) * down > up * (2 * size_in - 1)] = 0.5
    return low, high, weight


def upsample(
    scores: "Tensor",
    size: tuple[int, int],
    *,
    align_corners: bool = False,
    stride: int | None = None,
) -> "Tensor":
    """Interpolate an N x C x h x w tensor linearly to `size`; `stride` chooses the FCN's grid."""
    from torch.nn import functional as F

    if stride is None:
        return F.interpolate(scores, size, mode="bilinear", align_corners=align_corners)
    full = F.interpolate(scores, scale_factor=float(stride), mode="bilinear")[
        ..., : size[0], : size[1]
    ]
    below, right = size[0] - full.shape[-2], size[1] - full.shape[-1]
    return F.pad(full, (0, right, 0, below), mode="replicate") if below or right else full


def argmax(
    scores: Any,
    labels: Any,
    confidence: Any = None,
    *,
    kind: str | None = None,
    align_corners: bool = False,
    stride: int | None = None,
) -> None:
    """Write the labels of N x C x h x w scores (arrays or tensors) and, if asked, confidence."""
    size = labels.shape[-2:]
    if isinstance(scores, np.ndarray):
        for n, image in enumerate(scores):
            dense = _upsample_array(image, size, align_corners=align_corners, stride=stride)
            labels[n] = dense.argmax(0)
            if kind is not None:
                confidence[n] = _confidence_array(dense, kind)
        return
    import torch

    with torch.no_grad():
        wide = scores if scores.dtype == torch.float64 else scores.float()
        full = upsample(wide, size, align_corners=align_corners, stride=stride)
        labels.copy_(full.argmax(1))
        if kind is not None:
            confidence.copy_(_confidence(full, kind))


def _confidence(full: "Tensor", kind: str) -> "Tensor":
    """Return the winner's probability, its margin to the runner-up, or the entropy over axis 1."""
    import torch

    if kind == "margin":
        if full.shape[1] == 1:
            return full[:, 0] + torch.inf  # infinite, except that NaN and -inf give NaN
        best = full.topk(2, 1).values
        return best[:, 0] - best[:, 1]
    log = full.log_softmax(1)
    return log.amax(1).exp() if kind == "probability" else torch.special.entr(log.exp()).sum(1)


def _upsample_array(
    scores: NDArray[Any], size: tuple[int, int], *, align_corners: bool, stride: int | None
) -> NDArray[Any]:
    """Interpolate a C x h x w array linearly to `size`, in float32 unless it is float64."""
    full = scores.astype(np.promote_types(scores.dtype, np.float32), copy=False)
    for axis in (1, 2):
        low, high, weight = positions(
            full.shape[axis], size[axis - 1], align_corners=align_corners, stride=stride
        )
        w = weight.astype(full.dtype).reshape((-1, 1) if axis == 1 else -1)
        with np.errstate(invalid="ignore"):  # scores may be infinite
            full = full.take(low, axis) * (1 - w) + full.take(high, axis) * w
    return full


def _confidence_array(full: NDArray[Any], kind: str) -> NDArray[Any]:
    """Do as `_confidence` for a C x H x W array."""
    with np.errstate(invalid="ignore"):
        if kind == "margin":
            if len(full) == 1:
                return np.asarray(full[0] + np.inf)
            best = np.partition(full, -2, axis=0)
            return np.asarray(best[-1] - best[-2])
        below = full - full.max(0)
        e = np.exp(below)
        total = e.sum(0)
        if kind == "probability":
            return np.asarray(1 / total)
        return np.asarray(np.log(total) - np.where(e > 0, e * below, 0).sum(0) / total)


def cross_entropy(
    scores: Any,
    target: Any,
    weight: Any,
    *,
    ignore_index: int,
    label_smoothing: float,
    align_corners: bool,
    stride: int | None,
    per_pixel: bool,
) -> tuple[Any, Any]:
    """Return the pixels' losses (N x H x W) or their sum, and the summed weight of the pixels."""
    if isinstance(scores, np.ndarray):
        check_labels(target, scores.shape[1], ignore_index)
        weight = np.ones(scores.shape[1]) if weight is None else weight
        found = [
            _cross_entropy_array(
                _upsample_array(image, labels.shape, align_corners=align_corners, stride=stride),
                labels,
                weight,
                labels != ignore_index,
                label_smoothing,
            )
            for image, labels in zip(scores, target, strict=True)
        ]
        shape = (2, *target.shape)
        losses, weights = (
            np.array(found).swapaxes(0, 1).reshape(shape) if found else np.zeros(shape)
        )
        return losses if per_pixel else losses.sum(), weights.sum()
    import torch
    from torch.nn import functional as F

    target = target.long()
    if not torch.compiler.is_compiling():
        check_labels(target, scores.shape[1], ignore_index)
    dtype = torch.promote_types(scores.dtype, torch.float32)
    full = upsample(scores.to(dtype), target.shape[-2:], align_corners=align_corners, stride=stride)
    weight = None if weight is None else weight.detach().to(dtype)
    losses = F.cross_entropy(
        full,
        target,
        weight,
        ignore_index=ignore_index,
        label_smoothing=label_smoothing,
        reduction="none" if per_pixel else "sum",
    )
    counts = target != ignore_index
    if weight is not None:
        counts = weight[target.where(counts, 0)] * counts
    return losses, counts.sum()


def check_labels(target: Any, classes: int, ignore_index: int) -> None:
    """Raise, naming the first, if there are labels that are neither a class nor `ignore_index`."""
    wrong = (target != ignore_index) & ((target < 0) | (target >= classes))
    if wrong.any():
        where = np.unravel_index(int((wrong.reshape(-1) * 1).argmax()), target.shape)
        place = tuple(int(i) for i in where)
        raise ValueError(
            f"target holds label {int(target[place])} at {place}, which is neither a class "
            f"(0 to {classes - 1}) nor ignore_index ({ignore_index})"
        )


def _cross_entropy_array(
    full: NDArray[Any],
    target: NDArray[Any],
    weight: NDArray[Any],
    counts: NDArray[Any],
    label_smoothing: float,
) -> tuple[NDArray[Any], NDArray[Any]]:
    """Return the H x W losses of C x H x W scores, and the pixels' weights."""
    with np.errstate(invalid="ignore", divide="ignore"):
        below = full - full.max(0)
        surprise = np.log(np.exp(below).sum(0)) - below
        labels = np.where(counts, target, 0)
        weights = np.where(counts, weight[labels], 0)
        losses = np.take_along_axis(surprise, labels[None].astype(np.intp), 0)[0] * weights
        spread = np.tensordot(weight, surprise, 1)
        losses = (1 - label_smoothing) * losses + label_smoothing / len(weight) * spread
        return np.where(counts, losses, 0), weights
