"""The transposed convolution composed of PyTorch's operators: differentiable any number of times.

Every function takes x (N, C, *size), weight (C, O // groups, *kernel), bias (O) or None, and the
checked case, and returns (N, O, *size_out).
"""

from collections.abc import Callable
from math import prod
from typing import Any

import torch
import torch.nn.functional as F
from torch import Tensor
from torch.overrides import has_torch_function

from upscore.conv.case import Case
from upscore.kernels import NUMBA_IS_INSTALLED

# Outputs from which one pass of our own kernel saves more than starting it costs.
INTERLEAVE_BY_KERNEL = 2**15
_AUTOCAST = (torch.float16, torch.bfloat16, torch.float32)
_CONV: dict[int, Any] = {1: F.conv1d, 2: F.conv2d, 3: F.conv3d}
_CONV_TRANSPOSE: dict[int, Any] = {
    1: F.conv_transpose1d,
    2: F.conv_transpose2d,
    3: F.conv_transpose3d,
}


def native(x: Tensor, weight: Tensor, bias: Tensor | None, case: Case) -> Tensor:
    """PyTorch's transposed convolution."""
    return _CONV_TRANSPOSE[len(case.axes)](  # type: ignore[no-any-return]
        x,
        weight,
        bias,
        case.stride,
        case.padding,
        case.output_padding,
        case.groups,
        case.dilation,
    )


