"""Filters for upsampling, as plain float64 arrays."""

from collections.abc import Callable

import numpy as np
from numpy.typing import NDArray

from upscore.geometry import whole


Line = Callable[[int], NDArray[np.float64]]


def _outer(
    factor: int | tuple[int, ...], dim: int, line: Callable[[int], NDArray[np.float64]]
) -> NDArray[np.float64]:
    factors = factor if isinstance(factor, tuple) else (factor,) * dim
    result = np.ones(())
    for f in factors:
        result = np.multiply.outer(result, line(whole("factor", f, 1)))
    return result


def bilinear_filter(factor: int | tuple[int, ...], *, dim: int = 2) -> NDArray[np.float64]:
    """Return the (bi)linear interpolation filter for an enlargement by `factor`."""

    def line(f: int) -> NDArray[np.float64]:
        size = 2 * f - f % 2
        return 1 - abs(np.arange(size) - (size - 1) / 2) / f

    return _outer(factor, dim, line)


def bilinear_weight(
    channels: int, factor: int | tuple[int, ...], *, dim: int = 2, groups: int = 1
) -> NDArray[np.float64]:
    """Return the weight (channels, channels // groups, *kernel) which enlarges each channel alone."""
    taps = bilinear_filter(factor, dim=dim)
    weight = np.zeros((channels, channels // groups, *taps.shape))
    for channel in range(channels):
        weight[channel, channel % (channels // groups)] = taps
    return weight
