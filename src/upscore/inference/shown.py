"""A picture as a network is shown it, read by windows that do not depend on each other."""

from fractions import Fraction
from math import ceil, floor
from typing import Any, Protocol

import numpy as np
from numpy.typing import NDArray

from upscore import images
from upscore.models.spec import COARSEST
from upscore.rasters.raster import Window

_BLOCK = 256  # of shown pixels: resized at once, from one place of the picture
_MOST_SOURCE = 2048  # pixels of the picture for one side of a block
_STRIP = 16_384  # pixels of the picture that are read side by side


Span = tuple[int, int]  # where rows or columns begin and end


class Photo(Protocol):
    """A picture of any size as a model takes it: uint8 of RGB, or float32 of its bands."""

    size: tuple[int, int]  # height and width

    def read(self, window: Window) -> NDArray[Any]:
        """The pixels of a window inside the picture, height x width x bands."""


class Held:
    """A picture that is in memory."""

    def __init__(self, pixels: NDArray[Any]) -> None:
        self.pixels = pixels
        self.size = pixels.shape[0], pixels.shape[1]

    def read(self, window: Window) -> NDArray[Any]:
        """A view of these pixels."""
        top, left, height, width = window
        return self.pixels[top : top + height, left : left + width]


class Shown:
    """A picture at `ratio` times its size, padded to whole cells of 32 pixels.

    The padding repeats the last row and column. At other ratios than 1 the picture is resized in
    blocks at fixed places, so a pixel is the same in every window: that of Pillow's `Image.resize`
    of the whole but for its rounding (1 of 255). Sides are whole multiples of `stride` then.

    size: height and width before the padding.
    padded: height and width with it.
    """

    def __init__(self, photo: Photo, stride: int, ratio: float) -> None:
        self.photo, self.resizes = photo, ratio != 1
        height, width = photo.size
        if self.resizes:
            height, width = (max(1, round(n * ratio / stride)) * stride for n in (height, width))
        self.size = height, width
        self.padded = -(-height // COARSEST) * COARSEST, -(-width // COARSEST) * COARSEST
        self._scales = Fraction(photo.size[0], height), Fraction(photo.size[1], width)
        sparse = _MOST_SOURCE / max(self._scales)
        self._block = min(_BLOCK, max(1, 1 << int(sparse).bit_length() >> 1))

    def read(self, window: Window) -> NDArray[Any]:
        """A window of the padded picture; it must overlap the picture."""
        top, left, height, width = window
        inside = Window(top, left, min(height, self.size[0] - top), min(width, self.size[1] - left))
        pixels = self._resized(inside) if self.resizes else self.photo.read(inside)
        down, right = height - inside.height, width - inside.width
        if down or right:
            pixels = np.pad(pixels, ((0, down), (0, right), (0, 0)), mode="edge")
        return pixels

    def _resized(self, window: Window) -> NDArray[Any]:
        """The pixels of a window inside the picture, of whole blocks."""
        top, left, height, width = window
        rows = self._blocks(top, height, self.size[0])
        columns = self._blocks(left, width, self.size[1])
        count = max(1, floor(_STRIP / (self._block * self._scales[1])))
        together = [columns[i : i + count] for i in range(0, len(columns), count)]
        strips = [
            np.concatenate([self._strip(row, some) for some in together], axis=1) for row in rows
        ]
        down, right = top - rows[0][0], left - columns[0][0]
        return np.concatenate(strips)[down : down + height, right : right + width]

    def _strip(self, row: Span, columns: list[Span]) -> NDArray[Any]:
        """Blocks side by side."""
        y, tall = self._source(0, *row)
        x, wide = self._source(1, columns[0][0], columns[-1][1])
        strip = self.photo.read(Window(y, x, tall, wide))
        blocks = [self._resized_block(strip, row, column, (y, x)) for column in columns]
        return np.concatenate(blocks, axis=1)

    def _resized_block(
        self,
        strip: NDArray[Any],
        row: Span,
        column: Span,
        origin: tuple[int, int],
    ) -> NDArray[Any]:
        """One block out of a strip of the picture that begins at `origin`."""
        x, wide = self._source(1, *column)
        part = strip[:, x - origin[1] : x - origin[1] + wide]
        vertical, horizontal = self._scales
        box = (
            float(row[0] * vertical - origin[0]),
            float(column[0] * horizontal - x),
            float(row[1] * vertical - origin[0]),
            float(column[1] * horizontal - x),
        )
        return images.resized(part, (row[1] - row[0], column[1] - column[0]), box)

    def _blocks(self, first: int, count: int, size: int) -> list[Span]:
        """Where the blocks that some rows or columns touch begin and end."""
        begin = first // self._block * self._block
        starts = range(begin, first + count, self._block)
        return [(start, min(start + self._block, size)) for start in starts]

    def _source(self, axis: int, first: int, last: int) -> tuple[int, int]:
        """First pixel and number of those that shown rows or columns are made of."""
        scale = self._scales[axis]
        margin = max(1, ceil(scale)) + 1  # the filter of an enlargement reaches one pixel
        begin = max(0, floor(first * scale) - margin)
        end = min(self.photo.size[axis], ceil(last * scale) + margin)
        return begin, end - begin
