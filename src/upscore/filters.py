"""Filters for upsampling, as plain float64 arrays, and how even their outputs are.

A filter for factor `f` with `k` taps belongs to a transposed convolution of stride `f` and padding
`(k - f) // 2`: that maps n pixels to n * f on the grid of `interpolate(scale_factor=f)`.
"""

from collections.abc import Callable, Sequence

import numpy as np
from numpy.typing import ArrayLike, NDArray

from upscore.errors import ArgumentError
from upscore.geometry import whole

FloatArray = NDArray[np.float64]


def nearest_filter(factor: int | Sequence[int], *, dim: int = 2) -> FloatArray:
    """Return the filter that repeats each pixel `factor` times: ones, `factor` on each axis.

    Args:
        factor: the enlargement, one whole number for all axes or one for each.
        dim: number of axes, where `factor` is one number.

    Returns:
        float64 array of `dim` axes.

    Raises:
        ArgumentError: a factor or `dim` is below 1.
        ArgumentTypeError: a factor or `dim` is no whole number.

    Examples:
        >>> nearest_filter(3, dim=1)
        array([1., 1., 1.])
    """
    return _product(factor, dim, np.ones)


def bilinear_filter(factor: int | Sequence[int], *, dim: int = 2) -> FloatArray:
    """Return the filter of linear interpolation: `2 * factor - factor % 2` taps on each axis.

    The tent `1 - |distance| / factor` around its centre: tap `factor - 1` for an odd factor,
    position `factor - 0.5`, between two taps, for an even one.

    Args:
        factor: the enlargement, one whole number for all axes or one for each.
        dim: number of axes, where `factor` is one number.

    Returns:
        float64 array of `dim` axes.

    Raises:
        ArgumentError: a factor or `dim` is below 1.
        ArgumentTypeError: a factor or `dim` is no whole number.

    Source: FCN (Long et al. 2015), and Caffe's `BilinearFiller`.

    Examples:
        >>> bilinear_filter(2, dim=1)
        array([0.25, 0.75, 0.75, 0.25])
        >>> bilinear_filter((3, 1))[:, 0] * 3
        array([1., 2., 3., 2., 1.])
    """

    def tent(f: int) -> FloatArray:
        return 1 - _distances(2 * f - f % 2) / f

    return _product(factor, dim, tent)


def bicubic_filter(
    factor: int | Sequence[int], *, dim: int = 2, sharpness: float = -0.75
) -> FloatArray:
    """Return the filter of cubic interpolation: `4 * factor - factor % 2` taps on each axis.

    Args:
        factor: the enlargement, one whole number for all axes or one for each.
        dim: number of axes, where `factor` is one number.
        sharpness: the `a` of Keys: -0.75 in PyTorch and OpenCV, -0.5 in Pillow and Keys.

    Returns:
        float64 array of `dim` axes.

    Raises:
        ArgumentError: a factor or `dim` is below 1.
        ArgumentTypeError: a factor or `dim` is no whole number.

    Source: Keys 1981, "Cubic convolution interpolation for digital image processing".

    Examples:
        >>> bicubic_filter(2, dim=1).sum()
        np.float64(2.0)
    """

    def cubic(f: int) -> FloatArray:
        a, x = sharpness, _distances(4 * f - f % 2) / f
        near = ((a + 2) * x - (a + 3)) * x * x + 1
        far = ((a * x - 5 * a) * x + 8 * a) * x - 4 * a
        return np.where(x <= 1, near, far)

    return _product(factor, dim, cubic)


def _distances(taps: int) -> FloatArray:
    """Return how far each tap lies from the centre of them all."""
    return np.abs(np.arange(taps, dtype=np.float64) - (taps - 1) / 2)


def _product(
    factor: int | Sequence[int], dim: int, line: Callable[[int], FloatArray]
) -> FloatArray:
    """Return the outer product of the line filters of all axes."""
    factors = factor if isinstance(factor, Sequence) else (factor,) * whole("dim", dim, 1)
    filters = [line(whole("factor", f, 1)) for f in factors]
    result = np.ones(())
    for taps in filters:
        result = np.multiply.outer(result, taps)
    return result


