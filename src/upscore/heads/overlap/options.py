"""What every backend of the overlap is told."""

from typing import NamedTuple

from upscore.heads.grid import Grid


class Options(NamedTuple):
    """The checked options of a call."""

    sigmoid: bool  # instead of softmax
    losses: bool  # whether the cross-entropies are summed too
    ignore_index: int
    grid: Grid
