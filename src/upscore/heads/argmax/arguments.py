"""What `argmax` is asked for: labels how large, of which pixels, and where to write them."""

from collections.abc import Sequence
from typing import Any, NamedTuple

from upscore.arrays import framework
from upscore.errors import ArgumentError, ArgumentTypeError
from upscore.geometry import whole
from upscore.heads.argmax.result import label_dtype
from upscore.heads.grid import MOST_PIXELS, Grid, choose_grid

SIDES = ("depth", "height", "width")


class Case(NamedTuple):
    """What is asked for, checked."""

    size: tuple[int, ...]
    grid: Grid
    nearest: Sequence[int]
    regions: Sequence[int] | None
    measure: str | None
    backend: str

    def dtype(self, classes: int) -> str:
        """The type of the labels."""
        return label_dtype(classes if self.regions is None else max(self.regions) + 1)


def choose_size(source: tuple[int, ...], size: Any, scale: Any) -> tuple[int, ...]:
    """Return the target size of an image or a volume, from `size` or from `scale`."""
    names = SIDES[-len(source) :]
    if (size is None) == (scale is None):
        given = "neither was" if size is None else "both were"
        raise ArgumentError(f"give size=({', '.join(names)}) or scale=factor: {given} given")
    if size is not None:
        try:
            sides = tuple(zip(names, size, strict=True))
        except (TypeError, ValueError):
            raise ArgumentTypeError(f"size must be ({', '.join(names)}), not {size!r}") from None
        return _bounded(tuple(whole(name, side, 1) for name, side in sides))
    factors = tuple(scale) if hasattr(scale, "__len__") else (scale,) * len(source)
    if len(factors) != len(source) or not all(
        isinstance(f, int | float) and 0 < f < MOST_PIXELS for f in factors
    ):
        count = {2: "two", 3: "three"}[len(source)]
        raise ArgumentError(f"scale must be a positive factor or {count} of them, not {scale!r}")
    result = tuple(int(n * f) for n, f in zip(source, factors, strict=True))
    if not all(result):
        shape = " x ".join(map(str, source))
        raise ArgumentError(f"scale={scale!r} leaves no pixel of {shape} scores")
    return _bounded(result)


def choose_coordinates(
    coordinates: Any, size: Any, axes: int, align_corners: bool, stride: int | None
) -> Grid:
    """Return the grid that the public arguments name, that of `coordinates` if they are given."""
    grid = choose_grid(align_corners, stride)
    if coordinates is None:
        return grid
    if align_corners or stride is not None or size is None:
        raise ArgumentError(
            "coordinates go with size, and with none of scale, align_corners and stride"
        )
    try:
        pairs = tuple((float(step), float(offset)) for step, offset in coordinates)
    except (TypeError, ValueError):
        pairs = ()
    if len(pairs) != axes:
        raise ArgumentTypeError(
            f"coordinates must be (step, offset) for each of {axes} axes, not {coordinates!r}"
        )
    for step, offset in pairs:
        if not 0 < step <= MOST_PIXELS or not abs(offset) <= MOST_PIXELS:
            raise ArgumentError(
                f"coordinates must have steps above 0 and finite offsets, not {(step, offset)}: "
                "flip an axis of scores that runs the other way"
            )
    return Grid("affine", axes=pairs)


def _bounded(size: tuple[int, ...]) -> tuple[int, ...]:
    """Return a size that may be asked for."""
    pixels = 1
    for side in size:
        pixels *= side
    if pixels > MOST_PIXELS:
        shape = " x ".join(map(str, size))
        raise ArgumentError(f"{shape} labels are too many: at most {MOST_PIXELS:,} pixels")
    return size


def check_out(out: Any, scores: Any, size: tuple[int, ...], dtype: str) -> Any:
    """Return `out` as a batch once it can take the labels of `scores`, one or a batch of them."""
    arrays = framework(scores)
    if not arrays.owns(out):
        raise ArgumentTypeError(
            f"out must be a {type(scores).__name__} like the scores, not {type(out).__name__}"
        )
    shape = (*scores.shape[: scores.ndim - len(size) - 1], *size)
    if tuple(out.shape) != shape or arrays.dtype(out) != dtype:
        raise ArgumentError(
            f"out must be of shape {shape} and {dtype}, not {tuple(out.shape)} and {out.dtype}"
        )
    if not arrays.writeable(out):
        raise ArgumentError("out is read-only: give an array that can be written")
    if not arrays.together(out, scores):
        raise ArgumentError(f"out is on {out.device}, the scores on {scores.device}: move one")
    return out if out.ndim > len(size) else out[None]
