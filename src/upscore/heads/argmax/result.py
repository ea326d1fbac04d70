"""What `argmax` returns: labels of which type, and what can be told about how sure they are."""

from typing import Literal, get_args

from upscore.errors import ArgumentError

Measure = Literal["probability", "margin", "entropy"]

MEASURES: tuple[str, ...] = get_args(Measure)


def check_measure(measure: str | None) -> None:
    """Raise ArgumentError for a measure that there is not."""
    if measure is not None and measure not in MEASURES:
        raise ArgumentError(f"return_confidence must be one of {MEASURES}, not {measure!r}")


def label_dtype(classes: int) -> str:
    """Return the smallest label type offered for so many classes."""
    return "uint8" if classes <= 256 else "int16" if classes <= 32_768 else "int32"
