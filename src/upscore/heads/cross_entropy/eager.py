"""The loss the usual way: interpolate the scores to full resolution, then compare with the target.

What the fused head is compared with, and what serves where it cannot.
"""

from typing import Any

import numpy as np
from numpy.typing import NDArray

from upscore.heads.cross_entropy.target import check_labels
from upscore.heads.grid import interpolate_array, interpolate_tensor


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
                interpolate_array(image, labels.shape, align_corners=align_corners, stride=stride),
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
    full = interpolate_tensor(
        scores.to(dtype), target.shape[-2:], align_corners=align_corners, stride=stride
    )
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
