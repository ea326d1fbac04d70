"""How the losses of pixels become one."""

from typing import Literal, get_args

from upscore.errors import ArgumentError

Reduction = Literal["mean", "sum", "none"]
REDUCTIONS: tuple[str, ...] = get_args(Reduction)


def check_reduction(reduction: str, reductions: tuple[str, ...] = REDUCTIONS) -> None:
    """Raise ArgumentError for a reduction that is none of these."""
    if reduction not in reductions:
        raise ArgumentError(f"reduction must be one of {reductions}, not {reduction!r}")
