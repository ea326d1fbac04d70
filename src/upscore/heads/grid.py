"""Where the heads sample the coarse scores, and the plain interpolation at those places."""

from typing import TYPE_CHECKING, Any, NamedTuple

import numpy as np
from numpy.typing import NDArray

from upscore.arrays import framework
from upscore.errors import ArgumentError
from upscore.geometry import linear_positions, whole

if TYPE_CHECKING:
    from torch import Tensor

MOST_PIXELS = 1 << 40  # beyond any memory, and small enough that no index of 64 bits overflows


class Grid(NamedTuple):
    """A rule that says where output pixel `i` of an axis samples.

    "half_pixel": `(i + 0.5) * size_in / size_out - 0.5`, where `F.interpolate` does by default;
    "corners":    `i * (size_in - 1) / (size_out - 1)`, its `align_corners=True`;
    "fcn":        `(i + 0.5) / stride - 0.5`, whatever the sizes: the bilinear transposed
                  convolution of that stride;
    "affine":     `i * step + offset`, each axis by its own two numbers.
    """

    name: str = "half_pixel"
    stride: int = 0  # of "fcn"
    axes: tuple[tuple[float, float], ...] = ()  # of "affine": step and offset

    def along(self, axis: int) -> "Grid":
        """The grid of one axis, counted from the last one, -1."""
        return self._replace(axes=self.axes[axis:][:1]) if self.axes else self

    def copies(self, size_in: int, size_out: int) -> bool:
        """Whether every output pixel (of the one axis) is the input pixel of the same number."""
        alone = self.axes in ((), (COPY,)) and self.stride in (0, 1)
        return alone and size_in == size_out


HALF_PIXEL = Grid()
CORNERS = Grid("corners")
COPY = (1.0, 0.0)  # the step and offset of an axis that is sampled where it is


def choose_grid(align_corners: bool, stride: int | None) -> Grid:
    """Return the grid that the public arguments name."""
    if stride is None:
        return CORNERS if align_corners else HALF_PIXEL
    whole("stride", stride, 1)
    if align_corners:
        raise ArgumentError("stride and align_corners name two different grids: give one of them")
    return Grid("fcn", stride)


def grid_positions(
    grid: Grid, size_in: int, size_out: int
) -> tuple[NDArray[np.int64], NDArray[np.int64], NDArray[np.float64]]:
    """Return the positions of the grid (of one axis) as `linear_positions` does."""
    if grid.axes:
        ((step, offset),) = grid.axes
        last = whole("size_in", size_in, 1) - 1
        at = np.clip(np.arange(size_out) * step + offset, 0, last)
        low = at.astype(np.int64)
        return low, np.minimum(low + 1, last), at - low
    return linear_positions(
        size_in, size_out, align_corners=grid.name == "corners", stride=grid.stride or None
    )


def positions(
    grid: Grid, size_in: int, size_out: int
) -> tuple[NDArray[np.int64], NDArray[np.int64], NDArray[np.float64]]:
    """Return positions that treat infinite scores and NaN as torch does.

    Zero times infinity is NaN, so it matters which pixels are read with weight zero. Torch reads
    one pixel alone where the sizes are equal, and beyond the last pixel that one with two positive
    weights.
    """
    low, high, weight = grid_positions(grid, size_in, size_out)
    if grid.stride == 1 or grid.copies(size_in, size_out):
        return low, low, weight
    if grid.axes:
        return low, high, np.where(low == high, 0.5, weight)
    if grid.name != "corners":
        i = np.arange(size_out)
        up, down = (grid.stride, 1) if grid.name == "fcn" else (size_out, size_in)
        weight[(2 * i + 1) * down > up * (2 * size_in - 1)] = 0.5
    return low, high, weight


def widened(scores: Any) -> Any:
    """Scores in the type they are computed in: float64 stays, others become float32."""
    if isinstance(scores, np.ndarray):
        return scores.astype(np.promote_types(scores.dtype, np.float32), copy=False)
    return scores if str(scores.dtype) == "torch.float64" else scores.float()


def interpolate_tensor(
    scores: "Tensor", size: tuple[int, ...], grid: Grid = HALF_PIXEL, *, copy: bool = False
) -> "Tensor":
    """Interpolate a tensor of images or volumes linearly to `size`.

    Volumes, N x C x d x h x w, have no "fcn" grid. With `copy` nothing is done to scores of that
    size, where torch makes NaN of infinities.
    """
    from torch.nn import functional as F

    if grid.axes:
        sampled: Tensor = _by_axes(scores, size, grid)
        return sampled
    if copy and all(map(grid.copies, scores.shape[2:], size)):
        return scores
    if grid.name != "fcn":
        mode = "bilinear" if len(size) == 2 else "trilinear"
        return F.interpolate(scores, size, mode=mode, align_corners=grid.name == "corners")
    full = F.interpolate(scores, scale_factor=float(grid.stride), mode="bilinear")[
        ..., : size[0], : size[1]
    ]
    below, right = size[0] - full.shape[-2], size[1] - full.shape[-1]
    return F.pad(full, (0, right, 0, below), mode="replicate") if below or right else full


def interpolate_array(
    scores: NDArray[Any], size: tuple[int, int], grid: Grid = HALF_PIXEL, *, copy: bool = False
) -> NDArray[Any]:
    """Interpolate a C x h x w array as `interpolate_tensor` does, float16 in float32."""
    with np.errstate(invalid="ignore"):  # scores may be infinite
        full: NDArray[Any] = _by_axes(widened(scores), size, grid, copy)
    return full


def _by_axes(full: Any, size: tuple[int, ...], grid: Grid, copy: bool = True) -> Any:
    """Interpolate the last axes of an array or tensor to `size`, one after another."""
    arrays = framework(full)
    for axis in range(-len(size), 0):
        own = grid.along(axis)
        if copy and own.copies(full.shape[axis], size[axis]):
            continue
        *ends, weight = positions(own, full.shape[axis], size[axis])
        near, far = (arrays.taken(full, at, axis) for at in ends)
        w = arrays.placed(full, weight.astype(arrays.dtype(full)).reshape(-1, *[1] * (-axis - 1)))
        full = near * (1 - w) + far * w
    return full
