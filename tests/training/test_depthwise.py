"""Depthwise convolutions that learn: the values and gradients of PyTorch's, whatever the shape."""

import copy

import numpy as np
import pytest
import torch
import torch.nn.functional as F
from timm.layers.conv2d_same import Conv2dSame
from torch import nn

import tiny
from upscore.kernels import LANES
from upscore.models.folding import fold_norms
from upscore.training import depthwise
from upscore.training.depthwise import quicken

pytestmark = pytest.mark.slow

MADE = "_DepthwiseBackward"  # the name of what made an output, where that is the kernel

# photos, groups of channels, height, width, kernel, stride, padding
CASES = (
    (2, 1, 9, 14, 3, 1, 1),
    (1, 2, 12, 7, 5, 1, 2),
    (2, 1, 15, 10, 5, 2, 2),
    (1, 1, 8, 8, 3, 2, 0),
    (1, 1, 11, 10, 7, 1, 3),
    (1, 1, 10, 12, 7, 3, 0),
    (1, 1, 13, 9, 2, 1, 0),
    (1, 1, 12, 11, 4, 3, (1, 2)),
    (3, 1, 1, 1, 5, 1, 2),  # taps beyond the photo on all sides
    (1, 1, 2, 3, 7, 2, 3),
    (1, 1, 6, 5, 1, 1, 0),
    (1, 1, 7, 10, 2, 4, 1),  # pixels between the windows, and after the last
    (2, 4, 33, 40, 3, 1, 1),  # enough to share among threads
)


@pytest.fixture
def poisoned(monkeypatch):
    """New memory is full of NaN, so that a number that was not written shows."""
    of_numpy = np.empty

    def poison(shape, dtype=np.float64):
        array = of_numpy(shape, dtype)
        array.fill(255 if dtype == np.uint8 else np.nan)  # four bytes of 255 are a NaN
        return array

    monkeypatch.setattr(depthwise.np, "empty", poison)


def layer(channels, kernel, stride, padding, bias=True):
    return nn.Conv2d(channels, channels, kernel, stride, padding, groups=channels, bias=bias)


def gradients(conv, x, upstream=None):
    """The output, and the gradients to the photos, the weight and the bias."""
    x = x.detach().requires_grad_()
    y = conv(x)
    upstream = torch.ones_like(y) if upstream is None else upstream.to(y.dtype)
    wanted = [x, *conv.parameters()]
    return y, torch.autograd.grad(y, wanted, upstream)


@pytest.mark.parametrize("dtype", [torch.float32, torch.bfloat16])
@pytest.mark.parametrize("case", CASES, ids=lambda case: "-".join(map(str, case)))
def test_values_and_gradients_are_those_of_the_definition(case, dtype, poisoned):
    photos, groups, height, width, kernel, stride, padding = case
    torch.manual_seed(0)
    conv = layer(groups * LANES, kernel, stride, padding)
    conv.load_state_dict({name: v.to(dtype) for name, v in conv.state_dict().items()})
    x = torch.randn(photos, groups * LANES, height, width).to(dtype)
    exact = copy.deepcopy(conv).double()
    y = exact(x.double())
    upstream = torch.randn(y.shape).to(dtype)
    expected, slopes = gradients(exact, x.double(), upstream.double())

    quicken(conv)
    for found in (x, x.contiguous(memory_format=torch.channels_last), strided(x)):
        y, (of_x, *of_rest) = gradients(conv, found, strided(upstream))
        assert y.dtype == of_x.dtype == dtype
        assert y.grad_fn.name() == MADE
        rounding = 2**-8 if dtype == torch.bfloat16 else 1e-6
        for one, other in zip((y, of_x), (expected, slopes[0]), strict=True):
            torch.testing.assert_close(one.double(), other, rtol=rounding, atol=2e-6)
        for one, other in zip(of_rest, slopes[1:], strict=True):
            assert one.dtype == torch.float32
            torch.testing.assert_close(one.double(), other, rtol=1e-5, atol=1e-4)


def test_nothing_is_read_or_written_out_of_bounds(with_checked_indices):
    with_checked_indices(__file__, "of_the_definition")


def strided(x):
    """The same numbers, not contiguous in any format."""
    return torch.stack([x, x], -1)[..., 0]


