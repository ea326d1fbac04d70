"""The tutorial's functions against what TensorFlow itself returned."""

import json
from pathlib import Path

import numpy as np
import pytest
import torch

from upscore.compat import tensorflow as compat

GOLDEN = Path(__file__).parents[1] / "golden"
FACTORS = (1, 2, 3, 4, 5, 6, 7, 8, 16)
KINDS = {"numpy": np.asarray, "torch": torch.from_numpy}


@pytest.fixture(scope="module")
def tutorial():
    return np.load(GOLDEN / "tensorflow_tutorial.npz")


@pytest.fixture(scope="module")
def conv():
    return np.load(GOLDEN / "tensorflow_conv.npz")


@pytest.mark.parametrize("factor", FACTORS)
def test_filter_is_the_tutorials(tutorial, factor):
    expected = tutorial[f"filter_{factor}"]
    result = compat.get_bilinear_filter(expected.shape, factor)
    assert result.dtype == np.float32
    np.testing.assert_array_equal(result, expected)


@pytest.mark.parametrize(
    ("shape", "factor"), [((4, 6, 1, 2), 2), ((5, 3, 2, 2), 3), ((3, 4, 2, 3), 2)]
)
def test_filter_of_another_shape_is_the_tutorials(tutorial, shape, factor):
    expected = tutorial[f"filter_{'x'.join(map(str, shape))}_{factor}"]
    np.testing.assert_array_equal(compat.get_bilinear_filter(shape, factor), expected)


@pytest.mark.parametrize("kind", KINDS)
@pytest.mark.parametrize("factor", FACTORS)
def test_layer_is_the_tutorials(tutorial, factor, kind):
    expected = tutorial[f"layer_{factor}"]
    result = compat.upsample_layer(KINDS[kind](tutorial["bottom"]), 2, "up", factor)
    assert type(result).__module__.startswith(kind)
    np.testing.assert_allclose(np.asarray(result), expected, rtol=0, atol=1e-6)


@pytest.mark.parametrize("kind", KINDS)
def test_conv2d_transpose_is_tensorflows(conv, kind):
    cases = json.loads(str(conv["cases"]))
    assert len(cases) > 100
    for i, (kernel, stride, padding, size) in enumerate(cases):
        pads = padding if isinstance(padding, str) else [(0, 0), *padding, (0, 0)]
        result = compat.conv2d_transpose(
            KINDS[kind](conv["value"]),
            KINDS[kind](conv["filters"][: kernel[0], : kernel[1]]),
            (1, *size, 3),
            (1, *stride, 1),
            pads,
        )
        np.testing.assert_array_equal(np.asarray(result), conv[f"y_{i}"], err_msg=str(cases[i]))


@pytest.mark.parametrize("factor", [2, 3, 4, 5])
def test_layer_puts_a_ramp_where_the_docs_say(factor):
    ramp = np.arange(12, dtype=np.float64).reshape(1, 1, 12, 1)
    result = compat.upsample_layer(ramp, 1, "up", factor)[0, 0, :, 0]
    # One row: beyond it lie zeros, so the rows of an even factor are scaled by the middle taps.
    result = result / (1 - 0.5 / factor if factor % 2 == 0 else 1)
    o = np.arange(len(result))
    position = o / factor if factor % 2 else (o - 0.5) / factor
    inside = (position >= 0) & (position <= 11)
    np.testing.assert_allclose(result[inside], position[inside], atol=1e-6)


def test_layer_equals_the_dense_convolution_it_stands_for():
    bottom = np.random.default_rng(0).normal(size=(1, 4, 5, 3))
    filters = compat.get_bilinear_filter([4, 4, 3, 3], 2)
    dense = compat.conv2d_transpose(bottom, filters, [1, 7, 9, 3], [1, 2, 2, 1], "SAME")
    np.testing.assert_allclose(compat.upsample_layer(bottom, 3, "up", 2), dense, atol=1e-12)


@pytest.mark.parametrize(
    ("given", "returned"),
    [("float16", "float16"), ("float64", "float64"), ("uint8", "float32"), ("int64", "float32")],
)
def test_dtype_is_that_of_the_pixels(given, returned):
    pixels = np.ones((1, 2, 2, 1), given)
    assert compat.upsample_layer(pixels, 1, "up", 2).dtype == returned
    assert compat.upsample_layer(torch.from_numpy(pixels), 1, "up", 2).dtype == getattr(
        torch, returned
    )


def test_tensors_keep_their_gradient():
    pixels = torch.randn(1, 3, 2, 2, dtype=torch.float64, requires_grad=True)
    assert torch.autograd.gradcheck(lambda x: compat.upsample_layer(x, 2, "up", 3), pixels)


def test_arrays_in_any_order_of_memory():
    pixels = np.random.default_rng(0).normal(size=(2, 5, 3, 1))
    expected = compat.upsample_layer(pixels, 1, "up", 2)
    for view in (np.asfortranarray(pixels), pixels[:, ::-1].copy()[:, ::-1]):
        np.testing.assert_array_equal(compat.upsample_layer(view, 1, "up", 2), expected)


@pytest.mark.parametrize(
    ("call", "message"),
    [
        (lambda: compat.get_bilinear_filter([4, 4, 1], 2), r"\(height, width, out, in\)"),
        (lambda: compat.get_bilinear_filter([4, 4, 2, 1], 2), "no input for outputs 1 and beyond"),
        (lambda: compat.get_bilinear_filter([4, 4, 1, 1], 0), "upscale_factor must be at least 1"),
        (lambda: compat.upsample_layer(np.ones((2, 2)), 1, "up", 2), r"not the shape \(2, 2\)"),
        (lambda: compat.upsample_layer(np.ones((1, 2, 2, 3)), 2, "score", 2), "layer 'score'"),
        (
            lambda: compat.conv2d_transpose(
                np.ones((1, 3, 3, 1)), np.ones((4, 4, 1, 1)), (1, 9, 6, 1), (1, 2, 2, 1)
            ),
            "possible sizes are 5 to 6",
        ),
        (
            lambda: compat.conv2d_transpose(
                np.ones((1, 3, 3, 1)), np.ones((4, 4, 1, 1)), (2, 6, 6, 1), (1, 2, 2, 1)
            ),
            r"output_shape must be \(1, height, width, 1\)",
        ),
        (
            lambda: compat.conv2d_transpose(
                np.ones((1, 3, 3, 1)), np.ones((4, 4, 1, 1)), (1, 6, 6, 1), (2, 2)
            ),
            r"strides must be \(1, down, across, 1\)",
        ),
    ],
)
def test_bad_input_says_what_is_expected(call, message):
    with pytest.raises(ValueError, match=message):
        call()
