"""The transposed convolution: check the arguments, choose a backend, run it."""

from collections.abc import Callable
from typing import Any

import numpy as np

from upscore.arrays import NUMPY, TORCH, framework
from upscore.conv.backends import BACKENDS
from upscore.conv.case import Case, Sizes, describe
from upscore.conv.plan import Plan, choose, plan
from upscore.errors import ArgumentError

__all__ = [
    "Case",
    "Plan",
    "conv_transpose1d",
    "conv_transpose2d",
    "conv_transpose3d",
    "describe",
    "plan",
]


def conv_transpose1d(
    input: Any,
    weight: Any,
    bias: Any = None,
    stride: Sizes = 1,
    padding: Sizes = 0,
    output_padding: Sizes = 0,
    groups: int = 1,
    dilation: Sizes = 1,
    *,
    output_size: Sizes | None = None,
    backend: str = "auto",
) -> Any:
    """Return the transposed convolution of a sequence: `conv_transpose2d` with one axis.

    `torch.nn.functional.conv_transpose1d(input, weight, bias, stride, ...)`. Arrays are
    (N, C, L) or (C, L), weight (C, O // groups, K).

    >>> conv_transpose1d(np.array([[1.0, 2.0]]), np.ones((1, 1, 2)), stride=2).tolist()
    [[1.0, 1.0, 2.0, 2.0]]
    """
    geometry = (stride, padding, output_padding, groups, dilation)
    return _conv_transpose(1, input, weight, bias, geometry, output_size, backend)


def conv_transpose2d(
    input: Any,
    weight: Any,
    bias: Any = None,
    stride: Sizes = 1,
    padding: Sizes = 0,
    output_padding: Sizes = 0,
    groups: int = 1,
    dilation: Sizes = 1,
    *,
    output_size: Sizes | None = None,
    backend: str = "auto",
) -> Any:
    """Return the transposed convolution of an image, by the backend that is fastest for it.

    `torch.nn.functional.conv_transpose2d(input, weight, bias, stride, ...)`; `output_size` stands
    for `output_padding` as in `torch.nn.ConvTranspose2d`.

    input: (N, C, H, W) or (C, H, W), a NumPy array or a torch tensor; so is the output, of the same
    dtype, on the same device, in the same memory format.
    weight: (C, O // groups, K, K), bias: (O).
    stride, padding, output_padding, dilation: one whole number, or one for each axis.
    backend: "auto", or a backend by name, which works or raises: "torch", "subkernels", "matmul",
    "separable", "depthwise", "zero_insertion", "definition". `plan(describe(...))` says what
    "auto" takes and why.

    Raises TypeError for arrays of two frameworks, dtypes or devices, ValueError for shapes that do
    not fit, outputs that cannot be, and a backend that cannot serve the case.

    Source: Dumoulin and Visin, "A guide to convolution arithmetic for deep learning", 2016.

    >>> kernel = np.array([[[[1.0, 2.0], [3.0, 4.0]]]])
    >>> conv_transpose2d(np.array([[[[1.0, 10.0]]]]), kernel, stride=2)[0, 0].tolist()
    [[1.0, 2.0, 10.0, 20.0], [3.0, 4.0, 30.0, 40.0]]
    """
    geometry = (stride, padding, output_padding, groups, dilation)
    return _conv_transpose(2, input, weight, bias, geometry, output_size, backend)


def conv_transpose3d(
    input: Any,
    weight: Any,
    bias: Any = None,
    stride: Sizes = 1,
    padding: Sizes = 0,
    output_padding: Sizes = 0,
    groups: int = 1,
    dilation: Sizes = 1,
    *,
    output_size: Sizes | None = None,
    backend: str = "auto",
) -> Any:
    """Return the transposed convolution of a volume: `conv_transpose2d` with three axes.

    `torch.nn.functional.conv_transpose3d(input, weight, bias, stride, ...)`. Arrays are
    (N, C, D, H, W) or (C, D, H, W), weight (C, O // groups, K, K, K).

    >>> conv_transpose3d(np.ones((1, 1, 2, 2, 2)), np.ones((1, 1, 3, 3, 3))).shape
    (1, 1, 4, 4, 4)
    """
    geometry = (stride, padding, output_padding, groups, dilation)
    return _conv_transpose(3, input, weight, bias, geometry, output_size, backend)


PUBLIC: dict[int, Callable[..., Any]] = {
    1: conv_transpose1d,
    2: conv_transpose2d,
    3: conv_transpose3d,
}


def _conv_transpose(
    dim: int,
    x: Any,
    weight: Any,
    bias: Any,
    geometry: tuple[Sizes, Sizes, Sizes, int, Sizes],
    output_size: Sizes | None,
    backend: str,
) -> Any:
    """Bring the arrays into the form that backends take, check, choose and run."""
    arrays = framework(x)
    if arrays is TORCH:
        from upscore.conv.composed import autocast, overridden

        if overridden(x, weight, bias):
            return _handed_over(dim, (x, weight, bias), geometry, output_size, backend)
    if getattr(weight, "ndim", None) != dim + 2:
        raise ArgumentError(
            f"weight of a {dim}-D transposed convolution must have {dim + 2} axes "
            f"(in, out // groups, *kernel), not {tuple(np.shape(weight))}"
        )
    if x.ndim == dim + 1:
        return _conv_transpose(dim, x[None], weight, bias, geometry, output_size, backend)[0]
    if arrays is TORCH:
        x, weight, bias = autocast(x, weight, bias)
    else:
        x, weight, bias = (_plain(a) if NUMPY.owns(a) else a for a in (x, weight, bias))
    case = describe(x, weight, bias, *geometry, output_size=output_size)
    name, _ = choose(case, backend)
    return BACKENDS[name].run(x, weight, bias, case)


def _handed_over(
    dim: int,
    tensors: tuple[Any, Any, Any],
    geometry: tuple[Sizes, Sizes, Sizes, int, Sizes],
    output_size: Sizes | None,
    backend: str,
) -> Any:
    """What a mode or a subclass of tensors makes of the call, by `__torch_function__`."""
    from torch.overrides import handle_torch_function

    options = {"output_size": output_size, "backend": backend}
    return handle_torch_function(PUBLIC[dim], tensors, *tensors, *geometry, **options)


def _plain(array: Any) -> Any:
    """A contiguous, writeable array in this machine's byte order: what torch and Numba take."""
    return np.require(array, array.dtype.newbyteorder("="), ["C", "W"])
