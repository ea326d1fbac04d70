"""Depthwise convolutions that learn fast on processors.

PyTorch leaves them to oneDNN. Channels last, that takes ten times as long for the gradient to the
taps of a 5 x 5 as for the convolution itself: a kernel does that here. In bfloat16 it takes forty
times as long for the gradient to the input where the stride is 2: that is done in float32.
"""

from functools import lru_cache, partial
from typing import Any, NamedTuple, cast

import numpy as np
import torch
import torch.nn.functional as F
from numpy.typing import NDArray
from torch import Tensor, nn
from torch.autograd.function import once_differentiable

from upscore.arrays import TORCH
from upscore.kernels import LANES, NUMBA_IS_INSTALLED
from upscore.kernels.launch import Kernel, Workspace
from upscore.kernels.threads import share

_KERNEL = Kernel("upscore.training.depthwise_kernels", "weight_gradient")
_WORTH_A_THREAD = 2**16  # products of vectors, which take some 40 microseconds


def quicken(network: nn.Module) -> None:
    """Let the depthwise layers of a network that learn do so faster, on a processor.

    Where they learn, they compute in the type that their input has, under autocast too.
    """
    for conv in network.modules():
        if not isinstance(conv, nn.Conv2d) or not conv.weight.requires_grad:
            continue
        if not conv.groups == conv.in_channels > 1:
            continue
        # A partial's copy belongs to the copied layer, as a closure's would not.
        if _has_kernel(conv):
            conv._conv_forward = partial(_convolve, conv)  # type: ignore[method-assign]
        else:
            own = conv.__dict__.get("forward") or partial(type(conv).forward, conv)
            conv.forward = partial(_in_float32, own)  # type: ignore[method-assign]


def _has_kernel(conv: nn.Conv2d) -> bool:
    # A layer of a class of its own calls `_conv_forward` only after `fold_norms`.
    calls_it = type(conv).forward is nn.Conv2d.forward or "forward" in conv.__dict__
    return (
        NUMBA_IS_INSTALLED
        and calls_it
        and conv.weight.dtype == torch.float32
        and conv.out_channels == conv.in_channels
        and conv.in_channels % LANES == 0
        and conv.kernel_size[0] == conv.kernel_size[1]
        and conv.stride[0] == conv.stride[1]
        and conv.dilation == (1, 1)
        and conv.padding_mode == "zeros"
        and not isinstance(conv.padding, str)
    )


def _in_float32(forward: Any, x: Tensor) -> Tensor:
    """In bfloat16 oneDNN's gradients take 2 to 16 times as long."""
    with torch.autocast(x.device.type, enabled=False):
        found: Tensor = forward(x.float())
        return found.to(x.dtype)


def _convolve(conv: nn.Conv2d, x: Tensor, weight: Tensor, bias: Tensor | None) -> Tensor:
    """In place of a layer's `_conv_forward`."""
    if not (torch.is_grad_enabled() and weight.requires_grad):
        return cast(Tensor, nn.Conv2d._conv_forward(conv, x, weight, bias))
    return cast(Tensor, _Depthwise.apply(x, weight, bias, conv.stride[0], conv.padding))


class _Depthwise(torch.autograd.Function):
    """The convolution of N x C x H x W with C x 1 x k x k, in the type of the former."""

    @staticmethod
    def forward(
        ctx: Any, x: Tensor, weight: Tensor, bias: Tensor | None, stride: int, padding: Any
    ) -> Tensor:
        x = x.contiguous(memory_format=torch.channels_last)
        ctx.save_for_backward(x, weight)
        ctx.options = {"stride": stride, "padding": padding, "groups": len(weight)}
        bias = None if bias is None else bias.to(x.dtype)
        with torch.autocast("cpu", enabled=False):
            return F.conv2d(x, weight.to(x.dtype), bias, **ctx.options)

    @staticmethod
    @once_differentiable
    def backward(ctx: Any, gradient: Tensor) -> tuple[Tensor | None, ...]:
        x, weight = ctx.saved_tensors
        gradient = gradient.contiguous(memory_format=torch.channels_last)
        of_x = of_weight = of_bias = None
        if ctx.needs_input_grad[0]:
            of_x = _input_gradient(x, weight, gradient, **ctx.options)
        if ctx.needs_input_grad[1]:
            of_weight = _weight_gradient(x, gradient, weight.shape, **ctx.options)
        if ctx.needs_input_grad[2]:
            of_bias = gradient.sum((0, 2, 3), dtype=torch.float32)
        return of_x, of_weight, of_bias, None, None


def _input_gradient(
    x: Tensor, weight: Tensor, gradient: Tensor, *, stride: int, padding: Any, groups: int
) -> Tensor:
    dtype = x.dtype if stride == 1 else torch.float32
    # As `torch.nn.grad.conv2d_input`, which loses that the photos are channels last.
    found: Tensor = torch.ops.aten.convolution_backward(
        *(each.to(dtype) for each in (gradient, x, weight)),
        bias_sizes=None,
        stride=[stride],
        padding=padding,
        dilation=[1],
        transposed=False,
        output_padding=[0],
        groups=groups,
        output_mask=(True, False, False),
    )[0]
    return found.to(x.dtype)


def _weight_gradient(
    x: Tensor, gradient: Tensor, shape: torch.Size, *, stride: int, padding: Any, groups: int
) -> Tensor:
    kernel, tasks = shape[-1], len(x) * groups // LANES
    size, out = tuple(x.shape[2:]), tuple(gradient.shape[2:])
    sizes, scratch = _case(size, out, groups, kernel, stride, tuple(padding))
    sums = np.empty((len(x), groups // LANES, kernel, kernel, LANES), np.float32)
    least = max(1, _WORTH_A_THREAD // (out[0] * out[1] * kernel**2))
    arrays = (sizes, _flat(x), _flat(gradient), sums.reshape(-1))
    share(_KERNEL, tasks, *arrays, scratch=scratch, least=least)
    return torch.from_numpy(sums.sum(0)).permute(0, 3, 1, 2).reshape(shape)


class _Scratch(NamedTuple):
    """What a thread works with; see `depthwise_kernels`."""

    line: NDArray[np.float32]


@lru_cache(256)  # a network asks for the same few cases again and again
def _case(
    size: tuple[int, ...],
    out: tuple[int, ...],
    channels: int,
    kernel: int,
    stride: int,
    padding: tuple[int, int],
) -> tuple[NDArray[np.int64], Workspace]:
    length = max((out[1] - 1) * stride + kernel, padding[1] + size[1]) * LANES
    sizes = np.array([*size, *out, channels, kernel, stride, *padding], np.int64)
    return sizes, Workspace(_Scratch(np.empty(length, np.float32)))


def _flat(pixels: Tensor) -> NDArray[Any]:
    """The numbers of a channels-last tensor in a line, bfloat16 as its bits."""
    line: NDArray[Any] = TORCH.memory(pixels.permute(0, 2, 3, 1)).reshape(-1)
    return line
