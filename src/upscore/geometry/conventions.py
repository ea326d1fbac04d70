"""Readers and writers: an `Axis` in the terms of PyTorch, TensorFlow, Keras, Caffe and ONNX."""

from dataclasses import replace

from upscore.errors import ArgumentError
from upscore.geometry.axis import Axis, whole


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

    Args:
        size_in: pixels of the input.
        kernel: taps of the kernel.
        stride: output pixels from one input pixel to the next.
        padding: pixels cut from both ends, or (begin, end), for which PyTorch itself has no word.
        output_padding: pixels given back at the end.
        dilation: output pixels from one tap to the next.
        output_size: pixels of the output, instead of `output_padding`, as in
            `torch.nn.ConvTranspose1d`.

    Returns:
        An `Axis`.

    Raises:
        ArgumentError: `output_padding` is `max(stride, dilation)` or more, or no `output_padding`
            below `stride` makes `output_size`.

    Examples:
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
    """Return what makes PyTorch compute an axis.

    Args:
        axis: the axis.

    Returns:
        `padding`, `output_padding`, and the slice to take of what PyTorch makes with them.

    Examples:
        >>> from upscore.geometry import tensorflow
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
    """Read the arguments of `tf.nn.conv2d_transpose` for one axis.

    The padding is that of the ordinary convolution from `output_size` back to `size_in`: for "SAME"
    as even as can be, with the odd pixel at the end.

    Args:
        size_in: pixels of the input.
        kernel: taps of the kernel.
        stride: output pixels from one input pixel to the next.
        padding: "SAME", "VALID" or (begin, end).
        output_size: pixels of the output. Not given: `size_in * stride` for "SAME" and else the
            full output less the padding.
        dilation: output pixels from one tap to the next.

    Returns:
        An `Axis`.

    Raises:
        ArgumentError: that convolution does not bring `output_size` to `size_in`, or there is no
            such padding.

    Examples:
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
    """Return what makes TensorFlow compute an axis.

    Args:
        axis: the axis.

    Returns:
        `padding` and the output's size for `tf.nn.conv2d_transpose`.

    Raises:
        ArgumentError: `stride` or more pixels of zeros are appended, which TensorFlow cannot do.

    Examples:
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

    Args:
        size_in: pixels of the input.
        kernel: taps of the kernel.
        stride: output pixels from one input pixel to the next.
        padding: "same" or "valid".
        output_padding: what Keras turns into TensorFlow's output size; None for its default.
        dilation: output pixels from one tap to the next.

    Returns:
        An `Axis`.

    Raises:
        ArgumentError: no such padding, or an output that cannot be.

    Examples:
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

    `upscore.geometry.crop_offset` computes the offset which a network needs.

    Args:
        size_in: pixels of the input.
        kernel: taps of the kernel.
        stride: output pixels from one input pixel to the next.
        pad: pixels cut from both ends.
        dilation: output pixels from one tap to the next.
        offset: pixels that the `Crop` cuts from the beginning of the rest.
        crop_size: pixels that the `Crop` keeps; all if not given.

    Returns:
        An `Axis`.

    Raises:
        ArgumentError: the crop keeps more pixels than there are, or a number cannot be.

    Examples:
        >>> caffe(22, kernel=64, stride=32, offset=19, crop_size=500).end
        217
    """
    axis = pytorch(size_in, kernel, stride, pad, 0, dilation)
    most = axis.size_out - whole("offset", offset)
    return axis.cut(pad + offset, most if crop_size is None else crop_size, range(1, most + 1))


def to_caffe(axis: Axis) -> tuple[int, int]:
    """Return what makes Caffe compute an axis.

    Args:
        axis: the axis.

    Returns:
        `pad`, and the `offset` of the crop to the output's size.

    Raises:
        ArgumentError: zeros are appended, which Caffe cannot do.

    Examples:
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
    """Read the attributes of ONNX's `ConvTranspose`.

    `output_shape` replaces `pads`, and so does `auto_pad`. Like ONNX Runtime, "SAME" appends
    nothing to a full output that is smaller.

    Args:
        size_in: pixels of the input.
        kernel: taps of the kernel.
        stride: output pixels from one input pixel to the next.
        pads: pixels cut from (begin, end).
        output_padding: pixels given back at the end.
        dilation: output pixels from one tap to the next.
        auto_pad: "NOTSET" for `pads`, "VALID" for none; "SAME_UPPER" and "SAME_LOWER" make `size_in
            * stride` pixels. An odd pixel is cut at the end for "SAME_UPPER" and else at the
            beginning.
        output_shape: pixels of the output.

    Returns:
        An `Axis`.

    Raises:
        ArgumentError: no such `auto_pad`, or an output that cannot be.

    Examples:
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
    """Return what makes ONNX compute an axis.

    Args:
        axis: the axis.

    Returns:
        `pads` (begin, end) and `output_padding`.

    Examples:
        >>> to_onnx(tensorflow(5, kernel=4, stride=2, padding="SAME", output_size=9))
        ((1, 2), 0)
    """
    return (axis.begin, max(axis.end, 0)), max(-axis.end, 0)
