"""Interleave the phases of an output, and take it apart again, in one pass over memory."""

from typing import Any

import numpy as np
import torch
from torch import Tensor

from upscore.kernels.launch import Kernel
from upscore.kernels.threads import share

MOVE = Kernel("upscore.conv.interleave_kernels", "move")

# Whole numbers as wide as an element: what is only moved needs no more.
_BITS = {1: torch.uint8, 2: torch.int16, 4: torch.int32, 8: torch.int64}


def _launch(blocks: Tensor, out: Tensor, stride: Any, begin: Any, apart: bool) -> None:
    lead = (1,) * (3 - len(stride))
    bits = _BITS[blocks.element_size()]
    planes = out.shape[0] * out.shape[1]
    size, spread = (*lead, *out.shape[2:]), (*lead, *stride, *lead, *blocks.shape[2:])
    share(
        MOVE,
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
