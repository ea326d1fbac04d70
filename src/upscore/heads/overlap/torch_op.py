"""The fused overlap as an operator of torch: for autograd, `torch.compile` and fake tensors.

The gradient needs the derivatives of what follows by the sums: it is made in the backward pass, in
a second walk through the pixels.
"""

from typing import Any

import torch
from torch import Tensor

from upscore.errors import UnsupportedError
from upscore.heads.grid import Grid, widened
from upscore.heads.overlap.options import Options
from upscore.heads.volumes import tall
from upscore.kernels.torch_op import refuse_forward_mode, register


def sums(
    scores: Tensor, target: Tensor, weight: Tensor | None, options: Options, backend: str
) -> Tensor:
    """Return the sums N x 3 x C, N x 5 x C with the losses."""
    refuse_forward_mode(scores, "overlap")
    *plain, grid = options
    found: Tensor = operator(scores, target, weight, None, *plain, grid.name, grid.stride, backend)
    return found


def _compute(
    scores: Tensor,
    target: Tensor,
    weight: Tensor | None,
    toward: Tensor | None,
    sigmoid: bool,
    losses: bool,
    ignore_index: int,
    grid: str,
    stride: int,
    backend: str,
) -> Tensor:
    """Return the sums or, given a loss's derivatives `toward` them, its gradient."""
    options = Options(sigmoid, losses, ignore_index, Grid(grid, stride))
    images, labels, weight = tall(scores.detach(), target, weight)
    found: Tensor
    if backend == "gpu":
        from upscore.heads.overlap import gpu

        found = gpu.overlap(images, labels, weight, toward, options=options)
    else:
        from upscore.heads.overlap import cpu

        wide = widened(images)
        array = cpu.overlap(
            wide.numpy(),
            labels.numpy(),
            None if weight is None else weight.to(wide.dtype).numpy(force=True),
            None if toward is None else toward.numpy(force=True),
            options=options,
        )
        # NumPy reshapes it: PyTorch adds to a gradient in place if it is no view.
        shape = array.shape if toward is None else scores.shape
        return torch.from_numpy(array.reshape(shape)).to(wide.dtype)
    return found if toward is None else found.reshape(scores.shape)


def _fake(
    scores: Tensor,
    target: Tensor,
    weight: Tensor | None,
    toward: Tensor | None,
    sigmoid: bool,
    losses: bool,
    ignore_index: int,
    grid: str,
    stride: int,
    backend: str,
) -> Tensor:
    images, classes = scores.shape[:2]
    dtype = torch.promote_types(scores.dtype, torch.float32)
    shape = (images, 5 if losses else 3, classes) if toward is None else scores.shape
    return scores.new_empty(shape, dtype=dtype)


def _keep(ctx: Any, inputs: tuple[Any, ...], output: Tensor) -> None:
    scores, target, weight, _, *ctx.options = inputs
    ctx.save_for_backward(scores, target, weight)


def _backward(ctx: Any, toward: Tensor) -> tuple[Tensor | None, ...]:
    if torch.is_grad_enabled():
        raise UnsupportedError(
            "the fused overlap can be differentiated once: where second derivatives are needed "
            '(create_graph=True), choose backend="eager"'
        )
    scores, target, weight = ctx.saved_tensors
    gradient = operator(scores, target, weight, toward, *ctx.options)
    return gradient.to(scores.dtype), *[None] * 9


operator = register("overlap", _compute, _fake, backward=_backward, setup_context=_keep)
