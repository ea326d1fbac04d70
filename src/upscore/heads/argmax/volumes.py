"""Labels of volumes: slice by slice, each blended from two slices of the scores."""

from collections.abc import Iterator
from typing import Any, NamedTuple

import numpy as np
from numpy.typing import NDArray

from upscore.arrays import framework
from upscore.errors import ArgumentError, ArgumentTypeError, UnsupportedError
from upscore.geometry import whole
from upscore.heads.argmax.arguments import check_out, choose_size
from upscore.heads.argmax.labels import make_labels
from upscore.heads.argmax.result import Measure, check_measure, label_dtype
from upscore.heads.backend import check_classes, check_dtype, choose_backend
from upscore.heads.grid import HALF_PIXEL, Grid, positions, widened
from upscore.heads.masks import masks

MOST_LABEL = (1 << 31) - 1


class Case(NamedTuple):
    """What volumes are asked for, checked."""

    size: tuple[int, ...]
    grid: Grid
    nearest: tuple[int, ...]
    regions: tuple[int, ...] | None
    measure: Measure | None
    backend: str


def are_volumes(scores: Any, size: Any, scale: Any) -> bool:
    """Whether scores are of volumes: they have five dimensions, or three sides are asked for."""
    asked, dimensions = scale if size is None else size, getattr(scores, "ndim", 0)
    return dimensions == 5 or (dimensions == 4 and hasattr(asked, "__len__") and len(asked) == 3)


def label_volumes(
    scores: Any,
    size: Any,
    scale: Any,
    *,
    grid: Grid,
    nearest: Any,
    regions: Any,
    out: Any,
    measure: Measure | None,
    backend: str,
) -> Any:
    """Check as `argmax`, and return what it does for volumes."""
    check_dtype(scores)
    if scores.ndim not in (4, 5) or not all(scores.shape[-3:]):
        raise ArgumentError(
            "scores of volumes must be C x d x h x w or N x C x d x h x w and hold pixels, "
            f"not of shape {tuple(scores.shape)}"
        )
    arrays = framework(scores)
    batch = arrays.plain(arrays.detached(scores if scores.ndim == 5 else scores[None]))
    classes = batch.shape[1]
    check_classes(classes, scores)
    check_measure(measure)
    case = Case(
        choose_size(tuple(batch.shape[2:]), size, scale),
        grid,
        _check_nearest(nearest),
        _check_regions(regions, classes, measure),
        measure,
        choose_backend(batch, backend),
    )
    if grid.name == "fcn":
        raise ArgumentError("stride is for images: volumes have size or scale alone")
    if arrays.traced(batch):
        raise UnsupportedError(
            "volumes are labelled slice by slice, which makes no graph: call argmax outside of it"
        )
    dtype = label_dtype(classes if case.regions is None else max(case.regions) + 1)
    shape = (len(batch), *case.size)
    if out is None:
        labels = arrays.empty(batch, shape, dtype)
    else:
        labels = check_out(out, scores, case.size, dtype)
    confidence = None if measure is None else arrays.empty(batch, shape, "float32")
    for n in range(len(batch)):
        _label(batch[n], case, labels[n], None if confidence is None else confidence[n])
    result = out if out is not None else labels if scores.ndim == 5 else labels[0]
    if confidence is None:
        return result
    return result, confidence if scores.ndim == 5 else confidence[0]


def _check_nearest(nearest: Any) -> tuple[int, ...]:
    try:
        axes = tuple(whole("an axis of nearest", axis, 0) for axis in nearest)
    except TypeError:
        raise ArgumentTypeError(f"nearest must be axes, such as (0,), not {nearest!r}") from None
    if not set(axes) <= {0, 1, 2}:
        raise ArgumentError(f"nearest must name axes 0 (depth) to 2 (width), not {nearest!r}")
    return axes


def _check_regions(regions: Any, classes: int, measure: Measure | None) -> tuple[int, ...] | None:
    if regions is None:
        return None
    try:
        labels = tuple(whole("a label of regions", label, 0) for label in regions)
    except TypeError:
        raise ArgumentTypeError(
            f"regions must be one label for each class, such as (1, 2, 3), not {regions!r}"
        ) from None
    if len(labels) != classes or max(labels) > MOST_LABEL:
        raise ArgumentError(
            f"regions must be a label up to {MOST_LABEL:,} for each of {classes} classes, "
            f"not {regions!r}"
        )
    if measure is not None:
        raise ArgumentError("regions have no one winner whose confidence could be returned")
    return labels


def _label(scores: Any, case: Case, labels: Any, confidence: Any) -> None:
    """Write the labels of C x d x h x w scores, and the confidence if asked."""
    _, height, width = case.size
    picks: list[Any] = [slice(None), slice(None)]  # rows and columns, where the nearest is taken
    if 1 in case.nearest:
        height, picks[0] = scores.shape[2], _nearest(scores.shape[2], height)
    if 2 in case.nearest:
        width, picks[1] = scores.shape[3], _nearest(scores.shape[3], width)
    picked = not {1, 2}.isdisjoint(case.nearest)
    for z, plane in enumerate(_slices(scores, case)):
        if plane is None:
            labels[z] = labels[z - 1]
            if confidence is not None:
                confidence[z] = confidence[z - 1]
            continue
        if case.regions is not None:
            labels[z] = _painted(plane, (height, width), case)[picks[0]][:, picks[1]]
            continue
        found, sure = make_labels(
            *(plane[None], (height, width), case.grid, case.measure, case.backend),
            None if picked else labels[z : z + 1],
        )
        if picked:
            labels[z] = found[0][picks[0]][:, picks[1]]
        if confidence is not None:
            confidence[z] = sure[0][picks[0]][:, picks[1]]


def _slices(scores: Any, case: Case) -> Iterator[Any]:
    """The slices at full depth, one after another; None for one that is the same as the last."""
    depth = case.size[0]
    if 0 in case.nearest:
        sources = _nearest(scores.shape[1], depth)
        for source, new in zip(sources, np.diff(sources, prepend=-1) > 0, strict=True):
            yield scores[:, source] if new else None
        return
    low, high, weight = (part.tolist() for part in positions(case.grid, scores.shape[1], depth))
    for at in zip(low, high, weight, strict=True):
        yield _blend(scores, *at)


def _blend(scores: Any, low: int, high: int, weight: float) -> Any:
    near = scores[:, low]
    if low == high and framework(near).finite(near):
        return near
    with np.errstate(invalid="ignore"):  # zero times infinity is NaN, as in PyTorch
        return widened(near) * (1 - weight) + widened(scores[:, high]) * weight


def _nearest(size_in: int, size_out: int) -> NDArray[np.int64]:
    """The input pixel nearest to each output pixel, as `F.interpolate(mode="nearest-exact")`."""
    return (2 * np.arange(size_out) + 1) * size_in // (2 * size_out)


def _painted(plane: Any, size: tuple[int, int], case: Case) -> Any:
    """The label of the last region whose score is above 0, 0 where there is none."""
    backend = "auto" if case.backend == "gpu" else case.backend  # masks have no kernel there
    found = masks(plane, size, align_corners=case.grid != HALF_PIXEL, backend=backend)
    numbers = found.label_map()
    labels = np.array([*(case.regions or ()), 0])  # -1, no region, is the last one
    if framework(numbers).name == "numpy":
        return labels[numbers]
    import torch

    return torch.from_numpy(labels).to(numbers.device)[numbers.long()]
