"""Interleave the phases of an output, and take it apart again, in one pass over memory."""

from typing import Any

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor

from upscore.kernels.compile import kernel
from upscore.kernels.threads import share

_BITS = {1: torch.uint8, 2: torch.int16, 4: torch.int32, 8: torch.int64}


@kernel()
def _move(
    first: int, last: int, blocks: NDArray[Any], out: NDArray[Any], begin: Any, apart: bool
) -> None:
    """A task: one row of `out` (planes, D, H, W), from or to the phases in `blocks`.

    `blocks` is (planes, 3 strides, 3 sizes): output o of an axis is at phase (o + begin) % stride
    of block (o + begin) // stride.
    """
    _, depth, height, width = out.shape
    _, sz, sy, sx, _, _, count = blocks.shape
    for task in range(first, last):
        plane, z, y = task // (depth * height), task // height % depth, task % height
        z, y = z + begin[0], y + begin[1]
        line = out[plane, z - begin[0], y - begin[1]]
        for phase in range(sx):
            phases = blocks[plane, z % sz, y % sy, phase, z // sz, y // sy]
            shift = phase - begin[2]
            start = max(0, (-shift + sx - 1) // sx)
            stop = min(count, (width - shift + sx - 1) // sx)
            if apart:
                for i in range(start, stop):
                    phases[i] = line[i * sx + shift]
            else:
                for i in range(start, stop):
                    line[i * sx + shift] = phases[i]


def _launch(blocks: Tensor, out: Tensor, stride: Any, begin: Any, apart: bool) -> None:
    lead = (1,) * (3 - len(stride))
    bits = _BITS[blocks.element_size()]
    planes = out.shape[0] * out.shape[1]
    size, spread = (*lead, *out.shape[2:]), (*lead, *stride, *lead, *blocks.shape[2:])
    share(
        _move,
        planes * size[0] * size[1],
        blocks.view(bits).numpy().reshape(planes, *spread),
        out.view(bits).numpy().reshape(planes, *size),
        np.array((*(0 for _ in lead), *begin)),
        apart,
    )


class Interleave(torch.autograd.Function):
    """(N, O * phases, *blocks) to (N, O, *size), the first `begin` outputs of each axis cut."""

    @staticmethod
    def forward(ctx: Any, blocks: Tensor, stride: Any, begin: Any, size: Any) -> Tensor:
        """Contiguous tensors in main memory."""
        ctx.geometry = (stride, begin, blocks.shape[2:])
        out = blocks.new_empty(blocks.shape[0], blocks.shape[1] // int(np.prod(stride)), *size)
        _launch(blocks.detach(), out, stride, begin, apart=False)
        return out

    @staticmethod
    def backward(ctx: Any, gradient: Tensor) -> Any:
        """Take the gradient apart."""
        return TakeApart.apply(gradient.contiguous(), *ctx.geometry), None, None, None


class TakeApart(torch.autograd.Function):
    """The adjoint of `Interleave`: blocks of which those that were cut are zero."""

    @staticmethod
    def forward(ctx: Any, out: Tensor, stride: Any, begin: Any, size: Any) -> Tensor:
        """Contiguous tensors in main memory."""
        ctx.geometry = (stride, begin, out.shape[2:])
        blocks = out.new_zeros(out.shape[0], out.shape[1] * int(np.prod(stride)), *size)
        _launch(blocks, out.detach(), stride, begin, apart=True)
        return blocks

    @staticmethod
    def backward(ctx: Any, gradient: Tensor) -> Any:
        """Interleave the gradient."""
        return Interleave.apply(gradient.contiguous(), *ctx.geometry), None, None, None
