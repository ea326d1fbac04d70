"""The fused binary loss as an operator of torch: for autograd, `torch.compile` and fake tensors.

As for the cross-entropy, the gradient of a summed loss is made in the forward pass and kept; where
every loss has an upstream factor of its own, the backward pass walks the target a second time.
"""

from typing import Any

import numpy as np
import torch
from torch import Tensor

from upscore.errors import UnsupportedError
from upscore.heads.binary_cross_entropy import cpu
from upscore.heads.binary_cross_entropy.options import Options
from upscore.heads.grid import Grid, widened
from upscore.heads.volumes import tall
from upscore.kernels.torch_op import refuse_forward_mode, register, times


def losses(scores: Tensor, target: Tensor, pos_weight: Tensor | None, options: Options) -> Tensor:
    """Return the losses N x C x H x W, or their sum or mean."""
    refuse_forward_mode(scores, "binary_cross_entropy")
    differentiated = scores.requires_grad and torch.is_grad_enabled() and not options.per_pixel
    ignore_index, grid, *reduction = options
    plain = ignore_index, grid.name, grid.stride, *reduction
    found: Tensor = operator(scores, target, pos_weight, None, *plain, differentiated)[0]
    return found


def _compute(
    scores: Tensor,
    target: Tensor,
    pos_weight: Tensor | None,
    factor: Tensor | None,
    ignore_index: int,
    grid: str,
    stride: int,
    per_pixel: bool,
    mean: bool,
    with_gradient: bool,
) -> tuple[Tensor, Tensor]:
    """Return the losses N x C x H x W or their sum or mean, and the gradient or nothing."""
    images, labels, factor = tall(scores.detach(), target, factor)
    wide = widened(images)
    found = cpu.binary_cross_entropy(
        wide.numpy(),
        labels.numpy(),
        None if pos_weight is None else pos_weight.to(wide.dtype).numpy(force=True),
        None if factor is None else factor.numpy(force=True),
        options=Options(ignore_index, Grid(grid, stride), per_pixel, mean),
        with_gradient=with_gradient,
    )
    losses, gradient = (torch.from_numpy(np.asarray(x)).to(wide.dtype) for x in found)
    return (
        losses.reshape(_full(scores, target) if per_pixel else ()),
        gradient.reshape(scores.shape if with_gradient else 0),
    )


def _full(scores: Tensor, target: Tensor) -> tuple[int, ...]:
    """The shape of the losses."""
    return (*scores.shape[:2], *target.shape[2 - scores.ndim :])


def _fake(
    scores: Tensor,
    target: Tensor,
    pos_weight: Tensor | None,
    factor: Tensor | None,
    ignore_index: int,
    grid: str,
    stride: int,
    per_pixel: bool,
    mean: bool,
    with_gradient: bool,
) -> tuple[Tensor, Tensor]:
    dtype = torch.promote_types(scores.dtype, torch.float32)
    return (
        scores.new_empty(_full(scores, target) if per_pixel else (), dtype=dtype),
        scores.new_empty(scores.shape if with_gradient else (0,), dtype=dtype),
    )


def _keep(ctx: Any, inputs: tuple[Any, ...], output: tuple[Tensor, Tensor]) -> None:
    scores, target, pos_weight, _, *options, per_pixel, _, _ = inputs
    ctx.set_materialize_grads(False)  # no zeros of the gradient's size for what nobody uses
    ctx.mark_non_differentiable(output[1])
    ctx.dtype, ctx.case = scores.dtype, (*options, False, False, True) if per_pixel else None
    ctx.save_for_backward(*((scores, target, pos_weight) if per_pixel else output[1:]))


def _backward(ctx: Any, factor: Tensor | None, _: Any) -> tuple[Tensor | None, ...]:
    if torch.is_grad_enabled():
        raise UnsupportedError(
            "the fused binary_cross_entropy can be differentiated once: where second derivatives "
            'are needed (create_graph=True), choose backend="eager"'
        )
    if factor is None:
        return (None,) * 10
    if ctx.case is None:
        gradient = times(ctx.saved_tensors[0], factor)
    else:
        scores, target, pos_weight = ctx.saved_tensors
        gradient = operator(scores, target, pos_weight, factor, *ctx.case)[1]
    return gradient.to(ctx.dtype), *[None] * 9


operator = register(
    "binary_cross_entropy", _compute, _fake, backward=_backward, setup_context=_keep
)
