"""Mask files: class ids, palette PNGs, colours, 0/255; each decoded to ids and void."""

from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from upscore import images
from upscore.data.classes import Colour
from upscore.errors import DataError

KINDS = ("index", "colour", "binary")
UNKNOWN = 256

Pixels = NDArray[Any]


@dataclass(frozen=True)
class Decoder:
    """How the masks of one data set are read.

    `kind` is "index" (the pixel is the id), "colour" (the pixel's colour is looked up in
    `colours`) or "binary" (0 and 255 are ids 0 and 1). `table` gives the class of each id 0..255:
    0..C-1, 255 for void, 256 where there is no such id.
    """

    kind: str
    colours: tuple[Colour, ...]
    table: tuple[int, ...]

    def pixels(self, path: Path) -> Pixels:
        """A mask file's pixels: H x W ids, or H x W x 3 colours."""
        return read_pixels(path, colour=self.kind == "colour")

    def classes(self, pixels: Pixels) -> NDArray[np.uint8]:
        """The classes of a mask's pixels; a DataError if one of them has none."""
        if self.kind == "colour":
            ids = colour_ids(pixels, self.colours)
        elif pixels.ndim == 3 or pixels.dtype.kind == "f":
            what = "colours" if pixels.ndim == 3 else "floating-point values"
            raise DataError(f"{what} where class ids were expected")
        else:
            ids = np.where((pixels >= 0) & (pixels < UNKNOWN), pixels, UNKNOWN)
            if self.kind == "binary":
                ids = np.select([pixels == 0, pixels == 255], [0, 1], UNKNOWN)
        classes = np.array((*self.table, UNKNOWN), np.uint16)[ids]
        wrong = classes == UNKNOWN
        if wrong.any():
            values = np.unique(pixels[wrong], axis=0).tolist()
            more = f" and {len(values) - 8} more" if len(values) > 8 else ""
            found = f"{', '.join(map(str, values[:8]))}{more}"
            raise DataError(f"{wrong.mean():.2%} of the pixels are of no class: {found}")
        return classes.astype(np.uint8)


def read_pixels(path: Path, *, colour: bool = False) -> Pixels:
    """A mask file's pixels as they stand: H x W ids, or H x W x 3 colours where they differ.

    A palette image gives its indices, unless `colour` asks for colours of every image.
    """
    with images.opened(path) as image:
        if not colour:
            bands = image.getbands()
            if len(bands) == 1 or bands[1:] == ("A",):
                # Integers that hold any id and one more, for "no such id".
                pixels = np.asarray(image.getchannel(0) if len(bands) > 1 else image)
                return pixels if pixels.dtype.kind == "f" else pixels.astype(np.int32)
        pixels = np.asarray(image.convert("RGB"))
    # Some programs write ids three times, as grey.
    grey = not colour and (pixels == pixels[..., :1]).all()
    return pixels[..., 0].astype(np.int32) if grey else pixels


def colour_ids(pixels: Pixels, colours: Sequence[Colour]) -> Pixels:
    """The place of each pixel's colour in `colours`; 256 where it is not there."""
    weights = np.array([1 << 16, 1 << 8, 1])
    keys = np.array(colours) @ weights
    order = np.argsort(keys)
    wanted = pixels @ weights
    place = order[np.minimum(np.searchsorted(keys, wanted, sorter=order), len(keys) - 1)]
    return np.where(keys[place] == wanted, place, UNKNOWN)


def recognise(masks: Sequence[Path], names: int | None, colours: Sequence[Colour] | None) -> str:
    """The kind of a data set's masks, judged by some 16 of them, spread over the set.

    "colour": channels that differ, or more than one colour and all of them in `colours`, the list
    in the class file. "binary": 0 and 255 where up to two classes are named, and no mask of ids.
    Else "index".
    """
    step = max(1, len(masks) // 16)
    two = names in (None, 2)
    seen: set[int] = set()
    telling = 0
    for path in (*masks[::step], *(m for i, m in enumerate(masks) if i % step and two)):
        try:
            pixels = read_pixels(path)
            if pixels.ndim == 3:
                return "colour"
            if colours:
                places = np.unique(colour_ids(read_pixels(path, colour=True), colours))
                if len(places) > 1 and places[-1] != UNKNOWN:
                    return "colour"
        except images.ImageError:
            continue  # the checks report it
        seen.update(np.unique(pixels).tolist())
        # Empty masks tell nothing of 1 against 255: look at more of them.
        telling += bool(pixels.any())
        if telling == 16:
            break
    between = seen - {0, 255}
    blurred = names == 2 and max(between, default=0) > 1
    return "binary" if two and 255 in seen and (blurred or not between) else "index"
