"""The specification: transposed convolution and linear upsampling in readable NumPy.

A transposed convolution can be seen in four ways, and each is a function below:

    convolution_matrix  the transpose of the matrix of the ordinary convolution
    zero_insertion      zeros between the input pixels, then an ordinary convolution
    subkernels          one small kernel for each phase of the stride, the results interleaved
    scatter             each input pixel adds its scaled kernel to the output

They take `x` (N, I, *size_in), `weight` (I, O, *kernel) and one `geometry.Axis` for each spatial
axis, and return (N, O, *size_out). All four are equal, to the bit on integers and to rounding on
other finite numbers. `conv_transpose` puts PyTorch's arguments, groups and a bias around them.
"""

from collections.abc import Callable, Iterable, Sequence
from math import gcd, prod
from typing import Any

import numpy as np
from numpy.typing import ArrayLike, NDArray

from upscore.errors import ArgumentError, ArgumentTypeError
from upscore.geometry import Axis, linear_positions, pytorch, whole

Array = NDArray[Any]
Axes = Sequence[Axis]
PerAxis = int | Sequence[int]

# Beyond this an index no longer fits in 32 bits, in many libraries as in ours.
MOST_ELEMENTS = 2**31 - 1


def convolution_matrix(weight: Array, axes: Axes) -> Array:
    """Return the matrix of the ordinary convolution that leads from the output back to the input.

    One row for each input pixel, with the kernel at the output pixels it reaches.

    Args:
        weight: (I, O, *kernel).
        axes: one `upscore.geometry.Axis` for each spatial axis.

    Returns:
        Matrix of (I * size_in) x (O * size_out), sizes multiplied over the axes.

    Raises:
        ArgumentError: the matrix would have 2**31 elements or more.

    Examples:
        >>> weight = np.array([[[1, 2, 3]]])
        >>> convolution_matrix(weight, [pytorch(3, kernel=3, stride=2, padding=1)])
        array([[2, 3, 0, 0, 0],
               [0, 1, 2, 3, 0],
               [0, 0, 0, 1, 2]])
    """
    size_in, size_out = [a.size_in for a in axes], [a.size_out for a in axes]
    shape = (weight.shape[0] * prod(size_in), weight.shape[1] * prod(size_out))
    if prod(shape) > MOST_ELEMENTS:
        raise ArgumentError(f"a matrix of {shape} has more than {MOST_ELEMENTS} elements")
    matrix = np.zeros((weight.shape[0], *size_in, weight.shape[1], *size_out), weight.dtype)
    for pixel in np.ndindex(*size_in):
        for tap in np.ndindex(weight.shape[2:]):
            position = [
                i * a.stride + t * a.dilation - a.begin
                for i, t, a in zip(pixel, tap, axes, strict=True)
            ]
            if all(0 <= o < size for o, size in zip(position, size_out, strict=True)):
                matrix[:, *pixel, :, *position] = weight[:, :, *tap]
    return matrix.reshape(shape)


def matrix(x: Array, weight: Array, axes: Axes) -> Array:
    """Apply the transpose of the ordinary convolution's matrix.

    Args:
        x: (N, I, *size_in).
        weight: (I, O, *kernel).
        axes: one `upscore.geometry.Axis` for each spatial axis.

    Returns:
        (N, O, *size_out).
    """
    columns = x.reshape(len(x), prod(x.shape[1:])).T
    rows = (convolution_matrix(weight, axes).T @ columns).T
    return rows.reshape(len(x), weight.shape[1], *(a.size_out for a in axes))


def zero_insertion(x: Array, weight: Array, axes: Axes) -> Array:
    """Put `stride - 1` zeros between the input pixels, then convolve with stride 1.

    Args:
        x: (N, I, *size_in).
        weight: (I, O, *kernel).
        axes: one `upscore.geometry.Axis` for each spatial axis.

    Returns:
        (N, O, *size_out).
    """
    size = [(a.size_in - 1) * a.stride + 1 for a in axes]
    spread = np.zeros((*x.shape[:2], *size), x.dtype)
    spread[:, :, *(slice(None, None, a.stride) for a in axes)] = x
    return _cut(_convolve(spread, weight, [a.dilation for a in axes]), axes)


