"""What every backend of the loss is told."""

from typing import NamedTuple

from upscore.heads.grid import Grid


class Options(NamedTuple):
    """The checked options of a call."""

    ignore_index: int
    label_smoothing: float
    grid: Grid
    per_pixel: bool = False  # a loss for each pixel instead of their sum
    mean: bool = False  # the sum over the summed weight of the pixels
    log_sums: bool = False  # and the logarithm of each pixel's summed exponentials
