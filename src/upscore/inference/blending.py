"""Overlapping tiles of a network, their scores blended smoothly."""

from collections import OrderedDict
from collections.abc import Callable
from typing import Any

import numpy as np
from numpy.typing import NDArray

from upscore.inference.shown import Span
from upscore.models.spec import COARSEST

Scores = NDArray[Any]
Area = tuple[Span, Span]

_MOST_BYTES = 256 << 20  # of scores that are kept


class Blended:
    """Coarse scores of a picture, made of square tiles that overlap by half.

    Tiles lie on a fixed lattice, and the last ones end where the picture does. A cell's score is
    the mean over the tiles that hold it, weighted by their Hann windows, sin^2, which are positive
    in all cells. A picture no larger than a tile is one.

    Args:
        scores: makes 1 x C x h x w scores of an area in pixels.
        padded: the picture's height and width, multiples of 32.
        stride: of the scores.
        side: of a tile, a multiple of 32, at least 64.
    """

    def __init__(
        self, scores: Callable[[Area], Scores], padded: tuple[int, int], stride: int, side: int
    ) -> None:
        self._scores, self._stride = scores, stride
        self._lattice = tuple(_lattice(size, side) for size in padded)
        self._kept: OrderedDict[Area, Scores] = OrderedDict()

    def __call__(self, area: Area) -> Scores:
        """Scores 1 x C x h x w; a cell's scores do not depend on the rest of the area."""
        (top, bottom), (left, right) = area
        total: Any = None
        weights = np.zeros((bottom - top, right - left), np.float32)
        for rows in self._touching(0, area[0]):
            for columns in self._touching(1, area[1]):
                tile = self._tile((rows, columns))
                if total is None:
                    total = np.zeros((*tile.shape[:2], *weights.shape), tile.dtype)
                y, in_y, down = self._overlap(rows, area[0])
                x, in_x, across = self._overlap(columns, area[1])
                weight = down[:, None] * across
                total[..., y, x] += tile[..., in_y, in_x] * weight
                weights[y, x] += weight
        blended: Scores = total / weights
        return blended

    def _touching(self, axis: int, cells: Span) -> list[Span]:
        """The tiles of an axis, in pixels, that hold some of the cells."""
        first, last = cells[0] * self._stride, cells[1] * self._stride
        return [(begin, end) for begin, end in self._lattice[axis] if begin < last and end > first]

    def _overlap(self, tile: Span, cells: Span) -> tuple[slice, slice, NDArray[np.float32]]:
        """The cells of a tile within others: as seen from these, from the tile, and weighted."""
        begin, end = (place // self._stride for place in tile)
        first, last = max(begin, cells[0]), min(end, cells[1])
        inside = slice(first - begin, last - begin)
        hann = np.sin(np.pi * (np.arange(end - begin) + 0.5) / (end - begin)) ** 2
        return slice(first - cells[0], last - cells[0]), inside, hann[inside].astype(np.float32)

    def _tile(self, area: Area) -> Scores:
        """The scores of a tile; those used last are kept for its neighbours."""
        if area in self._kept:
            self._kept.move_to_end(area)
            return self._kept[area]
        scores = self._kept[area] = self._scores(area)
        most = max(1, _MOST_BYTES // scores.nbytes)
        while len(self._kept) > most:
            self._kept.popitem(last=False)
        return scores


def _lattice(size: int, side: int) -> list[Span]:
    """Where the tiles of an axis begin and end."""
    if size <= side:
        return [(0, size)]
    step = side // 2 // COARSEST * COARSEST
    return [(begin, begin + side) for begin in (*range(0, size - side, step), size - side)]
