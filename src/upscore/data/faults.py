"""What can be wrong with a decoded photo and its mask."""

import hashlib
from collections.abc import Iterable, Iterator, Sequence
from pathlib import Path

import numpy as np

from upscore.data.dataset import Dataset
from upscore.data.masks import Decoder, Pixels
from upscore.data.measure import RAMP, ramp_share
from upscore.data.problems import Problem
from upscore.data.sample import Sample
from upscore.errors import DataError, ImageError, SizeError
from upscore.images.decode import JPEG_SUFFIXES

_REMEDIES = {
    "index": "save one channel of ids that the class list has; 255 is void",
    "colour": "give each colour a class (`name R G B` in classes.txt), or correct the mask",
    "binary": "write 0 and 255 only; if the values are ids, name each of them in classes.txt",
}


def unreadable(file: Path, error: ImageError) -> Problem:
    """A file that no decoder can read."""
    message = str(error).removeprefix(f"{file}: ")
    remedy = "replace the file, or skip it"
    if isinstance(error, SizeError):  # its own remedies are for predictions
        message = message.partition(";")[0]
        remedy = "cut or shrink the photo and its mask alike, or skip them"
    return Problem(file, "unreadable", message, remedy)


def sizes_differ(sample: Sample, photo: Pixels, mask: Pixels) -> Iterator[Problem]:
    """A mask that does not have its photo's size."""
    (rows, columns), (h, w) = photo.shape[:2], mask.shape[:2]
    if (rows, columns) == (h, w):
        return
    if (h, w) == (columns, rows):
        remedy = "if EXIF data turn the photo, turn the mask too"
    elif sample.drawing:
        remedy = "annotate this very photo, or resize it to the size that was annotated"
    else:
        remedy = "export the mask again at the photo's size, or resize it by the nearest pixel"
    message = f"a mask of {w} x {h} pixels, but {sample.image.name} has {columns} x {rows}"
    yield Problem(sample.at_fault, "sizes differ", message, remedy)


def wrong_values(
    file: Path, mask: Pixels, decoder: Decoder, no_class: DataError | None
) -> Iterator[Problem]:
    """What may be wrong with the values of a mask, the likeliest first.

    `no_class` is the error with which the decoder refused them, if it did.
    """
    if decoder.encoding == "shapes":  # drawn here
        return
    if decoder.encoding == "index" and np.array_equal(np.unique(mask), (0, 255)):
        message = "only 0 and 255, among masks of class ids, where 255 is void"
        remedy = "write the class's id for 255; if 255 is void here, allow the kind 'binary'"
        yield Problem(file, "binary", message, remedy)
    binary = decoder.encoding == "binary"
    # Soft edges of black and white are fine, where it is clear that they are nothing else.
    share = ramp_share(mask) if no_class or not binary else 0.0
    if share > RAMP and binary:
        remedy = "if it is a mask, write 0 for what is below 128 and 255 for the rest"
        yield Problem(file, "blurred", f"blurred, or no mask: {no_class}", remedy)
    elif share > RAMP:
        message = f"blurred: {share:.0%} of the steps between classes are in-between values"
        remedy = "resize the original mask by the nearest pixel, or save it as PNG"
        yield Problem(file, "blurred", message, remedy)
    if no_class:
        lossy = not binary and file.suffix.lower() in JPEG_SUFFIXES
        remedy = "save masks as PNG: JPEG alters them" if lossy else _REMEDIES[decoder.encoding]
        yield Problem(file, "no such class", str(no_class), remedy)


def duplicates(dataset: Dataset, against: Sequence[Dataset]) -> Iterable[Problem]:
    """Photos of this split that, byte for byte, are in another one too."""
    others: dict[int, list[tuple[str, Path]]] = {}
    for other in against:
        for sample in other.samples:
            if sample.image.is_file():
                size = sample.image.stat().st_size
                others.setdefault(size, []).append((other.split, sample.image))
    for sample in dataset.samples:
        photo = sample.image
        for split, other_photo in others.get(photo.stat().st_size, ()) if photo.is_file() else ():
            if photo.samefile(other_photo) or digest(photo) == digest(other_photo):
                message = f"the same photo is in {split!r}: {other_photo}"
                yield Problem(photo, "duplicate", message, "keep it in one split alone")


def digest(path: Path) -> bytes:
    """A hash of a file's bytes."""
    with path.open("rb") as stream:
        return hashlib.file_digest(stream, "sha256").digest()
