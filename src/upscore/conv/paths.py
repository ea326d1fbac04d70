"""The ways to compute a transposed convolution, each with the cases that it cannot serve."""

import sys
from collections.abc import Callable
from dataclasses import dataclass
from importlib.util import find_spec
from typing import Any

import numpy as np

from upscore.conv.case import FLOATS, Case
from upscore.definition import conv_transpose


@dataclass(frozen=True)
class Path:
    """`why_not(case)` is None where `run(x, weight, bias, case)` works."""

    name: str
    summary: str
    why_not: Callable[[Case], str | None]
    run: Callable[[Any, Any, Any, Case], Any]


def _no_torch(case: Case) -> str | None:
    """Why PyTorch's operators cannot serve the case."""
    if case.array == "numpy" and sys.modules.get("torch") is None:
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
        return f"the kernels know no dilation, and this has {case.dilation}"
    if case.exporting:
        return "what is exported must run where upscore is not installed"
    if case.device != "cpu":
        return f"the kernels run on the processor, and the arrays are on {case.device}"
    if case.dtype not in ("float32", "float64", "bfloat16"):
        return f"the kernels know float32, float64 and bfloat16, and the arrays are {case.dtype}"
    if find_spec("numba") is None:
        return "Numba is not installed: pip install 'upscore[fast]'"
    return None


def _no_separable(case: Case) -> str | None:
    if len(case.axes) == 1:
        return "with one axis there is nothing to separate"
    if case.rank_one is False:
        return "the filters are not outer products of a column and a row"
    return _no_depthwise(case)


def _no_definition(case: Case) -> str | None:
    return None if case.array == "numpy" else "the definition is NumPy alone: give NumPy arrays"


def _composed(name: str) -> Callable[[Any, Any, Any, Case], Any]:
    """The function of that name in `composed`, for tensors and for arrays."""

    def run(x: Any, weight: Any, bias: Any, case: Case) -> Any:
        from upscore.conv import composed

        function = getattr(composed, name)
        if case.array == "torch":
            y = function(x, weight, bias, case)
            return y.contiguous(memory_format=composed.memory_format(case))
        import torch

        with torch.no_grad():
            arrays = (None if a is None else torch.from_numpy(a) for a in (x, weight, bias))
            return function(*arrays, case).contiguous().numpy()

    return run


def _depthwise(separable: bool) -> Callable[[Any, Any, Any, Case], Any]:
    """The kernels of `depthwise`, directly on arrays and as a PyTorch operator on tensors."""

    def run(x: Any, weight: Any, bias: Any, case: Case) -> Any:
        if case.array == "torch":
            from upscore.conv import composed, operator

            y = operator.depthwise(x, weight, bias, case, separable=separable)
            return y.contiguous(memory_format=composed.memory_format(case))
        from upscore.conv.depthwise import Launch

        launch = Launch(
            weight[:, 0],
            case.size_in,
            case.size_out,
            case.stride,
            case.padding,
            separable=separable,
        )
        return launch.forward(x, bias)

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


PATHS = {
    path.name: path
    for path in (
        Path("torch", "PyTorch's own transposed convolution", _no_torch, _composed("native")),
        Path(
            "subkernels",
            "one convolution that makes every phase, then interleaving",
            _no_subkernels,
            _composed("subkernels"),
        ),
        Path(
            "matmul",
            "one matrix product, then adding what overlaps",
            _no_matmul,
            _composed("matmul"),
        ),
        Path(
            "separable",
            "a column, then a row, for each channel's filter",
            _no_separable,
            _depthwise(separable=True),
        ),
        Path(
            "depthwise",
            "each channel's filter in one pass over the output",
            _no_depthwise,
            _depthwise(separable=False),
        ),
        Path(
            "zero_insertion",
            "zeros between the inputs, then a convolution: the baseline",
            _no_torch,
            _composed("zero_insertion"),
        ),
        Path("definition", "the readable NumPy specification", _no_definition, _definition),
    )
}
