"""The filters against interpolation in PyTorch, and against how Caffe and the tutorial compute."""

import numpy as np
import pytest
import torch
import torch.nn.functional as F

from upscore import filters
from upscore.definition import conv_transpose

FACTORS = [1, 2, 3, 4, 5, 7, 8, 16]
MODES = {
    1: {"nearest": "nearest", "bilinear": "linear"},
    2: {"nearest": "nearest", "bilinear": "bilinear", "bicubic": "bicubic"},
    3: {"nearest": "nearest", "bilinear": "trilinear"},
}


@pytest.mark.parametrize("factor", FACTORS)
def test_bilinear_filter_is_the_tutorials_and_caffes(factor):
    kernel = 2 * factor - factor % 2
    x = np.arange(kernel)
    centre = factor - 1 if kernel % 2 else factor - 0.5
    tutorial = 1 - abs((x - centre) / factor)
    f = np.ceil(kernel / 2)
    caffe = 1 - abs(x / f - (2 * f - 1 - f % 2) / (2 * f))
    taps = filters.bilinear_filter(factor, dim=1)
    np.testing.assert_allclose(taps, tutorial, rtol=0, atol=1e-15)
    np.testing.assert_allclose(taps, caffe, rtol=0, atol=1e-15)


@pytest.mark.parametrize("factor", [2, 3, 4, 5])
@pytest.mark.parametrize(
    ("dim", "name"), [(d, name) for d, names in MODES.items() for name in names]
)
def test_inside_it_is_interpolation(dim, name, factor):
    taps = getattr(filters, f"{name}_filter")(factor, dim=dim)
    kernel = len(taps)
    assert taps.shape == (kernel,) * dim
    x = np.random.default_rng(0).normal(size=(1, 1, *(5,) * dim))
    y = conv_transpose(x, taps[None, None], stride=factor, padding=(kernel - factor) // 2)
    mode = MODES[dim][name]
    expected = F.interpolate(torch.from_numpy(x), scale_factor=factor, mode=mode).numpy()
    assert y.shape == expected.shape
    edge = {"nearest": 0, "bilinear": factor, "bicubic": 2 * factor}[name]
    inside = (..., *(slice(edge, 5 * factor - edge),) * dim)
    np.testing.assert_allclose(y[inside], expected[inside], rtol=0, atol=1e-14)


@pytest.mark.parametrize("name", ["nearest", "bilinear", "bicubic"])
def test_a_factor_for_each_axis(name):
    make = getattr(filters, f"{name}_filter")
    lines = [make(f, dim=1) for f in (2, 3, 1)]
    np.testing.assert_array_equal(make((2, 3, 1)), np.einsum("i,j,k->ijk", *lines))
    assert make(np.int64(3)).shape == make([3, 3]).shape == make((3, 3)).shape


@pytest.mark.parametrize("sharpness", [-0.75, -0.5])
@pytest.mark.parametrize("factor", FACTORS)
def test_a_constant_stays_constant(factor, sharpness):
    for taps in (
        filters.nearest_filter(factor),
        filters.bilinear_filter(factor),
        filters.bicubic_filter(factor, sharpness=sharpness),
    ):
        assert filters.checkerboard(taps, factor) < 1e-14
        assert taps[::factor, ::factor].sum() == pytest.approx(1)


@pytest.mark.parametrize("groups", [1, 2, 4])
def test_weight_leaves_each_channel_alone(groups):
    weight = filters.bilinear_weight(4, (2, 3), groups=groups)
    assert weight.shape == (4, 4 // groups, 4, 5)
    x = np.random.default_rng(0).normal(size=(1, 4, 3, 3))
    y = conv_transpose(x, weight, stride=(2, 3), groups=groups)
    taps = filters.bilinear_filter((2, 3))[None, None]
    for channel in range(4):
        alone = conv_transpose(x[:, [channel]], taps, stride=(2, 3))
        np.testing.assert_allclose(y[:, [channel]], alone, rtol=0, atol=1e-15)


def test_weight_is_not_caffes_first_filler():
    """`BilinearFiller` fills every pair of channels, so each output is the sum of all channels."""
    filled = np.tile(filters.bilinear_filter(2), (3, 3, 1, 1))
    weight = filters.bilinear_weight(3, 2)
    diagonal = np.eye(3, dtype=bool)
    np.testing.assert_array_equal(weight[diagonal], filled[diagonal])
    assert not weight[~diagonal].any()
    x = np.random.default_rng(0).normal(size=(1, 3, 4, 4))
    total = conv_transpose(x, filled, stride=2)
    np.testing.assert_allclose(total[:, 0], conv_transpose(x, weight, stride=2).sum(axis=1))


def test_channelwise_weight_takes_any_taps():
    taps = np.arange(27.0).reshape(3, 3, 3)
    weight = filters.channelwise_weight(taps, 2)
    np.testing.assert_array_equal(weight[1, 1], taps)
    assert weight.shape == (2, 2, 3, 3, 3)


@pytest.mark.parametrize("factor", [2, 3])
def test_icnr_starts_as_nearest(factor):
    random = np.random.default_rng(0)
    x = torch.from_numpy(random.normal(size=(1, 3, 5, 6)))
    weight = random.normal(size=(2, 3, 3, 3))
    larger = torch.from_numpy(filters.icnr(weight, factor))
    shuffled = F.pixel_shuffle(F.conv2d(x, larger), factor)
    small = F.conv2d(x, torch.from_numpy(weight))
    expected = F.interpolate(small, scale_factor=factor, mode="nearest")
    torch.testing.assert_close(shuffled, expected, rtol=0, atol=1e-12)


@pytest.mark.parametrize(
    ("kernel", "stride", "expected"),
    [
        (4, 2, 0),  # a kernel divisible by the stride
        (3, 2, 1 / 2),  # two taps and one
        (5, 3, 1 / 2),  # two, two and one
        (1, 2, 1),  # one, and none
        (np.ones((3, 3)), 2, 3 / 4),  # four, two, two, one
        (np.ones((4, 3)), (2, 1), 0),
        (np.array([0.5, 1, 0.5]), 2, 0),  # uneven in number, even in weight
        (np.array([1, 0, -1]), 2, 0),
        (np.array([1.0, -1.0]), 2, 2),
        (np.zeros(4), 2, 0),
    ],
)
def test_checkerboard(kernel, stride, expected):
    assert filters.checkerboard(kernel, stride) == pytest.approx(expected)


@pytest.mark.parametrize("kernel", [3, 4, 5, 6])
@pytest.mark.parametrize("stride", [2, 3])
def test_checkerboard_is_what_a_constant_shows(kernel, stride):
    taps = np.random.default_rng(0).uniform(size=(kernel, kernel))
    y = conv_transpose(np.ones((1, 1, 9, 9)), taps[None, None], stride=stride)[0, 0]
    inside = y[kernel:-kernel, kernel:-kernel]
    expected = (inside.max() - inside.min()) / inside.max()
    assert filters.checkerboard(taps, stride) == pytest.approx(expected)


@pytest.mark.parametrize(
    ("call", "error", "message"),
    [
        (lambda: filters.bilinear_filter(0), ValueError, "factor must be at least 1, not 0"),
        (lambda: filters.bilinear_filter(2.5), TypeError, "factor must be a whole number, not 2.5"),
        (lambda: filters.bilinear_filter(2, dim=0), ValueError, "dim must be at least 1"),
        (lambda: filters.bilinear_weight(0, 2), ValueError, "channels must be at least 1"),
        (lambda: filters.bilinear_weight(3, 2, groups=2), ValueError, "into 2 groups"),
        (lambda: filters.icnr(np.ones((2, 2, 3, 3)), 0), ValueError, "factor must be at least 1"),
        (lambda: filters.icnr(np.ones(3), 2), ValueError, r"\(out, in, \*kernel\), not .*\(3,\)"),
        (lambda: filters.checkerboard(4, 0), ValueError, "stride must be at least 1"),
        (lambda: filters.checkerboard(4, (2, 2)), ValueError, "2 strides for a kernel of 1 axes"),
        (lambda: filters.checkerboard(np.ones((0, 2)), 2), ValueError, "at least one tap"),
    ],
)
def test_bad_input_says_what_is_expected(call, error, message):
    with pytest.raises(error, match=message):
        call()
