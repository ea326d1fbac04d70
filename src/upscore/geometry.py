"""Where the pixels go: output sizes, crops and sampling positions of a transposed convolution.

Everything is said for one axis; the axes of a picture do not know of each other. Input pixel `i`
adds its kernel to the *full* output, tap `t` at `i * stride + t * dilation`. All that the
conventions disagree on is how many pixels to cut from its two ends:

    full      |-------------------------------------|     (size_in - 1) * stride + extent
    output            |-------------------------|         extent = (kernel - 1) * dilation + 1
              | begin |                         | end |   end < 0: zeros are appended instead

An `Axis` holds those numbers. Each convention has a reader, which makes an `Axis` of its own terms
(`pytorch`, `tensorflow`, `keras`, `caffe`, `onnx`), and a writer (`to_pytorch`, ...): one of each
converts between any two. Sizes and paddings are in pixels. docs/geometry.md derives it all.
"""

import operator
from dataclasses import dataclass, replace
from fractions import Fraction
from typing import NamedTuple

import numpy as np
from numpy.typing import NDArray

from upscore.errors import ArgumentError, ArgumentTypeError


def whole(name: str, value: object, least: int = 0) -> int:
    """Return `value` as an int of at least `least`, or say what was expected."""
    try:
        # While torch.compile or an exporter traces, sizes are symbols: index would make them fixed.
        symbol = type(value).__name__ == "SymInt"
        number: int = value if symbol else operator.index(value)  # type: ignore[arg-type, assignment]
    except TypeError:
        raise ArgumentTypeError(f"{name} must be a whole number, not {value!r}") from None
    if number < least:
        raise ArgumentError(f"{name} must be at least {least}, not {number}")
    return number


@dataclass(frozen=True)
class Axis:
    """One axis of a transposed convolution, and what is cut from the ends of its full output.

    >>> Axis(size_in=5, kernel=4, stride=2, begin=1, end=1).size_out
    10
    """

    size_in: int
    kernel: int
    stride: int = 1
    dilation: int = 1
    begin: int = 0
    end: int = 0

    def __post_init__(self) -> None:
        for name in ("size_in", "kernel", "stride", "dilation"):
            whole(name, getattr(self, name), 1)
        whole("padding at the beginning", self.begin)
        if self.size_out < 1:
            raise ArgumentError(
                f"cutting {self.begin} and {self.end} pixels from the ends of a full output of "
                f"{self.full} leaves nothing: cut at most {self.full - 1} in all"
            )

    @property
    def extent(self) -> int:
        """From the kernel's first tap to its last."""
        return (self.kernel - 1) * self.dilation + 1

    @property
    def full(self) -> int:
        """The size of the output before anything is cut."""
        return (self.size_in - 1) * self.stride + self.extent

    @property
    def size_out(self) -> int:
        """The size of the output."""
        return self.full - self.begin - self.end

    def cut(self, begin: int, size_out: int, possible: range) -> "Axis":
        """Return this axis with an output of `size_out`, one of those `possible`."""
        if whole("the output's size", size_out) not in possible:
            sizes = f"{possible[0]} to {possible[-1]}" if possible else "none"
            raise ArgumentError(
                f"no output of {size_out} pixels from {self.size_in} with kernel {self.kernel}, "
                f"stride {self.stride}, dilation {self.dilation} and {begin} pixels cut from the "
                f"beginning: possible sizes are {sizes}"
            )
        return replace(self, begin=begin, end=self.full - begin - size_out)


# --- Conventions ---------------------------------------------------------------------------------


