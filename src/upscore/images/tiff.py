"""TIFF files as tifffile reads them: their bands, their values, and what was not measured."""

from importlib.util import find_spec
from io import BufferedIOBase, BufferedReader, RawIOBase
from typing import IO, Any, cast

import numpy as np
from numpy.typing import NDArray

from upscore.errors import ImageError, MissingPackageError
from upscore.images import decode

MAGIC = (b"II*\0", b"MM\0*", b"II+\0", b"MM\0+")
MOST_BYTES = 4 << 30  # of a file's values
_ALPHA = (1, 2)  # of ExtraSamples: transparency, not a band
_COLOURS = {"RGB": 3, "YCBCR": 3, "CIELAB": 3, "SEPARATED": 4}  # by photometric interpretation
_BAND_AXES = "SCQ"  # of tifffile: samples, else channels, else what has no name
_NODATA = 42113  # GDAL's tag: the value of pixels that were not measured
_ADD = "pip install 'upscore[bands]'"


def is_for_pillow(source: decode.Source) -> bool:
    """Whether tifffile is missing and Pillow can open a TIFF file."""
    if find_spec("tifffile") is not None:
        return False
    try:
        with decode.opened(source, decode=False):
            return True
    except ImageError:
        return False


class _Nameless(RawIOBase):
    """A file that does not tell where it lies: OME's and Micro-Manager's TIFF files name others."""

    def __init__(self, stream: IO[bytes]) -> None:
        self._stream = cast(BufferedIOBase, stream)

    def readable(self) -> bool:
        return True

    def seekable(self) -> bool:
        return True

    def seek(self, offset: int, whence: int = 0) -> int:
        return self._stream.seek(offset, whence)

    def readinto(self, buffer: Any) -> int:
        return self._stream.readinto(buffer)


def opened(stream: IO[bytes]) -> Any:
    """A TIFF file as tifffile opens it, which reads no other file."""
    try:
        import tifffile
    except ModuleNotFoundError:
        raise MissingPackageError(f"reading it needs tifffile: {_ADD}") from None
    stream.seek(0)
    return tifffile.TiffFile(BufferedReader(_Nameless(stream)), _multifile=False)


def bands_of(file: Any) -> int | None:
    """The bands of a TIFF file; None for a picture."""
    page, image = file.pages[0], file.series[0]
    place = _band_axis(image.axes)
    bands = 1 if place is None else int(image.shape[place])
    if page.bitspersample > 8 or page.sampleformat != 1 or page.samplesperpixel < bands:
        return bands
    colours = bands - sum(extra in _ALPHA for extra in page.extrasamples)
    return None if colours in (1, _COLOURS.get(page.photometric.name)) else bands


def _band_axis(axes: str) -> int | None:
    """The place of the bands among tifffile's axes."""
    return next((axes.rindex(axis) for axis in _BAND_AXES if axis in axes), None)


def read(file: Any, max_pixels: int) -> NDArray[Any]:
    """The values of a TIFF file's first photo, H x W x B; NaN for GDAL's no-data value."""
    page, image = file.pages[0], file.series[0]
    if "S" in image.axes or _band_axis(image.axes) is None:
        image = page  # which has all bands: further slices need not be read
    axes, place = image.axes, _band_axis(image.axes)
    height, width = (image.shape[axes.index(axis)] for axis in "YX")
    decode.bounded(width, height, max_pixels)
    if image.nbytes > MOST_BYTES:
        raise ImageError(
            f"{image.nbytes >> 30} GiB of values ({' x '.join(map(str, image.shape))}), more than "
            f"{MOST_BYTES >> 30}: save one photo in each file"
        )
    order = [axes.index("Y"), axes.index("X"), *([] if place is None else [place])]
    first = tuple(slice(None) if i in order else 0 for i in range(len(axes)))
    values = _decoded(image)[first].transpose([sorted(order).index(axis) for axis in order])
    values = values.reshape(height, width, -1)
    missing = _nodata(page)
    return values if missing is None else np.where(values == missing, np.nan, values)


def _decoded(image: Any) -> NDArray[Any]:
    """The values of a page or a series; says what is missing where they are compressed."""
    try:
        values: NDArray[Any] = image.asarray()
    except ValueError as error:
        if "imagecodecs" not in str(error):
            raise
        raise MissingPackageError(f"{error}: {_ADD}") from None
    return values


def _nodata(page: Any) -> float | None:
    """The value of pixels that were not measured, where a TIFF file names one of its own type."""
    tag = page.tags.get(_NODATA)
    text = "" if tag is None else str(tag.value).strip("\0 ")
    try:
        return float(np.array(text).astype(page.dtype)) if text else None
    except (ValueError, OverflowError):
        return None
