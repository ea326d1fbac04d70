"""What every backend of the binary loss is told."""

from typing import NamedTuple

from upscore.heads.grid import Grid


class Options(NamedTuple):
    """The checked options of a call."""

    ignore_index: int
    grid: Grid
    per_pixel: bool  # a loss for each pixel and class instead of their sum
    mean: bool  # the sum over the number of losses that count
