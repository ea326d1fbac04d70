"""Where the pixels of a window sample scores, by the same numbers whatever the window."""

from fractions import Fraction
from typing import NamedTuple

import numpy as np
from numpy.typing import NDArray

from upscore.heads.grid import Grid, grid_positions

_BITS = 51  # of the 53 in which float64 holds whole numbers


class Sampling(NamedTuple):
    """The cells `begin` to `end` of an axis, and where in them: pixel i at `i * step + offset`."""

    begin: int
    end: int
    step: float
    offset: float


def sampling(first: int, count: int, cells: int, ratio: Fraction) -> Sampling:
    """Return where pixels `first` to `first + count` of an axis sample its cells.

    Pixel i samples cell `(i + 0.5) / ratio - 0.5`, for `ratio` pixels in a cell, held at the first
    and the last. Positions are rounded to a fraction 2^-k that float64 adds and multiplies without
    further rounding: a pixel has the same one in every window.

    >>> sampling(4, 8, 100, Fraction(4))
    Sampling(begin=0, end=4, step=0.25, offset=0.625)
    >>> sampling(8, 4, 100, Fraction(4))
    Sampling(begin=1, end=4, step=0.25, offset=0.625)
    """
    unit = 1 << _BITS - cells.bit_length()
    step = round(unit / ratio)
    offset = round((1 / ratio - 1) * unit / 2) + first * step
    begin = min(max(offset // unit, 0), cells - 1)
    end = min(max((offset + (count - 1) * step) // unit + 1, 0), cells - 1) + 1
    return Sampling(begin, end, step / unit, (offset - begin * unit) / unit)


def resampled(
    scores: NDArray[np.float32], axis: int, count: int, at: Sampling
) -> NDArray[np.float32]:
    """Interpolate scores of the cells of a `Sampling` linearly at its pixels."""
    grid = Grid("affine", axes=((at.step, at.offset),))
    low, high, weight = grid_positions(grid, scores.shape[axis], count)
    w = weight.astype(np.float32).reshape(-1, *(1,) * (scores.ndim - 1 - axis))
    with np.errstate(invalid="ignore"):  # scores may be infinite
        between: NDArray[np.float32] = scores.take(low, axis) * (1 - w)
        between += scores.take(high, axis) * w
    return between
