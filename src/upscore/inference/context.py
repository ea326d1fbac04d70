"""What a network's global poolings find in a picture: once for all of its tiles.

Measured with the bundled model on pictures of 3000 x 4000 pixels, mosaics of photos and enlarged
ones: with 25 patches of 512 pixels 95.6 to 99.6 % of the labels are those that pooling the whole
picture gives; with an overview shrunk to 480 pixels, where all things look smaller, 31 to 98 %. Of
the three bundled photos, enlarged, 91.6 to 99.8 % with patches and 73 to 98 % with an overview.
Larger or more patches come closer, but not to the answer at the size that a network was trained at.
"""

from typing import Any

import numpy as np

from upscore.inference.segmenter import Photos, Segmenter
from upscore.inference.shown import Shown
from upscore.rasters.raster import Window

_PATCH = 512
WHOLE = 2048 * 2048  # pixels: a picture of no more is pooled as the Segmenter does it
_MOST = 5  # patches along an axis


def context_of(segmenter: Segmenter, shown: Shown, axes: tuple[int, ...] = ()) -> tuple[Any, ...]:
    """Return what the poolings of a model find in a picture, mirrored along `axes`.

    Of a small picture, in the whole. Of a larger one the mean over up to 25 patches of 512 pixels,
    spread evenly and at the scale of the tiles; those of one colour, such as the blank ones beyond
    the edge of an aerial mosaic, count only where there are no others. Both depend on the picture
    and its scale alone. () of a network without poolings.
    """
    height, width = shown.padded
    if height * width <= WHOLE:
        return segmenter.pooled(shown.read(Window(0, 0, height, width))[None], axes)
    tall, wide = min(height, _PATCH), min(width, _PATCH)
    places = [Window(y, x, tall, wide) for y in _spread(height, tall) for x in _spread(width, wide)]
    telling = [place for place in places if not _is_blank(shown.read(place))] or places[:1]
    total: tuple[Any, ...] = ()
    for place in telling:
        found = segmenter.pooled(shown.read(place)[None], axes)
        total = tuple(a + b for a, b in zip(total, found, strict=True)) if total else found
        if not found:
            break
    return tuple(values / len(telling) for values in total)


def _is_blank(photo: Photos) -> bool:
    """Whether all pixels are alike, or none was measured."""
    if photo.dtype != np.uint8 and np.isnan(photo).all():
        return True
    return bool((photo == photo[0, 0]).all())


def _spread(size: int, patch: int) -> list[int]:
    """Where patches along an axis begin: evenly, side by side at the closest, in whole cells."""
    count = min(_MOST, size // patch)
    if count == 1:
        return [(size - patch) // 2 // 32 * 32]
    return [round(i * (size - patch) / (count - 1) / 32) * 32 for i in range(count)]
