"""The depthwise kernels as PyTorch operators: with gradients, and opaque to torch.compile."""

from collections.abc import Sequence
from typing import Any

import torch
from torch import Tensor

from upscore.conv import composed
from upscore.conv.case import Case, describe
from upscore.conv.depthwise import Launch


def depthwise(
    x: Tensor, weight: Tensor, bias: Tensor | None, case: Case, *, separable: bool
) -> Tensor:
    """Return the depthwise transposed convolution, by the kernels."""
    arguments = (x, weight, bias, case.size_out, case.stride, case.padding, separable)
    learning = torch.is_grad_enabled() and any(
        tensor is not None and tensor.requires_grad for tensor in (x, weight, bias)
    )
    # What records nothing need not pass PyTorch's dispatcher, which takes as long as a small case.
    return (_forward if learning or case.tracing else _run)(*arguments)


def _array(tensor: Tensor) -> Any:
    """A contiguous array of the numbers, bfloat16 widened."""
    tensor = tensor.detach()
    return (tensor.float() if tensor.dtype == torch.bfloat16 else tensor).contiguous().numpy()


def _bits(tensor: Tensor) -> Any:
    """A contiguous array of the numbers, bfloat16 as its bits."""
    tensor = tensor.detach().contiguous()
    return (tensor.view(torch.uint16) if tensor.dtype == torch.bfloat16 else tensor).numpy()


def _launch(
    x: Tensor,
    weight: Tensor,
    size_out: Sequence[int],
    stride: Sequence[int],
    padding: Sequence[int],
    separable: bool,
) -> Launch:
    sizes = (tuple(sizes) for sizes in (x.shape[2:], size_out, stride, padding))
    return Launch(_array(weight)[:, 0], *sizes, separable=separable)


def _run(
    x: Tensor,
    weight: Tensor,
    bias: Tensor | None,
    size_out: Sequence[int],
    stride: Sequence[int],
    padding: Sequence[int],
    separable: bool,
) -> Tensor:
    launch = _launch(x, weight, size_out, stride, padding, separable)
    half = x.dtype == torch.bfloat16
    y = launch.forward(_array(x), None if bias is None else _array(bias), half=half)
    return torch.from_numpy(y).view(torch.bfloat16) if half else torch.from_numpy(y)


_forward = torch.library.custom_op(
    "upscore::depthwise_conv_transpose", _run, mutates_args=(), device_types="cpu"
)


@torch.library.custom_op(
    "upscore::depthwise_conv_transpose_input_gradient", mutates_args=(), device_types="cpu"
)
def _input_gradient(
    gradient: Tensor,
    x: Tensor,
    weight: Tensor,
    stride: Sequence[int],
    padding: Sequence[int],
    separable: bool,
) -> Tensor:
    launch = _launch(x, weight, gradient.shape[2:], stride, padding, separable)
    return torch.from_numpy(launch.input_gradient(_bits(gradient))).to(x.dtype)


@torch.library.custom_op(
    "upscore::depthwise_conv_transpose_weight_gradient", mutates_args=(), device_types="cpu"
)
def _weight_gradient(
    gradient: Tensor,
    x: Tensor,
    weight: Tensor,
    stride: Sequence[int],
    padding: Sequence[int],
) -> Tensor:
    launch = _launch(x, weight, gradient.shape[2:], stride, padding, separable=False)
    return torch.from_numpy(launch.weight_gradient(_array(x), _bits(gradient))).to(weight.dtype)


@_forward.register_fake
def _(
    x: Tensor, weight: Tensor, bias: Any, size_out: Any, stride: Any, padding: Any, separable: bool
) -> Tensor:
    return x.new_empty(*x.shape[:2], *size_out)


@_input_gradient.register_fake
def _(
    gradient: Tensor, x: Tensor, weight: Tensor, stride: Any, padding: Any, separable: bool
) -> Tensor:
    return x.new_empty(x.shape)


@_weight_gradient.register_fake
def _(gradient: Tensor, x: Tensor, weight: Tensor, stride: Any, padding: Any) -> Tensor:
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
        grad_x = _input_gradient(*arguments, ctx.separable) if of_x else None
        grad_weight = _weight_gradient(*arguments) if of_weight else None
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
    y = composed.native(x, weight, None, case)
    found = iter(torch.autograd.grad(y, wanted, gradient, create_graph=True))
    return tuple(next(found) if tensor.requires_grad else None for tensor in (x, weight))


_forward.register_autograd(_backward, setup_context=_save)
