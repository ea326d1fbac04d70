"""The loss the usual way: interpolate the scores to full resolution, then compare with the target.

What the fused head is compared with, and what serves where it cannot.
"""

from typing import TYPE_CHECKING, Any

import numpy as np
from numpy.typing import NDArray

from upscore.arrays import framework
from upscore.heads.cross_entropy.options import Options
from upscore.heads.grid import interpolate_array, interpolate_tensor
from upscore.heads.target import check_labels, counted

if TYPE_CHECKING:
    from torch import Tensor


def cross_entropy(scores: Any, target: Any, weight: Any, options: Options) -> tuple[Any, Any, Any]:
    """Return the losses as the options say, the pixels' weight and, if asked, log-sums."""
    found = _of_arrays if framework(scores).name == "numpy" else _of_tensors
    losses, total, log_sums = found(scores, target, weight, options)
    return losses / (total + (total == 0)) if options.mean else losses, total, log_sums


def _of_tensors(
    scores: "Tensor", target: "Tensor", weight: "Tensor | None", options: Options
) -> tuple["Tensor", "Tensor", "Tensor | None"]:
    import torch
    from torch.nn import functional as F

    ignore = options.ignore_index
    target = target.long()
    if not framework(scores).traced(scores):
        check_labels(target, scores.shape[1], ignore)
    dtype = torch.promote_types(scores.dtype, torch.float32)
    _, height, width = target.shape
    full = interpolate_tensor(scores.to(dtype), (height, width), options.grid, copy=True)
    weight = None if weight is None else weight.to(dtype)
    losses = F.cross_entropy(
        full,
        target,
        weight,
        ignore_index=ignore,
        label_smoothing=options.label_smoothing,
        reduction="none" if options.per_pixel else "sum",
    )
    counts = counted(target, ignore)
    log_sums = full.logsumexp(1).where(counts, 0) if options.log_sums else None
    if weight is not None:
        counts = weight[target.where(counts, 0)] * counts
    return losses, counts.sum(), log_sums


def _of_arrays(
    scores: NDArray[Any], target: NDArray[Any], weight: NDArray[Any] | None, options: Options
) -> tuple[Any, Any, Any]:
    check_labels(target, scores.shape[1], options.ignore_index)
    weight = np.ones(scores.shape[1]) if weight is None else weight
    losses, weights, log_sums = np.zeros((3, *target.shape))
    for n, image in enumerate(scores):
        full = interpolate_array(image, target.shape[-2:], options.grid, copy=True)
        counts = counted(target[n], options.ignore_index)
        losses[n], weights[n], log_sums[n] = _of_image(
            full, target[n], weight, counts, options.label_smoothing
        )
    return losses if options.per_pixel else losses.sum(), weights.sum(), log_sums


def _of_image(
    full: NDArray[Any],
    target: NDArray[Any],
    weight: NDArray[Any],
    counts: NDArray[Any],
    label_smoothing: float,
) -> tuple[NDArray[Any], ...]:
    """Return the H x W losses of C x H x W scores, the pixels' weights and their log-sums."""
    with np.errstate(invalid="ignore", divide="ignore"):
        greatest = full.max(0)
        below = full - greatest
        summed = np.log(np.exp(below).sum(0))
        surprise, log_sums = summed - below, greatest + summed
        labels = np.where(counts, target, 0)
        weights = np.where(counts, weight[labels], 0)
        losses = np.take_along_axis(surprise, labels[None].astype(np.intp), 0)[0] * weights
        spread = np.tensordot(weight, surprise, 1)
        losses = (1 - label_smoothing) * losses + label_smoothing / len(weight) * spread
        return np.where(counts, losses, 0), weights, np.where(counts, log_sums, 0)
