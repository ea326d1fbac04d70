"""The ways to compute a transposed convolution, each with the cases that it cannot serve."""

from collections.abc import Callable
from dataclasses import dataclass
from typing import Any

import numpy as np

from upscore.arrays import TORCH
from upscore.conv.case import FLOATS, Case
from upscore.definition import conv_transpose
from upscore.kernels import NUMBA_IS_INSTALLED


@dataclass(frozen=True)
class Backend:
    """`why_not(case)` is None where `run(x, weight, bias, case)` works."""

    name: str
    summary: str
    why_not: Callable[[Case], str | None]
    run: Callable[[Any, Any, Any, Case], Any]


def _no_torch(case: Case) -> str | None:
    """Why PyTorch's operators cannot serve the case."""
    if case.framework == "numpy" and TORCH.module() is None:
        return "torch has not been imported, and NumPy arrays do not import it"
    if case.dtype not in (*FLOATS, "complex64", "complex128"):
        return f"PyTorch's operators need floating point, and the arrays are {case.dtype}"
    return None


def _no_subkernels(case: Case) -> str | None:
    if set(case.dilation) != {1}:
        return f"its phases are those of a kernel without dilation, and this has {case.dilation}"
    return _no_torch(case)


def _no_matmul(case: Case) -> str | None:
    if case.groups != 1:
        return f"one matrix product is one group, and there are {case.groups}"
    if not case.tiled and (len(case.axes) == 3 or set(case.dilation) != {1}):
        return "fold exists for one and two axes without dilation"
    return _no_torch(case)


def _no_depthwise(case: Case) -> str | None:
    if not case.depthwise:
        return (
            f"each channel needs one filter of its own, and {case.in_channels} channels in "
            f"{case.groups} groups make {case.out_channels}"
        )
    if set(case.dilation) != {1}:
        return f"the kernels have no dilation, and this has {case.dilation}"
    if case.exporting:
        return "what is exported must run where upscore is not installed"
    if case.device != "cpu":
        return f"the kernels run on the processor, and the arrays are on {case.device}"
    if case.dtype not in ("float32", "float64", "bfloat16"):
        return f"the kernels are for float32, float64 and bfloat16, and the arrays are {case.dtype}"
    if not NUMBA_IS_INSTALLED:
        return "Numba is not installed: pip install 'upscore[fast]'"
    return None


def _no_separable(case: Case) -> str | None:
    if len(case.axes) == 1:
        return "with one axis there is nothing to separate"
    if case.rank_one is False:
        return "the filters are not outer products of a column and a row"
    return _no_depthwise(case)


def _no_definition(case: Case) -> str | None:
    return None if case.framework == "numpy" else "the definition is NumPy alone: give NumPy arrays"


def _composed(name: str) -> Callable[[Any, Any, Any, Case], Any]:
    """The backend of that name in `composed`, for tensors and for arrays."""

    def run(x: Any, weight: Any, bias: Any, case: Case) -> Any:
        from upscore.conv.composed import FUNCTIONS, memory_format

        function = FUNCTIONS[name]
        if case.framework == "torch":
            return function(x, weight, bias, case).contiguous(memory_format=memory_format(case))
        import torch

        with torch.no_grad():
            arrays = (None if a is None else torch.from_numpy(a) for a in (x, weight, bias))
            return function(*arrays, case).contiguous().numpy()

    return run


def _depthwise(separable: bool) -> Callable[[Any, Any, Any, Case], Any]:
    """The kernels of `depthwise`, directly on arrays and as a PyTorch operator on tensors."""

    def run(x: Any, weight: Any, bias: Any, case: Case) -> Any:
        if case.framework == "torch":
            from upscore.conv.composed import memory_format
            from upscore.conv.torch_op import depthwise

            y = depthwise(x, weight, bias, case, separable=separable)
            return y.contiguous(memory_format=memory_format(case))
        from upscore.conv.depthwise import launch

        return launch(case, lambda: weight, separable=separable).forward(x, bias)

    return run


def _definition(x: Any, weight: Any, bias: Any, case: Case) -> Any:
    y = conv_transpose(
        x,
        weight,
        bias,
        stride=case.stride,
        padding=case.padding,
        output_padding=case.output_padding,
        dilation=case.dilation,
        groups=case.groups,
    )
    return np.asarray(y, x.dtype) if case.dtype in FLOATS else y


BACKENDS = {
    backend.name: backend
    for backend in (
        Backend("torch", "PyTorch's own transposed convolution", _no_torch, _composed("torch")),
        Backend(
            "subkernels",
            "one convolution that makes every phase, then interleaving",
            _no_subkernels,
            _composed("subkernels"),
        ),
        Backend(
            "matmul",
            "one matrix product, then adding what overlaps",
            _no_matmul,
            _composed("matmul"),
        ),
        Backend(
            "separable",
            "a column, then a row, for each channel's filter",
            _no_separable,
            _depthwise(separable=True),
        ),
        Backend(
            "depthwise",
            "each channel's filter in one pass over the output",
            _no_depthwise,
            _depthwise(separable=False),
        ),
        Backend(
            "zero_insertion",
            "zeros between the inputs, then a convolution: the baseline",
            _no_torch,
            _composed("zero_insertion"),
        ),
        Backend("definition", "the readable NumPy specification", _no_definition, _definition),
    )
}