def pytorch(
    size_in: int,
    kernel: int,
    stride: int = 1,
    padding: int | tuple[int, int] = 0,
    output_padding: int = 0,
    dilation: int = 1,
    *,
    output_size: int | None = None,
) -> Axis:
    """Read the arguments of `torch.nn.functional.conv_transpose1d`.

    `padding` is cut from both ends, `output_padding` given back at the end; `output_size` says the
    latter as `torch.nn.ConvTranspose1d` does. `padding` may also be (begin, end), for which
    PyTorch itself has no word.

    Raises ValueError for an `output_padding` of `max(stride, dilation)` or more, and for an
    `output_size` that no `output_padding` below `stride` makes.

    >>> pytorch(5, kernel=3, stride=2, padding=1, output_size=10)
    Axis(size_in=5, kernel=3, stride=2, dilation=1, begin=1, end=0)
    """
    axis = Axis(size_in, kernel, stride, dilation)
    begin, end = padding if isinstance(padding, tuple) else (padding, padding)
    least = axis.full - whole("padding", begin) - whole("padding", end)
    if output_size is not None:
        return axis.cut(begin, output_size, range(max(least, 1), least + stride))
    if whole("output_padding", output_padding) >= max(stride, dilation):
        raise ArgumentError(
            f"output_padding must be below the stride or the dilation, so at most "
            f"{max(stride, dilation) - 1}, not {output_padding}"
        )
    return replace(axis, begin=begin, end=end - output_padding)


def to_pytorch(axis: Axis) -> tuple[int, int, slice]:
    """Return `padding`, `output_padding`, and the slice to take of what PyTorch makes with them.

    >>> to_pytorch(tensorflow(5, kernel=4, stride=2, padding="SAME", output_size=9))
    (1, 0, slice(0, 9, None))
    """
    padding, output_padding = axis.begin, axis.begin - axis.end
    if not 0 <= output_padding < max(axis.stride, axis.dilation):
        padding, output_padding = max(min(axis.begin, axis.end), 0), max(-axis.end, 0)
    first = axis.begin - padding
    return padding, output_padding, slice(first, first + axis.size_out)


def tensorflow(
    size_in: int,
    kernel: int,
    stride: int = 1,
    padding: str | tuple[int, int] = "SAME",
    output_size: int | None = None,
    dilation: int = 1,
) -> Axis:
    """Read the arguments of `tf.nn.conv2d_transpose`; `padding` is "SAME", "VALID" or (begin, end).

    The padding is that of the ordinary convolution from `output_size` back to `size_in`: for "SAME"
    as even as can be, with the odd pixel at the end. Left out, `output_size` is `size_in * stride`
    for "SAME" and else the full output less the padding.

    Raises ValueError for an `output_size` which that convolution does not bring to `size_in`.

    >>> tensorflow(5, kernel=4, stride=2, padding="SAME", output_size=9)
    Axis(size_in=5, kernel=4, stride=2, dilation=1, begin=1, end=2)
    """
    axis = Axis(size_in, kernel, stride, dilation)
    if padding == "SAME":
        size_out = size_in * stride if output_size is None else output_size
        begin = max(axis.full - size_out, 0) // 2
        return axis.cut(begin, size_out, range((size_in - 1) * stride + 1, size_in * stride + 1))
    if padding == "VALID":
        padding = (0, 0)
    if not isinstance(padding, tuple):
        raise ArgumentError(f'padding must be "SAME", "VALID" or (begin, end), not {padding!r}')
    return pytorch(size_in, kernel, stride, padding, 0, dilation, output_size=output_size)


def to_tensorflow(axis: Axis) -> tuple[str | tuple[int, int], int]:
    """Return `padding` and the output's size for `tf.nn.conv2d_transpose`.

    Raises ValueError where `stride` or more pixels of zeros are appended, which it cannot do.

    >>> to_tensorflow(pytorch(5, kernel=4, stride=2, padding=1))
    ('SAME', 10)
    """
    if axis.end <= -axis.stride:
        raise ArgumentError(
            f"TensorFlow cannot append {-axis.end} pixels of zeros with stride {axis.stride}: an "
            f"output of at most {axis.full - axis.begin + axis.stride - 1} pixels is possible"
        )
    even = axis.begin == max(axis.full - axis.size_out, 0) // 2
    if even and 0 <= axis.size_in * axis.stride - axis.size_out < axis.stride:
        return "SAME", axis.size_out
    if axis.begin == 0 and axis.end <= 0:
        return "VALID", axis.size_out
    return (axis.begin, max(axis.end, 0)), axis.size_out