def test_a_layer_without_a_bias_whose_photos_need_no_gradient():
    conv = layer(LANES, 3, 1, 1, bias=False)
    x = torch.randn(1, LANES, 6, 7)
    expected = conv(x)
    (slope,) = torch.autograd.grad(expected.square().sum(), [conv.weight])
    quicken(conv)
    found = conv(x)
    torch.testing.assert_close(found, expected)
    torch.testing.assert_close(
        torch.autograd.grad(found.square().sum(), [conv.weight])[0], slope, rtol=1e-5, atol=1e-4
    )


@pytest.mark.parametrize(
    ("what", "conv"),
    [
        ("channels", nn.Conv2d(6, 6, 3, groups=6)),
        ("several filters of a channel", nn.Conv2d(16, 32, 3, groups=16)),
        ("dilation", nn.Conv2d(16, 16, 3, dilation=2, groups=16)),
        ("an oblong kernel", nn.Conv2d(16, 16, (3, 5), groups=16)),
        ("strides", nn.Conv2d(16, 16, 3, (1, 2), groups=16)),
        ("reflected padding", nn.Conv2d(16, 16, 3, padding=1, groups=16, padding_mode="reflect")),
        ("padding by name", nn.Conv2d(16, 16, 3, padding="same", groups=16)),
        ("a class of its own", Conv2dSame(16, 16, 3, 2, groups=16)),
    ],
    ids=lambda one: one if isinstance(one, str) else "",
)
def test_other_depthwise_layers_learn_in_float32(what, conv):
    x = torch.randn(1, conv.in_channels, 9, 10)
    expected, slopes = gradients(conv, x)
    quicken(conv)
    y, found = gradients(conv, x)
    assert y.grad_fn.name() != MADE
    for one, other in zip((y, *found), (expected, *slopes), strict=True):
        torch.testing.assert_close(one, other)
    with torch.autocast("cpu", torch.bfloat16):
        half, _ = gradients(conv, x.bfloat16())
    assert half.dtype == torch.bfloat16
    with torch.no_grad():
        assert torch.equal(half, conv(x.bfloat16().float()).bfloat16())


@pytest.mark.parametrize("dtype", [torch.float32, torch.bfloat16])
def test_under_autocast_the_type_stays(dtype):
    conv = layer(LANES, 5, 2, 2)
    quicken(conv)
    x = torch.randn(1, LANES, 8, 9).to(dtype)
    with torch.autocast("cpu", torch.bfloat16):
        y, (of_x, *of_rest) = gradients(conv, x)
    assert y.dtype == of_x.dtype == dtype
    assert {gradient.dtype for gradient in of_rest} == {torch.float32}


def test_what_does_not_learn_is_left_to_torch():
    conv = layer(LANES, 3, 1, 1)
    x = torch.randn(1, LANES, 8, 9)
    expected = F.conv2d(x, conv.weight, conv.bias, padding=1, groups=LANES)
    quicken(conv)
    with torch.no_grad():
        assert torch.equal(conv(x), expected)
    conv.requires_grad_(False)
    assert torch.equal(conv(x), expected)


def test_a_second_derivative_is_refused():
    conv = layer(LANES, 3, 1, 1)
    quicken(conv)
    x = torch.randn(1, LANES, 6, 6, requires_grad=True)
    (slope,) = torch.autograd.grad(conv(x).square().sum(), x, create_graph=True)
    with pytest.raises(RuntimeError, match="once_differentiable"):
        slope.sum().backward()


def test_a_network_learns_the_same():
    network = tiny.network(tiny.spec("fcn4s", encoder="tf_efficientnet_lite0", width=16))
    fold_norms(network.encoder.network)
    other = copy.deepcopy(network)
    quicken(other)
    photos = torch.randn(2, 3, 75, 90)
    for model in (network, other):
        model(photos).square().mean().backward()
    for (name, one), two in zip(network.named_parameters(), other.parameters(), strict=True):
        if one.grad is not None:
            scale = one.grad.abs().max()
            assert (one.grad - two.grad).abs().max() <= 2e-4 * scale + 1e-9, name
    made = copy.deepcopy(other)  # a copy computes with its own numbers
    with torch.no_grad():
        for parameter in other.parameters():
            parameter.zero_()
    assert made(photos).any()
