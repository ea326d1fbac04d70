"""Where masks sample their scores: straight, through a first resize, or pasted into boxes."""

from dataclasses import dataclass, replace
from functools import lru_cache
from typing import Any, NamedTuple

import numpy as np
from numpy.typing import NDArray

from upscore.heads.grid import Grid, positions

Indices = NDArray[np.int64]
Boxes = NDArray[np.float64]  # N x 4: x0, y0, x1, y1


class Linear(NamedTuple):
    """Pixel `i` of an axis is `source[low[i]] * (1 - weight[i]) + source[high[i]] * weight[i]`."""

    low: Indices
    high: Indices
    weight: NDArray[np.float64]

    def part(self, first: int, last: int) -> "Linear":
        """Pixels `first` to `last`."""
        return self.at(slice(first, last))

    def at(self, pixels: Indices | slice) -> "Linear":
        """Some pixels, by their numbers."""
        return Linear(self.low[pixels], self.high[pixels], self.weight[pixels])


class Axis(NamedTuple):
    """One axis of all masks, in parts one after another: a part of each mask, or one for all.

    `outer` samples the scores, or what `inner` makes of them.
    """

    first: Indices  # the pixel of the mask with which each part begins
    starts: Indices  # where in `outer` it begins; and where the last part ends
    outer: Linear
    inner: Linear | None = None

    def of(self, mask: int, first: int, last: int) -> Linear:
        """Pixels `first` to `last` of a mask."""
        part = mask if len(self.first) > 1 else 0
        offset = int(self.starts[part] - self.first[part])
        return self.outer.part(offset + first, offset + last)

    def bands(self, numbers: Indices) -> Indices:
        """Where in `outer` the bands begin: the pixels of a part that have the same number."""
        new = np.diff(numbers, prepend=-1) != 0
        new[self.starts[:-1][np.diff(self.starts) > 0]] = True
        return np.flatnonzero(new)


@dataclass(frozen=True, eq=False)  # told apart by identity: plans are kept for it
class Sampling:
    """Where the masks sample. Pixels outside of a mask's window are unset."""

    rows: Axis
    columns: Axis
    windows: Indices  # N x 4: left, top, right, bottom
    kept: bool = False  # whether the same one is returned again, so that its plan is worth keeping


@lru_cache(maxsize=8)
def resized(
    number: int,
    source: tuple[int, int],
    through: tuple[int, int] | None,
    crop: tuple[int, int, int, int] | None,
    size: tuple[int, int],
    grid: Grid,
) -> Sampling:
    """Resize to `through`, keep `crop` (top, left, height, width) of that, resize to `size`."""
    axes = []
    for i in (0, 1):
        own = grid.along(i - 2)
        inner = None if through is None else Linear(*positions(own, source[i], through[i]))
        start, length = (0, (through or source)[i]) if crop is None else (crop[i], crop[2 + i])
        low, high, weight = positions(own, length, size[i])
        outer = Linear(low + start, high + start, weight)
        axes.append(Axis(np.zeros(1, np.int64), np.array([0, size[i]]), outer, inner))
    windows = np.tile(np.array([0, 0, size[1], size[0]], np.int64), (number, 1))
    return Sampling(axes[0], axes[1], windows, kept=True)


def windowed(sampling: Sampling, boxes: Boxes, size: tuple[int, int]) -> Sampling:
    """Unset the pixels whose numbers are not in the boxes: `x0 <= x < x1`, `y0 <= y < y1`."""
    limits = np.where(np.isnan(boxes).any(1, keepdims=True), 0, np.ceil(boxes))
    limits = limits.clip(0, (size[1], size[0]) * 2).astype(np.int64)
    first = np.maximum(sampling.windows[:, :2], limits[:, :2])
    last = np.maximum(np.minimum(sampling.windows[:, 2:], limits[:, 2:]), first)
    return replace(sampling, windows=np.concatenate((first, last), 1), kept=False)


def lerp(scores: Any, linear: Linear, axis: int) -> Any:
    """Interpolate a two-dimensional array or tensor along one axis."""
    weight: Any = linear.weight if axis else linear.weight[:, None]
    if isinstance(scores, np.ndarray):
        weight = weight.astype(scores.dtype)
    else:
        import torch

        weight = torch.from_numpy(weight).to(scores)
    low, high = (scores[(slice(None),) * axis + (at,)] for at in (linear.low, linear.high))
    return low * (1 - weight) + high * weight
