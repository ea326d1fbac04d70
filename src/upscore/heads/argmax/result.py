"""What `argmax` returns: labels of which type, and what can be told about how sure they are."""

from typing import Literal, get_args

Measure = Literal["probability", "margin", "entropy"]

MEASURES: tuple[str, ...] = get_args(Measure)


def label_dtype(classes: int) -> str:
    """Return the smallest label type offered for so many classes."""
    return "uint8" if classes <= 256 else "int16" if classes <= 32_768 else "int32"
