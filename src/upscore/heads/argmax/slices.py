"""Labels of checked volumes: every slice is a blend of two slices of the scores."""

from collections.abc import Iterator
from typing import Any

import numpy as np
from numpy.typing import NDArray

from upscore.arrays import framework
from upscore.heads.argmax.arguments import Case
from upscore.heads.argmax.labels import make_labels
from upscore.heads.grid import (
    COPY,
    HALF_PIXEL,
    Grid,
    grid_positions,
    interpolate_tensor,
    positions,
    widened,
)
from upscore.heads.masks import masks_above_zero


def label_slices(scores: Any, case: Case, labels: Any = None) -> tuple[Any, Any]:
    """Return N x D x H x W labels, new ones or those given, and the confidence (or None)."""
    labels, confidence = _room(scores, case, labels)
    label = _label
    if case.backend == "cpu" and not case.nearest and case.regions is None:
        label = _label_at_once
    for n, volume in enumerate(scores):
        label(volume, case, labels[n], None if confidence is None else confidence[n])
    return labels, confidence


def _label_at_once(scores: Any, case: Case, labels: Any, confidence: Any) -> None:
    """Do as `_label` on the CPU, whose kernel blends slices row by row."""
    from upscore.heads.argmax.cpu import argmax_volume

    argmax_volume(scores, labels, confidence, measure=case.measure, grid=case.grid)


def label_whole(scores: Any, case: Case, labels: Any = None) -> tuple[Any, Any]:
    """Do as `label_slices` for tensors, by the expression that makes a small graph."""
    arrays = framework(scores)
    for axis in case.nearest:
        own = case.grid.along(axis - 3)
        at = _nearest(own, scores.shape[axis + 2], case.size[axis])
        scores = arrays.taken(scores, at, axis + 2)
    grid = _picked(case)
    if case.regions is None:
        return make_labels(scores, case.size, grid, case.measure, "eager", labels)
    labels, _ = _room(scores, case, labels)
    labels.zero_()
    full = interpolate_tensor(widened(scores), case.size, grid)
    for label, score in zip(case.regions, full.unbind(1), strict=True):
        labels.masked_fill_(score > 0, label)
    return labels, None


def _room(scores: Any, case: Case, labels: Any) -> tuple[Any, Any]:
    """Return where to write labels and confidence."""
    arrays, shape = framework(scores), (len(scores), *case.size)
    if labels is None:
        labels = arrays.empty(scores, shape, case.dtype(scores.shape[1]))
    return labels, None if case.measure is None else arrays.empty(scores, shape, "float32")


def _picked(case: Case) -> Grid:
    """The grid where pixels of the nearest axes are, or will be, picked otherwise."""
    axes = enumerate(case.grid.axes)
    return case.grid._replace(axes=tuple(COPY if i in case.nearest else own for i, own in axes))


def _label(scores: Any, case: Case, labels: Any, confidence: Any) -> None:
    """Write the labels of C x d x h x w scores, and the confidence if asked."""
    _, height, width = case.size
    grid = _picked(case)
    picks: list[Any] = [slice(None), slice(None)]  # rows and columns, where the nearest is taken
    if 1 in case.nearest:
        height, picks[0] = scores.shape[2], _nearest(case.grid.along(-2), scores.shape[2], height)
    if 2 in case.nearest:
        width, picks[1] = scores.shape[3], _nearest(case.grid.along(-1), scores.shape[3], width)
    picked = not {1, 2}.isdisjoint(case.nearest)
    for z, plane in enumerate(slices(scores, case.size[0], case.grid, 0 in case.nearest)):
        if plane is None:
            labels[z] = labels[z - 1]
            if confidence is not None:
                confidence[z] = confidence[z - 1]
            continue
        if case.regions is not None:
            labels[z] = _painted(plane, (height, width), grid, case)[picks[0]][:, picks[1]]
            continue
        found, sure = make_labels(
            *(plane[None], (height, width), grid, case.measure, case.backend),
            None if picked else labels[z : z + 1],
        )
        if picked:
            labels[z] = found[0][picks[0]][:, picks[1]]
        if confidence is not None:
            confidence[z] = sure[0][picks[0]][:, picks[1]]


def slices(scores: Any, depth: int, grid: Grid, nearest: bool = False) -> Iterator[Any]:
    """The slices of C x d x h x w scores at full depth, one after another.

    Blended, or the nearest: then None for one that is the same as the last.
    """
    own = grid.along(-3)
    if nearest:
        sources = _nearest(own, scores.shape[1], depth)
        for source, new in zip(sources, np.diff(sources, prepend=-1) > 0, strict=True):
            yield scores[:, source] if new else None
        return
    low, high, weight = (part.tolist() for part in positions(own, scores.shape[1], depth))
    for at in zip(low, high, weight, strict=True):
        yield _blend(scores, *at)


def _blend(scores: Any, low: int, high: int, weight: float) -> Any:
    near = scores[:, low]
    if low == high and framework(near).finite(near):
        return near
    with np.errstate(invalid="ignore"):  # zero times infinity is NaN, as in PyTorch
        return widened(near) * (1 - weight) + widened(scores[:, high]) * weight


def _nearest(grid: Grid, size_in: int, size_out: int) -> NDArray[np.int64]:
    """The input pixel nearest to each output pixel, the later of two as near.

    With corners aligned too, it is that of `F.interpolate(mode="nearest-exact")`.
    """
    low, _, weight = grid_positions(grid if grid.axes else HALF_PIXEL, size_in, size_out)
    return low + (weight >= 0.5)


def _painted(plane: Any, size: tuple[int, int], grid: Grid, case: Case) -> Any:
    """The label of the last region whose score is above 0, 0 where there is none."""
    numbers = masks_above_zero(plane, size, grid, case.backend).label_map()
    labels = np.array([*(case.regions or ()), 0])  # -1, no region, is the last one
    if framework(numbers).name == "numpy":
        return labels[numbers]
    import torch

    return torch.from_numpy(labels).to(numbers.device)[numbers.long()]
