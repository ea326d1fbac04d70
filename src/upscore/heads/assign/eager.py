"""The assignment the usual way: every query's probability at full resolution, then the largest.

What the fused head is compared with, and what serves where it cannot.
"""

from typing import TYPE_CHECKING, Any

import numpy as np
from numpy.typing import NDArray

from upscore.arrays import framework
from upscore.heads.argmax.result import label_dtype
from upscore.heads.assign.result import Assignment, Options
from upscore.heads.grid import interpolate_array, interpolate_tensor, widened

if TYPE_CHECKING:
    from torch import Tensor


def assign(scores: Any, weights: Any, options: Options) -> Assignment:
    """Assign the pixels of N x Q x h x w scores with N x Q weights (arrays or tensors)."""
    if framework(scores).name == "numpy":
        return _of_arrays(scores, weights, options)
    return _of_tensors(scores, weights, options)


def _resized(interpolate: Any, scores: Any, options: Options) -> Any:
    if options.through is not None:
        scores = interpolate(scores, options.through, options.grid)
    if options.crop is not None:
        top, left, height, width = options.crop
        scores = scores[..., top : top + height, left : left + width]
    return interpolate(scores, options.size, options.grid)


def _of_arrays(scores: NDArray[Any], weights: NDArray[Any], options: Options) -> Assignment:
    images, queries = scores.shape[:2]
    shape = (images, *options.size)
    labels, inside = np.empty(shape, label_dtype(queries)), np.empty(shape, bool)
    won, won_inside, area = np.empty((3, images, queries), np.int64)
    for n, image in enumerate(scores):
        full = _resized(interpolate_array, widened(image), options)
        with np.errstate(over="ignore"):  # the probability is 0 then
            probability = 1 / (1 + np.exp(-full))
        best = (weights[n].astype(full.dtype)[:, None, None] * probability).argmax(0)
        own = probability >= options.threshold
        labels[n], inside[n] = best, np.take_along_axis(own, best[None], 0)[0]
        won[n] = np.bincount(best.reshape(-1), minlength=queries)
        won_inside[n] = np.bincount(best[inside[n]], minlength=queries)
        area[n] = own.sum((1, 2))
    return Assignment(labels, inside, won, won_inside, area)


def _of_tensors(scores: "Tensor", weights: "Tensor", options: Options) -> Assignment:
    import torch

    probability = _resized(interpolate_tensor, widened(scores), options).sigmoid()
    labels = (weights.to(probability)[..., None, None] * probability).argmax(1)
    own = probability >= options.threshold
    inside = own.gather(1, labels[:, None])[:, 0]
    flat = labels.flatten(1)
    none = torch.zeros(scores.shape[:2], dtype=torch.int64, device=scores.device)
    return Assignment(
        labels.to(getattr(torch, label_dtype(scores.shape[1]))),
        inside,
        none.scatter_add(1, flat, torch.ones_like(flat)),
        none.scatter_add(1, flat, inside.flatten(1).long()),
        own.sum((2, 3)),
    )
