"""The fused loss as an operator of torch: for autograd, `torch.compile` and fake tensors.

The gradient of a summed loss is its upstream factor times what the forward pass has at hand: it is
made there and kept. Where every pixel's loss has an upstream factor of its own, the backward pass
walks the target a second time.
"""

from typing import Any

import numpy as np
import torch
from torch import Tensor

from upscore.errors import UnsupportedError
from upscore.heads.cross_entropy.options import Options
from upscore.heads.grid import Grid
from upscore.kernels.torch_op import register


def losses(
    scores: Tensor, target: Tensor, weight: Tensor | None, options: Options, backend: str
) -> tuple[Tensor, Tensor]:
    """Return the pixels' losses (N x H x W) or their sum, and the pixels' weight."""
    differentiated = scores.requires_grad and torch.is_grad_enabled() and not options.per_pixel
    found, total, _ = operator(
        scores,
        target,
        weight,
        None,
        options.ignore_index,
        options.label_smoothing,
        options.grid.name,
        options.grid.stride,
        options.per_pixel,
        differentiated,
        backend,
    )
    return found, total


def _compute(
    scores: Tensor,
    target: Tensor,
    weight: Tensor | None,
    factor: Tensor | None,
    ignore_index: int,
    label_smoothing: float,
    grid: str,
    stride: int,
    per_pixel: bool,
    with_gradient: bool,
    backend: str,
) -> tuple[Tensor, Tensor, Tensor]:
    """Return the pixels' losses (N x H x W) or their sum, the pixels' weight, and the gradient.

    The gradient is that of the sum of the losses times `factor`, to the scores; empty if not asked
    for. All are float64 for float64 scores, else float32.
    """
    options = Options(ignore_index, label_smoothing, Grid(grid, stride), per_pixel)
    case: dict[str, Any] = {"options": options, "with_gradient": with_gradient}
    dtype = _computed(scores)
    if backend == "gpu":
        from upscore.heads.cross_entropy import gpu

        on_gpu, total, gradient = gpu.cross_entropy(scores, target, weight, factor, **case)
        return on_gpu, total, scores.new_empty(0, dtype=dtype) if gradient is None else gradient
    from upscore.heads.cross_entropy import cpu

    found = cpu.cross_entropy(
        scores.detach().to(dtype).numpy(),
        target.numpy(),
        None if weight is None else weight.to(dtype).numpy(force=True),
        None if factor is None else factor.numpy(force=True),
        **case,
    )
    in_memory, total, gradient = (torch.from_numpy(np.asarray(x)).to(dtype) for x in found)
    return in_memory, total, gradient if with_gradient else gradient.reshape(0)


def _computed(scores: Tensor) -> torch.dtype:
    return torch.promote_types(scores.dtype, torch.float32)


def _fake(
    scores: Tensor,
    target: Tensor,
    weight: Tensor | None,
    factor: Tensor | None,
    ignore_index: int,
    label_smoothing: float,
    grid: str,
    stride: int,
    per_pixel: bool,
    with_gradient: bool,
    backend: str,
) -> tuple[Tensor, Tensor, Tensor]:
    dtype = _computed(scores)
    return (
        scores.new_empty(target.shape if per_pixel else (), dtype=dtype),
        scores.new_empty((), dtype=dtype),
        scores.new_empty(scores.shape if with_gradient else (0,), dtype=dtype),
    )


def _keep(ctx: Any, inputs: tuple[Any, ...], output: tuple[Tensor, Tensor, Tensor]) -> None:
    scores, target, weight, _, *options, per_pixel, _, backend = inputs
    ctx.mark_non_differentiable(*output[1:])
    ctx.dtype, ctx.case = scores.dtype, (*options, False, True, backend) if per_pixel else None
    ctx.save_for_backward(*((scores, target, weight) if per_pixel else output[2:]))


def _backward(ctx: Any, factor: Tensor, *_: Any) -> tuple[Tensor | None, ...]:
    if torch.is_grad_enabled():
        raise UnsupportedError(
            "the fused cross_entropy can be differentiated once: where second derivatives are "
            'needed (create_graph=True), choose backend="eager"'
        )
    if ctx.case is None:
        gradient = ctx.saved_tensors[0] * factor
    else:
        scores, target, weight = ctx.saved_tensors
        gradient = operator(scores, target, weight, factor, *ctx.case)[2]
    return gradient.to(ctx.dtype), *[None] * 10


operator = register("cross_entropy", _compute, _fake, backward=_backward, setup_context=_keep)
