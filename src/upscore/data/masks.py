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
MOST_IDS = 64  # classes: masks with larger ids are mostly no ids, but grey pictures
_CUT = 128  # of masks of black and white: class 1 from this value up
_MOST_GREY = 0.05  # of a mask's pixels: with more of 64 to 191, it may hold something else
_WHITE = (255, 255, 255)

Pixels = NDArray[Any]


@dataclass(frozen=True)
class Decoder:
    """How the masks of one data set are read.

    `encoding` is "index" (the pixel is the id), "colour" (the pixel's colour is looked up in
    `colours`), "binary" (0 and 255 are ids 0 and 1, and noise between them is cut at 128) or
    "shapes" (drawn; a label's place in `labels` is its id). `table` gives the class of each id
    0..255: 0..C-1, 255 for void, 256 where there is no such id.
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
        return read_pixels(path, self.encoding)

    def class_ids(self, pixels: Pixels) -> NDArray[np.uint8]:
        """The class of each pixel of a mask, 255 for void; a DataError if one of them has none."""
        if self.encoding == "colour":
            ids = colour_ids(pixels, self.colours)
        elif pixels.ndim == 3 or pixels.dtype.kind == "f":
            what = "colours" if pixels.ndim == 3 else "floating-point values"
            raise DataError(f"{what} where class ids were expected")
        elif self.encoding == "binary":
            ids = np.where(pixels < _CUT, 0, 1)
            if not is_black_and_white(pixels):
                ids[(pixels != 0) & (pixels != 255)] = UNKNOWN
        else:
            ids = np.where((pixels >= 0) & (pixels < UNKNOWN), pixels, UNKNOWN)
        classes = np.array((*self.table, UNKNOWN), np.uint16)[ids]
        wrong = classes == UNKNOWN
        if wrong.any():
            values = np.unique(pixels[wrong], axis=0).tolist()
            more = f" and {len(values) - 8} more" if len(values) > 8 else ""
            found = f"{', '.join(map(str, values[:8]))}{more}"
            raise DataError(f"{wrong.mean():.2%} of the pixels are of no class: {found}")
        return classes.astype(np.uint8)


def read_pixels(path: Path, encoding: str = "index") -> Pixels:
    """A mask file's pixels as they stand: H x W ids, or H x W x 3 colours where they differ.

    A palette image gives its indices, unless colours are asked for, or black and white is.
    """
    with images.opened(path) as image:
        if encoding == "colour":
            return _rgb(image)
        return _ids_or_rgb(image.convert("L") if encoding == "binary" and _inks(image) else image)


def is_black_and_white(pixels: Pixels) -> bool:
    """Whether a mask is of 0 and 255, but for noise of JPEG files and for soft edges.

    Such values lie on both sides of the middle, few are far from 0 and 255, and they form no
    areas: ids (0 to N, with or without 255), a third grey and photos differ in one of these.

    >>> [is_black_and_white(np.array([row])) for row in ([0, 3, 250, 255], [0, 1, 2, 255])]
    [True, False]
    """
    between = (pixels != 0) & (pixels != 255)
    values = pixels[between]
    if not values.size:
        return True
    low, high = values.min(), values.max()
    if low == high and values.size == pixels.size:  # what JPEG made of all black or all white
        return bool(0 < low < 16 or 240 <= low < 255)
    if low < 0 or high > 255 or high < _CUT or low >= _CUT:
        return False
    grey = np.count_nonzero((values >= 64) & (values < 192))
    return bool(grey <= _MOST_GREY * pixels.size) and not _has_grey_areas(pixels)


def _has_grey_areas(pixels: Pixels) -> bool:
    """Whether most pixels far from 0 and 255 are as those to their right and below."""
    y, x = np.nonzero((pixels[:-1, :-1] >= 16) & (pixels[:-1, :-1] < 240))
    here = pixels[y, x]
    right, below = (abs(here - there) <= 3 for there in (pixels[y, x + 1], pixels[y + 1, x]))
    return 2 * int(np.count_nonzero(right & below)) > max(len(here), 16)


def _inks(image: Image.Image) -> list[Colour]:
    """The palette of an image, if it has no colours but black and white."""
    values = (image.getpalette() or []) if image.mode == "P" else []
    colours = list(zip(values[::3], values[1::3], values[2::3], strict=True))
    return colours if set(colours) <= {(0, 0, 0), _WHITE} else []


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
    in the class file. "binary": black and white where up to two classes are named, and no mask of
    ids. Else "index".
    """
    step = max(1, len(masks) // _LOOKED_AT)
    two = class_count in (None, 1, 2)
    white = ids = grey = white_first = 0
    for path in (*masks[::step], *(m for i, m in enumerate(masks) if i % step and two)):
        try:
            with images.opened(path) as image:
                inks = _inks(image)
                pixels = _ids_or_rgb(image.convert("L") if inks else image)
                in_colour = _rgb(image) if colours and pixels.ndim == 2 else None
            if pixels.ndim == 3:
                return "colour"
            if colours and in_colour is not None:
                found = np.unique(colour_ids(in_colour, colours))
                if len(found) > 1 and found[-1] != UNKNOWN:
                    return "colour"
        except images.ImageError:
            continue  # the checks report it
        # Empty masks tell nothing of 1 against 255, nor do those of white alone: look at more.
        if inks[:1] == [_WHITE]:
            white_first += len(set(inks)) == 2  # 0 stands for white, as class 0
        elif is_black_and_white(pixels):
            white += bool(pixels.max() >= _CUT)
        elif pixels.max(where=pixels < VOID, initial=0) < MOST_IDS:
            ids += 1
        else:
            grey += 1
        if white + ids + grey + white_first == _LOOKED_AT:
            break
    clear = class_count is not None or grey <= white
    return "binary" if two and white and not ids and clear else "index"
