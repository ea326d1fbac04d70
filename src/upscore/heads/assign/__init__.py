"""Queries that compete for pixels: the public `assign`, its checks and its choice of a backend."""

from typing import Any

from upscore.arrays import framework
from upscore.heads.assign.arguments import check_threshold, check_weights
from upscore.heads.assign.dispatch import assign_by, checked_assign
from upscore.heads.assign.result import Assignment, Options
from upscore.heads.backend import check_scores, choose_backend
from upscore.heads.grid import choose_grid
from upscore.heads.masks.arguments import check_pair, check_steps

__all__ = ["Assignment", "assign"]

BACKENDS = ("auto", "eager", "cpu")


def assign(
    scores: Any,
    weights: Any,
    size: tuple[int, int],
    *,
    threshold: float = 0.5,
    align_corners: bool = False,
    through: tuple[int, int] | None = None,
    crop: tuple[int, int] | tuple[int, int, int, int] | None = None,
    backend: str = "auto",
) -> Assignment:
    """Return which query has which pixel, the panoptic step of MaskFormer and its successors.

    Equivalent to `probability = F.interpolate(scores, size, mode="bilinear",
    align_corners=...).sigmoid()` and `labels = (weights[..., None, None] * probability).argmax(1)`,
    with `scores` converted to float32 first where they are of half precision, and without building
    either. The labels are those of this expression in float64, except where the two best queries
    differ by less than the rounding of float32; of equal queries the lowest wins, and NaN counts
    as the greatest.

    Args:
        scores: Q x h x w or N x Q x h x w NumPy array or torch tensor, the logits of the queries'
            masks, float32, float16, bfloat16 or float64 (computed in float64), of any strides; 1 to
            65,536 queries.
        weights: Q or N x Q numbers, finite and not negative: how sure each query is of its class.
        size: height and width of the labels, larger or smaller than the scores.
        threshold: above 0 and below 1; a pixel is in a query's own mask where the query's
            probability is at least this, whichever query wins the pixel.
        align_corners: as in `F.interpolate`.
        through: height and width to resize to first; from there to `size`.
        crop: what to keep of that picture (of the scores, without `through`) before it is resized
            to `size`: (height, width) of its upper left part, or (top, left, height, width).
        backend: "eager" (the expression above), "cpu" (Numba), or "auto": "cpu" for arrays and CPU
            tensors where Numba is installed, else "eager".

    Returns:
        `Assignment`, a named tuple of arrays or tensors like the scores, with a first axis of N
        where the scores have one: `labels` H x W, the winners (uint8 up to 256 queries, int16 up
        to 32,768, else int32); `inside` H x W bool, where a pixel is in its winner's own mask;
        `won`, `won_inside` and `area` Q int64: the pixels that each query won, those of them in its
        own mask, and all the pixels of its own mask.

    Raises:
        ArgumentError: a shape or value does not fit; the message says which and why.
        ArgumentTypeError: a type does not fit, such as arrays of two frameworks.

    Source: Cheng et al. 2021, "Per-pixel classification is not all you need for semantic
    segmentation" (MaskFormer).

    Examples:
        >>> import numpy as np
        >>> scores = np.array([[[4.0, -4.0]], [[-1.0, 1.0]]], dtype=np.float32)
        >>> found = assign(scores, [0.9, 0.8], size=(1, 4))
        >>> found.labels
        array([[0, 0, 1, 1]], dtype=uint8)
        >>> found.won, found.area
        (array([2, 2]), array([2, 2]))
    """
    batch = check_scores(scores)
    arrays = framework(batch)
    batch = arrays.detached(batch)
    weights = check_weights(batch, weights)
    steps = check_steps(tuple(batch.shape[-2:]), through, crop)
    grid = choose_grid(align_corners, None)
    options = Options(check_pair("size", size), *steps, grid, check_threshold(threshold))
    backend = choose_backend(batch, backend, BACKENDS)
    if not arrays.traced(batch):
        found = checked_assign(batch, weights, options, backend)
    elif backend == "cpu":
        from upscore.heads.assign.torch_op import traced_assign

        found = traced_assign(batch, weights, options)
    else:
        found = assign_by(batch, weights, options, backend)
    return found if scores.ndim == 4 else Assignment(*(one[0] for one in found))
