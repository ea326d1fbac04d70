"""Which backend serves a case: a small table of rules.

The rules and their numbers were read off `benchmarks/conv_transpose.py --backends`, on two cores of
an AMD EPYC (Zen 4).
"""

from collections.abc import Callable
from dataclasses import dataclass
from functools import lru_cache
from math import prod
from typing import NamedTuple

from upscore.conv.backends import BACKENDS
from upscore.conv.case import Case
from upscore.errors import ArgumentError

# Outputs that pay for the start of a kernel of our own.
KERNEL_OUTPUTS = 2**14
# Inputs from which one convolution that makes all phases pays for laying out its weight.
PHASES_INPUTS = 2**13
# Inputs from which a matrix product for a single output channel pays for its start.
ONE_OUTPUT_INPUTS = 2**10
# Scaled kernels that the product writes before they are added up: 64 MB of float32 at most.
ONE_OUTPUT_PRODUCTS = 2**24
# Inputs and output channels for which kernels side by side are fastest as one matrix product.
TILED_INPUTS = 2**12
TILED_OUTPUT_CHANNELS = 4
# Output channels up to which making all phases at once beats PyTorch's own kernels.
PHASES_OUTPUT_CHANNELS = {"float32": 32, "bfloat16": 4, "channels_last": 4}


class Rule(NamedTuple):
    """Take `backend` where `when` holds and the backend can serve the case."""

    backend: str
    when: Callable[[Case], bool]
    reason: str


def _always(case: Case) -> bool:
    return True


def _large(case: Case) -> bool:
    """Enough outputs for a kernel of our own; symbols count as enough."""
    return case.tracing or case.outputs >= KERNEL_OUTPUTS


def _inputs(case: Case) -> int:
    """The number of input positions."""
    return case.batch * prod(case.size_in)


def _few_outputs(case: Case) -> bool:
    """Where making all phases at once pays: pictures with few output channels and many pixels.

    The kernel must be a multiple of the stride. Otherwise sub-kernels are filled up with zeros,
    which a NaN or an infinity makes count.
    """
    most = PHASES_OUTPUT_CHANNELS["channels_last" if case.channels_last else case.dtype]
    return (
        len(case.axes) == 2
        and case.out_channels <= most
        and _inputs(case) >= PHASES_INPUTS
        and max(case.stride) > 1
        and not any(axis.kernel % axis.stride for axis in case.axes)
    )


def _one_output(case: Case) -> bool:
    """One output channel, and scaled kernels that are not too many to hold."""
    return (
        case.out_channels == 1
        and max(case.stride) > 1
        and _inputs(case) >= ONE_OUTPUT_INPUTS
        and _inputs(case) * prod(case.kernel) <= ONE_OUTPUT_PRODUCTS
        and not case.channels_last
    )


def _tiled(case: Case) -> bool:
    """Kernels side by side, very few output channels, many pixels, planes contiguous."""
    return (
        len(case.axes) == 2
        and case.tiled
        and case.out_channels <= TILED_OUTPUT_CHANNELS
        and prod(case.size_in) >= TILED_INPUTS
        and not case.channels_last
    )


_EXPORT = Rule("torch", lambda case: case.exporting, "a graph keeps it as the one operator it is")
_SEPARABLE = Rule(
    "separable",
    lambda case: case.rank_one is True and _large(case),
    "filters that are outer products cost little more than writing the output",
)
_DEPTHWISE = Rule("depthwise", _large, "one pass over the output serves any filter a channel")
_MATMUL = Rule("matmul", _tiled, "kernels side by side are one product, already in place")
_MATMUL_OF_ONE = Rule("matmul", _one_output, "one output channel leaves PyTorch's kernels idle")
_TORCH = Rule("torch", _always, "nothing here was found faster")
_DEFINITION = Rule("definition", _always, "neither torch nor Numba can serve it")
_SUBKERNELS = Rule(
    "subkernels",
    _few_outputs,
    "few output channels leave PyTorch's kernels idle, and all phases together do not",
)

# (device, dtype) -> rules, tried in order; None stands for every other dtype or device.
RULES: dict[tuple[str | None, str | None], tuple[Rule, ...]] = {
    ("cpu", "float32"): (
        _EXPORT,
        _SEPARABLE,
        _DEPTHWISE,
        _MATMUL,
        _MATMUL_OF_ONE,
        _SUBKERNELS,
        _TORCH,
        _DEFINITION,
    ),
    ("cpu", "bfloat16"): (
        _EXPORT,
        _SEPARABLE,
        _DEPTHWISE,
        _MATMUL,
        _MATMUL_OF_ONE,
        _SUBKERNELS,
        _TORCH,
    ),
    ("cpu", None): (_EXPORT, _SEPARABLE, _DEPTHWISE, _TORCH, _DEFINITION),
    (None, None): (_TORCH,),
}


@dataclass(frozen=True)
class Plan:
    """The backend taken, why, and why none of the others."""

    backend: str
    reason: str
    why_not: dict[str, str]

    def __str__(self) -> str:
        lines = [f"{self.backend}: {self.reason}"]
        return "\n".join(lines + [f"  not {name}: {why}" for name, why in self.why_not.items()])


def choose(case: Case, backend: str = "auto") -> tuple[str, str]:
    """Return the name of the backend that serves the case, and the reason.

    Raises ValueError where the backend asked for cannot, or where none can.
    """
    # What serves NumPy arrays changes when torch is imported; symbols cannot be remembered.
    remember = case.framework == "torch" and not case.tracing
    return (_known_choice if remember else _choice)(case, backend)


def _choice(case: Case, backend: str) -> tuple[str, str]:
    if backend != "auto":
        if backend not in BACKENDS:
            raise ArgumentError(f"backend must be auto, {', '.join(BACKENDS)}, not {backend!r}")
        why = BACKENDS[backend].why_not(case)
        if why is not None:
            raise ArgumentError(f"backend {backend!r} cannot serve this: {why}")
        return backend, "asked for"
    for rule in _rules(case):
        if rule.when(case) and BACKENDS[rule.backend].why_not(case) is None:
            return rule.backend, rule.reason
    reasons = "".join(f"\n  {name}: {one.why_not(case)}" for name, one in BACKENDS.items())
    raise ArgumentError(f"no backend can serve {case}:{reasons}")


_known_choice = lru_cache(256)(_choice)  # a case may hold the factors of its filters


def _rules(case: Case) -> tuple[Rule, ...]:
    """The rules of the case's device and dtype."""
    for key in ((case.device, case.dtype), (case.device, None), (None, None)):
        if key in RULES:
            return RULES[key]
    raise AssertionError("the table has a last row")


def plan(case: Case, backend: str = "auto") -> Plan:
    """Return the backend that serves the case, why, and why none of the others.

    >>> import numpy as np
    >>> from upscore.conv import describe
    >>> case = describe(np.ones((1, 2, 3)), np.ones((2, 3, 2)), stride=2)
    >>> print(plan(case, "definition"))
    definition: asked for
      not torch: ...
      not separable: with one axis there is nothing to separate
      not depthwise: each channel needs one filter of its own, and 2 channels in 1 groups make 3
      not zero_insertion: ...
    """
    name, reason = choose(case, backend)
    why_not = {}
    for other, one in BACKENDS.items():
        if other != name:
            why_not[other] = one.why_not(case) or f"it could, but {name} comes first"
    return Plan(name, reason, why_not)
