"""Mask files: class ids, palette PNGs, colours, 0/255; each decoded to ids and void."""

from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from upscore import images
from upscore.data.classes import Colour
from upscore.data.layouts import DataError

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

    def ids(self, pixels: Pixels, file: Path) -> NDArray[np.uint8]:
        """The class ids of a mask's pixels; a DataError if one of them has no class."""
        if self.kind == "colour":
            ids = colour_ids(pixels, self.colours)
        else:
            ids = grey(pixels, file)
            if self.kind == "binary":
                ids = np.where(ids == 255, 1, np.where(ids == 0, 0, UNKNOWN))
        table = np.array((*self.table, UNKNOWN), np.uint16)
        classes = table[np.where((ids >= 0) & (ids <= 255), ids, UNKNOWN)]
        wrong = classes == UNKNOWN
        if wrong.any():
            values = np.unique(pixels[wrong], axis=0)
            shown = ", ".join(str(v.tolist()) for v in values[:8])
            more = f" and {len(values) - 8} more" if len(values) > 8 else ""
            raise DataError(
                f"{file}: {wrong.mean():.2%} of the pixels are of no class: {shown}{more}"
            )
        return classes.astype(np.uint8)


def read_pixels(path: Path) -> Pixels:
    """A mask file's pixels as they stand: H x W ids, or H x W x 3 colours; no orientation applied.

    A palette image gives its indices, whatever its colours.
    """
    with images.opened(path) as image:
        if image.mode in ("LA", "PA"):
            return np.asarray(image)[..., 0]
        if len(image.getbands()) == 1:
            return np.asarray(image)
        return np.asarray(image.convert("RGB"))


def grey(pixels: Pixels, file: Path) -> Pixels:
    """The single channel of a mask of ids, also where a program wrote it three times."""
    if pixels.dtype.kind == "f":
        raise DataError(f"{file}: floating-point values where class ids were expected")
    if pixels.ndim == 2:
        return pixels.astype(np.int32)
    if (pixels == pixels[..., :1]).all():
        return pixels[..., 0].astype(np.int32)
    raise DataError(f"{file}: a colour image where class ids were expected")


def colour_ids(pixels: Pixels, colours: Sequence[Colour]) -> Pixels:
    """The place of each pixel's colour in `colours`; 256 where it is not there."""
    if pixels.ndim == 2:
        pixels = np.repeat(pixels[..., None], 3, axis=2)
    weights = np.array([1 << 16, 1 << 8, 1])
    keys = np.array(colours) @ weights
    order = np.argsort(keys)
    packed = pixels @ weights
    place = order[np.minimum(np.searchsorted(keys, packed, sorter=order), len(keys) - 1)]
    return np.where(keys[place] == packed, place, UNKNOWN)


def recognise(masks: Sequence[Path], classes: int | None, coloured: bool) -> str:
    """The kind of a data set's masks, judged by up to 16 of them spread over the set.

    Colours that differ between channels, or a three-channel mask where `coloured` says that the
    class list names colours: "colour". Nothing but 0 and 255 where two classes, or no list of
    them, are given: "binary". Else "index".
    """
    binary = False
    for path in masks[:: max(1, len(masks) // 16)][:16]:
        try:
            pixels = read_pixels(path)
        except images.ImageError:
            continue  # the checks report it
        if pixels.ndim == 3 and (coloured or not (pixels == pixels[..., :1]).all()):
            return "colour"
        values = np.unique(pixels)
        if not np.isin(values, (0, 255)).all():
            return "index"
        binary |= bool(values[-1] == 255)
    return "binary" if binary and classes in (None, 2) else "index"
