"""TIFF files as tifffile reads them: their bands, their values, and what was not measured."""

from importlib.util import find_spec
from io import BufferedIOBase, BufferedReader, RawIOBase
from math import cos, hypot, inf, radians
from typing import IO, Any, cast

import numpy as np
from numpy.typing import NDArray

from upscore.errors import ImageError, MissingPackageError
from upscore.images import decode

MAGIC = (b"II*\0", b"MM\0*", b"II+\0", b"MM\0+")
MOST_BYTES = 4 << 30  # of a file's values
ALPHA = (1, 2)  # of ExtraSamples: transparency, not a band
_COLOURS = {"RGB": 3, "YCBCR": 3, "CIELAB": 3, "SEPARATED": 4}  # by photometric interpretation
_BAND_AXES = "SCQ"  # of tifffile: samples, else channels, else what has no name
_NODATA = 42113  # GDAL's tag: the value of pixels that were not measured
_PROJECTED, _GEOGRAPHIC, _METRE = 1, 2, 9001  # of GeoTIFF's keys
_UNITS = {_METRE: 1.0, 9002: 0.3048, 9003: 1200 / 3937}  # the feet of the world and of the US
_METRES_A_DEGREE = 111_320.0  # along a meridian
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
    colours = bands - sum(extra in ALPHA for extra in page.extrasamples)
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
    missing = nodata(page)
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


def nodata(page: Any) -> float | None:
    """The value of pixels that were not measured, where a TIFF file names one of its own type."""
    tag = page.tags.get(_NODATA)
    text = "" if tag is None else str(tag.value).strip("\0 ")
    try:
        return float(np.array(text).astype(page.dtype)) if text else None
    except (ValueError, OverflowError):
        return None


def resolution(file: Any) -> float | None:
    """How many metres a pixel of a GeoTIFF is on the ground, where its unit is known.

    In degrees, that is along a row, halfway down.
    """
    page = file.pages[0]
    try:
        tags = page.geotiff_tags or {}
        return _side(tags, page.imagelength)
    except (
        ArithmeticError,
        IndexError,
        KeyError,
        TypeError,
        ValueError,
    ):  # tags that make no sense
        return None


def _side(tags: dict[str, Any], height: int) -> float | None:
    """Metres of a step along a row, by GeoTIFF's tags."""
    rows = np.reshape(tags.get("ModelTransformation", np.zeros((4, 4))), (4, 4)).tolist()
    if "ModelPixelScale" in tags:
        across, down, _ = tags["ModelPixelScale"]
        _, row, _, _, y, _ = tags["ModelTiepoint"][:6]
        rows = [[across, 0, 0, 0], [0, -down, 0, y + down * row]]
    (a, _, _, _), (d, e, _, f) = rows[:2]
    kind = int(tags["GTModelTypeGeoKey"])
    if kind == _GEOGRAPHIC:
        latitude = radians(f + e * height / 2)
        side = hypot(a * cos(latitude), d) * _METRES_A_DEGREE
    elif kind == _PROJECTED:
        # Without a unit of its own, a system has that of its number, nearly always metres.
        side = hypot(a, d) * _UNITS[int(tags.get("ProjLinearUnitsGeoKey", _METRE))]
    else:
        return None
    return side if 0 < side < inf else None