def subkernels(x: Array, weight: Array, axes: Axes) -> Array:
    """Convolve with one small kernel for each phase of the stride, and interleave the results.

    The outputs of phase `r`, those at `r`, `r + stride`, ..., see only the taps that an input pixel
    puts there: `t` with `t * dilation % stride == r`. These are equally spaced.

    Args:
        x: (N, I, *size_in).
        weight: (I, O, *kernel).
        axes: one `upscore.geometry.Axis` for each spatial axis.

    Returns:
        (N, O, *size_out).
    """
    full = np.zeros((len(x), weight.shape[1], *(a.full for a in axes)), x.dtype)
    for phase in np.ndindex(*(a.stride for a in axes)):
        taps = [
            [t for t in range(a.kernel) if t * a.dilation % a.stride == r]
            for r, a in zip(phase, axes, strict=True)
        ]
        if not all(taps):
            continue  # no tap reaches these outputs
        kernel: Any = np.ix_(*taps)
        dilation = [a.dilation // gcd(a.dilation, a.stride) for a in axes]
        part = _convolve(x, weight[:, :, *kernel], dilation)
        positions = [
            slice(t[0] * a.dilation, t[0] * a.dilation + n * a.stride, a.stride)
            for t, n, a in zip(taps, part.shape[2:], axes, strict=True)
        ]
        full[:, :, *positions] = part
    return _cut(full, axes)


def scatter(x: Array, weight: Array, axes: Axes) -> Array:
    """Add each input pixel's scaled kernel to the output: tap by tap, for all pixels at once.

    Args:
        x: (N, I, *size_in).
        weight: (I, O, *kernel).
        axes: one `upscore.geometry.Axis` for each spatial axis.

    Returns:
        (N, O, *size_out).
    """
    full = np.zeros((len(x), weight.shape[1], *(a.full for a in axes)), x.dtype)
    for tap in np.ndindex(weight.shape[2:]):
        positions = [
            slice(t * a.dilation, t * a.dilation + (a.size_in - 1) * a.stride + 1, a.stride)
            for t, a in zip(tap, axes, strict=True)
        ]
        full[:, :, *positions] += _mix(x, weight[:, :, *tap])
    return _cut(full, axes)


VIEWS: dict[str, Callable[[Array, Array, Axes], Array]] = {
    "matrix": matrix,
    "zero_insertion": zero_insertion,
    "subkernels": subkernels,
    "scatter": scatter,
}


def _mix(x: Array, weight: Array) -> Array:
    """Mix the channels of (N, I, ...) by (I, O)."""
    mixed: Array = np.einsum("ni...,io->no...", x, weight)
    return mixed


def _convolve(x: Array, weight: Array, dilation: Sequence[int]) -> Array:
    """Convolve with stride 1: zeros around `x`, and the flipped kernel slides over it."""
    margin = [(k - 1) * d for k, d in zip(weight.shape[2:], dilation, strict=True)]
    size = [n + m for n, m in zip(x.shape[2:], margin, strict=True)]
    x = np.pad(x, [(0, 0), (0, 0), *((m, m) for m in margin)])
    flipped = np.flip(weight, tuple(range(2, x.ndim)))
    y = np.zeros((len(x), weight.shape[1], *size), x.dtype)
    for tap in np.ndindex(weight.shape[2:]):
        window = [slice(t * d, t * d + n) for t, d, n in zip(tap, dilation, size, strict=True)]
        y += _mix(x[:, :, *window], flipped[:, :, *tap])
    return y


def _cut(full: Array, axes: Axes) -> Array:
    """Cut the ends of the full output, or append zeros."""
    full = np.pad(full, [(0, 0), (0, 0), *((0, max(-a.end, 0)) for a in axes)])
    return full[:, :, *(slice(a.begin, a.begin + a.size_out) for a in axes)]


def conv_transpose(
    x: ArrayLike,
    weight: ArrayLike,
    bias: ArrayLike | None = None,
    *,
    stride: PerAxis = 1,
    padding: PerAxis | Sequence[tuple[int, int]] = 0,
    output_padding: PerAxis = 0,
    dilation: PerAxis = 1,
    groups: int = 1,
    view: str = "scatter",
) -> Array:
    """Return the transposed convolution of `x` with `weight`, in any number of dimensions.

    Equivalent to `torch.nn.functional.conv_transpose2d(x, weight, bias, ...)` for two spatial axes.
    Integers are computed in int64, all else in float64 (complex128).

    Args:
        x: (N, C, *size) or (C, *size), numbers.
        weight: (C, O // groups, *kernel).
        bias: (O,), or None.
        stride: output pixels from one input pixel to the next, one number or one for each axis.
        padding: pixels cut from both ends of the full output, one number, or one or (begin, end)
            for each axis.
        output_padding: pixels given back at the end, one number or one for each axis.
        dilation: output pixels from one tap to the next, one number or one for each axis.
        groups: parts that the channels are divided into; each is computed by itself.
        view: "scatter", "subkernels", "zero_insertion" or "matrix": which of the functions above
            computes it.

    Returns:
        (N, O, *size_out) or (O, *size_out).

    Raises:
        ArgumentError: shapes do not fit, the geometry cannot be, or the output would have 2**31
            elements or more.
        ArgumentTypeError: something that is not a number.

    Source: Dumoulin and Visin 2016, "A guide to convolution arithmetic for deep learning".

    Examples:
        >>> conv_transpose([[[1, 2, 3]]], [[[1, 2, 1]]], stride=2)
        array([[[1, 2, 3, 4, 5, 6, 3]]])
    """
    x, weight = _numbers("x", x), _numbers("weight", weight)
    dim = weight.ndim - 2
    if dim < 1 or weight.size == 0:
        raise ArgumentError(
            f"weight must be (channels, outputs // groups, *kernel) with at least one element, "
            f"not of shape {weight.shape}"
        )
    batch = x[np.newaxis] if x.ndim == dim + 1 else x
    if batch.ndim != dim + 2:
        raise ArgumentError(
            f"x must be (batch, channels, *size) or (channels, *size) with as many spatial axes as "
            f"weight {weight.shape} has, {dim}, not of shape {x.shape}"
        )
    if view not in VIEWS:
        raise ArgumentError(f"view must be one of {', '.join(VIEWS)}, not {view!r}")
    channels, outputs = batch.shape[1], weight.shape[1] * whole("groups", groups, 1)
    if channels != weight.shape[0] or channels % groups:
        raise ArgumentError(
            f"x has {channels} channels, weight takes {weight.shape[0]}, and there are {groups} "
            f"groups: the first two must be equal and divisible by the third"
        )
    axes = [
        pytorch(*axis)
        for axis in zip(
            batch.shape[2:],
            weight.shape[2:],
            _per_axis("stride", stride, dim),
            _per_axis("padding", padding, dim),
            _per_axis("output_padding", output_padding, dim),
            _per_axis("dilation", dilation, dim),
            strict=True,
        )
    ]
    shape = (len(batch), outputs, *(a.size_out for a in axes))
    if prod(shape) > MOST_ELEMENTS:
        raise ArgumentError(f"an output of {shape} has more than {MOST_ELEMENTS} elements")
    dtype = np.result_type(x, weight, np.int64)
    parts = zip(
        np.split(batch.astype(dtype), groups, axis=1),
        np.split(weight.astype(dtype), groups, axis=0),
        strict=True,
    )
    y = np.concatenate([VIEWS[view](*part, axes) for part in parts], axis=1)
    if bias is not None:
        bias = _numbers("bias", bias)
        if bias.shape != (outputs,):
            raise ArgumentError(f"bias must be of shape ({outputs},), not {bias.shape}")
        y = y + bias.reshape(-1, *(1,) * dim)
    return y if batch is x else y[0]


def upsample_linear(
    scores: ArrayLike,
    size: int | Sequence[int],
    *,
    align_corners: bool = False,
    stride: int | None = None,
) -> NDArray[np.float64]:
    """Return `scores` with the last axes interpolated linearly.

    Equivalent to `torch.nn.functional.interpolate(scores, size, mode="bilinear",
    align_corners=...)` for `scores` (N, C, h, w) and `size` (H, W), in float64.

    Args:
        scores: an array of numbers.
        size: pixels along the last axes, one number for each of them; one number is (H, H).
        align_corners: as in `interpolate`.
        stride: sample on the grid of the FCN instead: the first H x W pixels of the s-fold
            enlargement, whatever the ratio of the sizes; see `upscore.geometry.linear_positions`.

    Returns:
        float64 array.

    Raises:
        ArgumentError: `scores` has too few axes, or a size or stride cannot be.
        ArgumentTypeError: something that is not a number.

    Examples:
        >>> upsample_linear([[0.0, 4.0]], (1, 4))
        array([[0., 1., 3., 4.]])
    """
    y = _numbers("scores", scores).astype(np.float64)
    sizes = tuple(size) if isinstance(size, Iterable) else (size, size)
    if y.ndim < len(sizes):
        raise ArgumentError(f"size {sizes} needs {len(sizes)} axes, scores have shape {y.shape}")
    for axis, size_out in enumerate(sizes, start=y.ndim - len(sizes)):
        low, high, weight = linear_positions(
            y.shape[axis], size_out, align_corners=align_corners, stride=stride
        )
        weight = weight.reshape(-1, *(1,) * (y.ndim - 1 - axis))
        y = y.take(low, axis) * (1 - weight) + y.take(high, axis) * weight
    return y


def _numbers(name: str, value: ArrayLike) -> Array:
    """Return `value` as an array of numbers."""
    array = np.asarray(value)
    if array.dtype.kind not in "biufc":
        raise ArgumentTypeError(f"{name} must hold numbers, not {array.dtype}")
    return array


def _per_axis(name: str, value: Any, dim: int) -> tuple[Any, ...]:
    """Return one value for each axis."""
    values = tuple(value) if isinstance(value, Iterable) else (value,) * dim
    if len(values) != dim:
        raise ArgumentError(
            f"{name} must be one number or {dim} of them, one an axis, not {value!r}"
        )
    return values
