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
    """Return the transposed convolution of a sequence, by the backend that is fastest for it.

    Equivalent to `torch.nn.functional.conv_transpose1d(input, weight, bias, stride, ...)`.

    Args:
        input: (N, C, L) or (C, L), a NumPy array or a torch tensor, float16,
            bfloat16, float32 or float64.
        weight: (C, O // groups, K), of the framework, dtype and device of `input`.
        bias: (O), or None.
        stride: output pixels from one input pixel to the next, 1 or more.
        padding: pixels cut from both ends of the full output, 0 or more.
        output_padding: pixels given back at the end, 0 or more.
        groups: parts that the channels are divided into, 1 or more; each is computed by itself.
        dilation: output pixels from one tap to the next, 1 or more.
        output_size: the output's length, instead of `output_padding`.
        backend: "auto", or a backend by name, as for `upscore.conv_transpose2d`.

    Returns:
        (N, O, L_out) or (O, L_out), like `input` in framework, dtype and device.

    Raises:
        ArgumentError: shapes do not fit, the output cannot be, or the backend cannot serve the
            case.
        ArgumentTypeError: arrays of two frameworks, dtypes or devices.

    Source: Dumoulin and Visin 2016, "A guide to convolution arithmetic for deep learning".

    Examples:
        >>> import numpy as np
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

    Equivalent to `torch.nn.functional.conv_transpose2d(input, weight, bias, stride, ...)`.

    Args:
        input: (N, C, H, W) or (C, H, W), a NumPy array or a torch tensor, float16,
            bfloat16, float32 or float64.
        weight: (C, O // groups, K_h, K_w), of the framework, dtype and device of `input`.
        bias: (O), or None.
        stride: output pixels from one input pixel to the next, 1 or more, one number or one an
            axis.
        padding: pixels cut from both ends of the full output, 0 or more, one number or one an axis.
        output_padding: pixels given back at the end, 0 or more, one number or one an axis.
        groups: parts that the channels are divided into, 1 or more; each is computed by itself.
        dilation: output pixels from one tap to the next, 1 or more, one number or one an axis.
        output_size: the output's height and width, instead of `output_padding`, as in
            `torch.nn.ConvTranspose2d`.
        backend: "auto", or a backend by name, which works or raises: "torch", "subkernels",
            "matmul", "separable", "depthwise", "zero_insertion", "definition".
            `upscore.conv.plan(upscore.conv.describe(...))` says what "auto" takes and why.

    Returns:
        (N, O, H_out, W_out) or (O, H_out, W_out), like `input` in framework, dtype, device and
        memory format.

    Raises:
        ArgumentError: shapes do not fit, the output cannot be, or the backend cannot serve the
            case.
        ArgumentTypeError: arrays of two frameworks, dtypes or devices.

    Source: Dumoulin and Visin 2016, "A guide to convolution arithmetic for deep learning".

    Examples:
        >>> import numpy as np
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
    """Return the transposed convolution of a volume, by the backend that is fastest for it.

    Equivalent to `torch.nn.functional.conv_transpose3d(input, weight, bias, stride, ...)`.

    Args:
        input: (N, C, D, H, W) or (C, D, H, W), a NumPy array or a torch tensor, float16,
            bfloat16, float32 or float64.
        weight: (C, O // groups, K_d, K_h, K_w), of the framework, dtype and device of `input`.
        bias: (O), or None.
        stride: output pixels from one input pixel to the next, 1 or more, one number or one an
            axis.
        padding: pixels cut from both ends of the full output, 0 or more, one number or one an axis.
        output_padding: pixels given back at the end, 0 or more, one number or one an axis.
        groups: parts that the channels are divided into, 1 or more; each is computed by itself.
        dilation: output pixels from one tap to the next, 1 or more, one number or one an axis.
        output_size: the output's depth, height and width, instead of `output_padding`.
        backend: "auto", or a backend by name, as for `upscore.conv_transpose2d`.

    Returns:
        (N, O, D_out, H_out, W_out) or without N, like `input` in framework, dtype and device.

    Raises:
        ArgumentError: shapes do not fit, the output cannot be, or the backend cannot serve the
            case.
        ArgumentTypeError: arrays of two frameworks, dtypes or devices.

    Source: Dumoulin and Visin 2016, "A guide to convolution arithmetic for deep learning".

    Examples:
        >>> import numpy as np
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
