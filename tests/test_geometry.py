"""Geometry against each framework: what it returns, not only how much of it."""

import json
from fractions import Fraction
from itertools import product
from pathlib import Path

import numpy as np
import onnx
import onnxruntime
import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st

from upscore import geometry
from upscore.definition import conv_transpose
from upscore.filters import bilinear_filter
from upscore.geometry import Axis, Grid, convolved, crop_offset, transposed

GOLDEN = Path(__file__).parent / "golden"
SETTINGS = settings(max_examples=300, deadline=None, derandomize=True)


def line(x, taps, axis):
    """Transpose-convolve a line along an axis."""
    pads, output_padding = geometry.to_onnx(axis)
    return conv_transpose(
        [[x]],
        [[taps]],
        stride=axis.stride,
        dilation=axis.dilation,
        padding=[pads],
        output_padding=output_padding,
    )[0, 0]


@st.composite
def axes(draw):
    """Draw any axis with an output."""
    n, k, s, d = (draw(st.integers(1, most)) for most in (6, 6, 5, 3))
    full = Axis(n, k, s, d).full
    end = draw(st.integers(1 - max(s, d), full - 1))
    return Axis(n, k, s, d, draw(st.integers(0, full - max(end, 0) - 1)), end)


# --- PyTorch -------------------------------------------------------------------------------------


