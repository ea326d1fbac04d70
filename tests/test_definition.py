"""The definition against hand computation, its own views, its adjoint, and PyTorch in float64."""

import numpy as np
import pytest
import torch
import torch.nn.functional as F
from hypothesis import assume, given, settings
from hypothesis import strategies as st

from upscore import definition
from upscore.definition import conv_transpose, upsample_linear
from upscore.filters import bilinear_weight
from upscore.geometry import Axis, pytorch, upscore_padding

CONV = {1: F.conv1d, 2: F.conv2d, 3: F.conv3d}
CONV_TRANSPOSE = {1: F.conv_transpose1d, 2: F.conv_transpose2d, 3: F.conv_transpose3d}
MODE = {1: "linear", 2: "bilinear", 3: "trilinear"}
VIEWS = list(definition.VIEWS)
SETTINGS = settings(max_examples=100, deadline=None, derandomize=True)


@st.composite
def cases(draw):
    """Draw x, weight, bias of small integers, and PyTorch's arguments with room for an output."""
    dim = draw(st.integers(1, 3))
    most = 5 if dim < 3 else 3

    def per_axis(least, most):
        return tuple(draw(st.integers(least, most)) for _ in range(dim))

    size, kernel, stride, dilation = (per_axis(1, m) for m in (most, most, 4, 3))
    output_padding, padding = [], []
    for n, k, s, d in zip(size, kernel, stride, dilation, strict=True):
        output_padding.append(draw(st.integers(0, max(s, d) - 1)))
        padding.append(draw(st.integers(0, (Axis(n, k, s, d).full + output_padding[-1] - 1) // 2)))
    groups = draw(st.integers(1, 3))
    channels, outputs = groups * draw(st.integers(1, 2)), draw(st.integers(1, 3))
    random = np.random.default_rng(draw(st.integers(0, 99)))
    arrays = [
        random.integers(-9, 10, shape)
        for shape in [(2, channels, *size), (channels, outputs, *kernel), (groups * outputs,)]
    ]
    arguments = {"stride": stride, "padding": padding, "output_padding": output_padding}
    return arrays, arguments | {"dilation": dilation, "groups": groups}


@SETTINGS
@given(cases())
def test_every_view_is_pytorch_exactly_on_integers(case):
    arrays, arguments = case
    tensors = [torch.from_numpy(a).double() for a in arrays]
    expected = CONV_TRANSPOSE[arrays[0].ndim - 2](*tensors, **arguments).numpy()
    for view in VIEWS:
        y = conv_transpose(*arrays, **arguments, view=view)
        assert y.dtype == np.int64
        np.testing.assert_array_equal(y, expected, err_msg=view)


@SETTINGS
@given(cases())
def test_every_view_is_pytorch_to_rounding_on_floats(case):
    arrays, arguments = case
    arrays = [np.sin(a).astype(np.float32) for a in arrays]
    tensors = [torch.from_numpy(a).double() for a in arrays]
    expected = CONV_TRANSPOSE[arrays[0].ndim - 2](*tensors, **arguments).numpy()
    for view in VIEWS:
        y = conv_transpose(*arrays, **arguments, view=view)
        assert y.dtype == np.float64
        np.testing.assert_allclose(y, expected, rtol=0, atol=1e-12, err_msg=view)


@SETTINGS
@given(cases())
def test_it_is_the_adjoint_of_the_ordinary_convolution(case):
    (y, weight, _), arguments = case
    transposed = conv_transpose(y, weight, **arguments)
    x = np.random.default_rng(0).integers(-9, 10, transposed.shape)
    del arguments["output_padding"]
    tensors = [torch.from_numpy(a).double() for a in (x, weight)]
    convolved = CONV[y.ndim - 2](*tensors, **arguments).numpy()
    assume(convolved.shape == y.shape)  # not so if output_padding is not below the stride
    assert (convolved * y).sum() == (x * transposed).sum()


def test_matrix_is_that_of_the_ordinary_convolution():
    weight = np.random.default_rng(0).integers(-9, 10, (2, 3, 3, 2))
    axes = [pytorch(3, 3, stride=2, padding=1), pytorch(4, 2, dilation=3)]
    matrix = definition.convolution_matrix(weight, axes)
    x = np.random.default_rng(1).integers(-9, 10, (3, *(a.size_out for a in axes)))
    tensors = [torch.from_numpy(a).double() for a in (x[np.newaxis], weight)]
    expected = F.conv2d(*tensors, stride=(2, 1), padding=(1, 0), dilation=(1, 3))
    np.testing.assert_array_equal(matrix @ x.ravel(), expected.numpy().ravel())


SQUARE = [[[[0, 1], [2, 3]]]]
BY_HAND = {
    "overlaps add": (SQUARE, SQUARE, {}, [[[[0, 0, 1], [0, 4, 6], [4, 12, 9]]]]),
    "stride without overlap": (
        SQUARE,
        SQUARE,
        {"stride": 2},
        [[[[0, 0, 0, 1], [0, 0, 2, 3], [0, 2, 0, 3], [4, 6, 6, 9]]]],
    ),
    "padding cuts both ends": (
        [[[1, 2, 3]]],
        [[[1, 2, 1]]],
        {"stride": 2, "padding": 1},
        [[[2, 3, 4, 5, 6]]],
    ),
    "output padding gives back one end": (
        [[[1, 2, 3]]],
        [[[1, 2, 1]]],
        {"stride": 2, "padding": 1, "output_padding": 1},
        [[[2, 3, 4, 5, 6, 3]]],
    ),
    "output padding beyond the full output": (
        [[[1, 2]]],
        [[[5]]],
        {"stride": 3, "output_padding": 2},
        [[[5, 0, 0, 10, 0, 0]]],
    ),
    "ends cut unevenly": (
        [[[1, 2, 3]]],
        [[[1, 2, 1]]],
        {"stride": 2, "padding": [(0, 2)]},
        [[[1, 2, 3, 4, 5]]],
    ),
    "dilation": ([[[1, 10]]], [[[1, 2]]], {"dilation": 2}, [[[1, 10, 2, 20]]]),
    "groups": ([[[1], [2]]], [[[1]], [[3]]], {"groups": 2}, [[[1], [6]]]),
    "channels mix": ([[[1], [2]]], [[[1], [10]], [[3], [30]]], {}, [[[7], [70]]]),
    "no batch": ([[1, 2]], [[[1, 1]]], {"bias": [10]}, [[11, 13, 12]]),
}


@pytest.mark.parametrize("view", VIEWS)
@pytest.mark.parametrize("case", BY_HAND)
def test_by_hand(case, view):
    x, weight, arguments, expected = BY_HAND[case]
    np.testing.assert_array_equal(conv_transpose(x, weight, **arguments, view=view), expected)


@pytest.mark.parametrize("view", VIEWS)
def test_empty_batch(view):
    y = conv_transpose(np.ones((0, 2, 3, 3)), np.ones((2, 5, 4, 4)), stride=2, view=view)
    assert y.shape == (0, 5, 8, 8)


@pytest.mark.parametrize("view", VIEWS)
def test_any_order_of_memory(view):
    x = np.arange(2 * 3 * 4 * 5).reshape(2, 3, 4, 5)
    weight = np.arange(3 * 2 * 3 * 3).reshape(3, 2, 3, 3)
    expected = conv_transpose(x, weight, stride=2)
    views = [
        (np.asfortranarray(x), np.asfortranarray(weight)),
        (np.flip(np.flip(x).copy()), np.flip(np.flip(weight).copy())),
        (x.repeat(2, 3)[..., ::2], weight.repeat(2, 0)[::2]),
    ]
    for x_view, weight_view in views:
        np.testing.assert_array_equal(
            conv_transpose(x_view, weight_view, stride=2, view=view), expected
        )


def test_nan_and_infinity_stay_within_reach_of_the_kernel():
    y = conv_transpose([[[1.0, np.nan, 1.0, np.inf]]], [[[1.0, 1.0]]], stride=2)
    np.testing.assert_array_equal(y, [[[1, 1, np.nan, np.nan, 1, 1, np.inf, np.inf]]])


@pytest.mark.parametrize(
    ("given", "computed"),
    [("bool", "int64"), ("uint8", "int64"), ("float16", "float64"), ("complex64", "complex128")],
)
def test_dtype(given, computed):
    y = conv_transpose(np.ones((1, 1, 2), given), np.full((1, 1, 1), 200, np.uint8))
    assert y.dtype == computed
    assert y.max() == 200


def test_small_integers_do_not_overflow():
    y = conv_transpose(np.full((1, 1, 1), 127, np.int8), np.full((1, 1, 1), 127, np.int8))
    assert y.item() == 127 * 127


X, W = np.ones((1, 4, 3, 3)), np.ones((4, 2, 3, 3))


@pytest.mark.parametrize(
    ("arrays", "arguments", "error", "message"),
    [
        ((X[0, 0], W), {}, ValueError, r"\(batch, channels, \*size\).*not of shape \(3, 3\)"),
        ((X, W[0, 0]), {}, ValueError, r"weight must be \(channels.*not of shape \(3, 3\)"),
        ((X, W[:, :0]), {}, ValueError, "at least one element"),
        ((X[:, :3], W), {}, ValueError, "x has 3 channels, weight takes 4"),
        ((X, W), {"groups": 3}, ValueError, "3 groups"),
        ((X, W), {"groups": 0}, ValueError, "groups must be at least 1"),
        ((X, W), {"stride": 0}, ValueError, "stride must be at least 1, not 0"),
        ((X, W), {"stride": 1.5}, TypeError, "stride must be a whole number, not 1.5"),
        ((X, W), {"stride": (1, 2, 3)}, ValueError, "stride must be one number or 2 of them"),
        ((X, W), {"dilation": 0}, ValueError, "dilation must be at least 1"),
        ((X, W), {"padding": -1}, ValueError, "padding must be at least 0"),
        ((X, W), {"padding": 3}, ValueError, "leaves nothing: cut at most 4 in all"),
        ((X, W), {"output_padding": 1}, ValueError, "output_padding must be .* at most 0, not 1"),
        ((X, W), {"view": "fourier"}, ValueError, "view must be one of matrix, .*, not 'fourier'"),
        ((X, W, np.ones(3)), {}, ValueError, r"bias must be of shape \(2,\), not \(3,\)"),
        ((X[:, :, :0], W), {}, ValueError, "size_in must be at least 1, not 0"),
        ((X.astype(str), W), {}, TypeError, "x must hold numbers"),
        ((X, W), {"stride": 20_000}, ValueError, "more than 2147483647 elements"),
    ],
)
def test_bad_input_says_what_is_expected(arrays, arguments, error, message):
    with pytest.raises(error, match=message):
        conv_transpose(*arrays, **arguments)


def test_matrix_that_is_too_large():
    with pytest.raises(ValueError, match="more than 2147483647 elements"):
        definition.convolution_matrix(W, [pytorch(300, 3), pytorch(300, 3)])


@pytest.mark.parametrize("align_corners", [False, True])
@pytest.mark.parametrize(
    ("size_in", "size_out"),
    [((5,), (13,)), ((7, 4), (3, 9)), ((1, 6), (4, 1)), ((6, 5), (6, 5)), ((2, 3, 4), (5, 2, 11))],
)
def test_upsample_is_pytorch(size_in, size_out, align_corners):
    scores = np.random.default_rng(0).normal(size=(2, 3, *size_in))
    expected = F.interpolate(
        torch.from_numpy(scores), size_out, mode=MODE[len(size_in)], align_corners=align_corners
    )
    y = upsample_linear(scores, size_out, align_corners=align_corners)
    np.testing.assert_allclose(y, expected.numpy(), rtol=0, atol=1e-14)
    np.testing.assert_array_equal(
        upsample_linear(scores[0], size_out, align_corners=align_corners), y[0]
    )


@pytest.mark.parametrize("stride", [1, 2, 3, 8])
def test_upsample_by_a_stride_is_the_fcn_grid(stride):
    scores = np.random.default_rng(0).normal(size=(1, 2, 4, 5))
    enlarged = F.interpolate(
        torch.from_numpy(scores), scale_factor=stride, mode="bilinear", align_corners=False
    ).numpy()
    height, width = enlarged.shape[2:]
    fewer = upsample_linear(scores, (height - stride // 2, width), stride=stride)
    np.testing.assert_allclose(fewer, enlarged[:, :, : height - stride // 2], atol=1e-14)
    more = upsample_linear(scores, (height, width + 3), stride=stride)
    np.testing.assert_allclose(more, np.pad(enlarged, [(0, 0)] * 3 + [(0, 3)], "edge"), atol=1e-14)


@pytest.mark.parametrize("factor", [2, 3, 4, 5])
def test_upsample_is_the_bilinear_convolution_inside(factor):
    scores = np.random.default_rng(0).normal(size=(1, 3, 4, 5))
    y = conv_transpose(
        scores,
        bilinear_weight(3, factor, groups=3),
        stride=factor,
        padding=upscore_padding(factor),
        groups=3,
    )
    expected = upsample_linear(scores, y.shape[2:], stride=factor)
    inside = (..., slice(factor, -factor), slice(factor, -factor))
    np.testing.assert_allclose(y[inside], expected[inside], atol=1e-14)
    assert abs(y - expected).max() > 0.01  # zeros beyond the edges, not the edge repeated


@pytest.mark.parametrize(
    ("arguments", "error", "message"),
    [
        ({"size": (4, 0)}, ValueError, "size_out must be at least 1"),
        ({"size": (4, 4.0)}, TypeError, "size_out must be a whole number, not 4.0"),
        ({"size": (1, 2, 3, 4)}, ValueError, r"needs 4 axes, scores have shape \(2, 3, 3\)"),
        ({"size": 4, "stride": 2, "align_corners": True}, ValueError, "two different grids"),
        ({"size": 4, "stride": 0}, ValueError, "stride must be at least 1"),
    ],
)
def test_upsample_bad_input(arguments, error, message):
    with pytest.raises(error, match=message):
        upsample_linear(np.ones((2, 3, 3)), **arguments)
