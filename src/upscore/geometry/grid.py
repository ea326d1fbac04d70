"""Where the pixels of layers lie, and where output pixels sample their input."""

from fractions import Fraction
from typing import NamedTuple

import numpy as np
from numpy.typing import NDArray

from upscore.errors import ArgumentError
from upscore.geometry.axis import Axis, whole


class Grid(NamedTuple):
    """Where the pixels of a layer lie: pixel `i` at `start + i * step`.

    Attributes:
        start: of the first pixel, in pixels of the input.
        step: from one pixel to the next, in pixels of the input.
    """

    start: Fraction = Fraction(0)
    step: Fraction = Fraction(1)


def convolved(
    grid: Grid, kernel: int, stride: int = 1, padding: int = 0, dilation: int = 1
) -> Grid:
    """Return the grid after a convolution or a pooling: the centres of its windows.

    Args:
        grid: the grid before it.
        kernel: pixels of a window.
        stride: pixels from one window to the next.
        padding: pixels added at the beginning.
        dilation: pixels from one tap of the window to the next.

    Returns:
        A `Grid`.

    Examples:
        >>> convolved(Grid(), kernel=2, stride=2)
        Grid(start=Fraction(1, 2), step=Fraction(2, 1))
    """
    centre = Fraction(dilation * (kernel - 1), 2)
    return Grid(grid.start + (centre - padding) * grid.step, grid.step * stride)


def transposed(
    grid: Grid, kernel: int, stride: int = 1, padding: int = 0, dilation: int = 1
) -> Grid:
    """Return the grid after a transposed convolution.

    Args:
        grid: the grid before it.
        kernel: taps of the kernel.
        stride: output pixels from one input pixel to the next.
        padding: pixels cut at the beginning.
        dilation: output pixels from one tap to the next.

    Returns:
        A `Grid`.

    Examples:
        >>> transposed(Grid(), kernel=4, stride=2, padding=1)
        Grid(start=Fraction(-1, 4), step=Fraction(1, 2))
    """
    centre = Fraction(dilation * (kernel - 1), 2)
    step = grid.step / stride
    return Grid(grid.start + (padding - centre) * step, step)


def crop_offset(grid: Grid, onto: Grid) -> int:
    """Return which pixel of a grid lies on the first of another: the offset of a Caffe `Crop`.

    Args:
        grid: what is cropped.
        onto: what it is cropped to.

    Returns:
        The offset in pixels.

    Raises:
        ArgumentError: no pixel of `grid` lies there.

    Source: Caffe, `caffe.coord_map.crop`.

    Examples:
        >>> image, padded = Grid(), convolved(Grid(), kernel=3, padding=100)
        >>> crop_offset(padded, image)
        99
    """
    offset = (onto.start - grid.start) / grid.step
    if onto.step != grid.step or offset < 0 or offset.denominator != 1:
        raise ArgumentError(
            f"no crop brings the grid that starts at {grid.start} in steps of {grid.step} onto "
            f"that at {onto.start} in steps of {onto.step}: the steps must agree, and the starts "
            f"differ by a whole number of them, which is {offset}"
        )
    return int(offset)


def sampling(axis: Axis) -> NDArray[np.float64]:
    """Return the input position on which each output pixel of a symmetric kernel is centred.

    Args:
        axis: the transposed convolution along one axis.

    Returns:
        float64, one position for each output pixel: 0 is the centre of the first input pixel,
        `size_in - 1` that of the last.

    Examples:
        >>> from upscore.geometry import pytorch
        >>> sampling(pytorch(2, kernel=4, stride=2, padding=1)).tolist()
        [-0.25, 0.25, 0.75, 1.25]
    """
    start, step = transposed(Grid(), axis.kernel, axis.stride, axis.begin, axis.dilation)
    return np.array([float(start + i * step) for i in range(axis.size_out)])


