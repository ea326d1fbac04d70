"""The definition against hand computation, its own views, PyTorch in float64, and its adjoint."""

import numpy as np
import pytest
import torch
import torch.nn.functional as F
from hypothesis import given, settings
from hypothesis import strategies as st

from upscore import definition, geometry

CONV = {1: F.conv1d, 2: F.conv2d, 3: F.conv3d}
CONV_TRANSPOSE = {1: F.conv_transpose1d, 2: F.conv_transpose2d, 3: F.conv_transpose3d}
FAST = settings(max_examples=150, deadline=None)


@st.composite
def cases(draw, most_dim=3):
    """Draw the shapes and the arguments of a transposed convolution."""
    dim = draw(st.integers(1, most_dim))

    def per_axis(least, most):
        return tuple(draw(st.integers(least, most)) for _ in range(dim))

    size, kernel = per_axis(1, 5 if dim < 3 else 3), per_axis(1, 5 if dim < 3 else 3)
    stride, dilation = per_axis(1, 4), per_axis(1, 3)
    output_padding = tuple(
        draw(st.integers(0, max(s, d) - 1)) for s, d in zip(stride, dilation, strict=True)
    )
    padding = tuple(
        draw(st.integers(0, (geometry.Axis(*axis).full + op - 1) // 2))
        for axis, op in zip(
            zip(size, kernel, stride, dilation, strict=True), output_padding, strict=True
        )
    )
    groups = draw(st.integers(1, 3))
    channels, outputs = groups * draw(st.integers(1, 2)), draw(st.integers(1, 3))
    shapes = (draw(st.integers(1, 2)), channels, *size), (channels, outputs, *kernel)
    arguments = {
        "stride": stride,
        "padding": padding,
        "output_padding": output_padding,
        "dilation": dilation,
        "groups": groups,
    }
    return shapes, arguments


def integers(shape, seed=0):
    return np.random.default_rng(seed).integers(-9, 10, shape)


@FAST
@given(cases())
def test_every_view_is_pytorch_exactly_on_integers(case):
    (x_shape, weight_shape), arguments = case
    x, weight, bias = integers(x_shape), integers(weight_shape, 1), integers(weight_shape[1], 2)
    bias = np.tile(bias, arguments["groups"])
    tensors = [torch.from_numpy(a).double() for a in (x, weight, bias)]
    expected = CONV_TRANSPOSE[x.ndim - 2](*tensors, **arguments).numpy()
    for view in definition.VIEWS:
        y = definition.conv_transpose(x, weight, bias, **arguments, view=view)
        assert y.dtype == np.int64
        np.testing.assert_array_equal(y, expected, err_msg=view)
