"""The one way in which kernels become operators of torch, for its compiler and exporter."""

from collections.abc import Callable
from typing import Any

import torch


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