def keras(
    size_in: int,
    kernel: int,
    stride: int = 1,
    padding: str = "valid",
    output_padding: int | None = None,
    dilation: int = 1,
) -> Axis:
    """Read the arguments of `keras.layers.Conv1DTranspose` as its TensorFlow backend does.

    `padding` is "same" or "valid"; Keras turns `output_padding` into TensorFlow's output size.

    >>> keras(5, kernel=3, stride=2, padding="same").size_out
    10
    """
    axis = Axis(size_in, kernel, stride, dilation)
    if padding not in ("same", "valid"):
        raise ArgumentError(f'padding must be "same" or "valid", not {padding!r}')
    if output_padding is not None:
        least = axis.full - (axis.extent // 2 * 2 if padding == "same" else 0)
        size_out = least + whole("output_padding", output_padding)
    else:
        size_out = size_in * stride if padding == "same" else max(axis.full, size_in * stride)
    return tensorflow(size_in, kernel, stride, padding.upper(), size_out, dilation)


def caffe(
    size_in: int,
    kernel: int,
    stride: int = 1,
    pad: int = 0,
    dilation: int = 1,
    *,
    offset: int = 0,
    crop_size: int | None = None,
) -> Axis:
    """Read a Caffe `Deconvolution` and the `Crop` after it, if there is one.

    `pad` is cut from both ends, then `offset` from the beginning and all beyond `crop_size` pixels.
    `crop_offset` computes the offset which a network needs.

    >>> caffe(22, kernel=64, stride=32, offset=19, crop_size=500).end
    217
    """
    axis = pytorch(size_in, kernel, stride, pad, 0, dilation)
    most = axis.size_out - whole("offset", offset)
    return axis.cut(pad + offset, most if crop_size is None else crop_size, range(1, most + 1))


def to_caffe(axis: Axis) -> tuple[int, int]:
    """Return `pad` and the `offset` of the crop to the output's size.

    Raises ValueError where zeros are appended, which Caffe cannot do.

    >>> to_caffe(pytorch(5, kernel=3, stride=2, padding=1, output_padding=1))
    (0, 1)
    """
    if axis.end < 0:
        raise ArgumentError(
            f"Caffe cannot append the {-axis.end} pixels of zeros in an output of "
            f"{axis.size_out}: at most {axis.full - axis.begin} pixels are possible"
        )
    pad = min(axis.begin, axis.end)
    return pad, axis.begin - pad


def onnx(
    size_in: int,
    kernel: int,
    stride: int = 1,
    pads: tuple[int, int] = (0, 0),
    output_padding: int = 0,
    dilation: int = 1,
    *,
    auto_pad: str = "NOTSET",
    output_shape: int | None = None,
) -> Axis:
    """Read the attributes of ONNX's `ConvTranspose`, with `pads` (begin, end).

    `output_shape` replaces `pads`, and so does `auto_pad`: "VALID" is none, "SAME_UPPER" and
    "SAME_LOWER" make `size_in * stride`. An odd pixel is cut at the end for "SAME_UPPER" and else
    at the beginning. Like ONNX Runtime, "SAME" appends nothing to a full output that is smaller.

    >>> onnx(5, kernel=3, stride=2, auto_pad="SAME_LOWER")
    Axis(size_in=5, kernel=3, stride=2, dilation=1, begin=1, end=0)
    """
    if auto_pad not in ("NOTSET", "VALID", "SAME_UPPER", "SAME_LOWER"):
        raise ArgumentError(
            f"auto_pad must be NOTSET, VALID, SAME_UPPER or SAME_LOWER, not {auto_pad!r}"
        )
    axis = pytorch(size_in, kernel, stride, (0, 0), output_padding, dilation)
    if output_shape is None and auto_pad.startswith("SAME"):
        output_shape = min(size_in * stride, axis.size_out)
    if output_shape is None:
        pads = (0, 0) if auto_pad == "VALID" else pads
        return pytorch(size_in, kernel, stride, pads, output_padding, dilation)
    total = max(axis.size_out - output_shape, 0)
    begin = total // 2 if auto_pad == "SAME_UPPER" else total - total // 2
    return axis.cut(begin, output_shape, range(1, axis.full + stride))


def to_onnx(axis: Axis) -> tuple[tuple[int, int], int]:
    """Return `pads` (begin, end) and `output_padding`.

    >>> to_onnx(tensorflow(5, kernel=4, stride=2, padding="SAME", output_size=9))
    ((1, 2), 0)
    """
    return (axis.begin, max(axis.end, 0)), max(-axis.end, 0)


# --- Sampling ------------------------------------------------------------------------------------


class Grid(NamedTuple):
    """Where the pixels of a layer lie: pixel `i` at `start + i * step`, in pixels of the input."""

    start: Fraction = Fraction(0)
    step: Fraction = Fraction(1)


def convolved(
    grid: Grid, kernel: int, stride: int = 1, padding: int = 0, dilation: int = 1
) -> Grid:
    """Return the grid after a convolution or a pooling of `grid`: the centres of its windows.

    >>> convolved(Grid(), kernel=2, stride=2)
    Grid(start=Fraction(1, 2), step=Fraction(2, 1))
    """
    centre = Fraction(dilation * (kernel - 1), 2)
    return Grid(grid.start + (centre - padding) * grid.step, grid.step * stride)


def transposed(
    grid: Grid, kernel: int, stride: int = 1, padding: int = 0, dilation: int = 1
) -> Grid:
    """Return the grid after a transposed convolution of `grid` with `padding` cut at the beginning.

    >>> transposed(Grid(), kernel=4, stride=2, padding=1)
    Grid(start=Fraction(-1, 4), step=Fraction(1, 2))
    """
    centre = Fraction(dilation * (kernel - 1), 2)
    step = grid.step / stride
    return Grid(grid.start + (padding - centre) * step, step)


def crop_offset(grid: Grid, onto: Grid) -> int:
    """Return which pixel of `grid` lies on the first of `onto`: the offset of a Caffe `Crop`.

    `caffe.coord_map.crop`; raises ValueError where no pixel does.

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

    Positions are those of pixel centres: 0 is the first input pixel, `size_in - 1` the last.

    >>> sampling(pytorch(2, kernel=4, stride=2, padding=1)).tolist()
    [-0.25, 0.25, 0.75, 1.25]
    """
    start, step = transposed(Grid(), axis.kernel, axis.stride, axis.begin, axis.dilation)
    return np.array([float(start + i * step) for i in range(axis.size_out)])


def shift(axis: Axis, *, align_corners: bool = False) -> float:
    """Return how many output pixels the content lies too far towards the end.

    Compared with `interpolate(scale_factor=stride, align_corners=False)`, which samples output
    pixel `o` at `(o + 0.5) / stride - 0.5`, or with corners aligned, at `o / stride`.

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
    """Return where each output pixel samples linearly: low index, high index, weight of the high.

    The positions of `torch.nn.functional.interpolate(mode="linear", align_corners=...)` to
    `size_out` pixels. With `stride=s` instead those of the FCN: the first `size_out` pixels of the
    s-fold enlargement, `(i + 0.5) / s - 0.5` whatever the ratio of the sizes; s may be a fraction,
    below 1 too. Positions before the first or after the last input pixel are held there. Two int64
    arrays and a float64 one of `size_out` elements; the weights are exact fractions, rounded once.

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
