"""Scores that are pasted into boxes, as detectron2 and torchvision do."""

from typing import Any

import numpy as np

from upscore.heads.masks.sampling import Axis, Boxes, Linear, Sampling

FAR = 2.0**40  # pixels: no box needs to reach further


def turned(scores: Any, boxes: Boxes) -> tuple[Any, Boxes]:
    """Turn scores round whose boxes go from right to left, or from bottom to top."""
    boxes = boxes.copy()
    for axis, low, high in ((0, 1, 3), (1, 0, 2)):
        masks = np.flatnonzero(boxes[:, high] < boxes[:, low])
        if not len(masks):
            continue
        scores = scores.copy() if isinstance(scores, np.ndarray) else scores.clone()
        for mask in masks.tolist():
            one = scores[mask]
            scores[mask] = np.flip(one, axis) if isinstance(one, np.ndarray) else one.flip(axis)
        boxes[masks, low], boxes[masks, high] = boxes[masks, high], boxes[masks, low]
    return scores, boxes


def rimmed(scores: Any) -> Any:
    """Put zeros round each map of scores."""
    if isinstance(scores, np.ndarray):
        return np.pad(scores, ((0, 0), (1, 1), (1, 1)))
    from torch.nn import functional as F

    return F.pad(scores, (1, 1, 1, 1))


def pasted(boxes: Boxes, source: tuple[int, int], size: tuple[int, int], paste: str) -> Sampling:
    """Sample scores with a rim of zeros, one pixel wide, in each mask's box.

    Nothing is sampled for boxes that are not finite.
    """
    boxes = np.where(np.isfinite(boxes).all(1, keepdims=True), boxes, (1, 1, 0, 0))
    x0, y0, x1, y1 = boxes.clip(-FAR, FAR).T
    if paste == "aligned":
        rows, columns = _aligned(y0, y1, source[0], size[0]), _aligned(x0, x1, source[1], size[1])
    else:
        grown = (source[1] + 2) / source[1]  # with the rim; by this ratio both ways
        rows = _whole_pixels(y0, y1, grown, source[0], size[0])
        columns = _whole_pixels(x0, x1, grown, source[1], size[1])
    right, bottom = columns.first + np.diff(columns.starts), rows.first + np.diff(rows.starts)
    windows = (columns.first, rows.first, right, bottom)
    return Sampling(rows, columns, np.stack(windows, 1))


def _aligned(start: Any, end: Any, pixels: int, size: int) -> Axis:
    """As detectron2's `_do_paste_mask`: the box's edges are the outer edges of the scores.

    Beyond them scores fade to zero, within the size of one of their pixels.
    """
    length = end - start
    reach = np.where(length > 0, length / pixels + 1, 0)
    first = np.floor(start - reach).clip(0, size).astype(np.int64)
    last = np.where(length > 0, np.ceil(end + reach).clip(0, size), first).astype(np.int64)
    part, pixel = _listed(first, last)
    at = (pixel + 0.5 - start[part]) / length[part] * pixels - 0.5
    inside = (at > -1) & (at < pixels)
    part, pixel, at = part[inside], pixel[inside], at[inside]
    starts = np.searchsorted(part, np.arange(len(start) + 1))
    found = starts[:-1] < starts[1:]
    first[found] = pixel[starts[:-1][found]]
    low = np.floor(at).astype(np.int64)
    # The rim is number 0, so those of the scores are one more.
    return Axis(first, starts, Linear(low + 1, np.minimum(low + 2, pixels + 1), at - low))


def _whole_pixels(start: Any, end: Any, grown: float, pixels: int, size: int) -> Axis:
    """As torchvision's `paste_masks_in_image`: scores and rim are resized to whole pixels."""
    middle, half = (start + end) * 0.5, (end - start) * 0.5 * grown
    first, last = (middle - half).astype(np.int64), (middle + half).astype(np.int64) + 1
    return filled(first, np.where(end >= start, last, first), pixels + 2, size)


def filled(first: Any, last: Any, pixels: int, size: int) -> Axis:
    """Resize that many pixels to those of the mask from `first` to `last`, as far as it reaches."""
    left = np.maximum(first, 0)
    right = np.maximum(left, np.minimum(last, size))
    part, pixel = _listed(left, right)
    at = (pixel - first[part] + 0.5) * pixels / (last - first)[part] - 0.5
    at = at.clip(0, pixels - 1)
    low = at.astype(np.int64)
    outer = Linear(low, np.minimum(low + 1, pixels - 1), at - low)
    return Axis(left, np.append(0, np.cumsum(right - left)), outer)


def _listed(first: Any, last: Any) -> tuple[Any, Any]:
    """The pixels from `first` to `last` of each part, one part after another, and their parts."""
    part = np.repeat(np.arange(len(first)), last - first)
    return part, np.arange(len(part)) - (np.cumsum(last - first) - last)[part]
