"""Which path serves a case: a small table of rules, as benchmarks/conv_transpose.py found them."""

from collections.abc import Callable
from dataclasses import dataclass
from functools import lru_cache
from math import prod
from typing import NamedTuple

from upscore.conv.case import Case
from upscore.conv.paths import PATHS
from upscore.errors import ArgumentError


class Rule(NamedTuple):
    """Take `path` where `when` holds and the path can serve the case."""

    path: str
    when: Callable[[Case], bool]
    reason: str


def _always(case: Case) -> bool:
    return True


def _large(case: Case) -> bool:
    """Enough outputs to pay for the start of a kernel of our own; symbols count as enough."""
    return case.tracing or case.outputs >= 2**14


def _inputs(case: Case) -> int:
    """The number of input positions."""
    return case.batch * prod(case.size_in)


def _few_outputs(most: int, most_channels_last: int) -> Callable[[Case], bool]:
    """Where making all phases at once pays: pictures with few output channels and many pixels.

    The kernel must be a multiple of the stride. Otherwise sub-kernels are filled up with zeros,
    which a NaN or an infinity makes count.
    """

    def when(case: Case) -> bool:
        return (
            len(case.axes) == 2
            and case.out_channels <= (most_channels_last if case.channels_last else most)
            and _inputs(case) >= 2**13
            and max(case.stride) > 1
            and not any(axis.kernel % axis.stride for axis in case.axes)
        )

    return when


def _one_output(case: Case) -> bool:
    """One output channel, and scaled kernels that are not too many to hold."""
    return (
        case.out_channels == 1
        and max(case.stride) > 1
        and _inputs(case) >= 2**10
        and _inputs(case) * prod(case.kernel) <= 2**24
        and not case.channels_last
    )


def _tiled(case: Case) -> bool:
    """Kernels side by side, very few output channels, many pixels, planes contiguous."""
    return (
        len(case.axes) == 2
        and case.tiled
        and case.out_channels <= 4
        and prod(case.size_in) >= 4096
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
_PHASES = "few output channels leave PyTorch's kernels idle, and all phases together do not"

# (device, dtype) -> rules, tried in order; None stands for every other dtype or device.
RULES: dict[tuple[str | None, str | None], tuple[Rule, ...]] = {
    ("cpu", "float32"): (
        _EXPORT,
        _SEPARABLE,
        _DEPTHWISE,
        _MATMUL,
        _MATMUL_OF_ONE,
        Rule("subkernels", _few_outputs(32, most_channels_last=4), _PHASES),
        _TORCH,
        _DEFINITION,
    ),
    ("cpu", "bfloat16"): (
        _EXPORT,
        _SEPARABLE,
        _DEPTHWISE,
        _MATMUL,
        _MATMUL_OF_ONE,
        Rule("subkernels", _few_outputs(4, most_channels_last=4), _PHASES),
        _TORCH,
    ),
    ("cpu", None): (_EXPORT, _SEPARABLE, _DEPTHWISE, _TORCH, _DEFINITION),
    (None, None): (_TORCH,),
}


@dataclass(frozen=True)
class Plan:
    """The path taken, why, and why none of the others."""

    path: str
    reason: str
    why_not: dict[str, str]

    def __str__(self) -> str:
        lines = [f"{self.path}: {self.reason}"]
        return "\n".join(lines + [f"  not {name}: {why}" for name, why in self.why_not.items()])


def choose(case: Case, algorithm: str = "auto") -> tuple[str, str]:
    """Return the name of the path that serves the case, and the reason.

    Raises ValueError where the path asked for cannot, or where none can.
    """
    # What serves NumPy arrays changes when torch is imported; symbols cannot be remembered.
    remember = case.array == "torch" and not case.tracing
    return (_known_choice if remember else _choice)(case, algorithm)


def _choice(case: Case, algorithm: str) -> tuple[str, str]:
    if algorithm != "auto":
        if algorithm not in PATHS:
            raise ArgumentError(f"algorithm must be auto, {', '.join(PATHS)}, not {algorithm!r}")
        why = PATHS[algorithm].why_not(case)
        if why is not None:
            raise ArgumentError(f"algorithm {algorithm!r} cannot serve this: {why}")
        return algorithm, "asked for"
    for rule in _rules(case):
        if rule.when(case) and PATHS[rule.path].why_not(case) is None:
            return rule.path, rule.reason
    reasons = "".join(f"\n  {name}: {path.why_not(case)}" for name, path in PATHS.items())
    raise ArgumentError(f"no path can serve {case}:{reasons}")


_known_choice = lru_cache(1024)(_choice)


def _rules(case: Case) -> tuple[Rule, ...]:
    """The rules of the case's device and dtype."""
    for key in ((case.device, case.dtype), (case.device, None), (None, None)):
        if key in RULES:
            return RULES[key]
    raise AssertionError("the table has a last row")


def plan(case: Case, algorithm: str = "auto") -> Plan:
    """Return the path that serves the case, with the reason, and with those against the others.

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
    name, reason = choose(case, algorithm)
    why_not = {}
    for other, path in PATHS.items():
        if other != name:
            why_not[other] = path.why_not(case) or f"it could, but {name} comes first"
    return Plan(name, reason, why_not)
