"""The binary loss the usual way: interpolate the scores to full resolution, then compare.

What the fused head is compared with, and what serves where it cannot.
"""

from typing import TYPE_CHECKING, Any

import numpy as np
from numpy.typing import NDArray

from upscore.arrays import framework
from upscore.heads.binary_cross_entropy.options import Options
from upscore.heads.grid import interpolate_array, interpolate_tensor, widened
from upscore.heads.target import check_labels, counted

if TYPE_CHECKING:
    from torch import Tensor


def binary_cross_entropy(scores: Any, target: Any, pos_weight: Any, options: Options) -> Any:
    """Return the losses N x C x H x W, or their sum or mean.

    target: N x H x W, or N x C x H x W of 0 and 1.
    """
    found: Any = _of_arrays if framework(scores).name == "numpy" else _of_tensors
    losses = found(scores, target, pos_weight, options)
    if options.per_pixel:
        return losses
    count = counted(target, options.ignore_index).sum() * (
        1 if target.ndim == 4 else scores.shape[1]
    )
    return losses.sum() / (count + (count == 0) if options.mean else 1)


def _of_tensors(
    scores: "Tensor", target: "Tensor", pos_weight: "Tensor | None", options: Options
) -> "Tensor":
    import torch
    from torch.nn import functional as F

    classes, (height, width) = scores.shape[1], target.shape[-2:]
    if not framework(scores).traced(scores):
        check_labels(target, classes if target.ndim == 3 else 2, options.ignore_index)
    dtype = torch.promote_types(scores.dtype, torch.float32)
    full = interpolate_tensor(scores.to(dtype), (height, width), options.grid, copy=True)
    counts = counted(target if target.ndim == 4 else target[:, None], options.ignore_index)
    own = torch.arange(classes, device=scores.device)[:, None, None] if target.ndim == 3 else 1
    true = (target if target.ndim == 4 else target[:, None]) == own
    weight = 1 if pos_weight is None else pos_weight.to(dtype)[:, None, None]
    losses = torch.where(true, weight * F.logsigmoid(full), F.logsigmoid(-full))
    return -losses.where(counts, 0)


def _of_arrays(
    scores: NDArray[Any], target: NDArray[Any], pos_weight: NDArray[Any] | None, options: Options
) -> NDArray[Any]:
    classes = scores.shape[1]
    check_labels(target, classes if target.ndim == 3 else 2, options.ignore_index)
    weight = np.ones(classes) if pos_weight is None else pos_weight
    losses = np.zeros((len(scores), classes, *target.shape[-2:]))
    for n, image in enumerate(scores):
        full = interpolate_array(image, target.shape[-2:], options.grid, copy=True).astype(
            np.float64
        )
        labels = target[n] if target.ndim == 4 else target[n, None]
        true = labels == (1 if target.ndim == 4 else np.arange(classes)[:, None, None])
        with np.errstate(invalid="ignore"):
            missed = weight[:, None, None] * np.logaddexp(0, -full)
            found = np.where(true, missed, np.logaddexp(0, full))
        losses[n] = np.where(counted(labels, options.ignore_index), found, 0)
    return losses.astype(widened(scores).dtype) if options.per_pixel else losses
