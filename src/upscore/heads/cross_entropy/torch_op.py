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


def _compute(
    scores: Tensor,
    target: Tensor,
    weight: Tensor | None,
    factor: Tensor | None,
    ignore_index: int,
    label_smoothing: float,
    align_corners: bool,
    stride: int | None,
    per_pixel: bool,
    with_gradient: bool,
    backend: str,
) -> tuple[Tensor, Tensor, Tensor]:
    """Return the pixels' losses (N x H x W) or their sum, the pixels' weight, and the gradient.

    The gradient is that of the sum of the losses times `factor`, to the scores; empty if not asked
    for. All are float64 for float64 scores, else float32.
    """
    options: dict[str, Any] = {
        "ignore_index": ignore_index,
        "label_smoothing": label_smoothing,
        "align_corners": align_corners,
        "stride": stride,
        "per_pixel": per_pixel,
        "with_gradient": with_gradient,
    }
    dtype = _computed(scores)
    if backend == "gpu":
        from upscore.heads.cross_entropy import gpu

        losses, total, gradient = gpu.cross_entropy(scores, target, weight, factor, **options)
        return losses, total, scores.new_empty(0, dtype=dtype) if gradient is None else gradient
    from upscore.heads.cross_entropy import cpu

    found = cpu.cross_entropy(
        scores.detach().to(dtype).numpy(),
        target.numpy(),
        None if weight is None else weight.to(dtype).numpy(force=True),
        None if factor is None else factor.numpy(force=True),
        **options,
    )
    losses, total, gradient = (torch.from_numpy(np.asarray(x)).to(dtype) for x in found)
    return losses, total, gradient if with_gradient else gradient.reshape(0)


# Not `custom_op`, whose first call spends seconds on importing torch's compiler.
_NAME = "upscore::cross_entropy"
torch.library.define(_NAME, torch.library.infer_schema(_compute, mutates_args=()))
torch.library.impl(_NAME, "default")(_compute)
cross_entropy: Any = torch.ops.upscore.cross_entropy


def _computed(scores: Tensor) -> torch.dtype:
    return torch.promote_types(scores.dtype, torch.float32)


def _fake(
    scores: Tensor,
    target: Tensor,
    weight: Tensor | None,
    factor: Tensor | None,
    ignore_index: int,
    label_smoothing: float,
    align_corners: bool,
    stride: int | None,
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


torch.library.register_fake(_NAME, _fake)


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
        gradient = cross_entropy(scores, target, weight, factor, *ctx.case)[2]
    return gradient.to(ctx.dtype), *[None] * 10


torch.library.register_autograd(_NAME, _backward, setup_context=_keep)
