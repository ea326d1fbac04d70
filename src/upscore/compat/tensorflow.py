"""The tutorial's two functions, with the meaning that TensorFlow 1 gave them.

"Image Segmentation with TensorFlow" (Daniil Pakhomov, 2016) enlarges pictures and scores with
`upsample_layer`. Here it works on NumPy arrays and torch tensors alike, in TensorFlow's layouts:
pictures are (batch, height, width, channels), filters (height, width, out, in). TensorFlow itself
is not needed. docs/explanation/tensorflow.md says where this layer puts the pixels, and how to
align them.
"""

from collections.abc import Sequence
from typing import Any

import numpy as np
from numpy.typing import NDArray

from upscore import definition, geometry
from upscore.arrays import TORCH
from upscore.errors import ArgumentError


def get_bilinear_filter(filter_shape: Sequence[int], upscale_factor: int) -> NDArray[np.float32]:
    """Return the tutorial's bilinear filter.

    Input channel i reaches output channel i alone. The centre is tap `factor - 1` for an odd width
    and `factor - 0.5` for an even one, so that only a kernel of `2 * factor - factor % 2`
    interpolates; others are computed as in the tutorial.

    Args:
        filter_shape: (height, width, out, in).
        upscale_factor: the enlargement, a whole number of at least 1.

    Returns:
        float32 array of `filter_shape`.

    Raises:
        ArgumentError: the shape has not four numbers, or more outputs than inputs.
        ArgumentTypeError: a number that is not whole.

    Source: Pakhomov 2016, "Image Segmentation with TensorFlow".

    Examples:
        >>> get_bilinear_filter([4, 4, 1, 1], 2)[:, 1, 0, 0] * 4 / 3
        array([0.25, 0.75, 0.75, 0.25], dtype=float32)
    """
    if len(filter_shape) != 4:
        raise ArgumentError(f"filter_shape must be (height, width, out, in), not {filter_shape}")
    height, width, outputs, inputs = (geometry.whole("filter_shape", n, 1) for n in filter_shape)
    factor = geometry.whole("upscale_factor", upscale_factor, 1)
    if outputs > inputs:
        raise ArgumentError(
            f"filter_shape {filter_shape} has no input for outputs {inputs} and beyond"
        )
    centre = factor - 1 if width % 2 else factor - 0.5
    down, across = (1 - np.abs(np.arange(n) - centre) / factor for n in (height, width))
    taps = np.multiply.outer(down, across)
    filters: NDArray[np.float64] = np.multiply.outer(taps, np.eye(outputs, inputs))
    return filters.astype(np.float32)


def upsample_layer(bottom: Any, n_channels: int, name: str, upscale_factor: int) -> Any:
    """Return an array enlarged as in the tutorial, to `(size - 1) * factor + 1` pixels.

    Equivalent to `conv2d_transpose(bottom, get_bilinear_filter([k, k, n_channels, n_channels],
    factor), output_shape, [1, factor, factor, 1], "SAME")` with `k = 2 * factor - factor % 2`.
    Output pixel `o` samples input position `o / factor` for an odd factor and `(o - 0.5) / factor`
    for an even one: half a pixel towards the end. Beyond the edges lie zeros.

    Args:
        bottom: (batch, height, width, n_channels), an array or a tensor.
        n_channels: channels of `bottom`.
        name: the layer's name, for errors.
        upscale_factor: the enlargement, a whole number of at least 1.

    Returns:
        (batch, height', width', n_channels), in framework and dtype as of `conv2d_transpose`.

    Raises:
        ArgumentError: `bottom` has another shape, or the factor is below 1.

    Source: Pakhomov 2016, "Image Segmentation with TensorFlow".

    Examples:
        >>> upsample_layer(np.ones((1, 2, 3, 1)), 1, "upsample", 3).shape
        (1, 4, 7, 1)
    """
    bottom, channels = _pixels(bottom), geometry.whole("n_channels", n_channels, 1)
    if bottom.shape[3] != channels:
        raise ArgumentError(
            f"layer {name!r} enlarges each of {channels} channels, but bottom of shape "
            f"{tuple(bottom.shape)} has {bottom.shape[3]} in its last axis"
        )
    factor = geometry.whole("upscale_factor", upscale_factor, 1)
    kernel = 2 * factor - factor % 2
    axes = [
        geometry.tensorflow(size, kernel, factor, "SAME", (size - 1) * factor + 1)
        for size in bottom.shape[1:3]
    ]
    # The filter is zero off the diagonal of channels, so each channel needs its own alone.
    filters = np.tile(get_bilinear_filter([kernel, kernel, 1, 1], factor), channels)
    return _transpose(bottom, filters, axes, groups=channels)


