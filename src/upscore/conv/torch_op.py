"""The depthwise kernels as PyTorch operators: with gradients, and opaque to torch.compile."""

from collections.abc import Sequence
from typing import Any

import torch
from torch import Tensor

from upscore.arrays import TORCH
from upscore.conv.case import Case, describe
from upscore.conv.composed import native
from upscore.conv.depthwise import Depthwise, Separable, launch
from upscore.conv.outer_product import factors
from upscore.errors import ArgumentError
from upscore.kernels.torch_op import register


def depthwise(
    x: Tensor, weight: Tensor, bias: Tensor | None, case: Case, *, separable: bool
) -> Tensor:
    """Return the depthwise transposed convolution, by the kernels."""
    learning = torch.is_grad_enabled() and any(
        tensor is not None and tensor.requires_grad for tensor in (x, weight, bias)
    )
    if learning or case.tracing:
        y: Tensor = forward(x, weight, bias, case.size_out, case.stride, case.padding, separable)
        return y
    # What records nothing need not pass PyTorch's dispatcher, which takes as long as a small case.
    return _run(launch(case, lambda: _array(weight), separable=separable), x, bias)


def _run(ready: Depthwise | Separable, x: Tensor, bias: Tensor | None) -> Tensor:
    bfloat16 = x.dtype == torch.bfloat16
    y = ready.forward(_array(x), None if bias is None else _array(bias), bfloat16=bfloat16)
    return torch.from_numpy(y).view(torch.bfloat16) if bfloat16 else torch.from_numpy(y)


def _array(tensor: Tensor) -> Any:
    """A contiguous array of the numbers, bfloat16 widened."""
    return TORCH.numpy(tensor.contiguous())


def _memory(tensor: Tensor) -> Any:
    """A contiguous array of the numbers, bfloat16 as its bits."""
    return TORCH.memory(tensor.detach().contiguous())


def _forward(
    x: Tensor,
    weight: Tensor,
    bias: Tensor | None,
    size_out: Sequence[int],
    stride: Sequence[int],
    padding: Sequence[int],
    separable: bool,
) -> Tensor:
    sizes = _sizes(x.shape[2:], size_out, stride, padding)
    return _run(_ready(weight, sizes, separable), x, bias)


def _input_gradient(
    gradient: Tensor,
    x: Tensor,
    weight: Tensor,
    stride: Sequence[int],
    padding: Sequence[int],
    separable: bool,
) -> Tensor:
    ready = _ready(weight, _sizes(x.shape[2:], gradient.shape[2:], stride, padding), separable)
    return torch.from_numpy(ready.input_gradient(_memory(gradient))).to(x.dtype)


def _weight_gradient(
    gradient: Tensor,
    x: Tensor,
    weight: Tensor,
    stride: Sequence[int],
    padding: Sequence[int],
) -> Tensor:
    ready = Depthwise(
        _array(weight)[:, 0], *_sizes(x.shape[2:], gradient.shape[2:], stride, padding)
    )
    return torch.from_numpy(ready.weight_gradient(_array(x), _memory(gradient))).to(weight.dtype)


def _sizes(*sizes: Sequence[int]) -> Any:
    return tuple(map(tuple, sizes))


def _ready(weight: Tensor, sizes: Any, separable: bool) -> Depthwise | Separable:
    """The launch of a case whose filters may not have been looked at."""
    if not separable:
        return Depthwise(_array(weight)[:, 0], *sizes)
    found = factors(weight)
    if found is None:
        raise ArgumentError(
            "backend 'separable' needs filters that are outer products of a column and a row, and "
            "these are not: take 'depthwise' or 'auto'"
        )
    return Separable(found, *sizes)


def _fake_forward(
    x: Tensor, weight: Tensor, bias: Any, size_out: Any, stride: Any, padding: Any, separable: bool
) -> Tensor:
    return x.new_empty(*x.shape[:2], *size_out)


def _fake_input_gradient(
    gradient: Tensor, x: Tensor, weight: Tensor, stride: Any, padding: Any, separable: bool
) -> Tensor:
    return x.new_empty(x.shape)


def _fake_weight_gradient(
    gradient: Tensor, x: Tensor, weight: Tensor, stride: Any, padding: Any
) -> Tensor:
    return weight.new_empty(weight.shape)


def _save(ctx: Any, inputs: tuple[Any, ...], output: Tensor) -> None:
    x, weight, _, _, ctx.stride, ctx.padding, ctx.separable = inputs
    ctx.save_for_backward(x, weight)


def _backward(ctx: Any, gradient: Tensor) -> tuple[Tensor | None, ...]:
    x, weight = ctx.saved_tensors
    of_x, of_weight, of_bias = ctx.needs_input_grad[:3]
    if torch.is_grad_enabled():  # this gradient will itself be differentiated
        grad_x, grad_weight = _differentiable(x, weight, gradient, ctx.stride, ctx.padding)
    else:
        arguments = (gradient, x, weight, ctx.stride, ctx.padding)
        grad_x = input_gradient(*arguments, ctx.separable) if of_x else None
        grad_weight = weight_gradient(*arguments) if of_weight else None
    grad_bias = gradient.sum((0, *range(2, gradient.ndim))) if of_bias else None
    return grad_x, grad_weight, grad_bias, None, None, None, None


def _differentiable(
    x: Tensor, weight: Tensor, gradient: Tensor, stride: Any, padding: Any
) -> tuple[Tensor | None, ...]:
    """The gradients by PyTorch's own operators."""
    case = describe(
        x, weight, None, stride, padding, groups=len(weight), output_size=gradient.shape[2:]
    )
    wanted = [tensor for tensor in (x, weight) if tensor.requires_grad]
    y = native(x, weight, None, case)
    found = iter(torch.autograd.grad(y, wanted, gradient, create_graph=True))
    return tuple(next(found) if tensor.requires_grad else None for tensor in (x, weight))


_NAME = "depthwise_conv_transpose"
forward = register(_NAME, _forward, _fake_forward, backward=_backward, setup_context=_save)
input_gradient = register(f"{_NAME}_input_gradient", _input_gradient, _fake_input_gradient)
weight_gradient = register(f"{_NAME}_weight_gradient", _weight_gradient, _fake_weight_gradient)