def channelwise_weight(taps: ArrayLike, channels: int, *, groups: int = 1) -> FloatArray:
    """Return the transposed convolution's weight that filters each channel alone.

    With `groups=1` the filter lies on the diagonal, and the other pairs of channels are zero; with
    `groups=channels` there are no others.

    Args:
        taps: the filter, an array of numbers.
        channels: of the input and the output.
        groups: as of the transposed convolution.

    Returns:
        float64, (channels, channels // groups, *taps.shape).

    Raises:
        ArgumentError: the channels cannot be divided into so many groups.

    Examples:
        >>> channelwise_weight([1.0, 2.0], channels=2)[:, :, 1]
        array([[2., 0.],
               [0., 2.]])
    """
    if whole("channels", channels, 1) % whole("groups", groups, 1):
        raise ArgumentError(f"{channels} channels cannot be divided into {groups} groups")
    diagonal = np.tile(np.eye(channels // groups), (groups, 1))
    weight: FloatArray = np.multiply.outer(diagonal, np.asarray(taps, np.float64))
    return weight


def bilinear_weight(
    channels: int, factor: int | Sequence[int], *, dim: int = 2, groups: int = 1
) -> FloatArray:
    """Return the weight of a transposed convolution that enlarges each channel linearly.

    Equivalent to `channelwise_weight(bilinear_filter(factor, dim=dim), channels, groups=groups)`,
    for `conv_transpose2d(x, weight, stride=factor, padding=factor // 2, groups=groups)`.

    Args:
        channels: of the input and the output.
        factor: the enlargement, one whole number for all axes or one for each.
        dim: number of axes, where `factor` is one number.
        groups: as of the transposed convolution.

    Returns:
        float64, (channels, channels // groups, *kernel).

    Raises:
        ArgumentError: the channels cannot be divided into so many groups.

    Examples:
        >>> bilinear_weight(21, 8).shape, bilinear_weight(21, 8, groups=21).shape
        ((21, 21, 16, 16), (21, 1, 16, 16))
    """
    return channelwise_weight(bilinear_filter(factor, dim=dim), channels, groups=groups)


def icnr(weight: ArrayLike, factor: int) -> FloatArray:
    """Return the weight of a sub-pixel convolution that starts as nearest-neighbour enlargement.

    `pixel_shuffle(conv2d(x, icnr(weight, f)), f)` is `interpolate(conv2d(x, weight),
    scale_factor=f, mode="nearest")`.

    Args:
        weight: (out, in, *kernel) of the convolution before it is enlarged.
        factor: f, the enlargement.

    Returns:
        float64, (out * f**axes, in, *kernel).

    Raises:
        ArgumentError: the weight has no kernel, or the factor is below 1.

    Source: Aitken et al. 2017, "Checkerboard artifact free sub-pixel convolution".

    Examples:
        >>> icnr([[[[1.0]]], [[[2.0]]]], 2).ravel()
        array([1., 1., 1., 1., 2., 2., 2., 2.])
    """
    small = np.asarray(weight, np.float64)
    if small.ndim < 3:
        raise ArgumentError(f"weight must be (out, in, *kernel), not of shape {small.shape}")
    return np.repeat(small, whole("factor", factor, 1) ** (small.ndim - 2), axis=0)


def checkerboard(kernel: int | NDArray[np.generic], stride: int | Sequence[int]) -> float:
    """Return how unevenly a transposed convolution covers its outputs, 0 for evenly.

    Each output sees the taps of its own phase of the stride alone. The measure is the range of the
    phases' sums over the largest of them: 1 where some outputs see nothing.

    Args:
        kernel: a number of equal taps on one axis, or an array of taps over any number of axes,
            whose sums are equal to rounding only.
        stride: one whole number for all axes or one for each.

    Returns:
        The measure, at least 0.

    Raises:
        ArgumentError: the kernel has no tap, or there is not one stride for each axis.

    Source: Odena et al. 2016, "Deconvolution and checkerboard artifacts".

    Examples:
        >>> checkerboard(4, 2), checkerboard(3, 2), checkerboard(np.ones((3, 3)), 2)
        (0.0, 0.5, 0.75)
        >>> checkerboard(bilinear_filter(2), 2)
        0.0
    """
    taps = kernel if isinstance(kernel, np.ndarray) else np.ones(whole("kernel", kernel, 1))
    if not taps.size:
        raise ArgumentError(f"a kernel must have at least one tap, not the shape {taps.shape}")
    strides = stride if isinstance(stride, Sequence) else (stride,) * taps.ndim
    if len(strides) != taps.ndim:
        raise ArgumentError(
            f"{len(strides)} strides for a kernel of {taps.ndim} axes: give one each"
        )
    steps = [whole("stride", s, 1) for s in strides]
    sums = np.array(
        [
            taps[tuple(slice(r, None, s) for r, s in zip(phase, steps, strict=True))].sum()
            for phase in np.ndindex(*steps)
        ]
    )
    largest = abs(sums).max()
    return float(np.ptp(sums) / largest) if largest else 0.0
