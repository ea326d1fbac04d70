"""The decoded photos and masks that crops are cut from, kept in memory where they fit."""

from typing import Any

import numpy as np
from numpy.typing import NDArray

from upscore.data import Survey
from upscore.images import resized
from upscore.training.recipe import Recipe

KEPT = 512 << 20  # bytes of decoded photos and masks that each loading process keeps

Pair = tuple[NDArray[Any], NDArray[np.uint8]]


class Decoded:
    """Photo i and its mask, and by how much they are enlarged before a crop's own `scale`.

    Decoding a photo takes as long as augmenting it; decoding one of a phone takes much longer. So a
    data set that fits into memory is decoded once, and one that fits only at the largest size that
    crops are taken from is kept at that size.
    """

    def __init__(self, survey: Survey, recipe: Recipe) -> None:
        self.dataset, self.recipe = survey.dataset, recipe
        bands = survey.dataset.bands
        size = survey.sizes.prod(axis=1) * (4 if bands is None else 4 * bands + 1)
        shrunk = size * [self._shrinking(side) ** 2 for side in survey.sizes.max(axis=1)]
        self.shrinks = bool(shrunk.sum() <= KEPT < size.sum())
        self.keeps = self.shrinks or bool(size.sum() <= KEPT)
        self._kept: dict[int, tuple[Pair, float]] = {}

    def __getitem__(self, photo: int) -> tuple[Pair, float]:
        found = self._kept.get(photo)
        if found is None:
            found = self._read(photo)
            if self.keeps:
                self._kept[photo] = found
        return found

    def _read(self, photo: int) -> tuple[Pair, float]:
        image, mask = self.dataset.read(photo)
        side = max(mask.shape)
        by = (self.recipe.long_side or side) / side
        factor = self._shrinking(side)
        if self.shrinks and factor < 1:
            height, width = (max(1, round(factor * n)) for n in mask.shape)
            image = resized(image, (height, width))
            mask = mask[np.ix_(_nearest(mask.shape[0], height), _nearest(mask.shape[1], width))]
        return (image, mask), by * side / max(mask.shape)

    def _shrinking(self, side: int) -> float:
        """By what a photo of this longer side is shrunk to the largest size it is shown at."""
        shown = (self.recipe.long_side or side) * self.recipe.scale[1]
        return float(min(1.0, shown / max(1, side)))


def _nearest(old: int, new: int) -> NDArray[np.int64]:
    """The rows or columns of `old` that are nearest to those of `new`."""
    return ((np.arange(new) + 0.5) * old / new).astype(np.int64)
