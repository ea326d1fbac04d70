"""Label a picture window by window, so that the labels do not depend on the windows."""

from collections.abc import Iterator
from math import isqrt
from typing import Any

import numpy as np

from upscore.arrays import as_numpy
from upscore.errors import ArgumentError
from upscore.heads.argmax import argmax
from upscore.heads.argmax.result import Measure
from upscore.inference.sampling import sampling
from upscore.inference.segmenter import Photos, Segmenter, check_photos
from upscore.inference.shown import Held, Photo
from upscore.inference.views import source_of
from upscore.io.memory import free_memory
from upscore.models.spec import LEAST_ZOOM, MOST_ZOOM
from upscore.rasters.raster import Window

BLOCK = 512  # tiles are multiples or halves of it, so that the blocks of files align with them

_SHARE = 0.5  # of the memory that is free: for one call of the network
_LEAST_MEMORY, _MOST_MEMORY = 700_000_000, 4_000_000_000  # bytes of such a call
_BYTES = 220  # of one call for a shown pixel, measured: the bundled model by ONNX Runtime
_LEAST_TILE, _MOST_TILE = 32, 8192
_BLENDED_TILE = 1024


def tiles(
    segmenter: Segmenter, photo: Photo | Photos, *, ratio: float = 1.0, tile: int | None = None
) -> "Tiles":
    """Return what labels a picture of any size window by window, as in one call of the network.

    Equivalent, where `exact`, to `segmenter.labels` of the whole picture with no `long_side` and
    the zoom `ratio`: in float64 exactly, in float32 but where two classes are equal to within
    rounding. Each window is computed from the pixels around it as far as the network looks. The
    network's global poolings look at the whole picture, and what they find is computed once for all
    windows: in a picture of more than four million shown pixels, as the mean over 25 places of it.

    Otherwise, as for transformers, the scores of overlapping tiles of the network are blended. The
    labels do not depend on the windows then either, but on the size of these tiles.

    Args:
        segmenter: a model, also with test-time augmentation, or an ensemble.
        photo: an array of H x W x 3 or B, or what reads windows of one.
        ratio: the network is shown the picture at so many times its size.
        tile: the side of the windows in pixels of the picture, a multiple of 512; where labels are
            blended also that of the network's tiles. None: what half of the free memory
            has room for, up to 4 GB: the larger, the less of the network's time goes into pixels
            around windows. Of a picture that is shown enlarged it may be 256, 128, 64 or 32.

    Raises:
        ArgumentError: an argument does not fit.

    >>> import upscore, upscore.images
    >>> photo = upscore.images.read(upscore.images.samples()["cat"])
    >>> cut = tiles(upscore.load(), photo)
    >>> cut.exact, [cut.labels(window).shape for window in cut.windows()]
    (True, [(300, 451)])
    """
    held = Held(photo) if isinstance(photo, np.ndarray) else photo
    if not LEAST_ZOOM <= ratio <= MOST_ZOOM:  # nor NaN
        raise ArgumentError(f"ratio must be from {LEAST_ZOOM:g} to {MOST_ZOOM}, not {ratio!r}")
    if tile is not None and (tile < BLOCK or tile % BLOCK):
        raise ArgumentError(f"tile must be a multiple of {BLOCK} pixels, not {tile!r}")
    if min(held.size) < 1:
        raise ArgumentError(f"a picture of {held.size[0]} x {held.size[1]} pixels has none")
    check_photos(held.read(Window(0, 0, 1, 1))[None], segmenter.spec)
    return Tiles(segmenter, held, ratio, tile)


class Tiles:
    """A picture and a model that labels it window by window. `tiles` makes one.

    exact: whether labels are those of the whole picture in one call of the network.
    halo: how many pixels of the shown picture a window is computed with on each side, measured; 0
        where labels are blended.
    tile: the side of the windows. A window of t shown pixels costs ((t + 2 halo) / t)^2 times the
        network's time for its own pixels.
    """

    def __init__(self, segmenter: Segmenter, photo: Photo, ratio: float, tile: int | None) -> None:
        self._photo = photo
        self._source = source_of(segmenter, photo, ratio, tile)
        halos = self._source.halos
        self.exact = None not in halos
        self.halo = max((halo for halo in halos if halo is not None), default=0)
        scales = (scale for one in segmenter.members for scale in one.augmentation.scales)
        largest = ratio * max(scales)
        self.tile = tile or (_tile(self.halo, largest) if self.exact else _BLENDED_TILE)

    def windows(self) -> Iterator[Window]:
        """The windows that cover the picture, row by row."""
        height, width = self._photo.size
        for top in range(0, height, self.tile):
            for left in range(0, width, self.tile):
                tall, wide = min(self.tile, height - top), min(self.tile, width - left)
                yield Window(top, left, tall, wide)

    def labels(self, window: Window, confidence: Measure | None = None) -> Any:
        """Return the labels of a window, uint8 H x W: a function of the window alone.

        Any window inside the picture may be asked for, in any order and from any process. With
        `confidence`, labels and float32 H x W, as by `upscore.argmax`.
        """
        top, left, height, width = window
        sides = zip((top, left), (height, width), self._photo.size, strict=True)
        if not all(first >= 0 and 0 < count <= size - first for first, count, size in sides):
            raise ArgumentError(
                f"{tuple(window)} (top, left, height, width) is no window of a picture of "
                f"{self._photo.size[0]} x {self._photo.size[1]} pixels"
            )
        rows, columns = (
            sampling(first, count, cells, step)
            for first, count, cells, step in zip(
                (top, left), (height, width), self._source.cells, self._source.steps, strict=True
            )
        )
        scores = self._source.scores(((rows.begin, rows.end), (columns.begin, columns.end)))
        found = argmax(
            scores[0],
            (height, width),
            coordinates=[(rows.step, rows.offset), (columns.step, columns.offset)],
            return_confidence=confidence,
        )
        return as_numpy(found) if confidence is None else tuple(map(as_numpy, found))


def _tile(halo: int, ratio: float) -> int:
    """The side of windows whose network calls stay within the memory that is meant for one."""
    free = free_memory() or _LEAST_MEMORY
    memory = min(max(int(_SHARE * free), _LEAST_MEMORY), _MOST_MEMORY)
    shown = max(BLOCK, isqrt(memory // _BYTES) - 2 * halo)
    tile = int(shown / ratio)
    if tile < BLOCK:
        return max(_LEAST_TILE, 1 << tile.bit_length() >> 1)
    return min(tile // BLOCK * BLOCK, _MOST_TILE)