def shift(axis: Axis, *, align_corners: bool = False) -> float:
    """Return how many output pixels the content lies too far towards the end.

    Compared with `interpolate(scale_factor=stride, align_corners=False)`, which samples output
    pixel `o` at `(o + 0.5) / stride - 0.5`, or with corners aligned, at `o / stride`.

    Args:
        axis: the transposed convolution along one axis.
        align_corners: compare with corners aligned.

    Returns:
        Output pixels, a fraction where it is not whole; below 0 towards the beginning.

    Examples:
        >>> from upscore.geometry import tensorflow
        >>> tutorial = tensorflow(5, kernel=4, stride=2, padding="SAME", output_size=9)
        >>> shift(tutorial), shift(tutorial, align_corners=True)
        (0.0, 0.5)
    """
    aligned = Fraction(0) if align_corners else Fraction(axis.stride - 1, 2)
    return float(Fraction(axis.extent - 1, 2) - axis.begin - aligned)


def upscore_padding(factor: int) -> int:
    """Return the padding with which the bilinear kernel `2f - f % 2` maps n pixels to n * f.

    `ConvTranspose2d(c, c, 2 * f - f % 2, stride=f, padding=f // 2)` with the weight
    `filters.bilinear_weight(c, f)` samples where `interpolate(scale_factor=f, mode="bilinear")`
    does; the two differ only at the edges, where it sees zeros beyond.

    Args:
        factor: f, the enlargement.

    Returns:
        `f // 2`.

    Raises:
        ArgumentError: the factor is below 1.

    Examples:
        >>> from upscore.geometry import pytorch
        >>> [shift(pytorch(7, 2 * f - f % 2, f, upscore_padding(f))) for f in (1, 2, 3, 4)]
        [0.0, 0.0, 0.0, 0.0]
    """
    return whole("factor", factor, 1) // 2


def linear_positions(
    size_in: int,
    size_out: int,
    *,
    align_corners: bool = False,
    stride: int | Fraction | None = None,
) -> tuple[NDArray[np.int64], NDArray[np.int64], NDArray[np.float64]]:
    """Return where each output pixel samples linearly.

    Equivalent to the positions of `torch.nn.functional.interpolate(mode="linear",
    align_corners=...)` to `size_out` pixels. Positions before the first or after the last input
    pixel are held there. The weights are exact fractions, rounded once.

    Args:
        size_in: pixels of the input.
        size_out: pixels of the output.
        align_corners: as in `interpolate`.
        stride: sample on the grid of the FCN instead: the first `size_out` pixels of the
            enlargement by s, `(i + 0.5) / s - 0.5` whatever the ratio of the sizes. It may be a
            fraction, below 1 too.

    Returns:
        For each output pixel the lower index and the higher index, int64, and the weight of the
        higher one, float64.

    Raises:
        ArgumentError: a size is below 1, the stride is not positive, or `stride` and
            `align_corners` are both given.

    Examples:
        >>> low, high, weight = linear_positions(2, 4)
        >>> low.tolist(), high.tolist(), weight.tolist()
        ([0, 0, 0, 1], [1, 1, 1, 1], [0.0, 0.25, 0.75, 0.0])
    """
    size_in, size_out = whole("size_in", size_in, 1), whole("size_out", size_out, 1)
    i = np.arange(size_out, dtype=np.int64)
    if stride is not None:
        if align_corners:
            raise ArgumentError(
                "stride and align_corners name two different grids: give one of them"
            )
        if not isinstance(stride, Fraction):
            whole("stride", stride, 1)
        elif stride <= 0:
            raise ArgumentError(f"stride must be positive, not {stride}")
        above = (2 * i + 1) * stride.denominator - stride.numerator
        below = 2 * stride.numerator
    elif align_corners:
        above, below = i * (size_in - 1), max(size_out - 1, 1)
    else:
        above, below = (2 * i + 1) * size_in - size_out, 2 * size_out
    above = np.clip(above, 0, (size_in - 1) * below)
    low = above // below
    return low, np.minimum(low + 1, size_in - 1), above % below / below
