"""What `assign` returns, and how the scores get to its pixels."""

import math
from typing import Any, NamedTuple

from upscore.heads.grid import Grid
from upscore.heads.masks.arguments import Crop, Pair


class Assignment(NamedTuple):
    """Which query has which pixel. Of a batch, all have a first axis of images.

    Attributes:
        labels: H x W, the number of the query that won: uint8, int16 or int32.
        inside: H x W bool, whether the pixel is also in the winner's own mask.
        won: Q int64, the pixels that each query won.
        won_inside: Q int64, those of them in its own mask.
        area: Q int64, the pixels of its own mask, whoever won them.
    """

    labels: Any
    inside: Any
    won: Any
    won_inside: Any
    area: Any


class Options(NamedTuple):
    """How scores are resized, and which probability is in a query's own mask."""

    size: Pair
    through: Pair | None
    crop: Crop | None
    grid: Grid
    threshold: float

    @property
    def limit(self) -> float:
        """The score whose sigmoid is the threshold."""
        return math.log(self.threshold) - math.log1p(-self.threshold)
