"""Where the heads sample the coarse scores, and the plain interpolation at those places."""

from typing import TYPE_CHECKING, Any

import numpy as np
from numpy.typing import NDArray

from upscore.geometry import linear_positions

if TYPE_CHECKING:
    from torch import Tensor


def positions(
    size_in: int, size_out: int, *, align_corners: bool, stride: int | None
) -> tuple[NDArray[np.int64], NDArray[np.int64], NDArray[np.float64]]:
    """Return `linear_positions` that treat infinite scores and NaN as torch does.

    Zero times infinity is NaN, so it matters which pixels are read with weight zero. Torch reads
    one pixel alone where the sizes are equal, and beyond the last pixel that one with two positive
    weights.
    """
    low, high, weight = linear_positions(
        size_in, size_out, align_corners=align_corners, stride=stride
    )
    if stride == 1 or (stride is None and size_in == size_out):
        return low, low, weight
    if not align_corners:
        i = np.arange(size_out)
        up, down = (size_out, size_in) if stride is None else (stride, 1)
        weight[(2 * i + 1) * down > up * (2 * size_in - 1)] = 0.5
    return low, high, weight


def interpolate_tensor(
    scores: "Tensor",
    size: tuple[int, int],
    *,
    align_corners: bool = False,
    stride: int | None = None,
) -> "Tensor":
    """Interpolate an N x C x h x w tensor linearly to `size`; `stride` chooses the FCN's grid."""
    from torch.nn import functional as F

    if stride is None:
        return F.interpolate(scores, size, mode="bilinear", align_corners=align_corners)
    full = F.interpolate(scores, scale_factor=float(stride), mode="bilinear")[
        ..., : size[0], : size[1]
    ]
    below, right = size[0] - full.shape[-2], size[1] - full.shape[-1]
    return F.pad(full, (0, right, 0, below), mode="replicate") if below or right else full


def interpolate_array(
    scores: NDArray[Any], size: tuple[int, int], *, align_corners: bool, stride: int | None
) -> NDArray[Any]:
    """Interpolate a C x h x w array linearly to `size`, in float32 unless it is float64."""
    full = scores.astype(np.promote_types(scores.dtype, np.float32), copy=False)
    for axis in (1, 2):
        low, high, weight = positions(
            full.shape[axis], size[axis - 1], align_corners=align_corners, stride=stride
        )
        w = weight.astype(full.dtype).reshape((-1, 1) if axis == 1 else -1)
        with np.errstate(invalid="ignore"):  # scores may be infinite
            full = full.take(low, axis) * (1 - w) + full.take(high, axis) * w
    return full