def subkernels(x: Tensor, weight: Tensor, bias: Tensor | None, case: Case) -> Tensor:
    """One ordinary convolution whose output channels are all the phases, then interleaved.

    Output o of an axis, counted from the full output's first, is phase o % s of block o // s and
    sums the taps o % s + t * s over the inputs o // s - t.
    """
    dim, stride = len(case.axes), case.stride
    taps = [-(-axis.kernel // axis.stride) for axis in case.axes]
    pad = [t * s - k for t, s, k in zip(taps, stride, case.kernel, strict=True)]
    phases = F.pad(weight, [n for one in reversed(pad) for n in (0, one)])
    # (groups, in, out, taps, phases, taps, phases, ...) -> (groups, out, phases..., in, taps...)
    phases = phases.reshape(
        case.groups,
        case.in_channels // case.groups,
        case.out_channels // case.groups,
        *(n for pair in zip(taps, stride, strict=True) for n in pair),
    )
    tap_axes, phase_axes = [3 + 2 * i for i in range(dim)], [4 + 2 * i for i in range(dim)]
    phases = phases.flip(*tap_axes).permute(0, 2, *phase_axes, 1, *tap_axes)
    phases = phases.reshape(-1, case.in_channels // case.groups, *taps)

    first = [axis.begin // axis.stride for axis in case.axes]
    last = [(axis.begin + axis.size_out - 1) // axis.stride for axis in case.axes]
    before = [t - 1 - f for t, f in zip(taps, first, strict=True)]
    after = [b - (n - 1) for b, n in zip(last, case.size_in, strict=True)]
    if before == after and min(before) >= 0:
        padding = before
    else:
        x = F.pad(x, [n for pair in zip(before[::-1], after[::-1], strict=True) for n in pair])
        padding = [0] * dim
    phases = phases.contiguous(memory_format=memory_format(case))
    if bias is not None:
        bias = bias.repeat_interleave(prod(stride))
    blocks = _CONV[dim](x, phases, bias, padding=padding, groups=case.groups)
    return interleave(blocks, case)


def interleave(blocks: Tensor, case: Case) -> Tensor:
    """Lay (N, O * phases, *blocks) out as (N, O, *size_out), cut at both ends."""
    dim, stride = len(case.axes), case.stride
    n, size = blocks.shape[0], blocks.shape[2:]
    kernels = case.device == "cpu" and not case.tracing and NUMBA_IS_INSTALLED
    plain = blocks.is_contiguous() and not blocks.is_complex()
    if kernels and plain and case.outputs >= INTERLEAVE_BY_KERNEL:
        from upscore.conv.interleave import Interleave

        begin = tuple(axis.begin % axis.stride for axis in case.axes)
        y: Tensor = Interleave.apply(blocks, stride, begin, case.size_out)
        return y
    if dim == 2 and stride[0] == stride[1] and n > 0:  # its gradient has no empty batches
        y = F.pixel_shuffle(blocks, stride[0])
    else:
        y = blocks.reshape(n, case.out_channels, *stride, *size)
        order = [axis for i in range(dim) for axis in (2 + dim + i, 2 + i)]
        whole = (m * s for m, s in zip(size, stride, strict=True))
        y = y.permute(0, 1, *order).reshape(n, case.out_channels, *whole)
    for i, axis in enumerate(case.axes):
        y = y.narrow(2 + i, axis.begin % axis.stride, axis.size_out)
    return y


def memory_format(case: Case) -> torch.memory_format:
    """The layout of the output: that of the input."""
    if not case.channels_last:
        return torch.contiguous_format
    return torch.channels_last if len(case.axes) == 2 else torch.channels_last_3d


def matmul(x: Tensor, weight: Tensor, bias: Tensor | None, case: Case) -> Tensor:
    """One matrix product makes every input's scaled kernel; `fold` adds those that overlap."""
    dim, kernel = len(case.axes), case.kernel
    if case.tiled:
        if case.channels_last:
            # (N, *size, C) @ (C, kernel, O): the channels stay next to each other.
            order = (0, *range(2, 2 + dim), 1)
            rows = x.permute(order) @ weight.permute(order).reshape(case.in_channels, -1)
            rows = rows.reshape(case.batch, *case.size_in, *kernel, case.out_channels)
            pairs = [axis for i in range(dim) for axis in (1 + i, 1 + dim + i)]
            y = rows.permute(0, *pairs, 1 + 2 * dim).reshape(
                case.batch, *case.size_out, case.out_channels
            )
            y = y if bias is None else y + bias
            return y.permute(0, -1, *range(1, 1 + dim))
        blocks = _kernels(x, weight).reshape(case.batch, -1, *case.size_in)
        y = interleave(blocks, case)
    else:
        columns, size, stride, padding = (
            _kernels(x, weight),
            case.size_out,
            case.stride,
            case.padding,
        )
        if dim == 1:
            size, kernel, stride, padding = (1, *size), (1, *kernel), (1, *stride), (0, *padding)
        y = F.fold(columns, size, kernel, padding=padding, stride=stride)
        y = y.reshape(case.batch, case.out_channels, *case.size_out)
    return y if bias is None else y + bias.reshape(-1, *(1,) * dim)


def _kernels(x: Tensor, weight: Tensor) -> Tensor:
    """(N, O * kernel, inputs): the kernel scaled by each input."""
    return weight.reshape(weight.shape[0], -1).t() @ x.reshape(*x.shape[:2], -1)


def zero_insertion(x: Tensor, weight: Tensor, bias: Tensor | None, case: Case) -> Tensor:
    """Zeros between the inputs, then a convolution of stride 1 with the kernel turned round."""
    dim = len(case.axes)
    spread = x.new_zeros(*x.shape[:2], *((a.size_in - 1) * a.stride + 1 for a in case.axes))
    spread[:, :, *(slice(None, None, s) for s in case.stride)] = x
    around = [
        n for a in reversed(case.axes) for n in (a.extent - 1 - a.begin, a.extent - 1 - a.end)
    ]
    turned = weight.reshape(case.groups, -1, *weight.shape[1:]).transpose(1, 2)
    turned = turned.reshape(case.out_channels, -1, *case.kernel).flip(*range(2, 2 + dim))
    return _CONV[dim](  # type: ignore[no-any-return]
        F.pad(spread, around), turned, bias, dilation=case.dilation, groups=case.groups
    )


def overridden(*tensors: Any) -> bool:
    """Whether a mode or a subclass of tensors wants to see our call (`__torch_function__`)."""
    return has_torch_function(tensors)


def autocast(*tensors: Any) -> Any:
    """The tensors as autocast would hand them to a convolution."""
    device = tensors[0].device.type
    if not torch.is_autocast_enabled(device):
        return tensors
    dtype = torch.get_autocast_dtype(device)
    return tuple(
        tensor.to(dtype) if tensor is not None and tensor.dtype in _AUTOCAST else tensor
        for tensor in tensors
    )


FUNCTIONS: dict[str, Callable[..., Any]] = {
    "torch": native,
    "subkernels": subkernels,
    "matmul": matmul,
    "zero_insertion": zero_insertion,
}
