"""The overlap the usual way: probabilities at full resolution, multiplied with the target.

What the fused head is compared with, and what serves where it cannot.
"""

from typing import TYPE_CHECKING, Any

import numpy as np
from numpy.typing import NDArray

from upscore.arrays import framework
from upscore.heads.grid import interpolate_array, interpolate_tensor
from upscore.heads.overlap.options import Options
from upscore.heads.target import check_labels, counted

if TYPE_CHECKING:
    from torch import Tensor


def overlap(scores: Any, target: Any, weight: Any, options: Options) -> Any:
    """Return sums over the pixels of each image and class: N x 3 x C: hits, predicted, true.

    With `options.losses` N x 5 x C: then the cross-entropies, and what the pixels weigh that have
    them (under softmax those where the class is true, under the sigmoid all).

    target: N x H x W, or N x C x H x W of 0 and 1; weight: N x H x W or None.
    """
    if framework(scores).name == "numpy":
        return _of_arrays(scores, target, weight, options)
    return _of_tensors(scores, target, weight, options)


def _of_tensors(
    scores: "Tensor", target: "Tensor", weight: "Tensor | None", options: Options
) -> "Tensor":
    import torch
    from torch.nn import functional as F

    classes, (height, width) = scores.shape[1], target.shape[-2:]
    if not framework(scores).traced(scores):
        check_labels(target, classes if target.ndim == 3 else 2, options.ignore_index)
    dtype = torch.promote_types(scores.dtype, torch.float32)
    full = interpolate_tensor(scores.to(dtype), (height, width), options.grid, copy=True)
    p = full.sigmoid() if options.sigmoid else full.softmax(1)
    labels = target if target.ndim == 4 else target[:, None]
    counts = counted(labels, options.ignore_index)
    own = torch.arange(classes, device=scores.device)[:, None, None] if target.ndim == 3 else 1
    m = counts.to(dtype) if weight is None else counts * weight[:, None].to(dtype)
    truth = (labels == own) & counts
    parts = [p.where(truth, 0) * m, p * m, truth * m]
    if options.losses:
        if options.sigmoid:
            had, log_p = counts, torch.where(truth, F.logsigmoid(full), F.logsigmoid(-full))
        else:
            had, log_p = truth, full.log_softmax(1)
        parts += [-log_p.where(had & (m != 0), 0) * m, had * m.expand_as(p)]
    return torch.stack(parts, 1).sum((-2, -1))


def _of_arrays(
    scores: NDArray[Any], target: NDArray[Any], weight: NDArray[Any] | None, options: Options
) -> NDArray[Any]:
    classes = scores.shape[1]
    check_labels(target, classes if target.ndim == 3 else 2, options.ignore_index)
    sums = np.zeros((len(scores), 5 if options.losses else 3, classes))
    for n, image in enumerate(scores):
        full = interpolate_array(image, target.shape[-2:], options.grid, copy=True).astype(
            np.float64
        )
        with np.errstate(invalid="ignore", over="ignore"):
            below = -full if options.sigmoid else full - full.max(0)
            e = np.exp(below)
            p = 1 / (1 + e) if options.sigmoid else e / e.sum(0)
        labels = target[n] if target.ndim == 4 else target[n, None]
        counts = counted(labels, options.ignore_index)
        own = np.arange(classes)[:, None, None] if target.ndim == 3 else 1
        m = counts * (1.0 if weight is None else weight[n])
        truth = (labels == own) & counts
        parts = [np.where(truth, p, 0), p, truth]
        if options.losses:
            if options.sigmoid:
                had, losses = counts, np.logaddexp(0, np.where(truth, below, -below))
            else:
                had, losses = truth, np.log(e.sum(0)) - below
            parts += [np.where(had & (m != 0), losses, 0), had & np.ones_like(truth)]
        sums[n] = [(value * m).sum((1, 2)) for value in parts]
    return sums