@pytest.mark.parametrize("stride", [1, 2, 3])
@pytest.mark.parametrize("kernel", [1, 2, 3, 5])
def test_output_size_is_pytorchs(kernel, stride):
    layer = torch.nn.ConvTranspose1d(1, 1, kernel, stride, padding=kernel // 2)
    x = torch.zeros(1, 1, 5)
    for size in range(30):
        arguments = (5, kernel, stride, kernel // 2)
        try:
            expected = layer(x, output_size=[size]).shape[2]
        except ValueError:
            with pytest.raises(ValueError, match="possible sizes are"):
                geometry.pytorch(*arguments, output_size=size)
        else:
            assert geometry.pytorch(*arguments, output_size=size).size_out == expected == size


@SETTINGS
@given(axes())
def test_pytorch_can_say_every_axis_with_a_slice(axis):
    padding, output_padding, kept = geometry.to_pytorch(axis)
    x, taps = np.arange(1.0, axis.size_in + 1), 10.0 ** np.arange(axis.kernel)
    y = torch.nn.functional.conv_transpose1d(
        torch.from_numpy(x)[None, None],
        torch.from_numpy(taps)[None, None],
        stride=axis.stride,
        padding=padding,
        output_padding=output_padding,
        dilation=axis.dilation,
    )
    np.testing.assert_array_equal(y[0, 0, kept].numpy(), line(x, taps, axis))
    if 0 <= axis.begin - axis.end < axis.stride:  # PyTorch's own: nothing is sliced away
        assert kept == slice(0, y.shape[2])
    assert y.shape[2] - axis.size_out <= abs(axis.begin - axis.end)  # and else no more than need be


# --- The others ----------------------------------------------------------------------------------


@SETTINGS
@given(axes())
def test_what_is_written_reads_the_same(axis):
    n, k, s, d = axis.size_in, axis.kernel, axis.stride, axis.dilation
    pads, output_padding = geometry.to_onnx(axis)
    assert geometry.onnx(n, k, s, pads, output_padding, d) == axis
    if axis.end > -s:
        padding, size = geometry.to_tensorflow(axis)
        assert geometry.tensorflow(n, k, s, padding, size, d) == axis
    else:
        with pytest.raises(ValueError, match="TensorFlow cannot append"):
            geometry.to_tensorflow(axis)
    if axis.end >= 0:
        pad, offset = geometry.to_caffe(axis)
        assert geometry.caffe(n, k, s, pad, d, offset=offset, crop_size=axis.size_out) == axis
    else:
        with pytest.raises(ValueError, match="Caffe cannot append"):
            geometry.to_caffe(axis)


def test_keras_is_what_keras_returns():
    golden = np.load(GOLDEN / "tensorflow_keras.npz")
    x, taps = golden["value"].ravel(), golden["filters"].ravel()
    cases = json.loads(str(golden["cases"]))
    refused = 0
    for i, (kernel, stride, padding, output_padding, dilation) in enumerate(cases):
        arguments = (len(x), kernel, stride, padding, output_padding, dilation)
        expected = golden[f"y_{i}"].ravel()
        if not len(expected):
            refused += 1
            with pytest.raises(ValueError, match="possible sizes are"):
                geometry.keras(*arguments)
            continue
        axis = geometry.keras(*arguments)
        np.testing.assert_array_equal(line(x, taps[:kernel], axis), expected, str(arguments))
    assert 0 < refused < len(cases) / 10


def run_onnx(x, taps, stride, dilation, attributes):
    """Run ONNX's ConvTranspose with its reference runtime."""
    tensor = onnx.helper.make_tensor_value_info
    node = onnx.helper.make_node(
        "ConvTranspose", ["x", "w"], ["y"], strides=[stride], dilations=[dilation], **attributes
    )
    graph = onnx.helper.make_graph(
        [node],
        "line",
        [tensor("x", 1, [1, 1, len(x)]), tensor("w", 1, [1, 1, len(taps)])],
        [tensor("y", 1, None)],
    )
    opset = onnx.helper.make_opsetid("", 17)
    model = onnx.helper.make_model(graph, opset_imports=[opset], ir_version=9)
    session = onnxruntime.InferenceSession(
        model.SerializeToString(), providers=["CPUExecutionProvider"]
    )
    feeds = {"x": x[None, None].astype(np.float32), "w": taps[None, None].astype(np.float32)}
    return session.run(None, feeds)[0][0, 0]


ONNX = [
    {},
    {"pads": (1, 0)},
    {"pads": (0, 1)},
    {"auto_pad": "VALID"},
    {"auto_pad": "SAME_UPPER"},
    {"auto_pad": "SAME_LOWER"},
    {"output_shape": 4},
    {"output_shape": 7},
    {"output_shape": 4, "auto_pad": "SAME_UPPER"},
]


@pytest.mark.parametrize("asked", ONNX, ids=str)
def test_onnx_is_what_onnx_runtime_returns(asked):
    x = np.array([1.0, 2, 3])
    grid = product((1, 2, 3, 4), (1, 2, 3), (1, 2), (0, 1))
    for kernel, stride, dilation, output_padding in grid:
        full = Axis(3, kernel, stride, dilation).full
        impossible = sum(asked.get("pads", ())) >= full + output_padding
        if output_padding >= stride or impossible or asked.get("output_shape", 0) >= full + stride:
            continue
        taps = 10.0 ** np.arange(kernel)
        attributes = {
            name: [value] if name == "output_shape" else value for name, value in asked.items()
        }
        expected = run_onnx(
            x, taps, stride, dilation, attributes | {"output_padding": [output_padding]}
        )
        axis = geometry.onnx(
            3, kernel, stride, output_padding=output_padding, dilation=dilation, **asked
        )
        np.testing.assert_array_equal(line(x, taps, axis), expected, str((asked, axis)))


# --- Caffe's fully convolutional networks --------------------------------------------------------


def vgg(image):
    """Return the grids of pool3, pool4 and the scores of an FCN on VGG-16."""
    grid = convolved(image, kernel=3, padding=100)  # conv1_1
    pools = []
    for others in (1, 1, 2, 2, 2):  # convolutions of 3 x 3 beside the first of each stage
        for _ in range(others):
            grid = convolved(grid, kernel=3, padding=1)
        pools.append(grid := convolved(grid, kernel=2, stride=2))
        grid = convolved(grid, kernel=3, padding=1)  # the next stage's first
    return pools[2], pools[3], convolved(pools[4], kernel=7)  # fc6


def test_crops_of_the_fcn_are_those_of_its_prototxts():
    image = Grid()
    pool3, pool4, score = vgg(image)
    assert crop_offset(transposed(score, kernel=64, stride=32), image) == 19  # FCN-32s
    upscore2 = transposed(score, kernel=4, stride=2)
    assert crop_offset(pool4, upscore2) == 5
    assert crop_offset(transposed(upscore2, kernel=32, stride=16), image) == 27  # FCN-16s
    upscore_pool4 = transposed(upscore2, kernel=4, stride=2)
    assert crop_offset(pool3, upscore_pool4) == 9
    assert crop_offset(transposed(upscore_pool4, kernel=16, stride=8), image) == 31  # FCN-8s


def test_crop_of_the_fcn_on_alexnet():
    grid = convolved(Grid(), kernel=11, stride=4, padding=100)
    for kernel, stride, padding in [(3, 2, 0), (5, 1, 2), (3, 2, 0), *[(3, 1, 1)] * 3, (3, 2, 0)]:
        grid = convolved(grid, kernel, stride, padding)
    score = convolved(grid, kernel=6)
    assert crop_offset(transposed(score, kernel=63, stride=32), Grid()) == 18


def test_crop_that_cannot_be():
    with pytest.raises(ValueError, match="which is -1/2"):
        crop_offset(convolved(Grid(), kernel=2), Grid())
    with pytest.raises(ValueError, match="steps of 2 onto that at 0 in steps of 1"):
        crop_offset(Grid(step=Fraction(2)), Grid())


# --- Sampling ------------------------------------------------------------------------------------


@pytest.mark.parametrize("factor", [1, 2, 3, 4, 7, 8])
@pytest.mark.parametrize("begin", [0, 1, 2])
def test_sampling_is_what_a_ramp_shows(factor, begin):
    taps = bilinear_filter(factor, dim=1)
    axis = geometry.pytorch(9, len(taps), factor, (begin, 0))
    position = geometry.sampling(axis)
    assert position.shape == (axis.size_out,)
    inside = (position >= 0) & (position <= 8)
    shown = line(np.arange(9.0), taps, axis)
    np.testing.assert_allclose(shown[inside], position[inside], atol=1e-12)


@pytest.mark.parametrize("factor", [1, 2, 3, 4, 5, 8, 16, 31, 32])
def test_upscore_padding_aligns(factor):
    axis = geometry.pytorch(5, 2 * factor - factor % 2, factor, geometry.upscore_padding(factor))
    assert axis.size_out == 5 * factor
    assert geometry.shift(axis) == 0
    aligned = (np.arange(axis.size_out) + 0.5) / factor - 0.5
    np.testing.assert_allclose(geometry.sampling(axis), aligned, atol=1e-12)


@pytest.mark.parametrize("factor", range(1, 9))
def test_the_tutorials_layer_is_shifted_for_even_factors(factor):
    axis = geometry.tensorflow(5, 2 * factor - factor % 2, factor, "SAME", 4 * factor + 1)
    assert geometry.shift(axis, align_corners=True) == (0 if factor % 2 else 0.5)
    assert geometry.shift(axis) == (0 if factor % 2 else 0.5) - (factor - 1) / 2


@SETTINGS
@given(axes())
def test_shift_is_the_distance_of_the_grids(axis):
    start = geometry.sampling(axis)[0]
    corner = (0.5 - axis.stride / 2) / axis.stride
    assert geometry.shift(axis) == pytest.approx((corner - start) * axis.stride)
    assert geometry.shift(axis, align_corners=True) == pytest.approx(-start * axis.stride)


@SETTINGS
@given(
    st.integers(1, 40),
    st.integers(1, 90),
    st.one_of(
        st.booleans(), st.integers(1, 32), st.fractions(Fraction(1, 8), 8, max_denominator=99)
    ),
)
def test_linear_positions_are_exact_fractions(size_in, size_out, grid):
    if isinstance(grid, bool):
        low, high, weight = geometry.linear_positions(size_in, size_out, align_corners=grid)
        step = Fraction(size_in, size_out)
        corners = Fraction(size_in - 1, max(size_out - 1, 1))
        exact = [
            o * corners if grid else (o + Fraction(1, 2)) * step - Fraction(1, 2)
            for o in range(size_out)
        ]
    else:
        low, high, weight = geometry.linear_positions(size_in, size_out, stride=grid)
        exact = [Fraction(2 * o + 1 - grid, 2 * grid) for o in range(size_out)]
    exact = [min(max(x, Fraction(0)), Fraction(size_in - 1)) for x in exact]
    assert low.dtype == high.dtype == np.int64
    assert weight.dtype == np.float64
    assert low.tolist() == [x.numerator // x.denominator for x in exact]
    assert high.tolist() == [min(i + 1, size_in - 1) for i in low]
    assert weight.tolist() == [float(x - i) for x, i in zip(exact, low.tolist(), strict=True)]


# --- Bad input -----------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("call", "error", "message"),
    [
        (
            lambda: geometry.linear_positions(3, 3, stride=Fraction(0)),
            ValueError,
            "stride must be positive, not 0",
        ),
        (lambda: geometry.pytorch(0, 3), ValueError, "size_in must be at least 1, not 0"),
        (lambda: geometry.pytorch(3, 3, 0), ValueError, "stride must be at least 1, not 0"),
        (lambda: geometry.pytorch(3, 3, 1.0), TypeError, "stride must be a whole number, not 1.0"),
        (lambda: geometry.pytorch(3, 3, padding=-1), ValueError, "padding must be at least 0"),
        (lambda: geometry.pytorch(3, 3, padding=3), ValueError, "cut at most 4 in all"),
        (lambda: geometry.pytorch(3, 3, 2, 3, output_size=9), ValueError, "sizes are 1 to 2"),
        (lambda: geometry.pytorch(3, 3, 2, 9, output_size=9), ValueError, "sizes are none"),
        (lambda: geometry.pytorch(3, 3, 2, 1, 2), ValueError, "at most 1, not 2"),
        (lambda: geometry.pytorch(3, 3, output_size=5.0), TypeError, "whole number, not 5.0"),
        (lambda: geometry.tensorflow(3, 3, 2, "SAME", 7), ValueError, "sizes are 5 to 6"),
        (lambda: geometry.tensorflow(3, 3, 2, "VALID", 6), ValueError, "sizes are 7 to 8"),
        (lambda: geometry.tensorflow(3, 3, 2, (1, 1), 4), ValueError, "sizes are 5 to 6"),
        (lambda: geometry.tensorflow(3, 3, 2, "same"), ValueError, 'must be "SAME", "VALID" or'),
        (lambda: geometry.keras(3, 3, 2, "SAME"), ValueError, 'must be "same" or "valid"'),
        (lambda: geometry.caffe(3, 3, offset=2, crop_size=4), ValueError, "sizes are 1 to 3"),
        (lambda: geometry.caffe(3, 3, offset=5), ValueError, "sizes are none"),
        (lambda: geometry.onnx(3, 3, auto_pad="SAME"), ValueError, "not 'SAME'"),
        (lambda: geometry.onnx(3, 3, 2, output_shape=9), ValueError, "sizes are 1 to 8"),
        (lambda: geometry.upscore_padding(0), ValueError, "factor must be at least 1"),
    ],
)
def test_impossible_requests_show_what_is_possible(call, error, message):
    with pytest.raises(error, match=message):
        call()