def conv2d_transpose(
    value: Any,
    filters: Any,
    output_shape: Sequence[int],
    strides: Sequence[int],
    padding: str | Sequence[tuple[int, int]] = "SAME",
) -> Any:
    """Return what `tf.nn.conv2d_transpose` returns.

    Args:
        value: (batch, height, width, in), an array or a tensor.
        filters: (height, width, out, in).
        output_shape: (batch, height, width, out).
        strides: (1, down, across, 1).
        padding: "SAME", "VALID" or ((0, 0), (top, bottom), (left, right), (0, 0)).

    Returns:
        Array of `output_shape`; for a torch tensor a tensor, with gradients to `value` and
        `filters`. In the dtype of `value`, float32 for integers.

    Raises:
        ArgumentError: strides and padding do not lead back from `output_shape` to the shape of
            `value` (the message says which sizes do), or another argument does not fit.

    Source: TensorFlow, `tf.nn.conv2d_transpose`.

    Examples:
        >>> row = np.array([[1.0, 2.0]]).reshape(1, 1, 2, 1)
        >>> conv2d_transpose(row, np.ones((1, 3, 1, 1)), [1, 1, 4, 1], [1, 1, 2, 1]).ravel()
        array([1., 1., 3., 2.])
    """
    value = _pixels(value)
    expected = (len(value), filters.shape[2])
    if len(output_shape) != 4 or (output_shape[0], output_shape[3]) != expected:
        raise ArgumentError(
            f"output_shape must be ({expected[0]}, height, width, {expected[1]}) for value "
            f"{tuple(value.shape)} and filters {tuple(filters.shape)}, not {tuple(output_shape)}"
        )
    if len(strides) != 4 or strides[0] != 1 or strides[3] != 1:
        raise ArgumentError(f"strides must be (1, down, across, 1), not {tuple(strides)}")
    pads: list[str | tuple[int, int]] = (
        [padding, padding] if isinstance(padding, str) else [(b, e) for b, e in padding[1:3]]
    )
    axes = [
        geometry.tensorflow(value.shape[i], filters.shape[i - 1], strides[i], pad, output_shape[i])
        for i, pad in enumerate(pads, start=1)
    ]
    return _transpose(value, filters, axes)


def _pixels(value: Any) -> Any:
    """Return a float array or tensor of pixels (batch, height, width, channels)."""
    if TORCH.owns(value):
        value = value if value.is_floating_point() else value.float()
    else:
        value = np.asarray(value)
        value = value if value.dtype.kind == "f" else value.astype(np.float32)
    if value.ndim != 4:
        raise ArgumentError(
            f"expected (batch, height, width, channels), not the shape {tuple(value.shape)}"
        )
    return value


def _transpose(value: Any, filters: Any, axes: Sequence[geometry.Axis], *, groups: int = 1) -> Any:
    """Apply filters (height, width, out // groups, in) along `axes`."""
    stride = [axis.stride for axis in axes]
    if TORCH.owns(value):
        import torch

        weight = torch.as_tensor(filters, dtype=value.dtype, device=value.device)
        padding, output_padding, kept = zip(*map(geometry.to_pytorch, axes), strict=True)
        y = torch.nn.functional.conv_transpose2d(
            value.permute(0, 3, 1, 2),
            weight.permute(3, 2, 0, 1),
            stride=stride,
            padding=padding,
            output_padding=output_padding,
            groups=groups,
        )
        return y[:, :, kept[0], kept[1]].permute(0, 2, 3, 1)
    pads, output_padding = zip(*map(geometry.to_onnx, axes), strict=True)
    array = definition.conv_transpose(
        np.transpose(value, (0, 3, 1, 2)),
        np.transpose(filters, (3, 2, 0, 1)),
        stride=stride,
        padding=pads,
        output_padding=output_padding,
        groups=groups,
    )
    return np.transpose(array, (0, 2, 3, 1)).astype(value.dtype)
