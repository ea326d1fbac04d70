"""What can be told about how sure a label is: one float32 a pixel."""

from typing import Literal, get_args

Measure = Literal["probability", "margin", "entropy"]

MEASURES: tuple[str, ...] = get_args(Measure)
