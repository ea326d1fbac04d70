"""The fused loss as an operator of torch: for autograd, `torch.compile` and fake tensors.

The gradient of a summed loss is its upstream factor times what the forward pass has at hand: it is
made there and kept. Where every pixel's loss has an upstream factor of its own, the backward pass
walks the target a second time.
"""

from typing import Any, NamedTuple

import numpy as np
import torch
from torch import Tensor

from upscore.errors import UnsupportedError
from upscore.heads.cross_entropy.options import Options
from upscore.heads.grid import Grid
from upscore.heads.target import counted
from upscore.heads.volumes import tall
from upscore.kernels.torch_op import refuse_forward_mode, register, times


class Found(NamedTuple):
    """What a backend returns, float64 for float64 scores, else float32."""

    losses: Tensor  # of the pixels (N x H x W), or their sum or mean
    total: Tensor  # the pixels' weight
    log_sums: Tensor  # the logarithm of each pixel's summed exponentials, 0 where ignored; or empty


def losses(
    scores: Tensor, target: Tensor, weight: Tensor | None, options: Options, backend: str
) -> Found:
    """Return the losses as the options say, with what else they ask for."""
    refuse_forward_mode(scores, "cross_entropy")
    differentiated = scores.requires_grad and torch.is_grad_enabled() and not options.per_pixel
    found = operator(
        scores,
        target,
        weight,
        None,
        None,
        options.ignore_index,
        options.label_smoothing,
        options.grid.name,
        options.grid.stride,
        options.per_pixel,
        options.mean,
        options.log_sums,
        differentiated,
        backend,
    )
    return Found(*found[:3])


def _compute(
    scores: Tensor,
    target: Tensor,
    weight: Tensor | None,
    factor: Tensor | None,
    tilt: Tensor | None,
    ignore_index: int,
    label_smoothing: float,
    grid: str,
    stride: int,
    per_pixel: bool,
    mean: bool,
    log_sums: bool,
    with_gradient: bool,
    backend: str,
) -> tuple[Tensor, Tensor, Tensor, Tensor]:
    """Return the three of `Found`, and the gradient to the scores.

    The gradient, empty if not asked for, is that of the mean, or of the sum of the losses times
    `factor` plus the sum of the `log_sums` times `tilt`.
    """
    options = Options(ignore_index, label_smoothing, Grid(grid, stride), per_pixel, mean, log_sums)
    case: dict[str, Any] = {"options": options, "with_gradient": with_gradient}
    dtype = _computed(scores)
    images, labels, factor, tilt = tall(scores, target, factor, tilt)
    if backend == "gpu":
        from upscore.heads.cross_entropy import gpu

        on_gpu = gpu.cross_entropy(images, labels, weight, factor, tilt, **case)
        losses, total, sums, gradient = (
            scores.new_empty(0, dtype=dtype) if part is None else part for part in on_gpu
        )
    else:
        from upscore.heads.cross_entropy import cpu

        found = cpu.cross_entropy(
            images.detach().to(dtype).numpy(),
            labels.numpy(),
            None if weight is None else weight.to(dtype).numpy(force=True),
            None if factor is None else factor.numpy(force=True),
            None if tilt is None else tilt.numpy(force=True),
            **case,
        )
        losses, total, sums, gradient = (torch.from_numpy(np.asarray(x)).to(dtype) for x in found)
    return (
        losses.reshape(target.shape if per_pixel else ()),
        total,
        sums.reshape(target.shape if log_sums else 0),
        gradient.reshape(scores.shape if with_gradient else 0),
    )


def _computed(scores: Tensor) -> torch.dtype:
    return torch.promote_types(scores.dtype, torch.float32)


def _fake(
    scores: Tensor,
    target: Tensor,
    weight: Tensor | None,
    factor: Tensor | None,
    tilt: Tensor | None,
    ignore_index: int,
    label_smoothing: float,
    grid: str,
    stride: int,
    per_pixel: bool,
    mean: bool,
    log_sums: bool,
    with_gradient: bool,
    backend: str,
) -> tuple[Tensor, Tensor, Tensor, Tensor]:
    dtype = _computed(scores)
    return (
        scores.new_empty(target.shape if per_pixel else (), dtype=dtype),
        scores.new_empty((), dtype=dtype),
        scores.new_empty(target.shape if log_sums else (0,), dtype=dtype),
        scores.new_empty(scores.shape if with_gradient else (0,), dtype=dtype),
    )


def _keep(ctx: Any, inputs: tuple[Any, ...], output: tuple[Tensor, ...]) -> None:
    scores, target, weight, _, _, *options, per_pixel, _, log_sums, _, backend = inputs
    ctx.set_materialize_grads(False)  # no zeros of the gradient's size for what nobody uses
    ctx.mark_non_differentiable(output[1], output[3], *([] if log_sums else [output[2]]))
    ctx.dtype = scores.dtype
    ctx.case = (*options, False, False, False, True, backend) if per_pixel else None
    ctx.save_for_backward(*((scores, target, weight) if per_pixel else output[3:]))


def _backward(ctx: Any, factor: Any, _: Any, tilt: Any, *__: Any) -> tuple[Any, ...]:
    if torch.is_grad_enabled():
        raise UnsupportedError(
            "the fused cross_entropy can be differentiated once: where second derivatives are "
            'needed (create_graph=True), choose backend="eager"'
        )
    if factor is None and tilt is None:
        return (None,) * 14
    if ctx.case is None:
        gradient = times(ctx.saved_tensors[0], factor)
    else:
        scores, target, weight = ctx.saved_tensors
        if tilt is not None:
            tilt = tilt * counted(target, ctx.case[0])
        factor = torch.zeros_like(tilt) if factor is None else factor
        gradient = operator(scores, target, weight, factor, tilt, *ctx.case)[3]
    return gradient.to(ctx.dtype), *[None] * 13


operator = register("cross_entropy", _compute, _fake, backward=_backward, setup_context=_keep)
