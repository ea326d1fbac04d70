"""A raster as the network's photo."""

from typing import Any

import numpy as np
from numpy.typing import NDArray

from upscore.errors import ImageError
from upscore.rasters.photos import as_photo
from upscore.rasters.raster import Raster, Window

Ranges = tuple[tuple[float, float], ...] | None
Valid = NDArray[np.bool_] | None
_BLOCK = 256  # pixels a side of what is given up where a file is broken


class RasterPhoto:
    """A raster as `Tiles` reads it: its pixels as a model of these ranges takes them.

    What cannot be read counts as not measured, so that a broken block costs its own pixels and not
    those of all windows that look at it. `broken` holds these places and the reasons. A file that
    is no longer there raises ImageError instead.
    """

    def __init__(self, raster: Raster, ranges: Ranges) -> None:
        self.size, self._raster, self._ranges = raster.size, raster, ranges
        self.broken: dict[Window, str] = {}

    def read(self, window: Window) -> NDArray[Any]:
        """The pixels of a window inside the picture."""
        return as_photo(*self._read(window), self._ranges, self._raster.path)

    def valid(self, window: Window) -> Valid:
        """Which pixels of a window were measured and can be read; None where all of them."""
        try:
            valid = self._raster.valid(window)
        except ImageError:
            return self._read(window)[1]
        broken = [part for block in self.broken if (part := _overlap(window, block))]
        if broken and valid is None:
            valid = np.ones((window.height, window.width), bool)
        for rows, columns in broken:
            valid[rows, columns] = False  # type: ignore[index]
        return valid

    def _read(self, window: Window) -> tuple[NDArray[Any], Valid]:
        """Pixels and validity of a window, block by block where it cannot be read at once."""
        try:
            return self._raster.read(window), self._raster.valid(window)
        except ImageError:
            if not self._raster.path.exists():  # such as on a share that dropped: nothing is broken
                raise
        top, left, height, width = window
        pixels = np.zeros((height, width, self._raster.bands), self._raster.dtype)
        valid = np.zeros((height, width), bool)
        for row in range(top // _BLOCK * _BLOCK, top + height, _BLOCK):
            for column in range(left // _BLOCK * _BLOCK, left + width, _BLOCK):
                tall, wide = (
                    min(_BLOCK, n - at) for n, at in zip(self.size, (row, column), strict=True)
                )
                block = Window(row, column, tall, wide)
                inside, part = _overlap(window, block), _overlap(block, window)
                assert inside is not None
                assert part is not None
                try:
                    pixels[inside] = self._raster.read(block)[part]
                    good = self._raster.valid(block)
                    valid[inside] = True if good is None else good[part]
                except ImageError as error:
                    if not self._raster.path.exists():
                        raise
                    self.broken[block] = str(error)
        return pixels, valid


def _overlap(window: Window, other: Window) -> tuple[slice, slice] | None:
    """The rows and columns of a window that lie in another one; None where there are none."""
    slices = []
    for first, count, begin, size in zip(window[:2], window[2:], other[:2], other[2:], strict=True):
        low, high = max(begin - first, 0), min(begin + size - first, count)
        if low >= high:
            return None
        slices.append(slice(low, high))
    return slices[0], slices[1]
