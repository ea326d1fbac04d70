"""Mask files: class ids, palette PNGs, colours, 0/255; each decoded to class ids and void."""

from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray
from PIL import Image

from upscore import images
from upscore.data.classes import VOID, Colour
from upscore.data.sample import Sample
from upscore.errors import DataError

ENCODINGS = ("index", "colour", "binary")  # of mask files; those that are drawn are "shapes"
UNKNOWN = 256  # stands for "no such id": one above all that 8 bits hold
_LOOKED_AT = 16  # masks from which an encoding is recognised

Pixels = NDArray[Any]


@dataclass(frozen=True)
class Decoder:
    """How the masks of one data set are read.

    `encoding` is "index" (the pixel is the id), "colour" (the pixel's colour is looked up in
    `colours`), "binary" (0 and 255 are ids 0 and 1) or "shapes" (drawn; a label's place in `labels`
    is its id). `table` gives the class of each id 0..255: 0..C-1, 255 for void, 256 where there is
    no such id.
    """

    encoding: str
    colours: tuple[Colour, ...]
    table: tuple[int, ...]
    labels: tuple[str, ...] = ()

    def pixels_of(self, sample: Sample) -> Pixels:
        """A sample's mask before classes are looked up: read from its file, or drawn.

        What no shape covers is "background"; void, if no class is called so. A label that is no
        class is void too: the listing reports it.
        """
        if sample.drawing is None:
            return self.pixels(sample.mask)
        ids = {label: i for i, label in enumerate(self.labels)}
        return sample.drawing.draw(sample.image, lambda label: ids.get(label or "", VOID))

    def pixels(self, path: Path) -> Pixels:
        """A mask file's pixels: H x W ids, or H x W x 3 colours."""
        return read_pixels(path, colour=self.encoding == "colour")

    def class_ids(self, pixels: Pixels) -> NDArray[np.uint8]:
        """The class of each pixel of a mask, 255 for void; a DataError if one of them has none."""
        if self.encoding == "colour":
            ids = colour_ids(pixels, self.colours)
        elif pixels.ndim == 3 or pixels.dtype.kind == "f":
            what = "colours" if pixels.ndim == 3 else "floating-point values"
            raise DataError(f"{what} where class ids were expected")
        else:
            ids = np.where((pixels >= 0) & (pixels < UNKNOWN), pixels, UNKNOWN)
            if self.encoding == "binary":
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
        return _rgb(image) if colour else _ids_or_rgb(image)


def _rgb(image: Image.Image) -> Pixels:
    return np.asarray(image.convert("RGB"))


def _ids_or_rgb(image: Image.Image) -> Pixels:
    bands = image.getbands()
    if len(bands) == 1 or bands[1:] == ("A",):
        # Integers that hold any id and one more, for "no such id".
        ids = np.asarray(image.getchannel(0) if len(bands) > 1 else image)
        return ids if ids.dtype.kind == "f" else ids.astype(np.int32)
    pixels = _rgb(image)
    # Some programs write ids three times, as grey.
    grey = (pixels == pixels[..., :1]).all()
    return pixels[..., 0].astype(np.int32) if grey else pixels


def colour_ids(pixels: Pixels, colours: Sequence[Colour]) -> Pixels:
    """The index in `colours` of each pixel's colour; 256 where it is not there."""
    weights = np.array([1 << 16, 1 << 8, 1])
    keys = np.array(colours) @ weights
    order = np.argsort(keys)
    wanted = pixels @ weights
    index = order[np.minimum(np.searchsorted(keys, wanted, sorter=order), len(keys) - 1)]
    return np.where(keys[index] == wanted, index, UNKNOWN)


def recognise(
    masks: Sequence[Path], class_count: int | None, colours: Sequence[Colour] | None
) -> str:
    """The encoding of a data set's masks, judged by some 16 of them, spread over the set.

    "colour": channels that differ, or more than one colour and all of them in `colours`, the list
    in the class file. "binary": 0 and 255 where up to two classes are named, and no mask of ids.
    Else "index".
    """
    step = max(1, len(masks) // _LOOKED_AT)
    two = class_count in (None, 2)
    seen: set[int] = set()
    telling = 0
    for path in (*masks[::step], *(m for i, m in enumerate(masks) if i % step and two)):
        try:
            with images.opened(path) as image:
                pixels = _ids_or_rgb(image)
                in_colour = _rgb(image) if colours and pixels.ndim == 2 else None
            if pixels.ndim == 3:
                return "colour"
            if colours and in_colour is not None:
                found = np.unique(colour_ids(in_colour, colours))
                if len(found) > 1 and found[-1] != UNKNOWN:
                    return "colour"
        except images.ImageError:
            continue  # the checks report it
        seen.update(np.unique(pixels).tolist())
        # Empty masks tell nothing of 1 against 255: look at more of them.
        telling += bool(pixels.any())
        if telling == _LOOKED_AT:
            break
    between = seen - {0, 255}
    blurred = class_count == 2 and max(between, default=0) > 1
    return "binary" if two and 255 in seen and (blurred or not between) else "index"
