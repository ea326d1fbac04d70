"""What `argmax` does with volumes: checks, and the choice between their ways."""

from typing import Any

from upscore.arrays import framework
from upscore.errors import ArgumentError, ArgumentTypeError
from upscore.geometry import whole
from upscore.heads.argmax.arguments import Case, check_out, choose_size
from upscore.heads.argmax.result import Measure, check_measure
from upscore.heads.argmax.slices import label_slices, label_whole
from upscore.heads.backend import check_volumes, choose_backend
from upscore.heads.grid import Grid

MOST_LABEL = (1 << 31) - 1


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
    batch = check_volumes(scores)
    arrays = framework(scores)
    batch = arrays.plain(arrays.detached(batch))
    classes = batch.shape[1]
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
    into = None if out is None else check_out(out, scores, case.size, case.dtype(classes))
    if not arrays.traced(batch):
        labels, confidence = label_slices(batch, case, into)
    elif case.backend == "eager":
        labels, confidence = label_whole(batch, case, into)
    else:
        from upscore.heads.argmax.torch_op import traced_labels

        labels, confidence = traced_labels(batch, case, into)
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
    return tuple(sorted(set(axes)))


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
