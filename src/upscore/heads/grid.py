"""Where the heads sample the coarse scores, and the plain interpolation at those places."""

from typing import TYPE_CHECKING, Any, NamedTuple

import numpy as np
from numpy.typing import NDArray

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
                  convolution of that stride.
    """

    name: str = "half_pixel"
    stride: int = 0  # of "fcn"


HALF_PIXEL = Grid()
CORNERS = Grid("corners")


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
    """Return the `linear_positions` of the grid."""
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
    if grid.stride == 1 or (grid.name != "fcn" and size_in == size_out):
        return low, low, weight
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
    scores: "Tensor", size: tuple[int, int], grid: Grid = HALF_PIXEL
) -> "Tensor":
    """Interpolate an N x C x h x w tensor linearly to `size`."""
    from torch.nn import functional as F

    if grid.name != "fcn":
        corners = grid.name == "corners"
        return F.interpolate(scores, size, mode="bilinear", align_corners=corners)
    full = F.interpolate(scores, scale_factor=float(grid.stride), mode="bilinear")[
        ..., : size[0], : size[1]
    ]
    below, right = size[0] - full.shape[-2], size[1] - full.shape[-1]
    return F.pad(full, (0, right, 0, below), mode="replicate") if below or right else full


def interpolate_array(
    scores: NDArray[Any], size: tuple[int, int], grid: Grid = HALF_PIXEL
) -> NDArray[Any]:
    """Interpolate a C x h x w array linearly to `size`, in float32 unless it is float64."""
    full: NDArray[Any] = widened(scores)
    for axis in (1, 2):
        low, high, weight = positions(grid, full.shape[axis], size[axis - 1])
        w = weight.astype(full.dtype).reshape((-1, 1) if axis == 1 else -1)
        with np.errstate(invalid="ignore"):  # scores may be infinite
            full = full.take(low, axis) * (1 - w) + full.take(high, axis) * w
    return full
