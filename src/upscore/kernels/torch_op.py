"""The one way in which kernels become operators of torch, for its compiler and exporter."""

from collections.abc import Callable
from typing import Any

import torch
from torch import Tensor
from torch.autograd.forward_ad import unpack_dual

from upscore.arrays import TORCH
from upscore.errors import UnsupportedError


def refuse_forward_mode(scores: Tensor, name: str) -> None:
    """Raise where a forward-mode derivative of an operator would silently come out as 0."""
    dual = None if TORCH.traced(scores) else unpack_dual(scores)  # type: ignore[no-untyped-call]
    if dual is not None and dual.tangent is not None:
        raise UnsupportedError(
            f"the fused {name} has no forward-mode derivative: where one is needed "
            '(torch.func.jvp), choose backend="eager"'
        )


def times(gradient: Tensor, factor: Tensor) -> Tensor:
    """Return a kept gradient times the upstream factor; itself where that is 1, as it mostly is.

    A product takes new memory of the scores' size. Whether a factor is 1 is asked in main memory
    alone, where it costs no waiting, and not of a graph that is still being made. A batch of
    factors (`is_grads_batched`) cannot tell.
    """
    try:
        one = factor.device.type == "cpu" and not TORCH.traced(factor) and bool(factor == 1)
    except RuntimeError:
        one = False
    return gradient if one else gradient * factor


def register(
    name: str,
    implementation: Callable[..., Any],
    fake: Callable[..., Any],
    *,
    backward: Callable[..., tuple[Any, ...]] | None = None,
    setup_context: Callable[..., None] | None = None,
) -> Any:
    """Register the operator `upscore::name` and return it.

    It may be called like `implementation`, which computes new tensors, changes none of its
    arguments and returns none of them. A call passes through torch's dispatcher: several
    microseconds, so what neither records gradients nor is traced should call `implementation`.

    This does as `torch.library.custom_op`, whose first call spends seconds on importing torch's
    compiler.

    Args:
        name: of the operator, unique within upscore.
        implementation: its parameters are annotated with types that `torch.library.infer_schema`
            knows (`Tensor`, `Tensor | None`, `Sequence[int]`, `int`, `float`, `bool`, `str`), and
            so is what it returns (a `Tensor` or a tuple of them).
        fake: takes the same arguments and returns empty tensors of the result's shapes and dtypes.
        backward: `backward(ctx, *gradients of the results)` returns a gradient, or None, for each
            parameter.
        setup_context: `setup_context(ctx, inputs, output)` keeps what `backward` needs.
    """
    qualified = f"upscore::{name}"
    torch.library.define(qualified, torch.library.infer_schema(implementation, mutates_args=()))
    torch.library.impl(qualified, "default")(implementation)
    torch.library.register_fake(qualified, fake)
    if backward is not None:
        torch.library.register_autograd(qualified, backward, setup_context=setup_context)
    return getattr(torch.ops.upscore, name).default
