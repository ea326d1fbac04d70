"""The fused heads: labels and loss at full resolution without full-resolution scores."""

from importlib import import_module
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from upscore.heads.labels import argmax as argmax
    from upscore.heads.loss import cross_entropy as cross_entropy

__all__ = ["argmax", "cross_entropy"]


def __getattr__(name: str) -> Any:
    """Load a head when it is first used: labels need NumPy alone, the loss needs torch."""
    if name in __all__:
        return getattr(
            import_module(f"{__name__}.{'labels' if name == 'argmax' else 'loss'}"), name
        )
    raise AttributeError(f"module {__name__!r} has no attribute {name!r}")
