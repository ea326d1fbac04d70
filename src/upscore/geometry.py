"""Where the pixels go: output sizes, crops and sampling positions of a transposed convolution.

Everything is said for one axis; a picture has two of them, treated alike. Input pixel `i` adds its
kernel to the *full* output, tap `t` at `i * stride + t * dilation`. Each convention then only
differs in how many pixels it cuts from the two ends of that full output:

    full     |--------------------------------------|     (n - 1) * stride + dilation * (k - 1) + 1
    output         |---------------------------|          full - begin - end
              begin                              end      end < 0: zeros are appended instead

`Axis` holds those numbers. One reader for each convention makes an `Axis` (`pytorch`,
`tensorflow`, `keras`, `caffe`, `onnx`), one writer says it again (`to_pytorch`, ...), so a
conversion is a reader and a writer. See docs/geometry.md for the derivations.
"""

import operator

import numpy as np
from numpy.typing import NDArray


def whole(name: str, value: object, least: int = 0) -> int:
    """Return `value` as an int of at least `least`, or say what was expected."""
    try:
        number = operator.index(value)  # type: ignore[arg-type]
    except TypeError:
        raise TypeError(f"{name} must be a whole number, not {value!r}") from None
    if number < least:
        raise ValueError(f"{name} must be at least {least}, not {number}")
    return number


def transposed_size(
    size_in: int,
    kernel: int,
    stride: int = 1,
    padding: int | tuple[int, int] = 0,
    output_padding: int = 0,
    dilation: int = 1,
) -> int:
    """Return the output size of a transposed convolution along one axis.

    `torch.nn.functional.conv_transpose1d(...).shape[-1]`; `padding` may also be (begin, end).

    >>> transposed_size(5, kernel=4, stride=2, padding=1)
    10
    """
    begin, end = padding if isinstance(padding, tuple) else (padding, padding)
    return (size_in - 1) * stride + dilation * (kernel - 1) + 1 - begin - end + output_padding


def upscore_padding(factor: int) -> int:
    """Return the padding with which the bilinear kernel `2f - f % 2` maps n pixels to n * f, aligned.

    `ConvTranspose2d(c, c, 2 * f - f % 2, stride=f, padding=f // 2)` then samples like
    `interpolate(scale_factor=f, mode="bilinear", align_corners=False)`.

    >>> [upscore_padding(f) for f in (2, 3, 4, 8)]
    [1, 1, 2, 4]
    """
    return whole("factor", factor, 1) // 2


def linear_positions(
    size_in: int, size_out: int, *, align_corners: bool = False, stride: int | None = None
) -> tuple[NDArray[np.int64], NDArray[np.int64], NDArray[np.float64]]:
    """Return where each output pixel samples linearly: low index, high index, weight of the high.

    The positions of `torch.nn.functional.interpolate(mode="linear", align_corners=...)` to
    `size_out` pixels. With `stride=s` instead those of the FCN: the first `size_out` pixels of the
    s-fold enlargement, `(i + 0.5) / s - 0.5` whatever the ratio of the sizes. Positions beyond the
    first or the last input pixel are held there. Two int64 arrays and a float64 array of
    `size_out` elements; the weights are exact fractions, rounded once.

    >>> low, high, weight = linear_positions(2, 4)
    >>> low.tolist(), high.tolist(), weight.tolist()
    ([0, 0, 0, 1], [1, 1, 1, 1], [0.0, 0.25, 0.75, 0.0])
    """
    size_in, size_out = whole("size_in", size_in, 1), whole("size_out", size_out, 1)
    i = np.arange(size_out, dtype=np.int64)
    if stride is not None:
        if align_corners:
            raise ValueError("stride and align_corners name two different grids: give one of them")
        stride = whole("stride", stride, 1)
        above, below = 2 * i + 1 - stride, 2 * stride
    elif align_corners:
        above, below = i * (size_in - 1), max(size_out - 1, 1)
    else:
        above, below = (2 * i + 1) * size_in - size_out, 2 * size_out
    above = np.clip(above, 0, (size_in - 1) * below)
    low = above // below
    return low, np.minimum(low + 1, size_in - 1), above % below / below
