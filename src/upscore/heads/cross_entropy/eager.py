"""The loss the usual way: interpolate the scores to full resolution, then compare with the target.

What the fused head is compared with, and what serves where it cannot.
"""

from typing import TYPE_CHECKING, Any

import numpy as np
from numpy.typing import NDArray

from upscore.arrays import framework
from upscore.heads.cross_entropy.options import Options
from upscore.heads.cross_entropy.target import check_labels
from upscore.heads.grid import interpolate_array, interpolate_tensor

if TYPE_CHECKING:
    from torch import Tensor


def cross_entropy(scores: Any, target: Any, weight: Any, options: Options) -> tuple[Any, Any]:
    """Return the pixels' losses (N x H x W) or their sum, and the summed weight of the pixels."""
    if framework(scores).name == "numpy":
        return _of_arrays(scores, target, weight, options)
    return _of_tensors(scores, target, weight, options)


def _of_tensors(
    scores: "Tensor", target: "Tensor", weight: "Tensor | None", options: Options
) -> tuple["Tensor", "Tensor"]:
    import torch
    from torch.nn import functional as F

    ignore = options.ignore_index
    target = target.long()
    if not framework(scores).traced(scores):
        check_labels(target, scores.shape[1], ignore)
    dtype = torch.promote_types(scores.dtype, torch.float32)
    _, height, width = target.shape
    full = interpolate_tensor(scores.to(dtype), (height, width), options.grid)
    weight = None if weight is None else weight.to(dtype)
    losses = F.cross_entropy(
        full,
        target,
        weight,
        ignore_index=ignore,
        label_smoothing=options.label_smoothing,
        reduction="none" if options.per_pixel else "sum",
    )
    counts = target != ignore
    if weight is not None:
        counts = weight[target.where(counts, 0)] * counts
    return losses, counts.sum()


def _of_arrays(
    scores: NDArray[Any], target: NDArray[Any], weight: NDArray[Any] | None, options: Options
) -> tuple[Any, Any]:
    check_labels(target, scores.shape[1], options.ignore_index)
    weight = np.ones(scores.shape[1]) if weight is None else weight
    losses, weights = np.zeros((2, *target.shape))
    for n, image in enumerate(scores):
        full = interpolate_array(image, target.shape[-2:], options.grid)
        counts = target[n] != options.ignore_index
        losses[n], weights[n] = _of_image(full, target[n], weight, counts, options.label_smoothing)
    return losses if options.per_pixel else losses.sum(), weights.sum()


def _of_image(
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
