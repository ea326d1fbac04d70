"""Photos that are measurements: 16 bits or floats, any number of bands, from TIFF, PNG and .npy.

What a screen can show, 8 bits of grey or colour, is a picture and read by `upscore.images.read`.
All else is read here, as H x W x B float32: NaN where nothing was measured.
"""

from collections.abc import Sequence
from importlib.util import find_spec
from io import BufferedIOBase, BufferedReader, RawIOBase
from typing import IO, Any, cast

import numpy as np
from numpy.typing import NDArray
from PIL import Image

from upscore.errors import ImageError, MissingPackageError
from upscore.images import npy
from upscore.images.decode import MAX_PIXELS, Source, is_deep, named, opened, stream_of

Floats = NDArray[np.float32]
Ranges = tuple[tuple[float, float], ...]

MOST_BANDS = 1024
MOST_BYTES = 4 << 30  # of a file's values
LEAST_WEIGHT = 0.25  # of the measured pixels around one of a resized photo: below it, that is NaN
_TIFF = (b"II*\0", b"MM\0*", b"II+\0", b"MM\0+")
_ALPHA = (1, 2)  # of TIFF's ExtraSamples: transparency, not a band
_COLOURS = {"RGB": 3, "YCBCR": 3, "CIELAB": 3, "SEPARATED": 4}  # by photometric interpretation
_BAND_AXES = "SCQ"  # of tifffile: samples, else channels, else what has no name
_NODATA = 42113  # GDAL's tag: the value of pixels that were not measured
_ADD = "pip install 'upscore[bands]'"


def bands_of(source: Source) -> int | None:
    """How many bands of measured values a file has, from its header; None for a picture.

    Grey of more than 8 bits has one, also in floats. 8 bits of grey, grey and alpha, RGB and RGBA
    are pictures, and so are palettes, CMYK and all JPEGs. Without tifffile, a TIFF file is what
    Pillow takes it for.

    Raises:
        ImageError: the file is missing, empty, or not an image.
        MissingPackageError: a TIFF file that Pillow cannot open, and tifffile is not installed.

    Example:
        >>> bands_of(b"P5 1 1 65535 " + bytes(2)), bands_of(b"P5 1 1 255 " + bytes(1))
        (1, None)
    """
    with named(source), stream_of(source) as stream:
        start = stream.read(8)
        if start.startswith(npy.MAGIC):
            shape, dtype = npy.header(stream)
            return None if npy.is_picture(shape, dtype) else _last_bands(shape)[2]
        if start.startswith(_TIFF) and not _is_for_pillow(source):
            with _tiff(stream) as file:
                return _bands_of_tiff(file)
    with opened(source, decode=False) as image:
        return 1 if is_deep(image) else None


def size(source: Source) -> tuple[int, int]:
    """Width and height of an image as it is stored, from its header alone."""
    with named(source), stream_of(source) as stream:
        start = stream.read(8)
        if start.startswith(npy.MAGIC):
            height, width, _ = _last_bands(npy.header(stream)[0])
            return width, height
        if start.startswith(_TIFF) and not _is_for_pillow(source):
            with _tiff(stream) as file:
                return file.pages[0].imagewidth, file.pages[0].imagelength
    with opened(source, decode=False) as image:
        return image.size


def read_bands(source: Source, bands: int | None = None, *, max_pixels: int = MAX_PIXELS) -> Floats:
    """Read the values of a photo: as they are stored, but for 8 bits, which become RGB.

    Equivalent: `tifffile.imread(file)` or `numpy.load(file)`, with the bands last. Values that were
    not measured are NaN: those that are not finite, and GDAL's no-data value. Of several slices or
    times the first is taken; TIFF's orientation is not applied.

    Args:
        source: a path, or the bytes of the file.
        bands: how many are expected; any number if not given.
        max_pixels: a larger photo is refused before its values are read.

    Returns:
        float32 array of H x W x B.

    Raises:
        ImageError: the file is missing, broken, too large, or has another number of bands.
        MissingPackageError: a TIFF file that needs tifffile or imagecodecs.

    Example:
        >>> read_bands(b"P5 2 1 65535 " + bytes([1, 0, 0, 7])).tolist()
        [[[256.0], [7.0]]]
    """
    with named(source), stream_of(source) as stream:
        start = stream.read(8)
        if start.startswith(npy.MAGIC):
            _bounded(_last_bands(npy.header(stream)[0], bands), max_pixels)
            return as_bands(npy.load(stream, MOST_BYTES), bands)
        if start.startswith(_TIFF):
            with _tiff(stream) as file:
                return _measured(_read_tiff(file, max_pixels), bands)
    with opened(source, max_pixels=max_pixels) as image:
        return as_bands(np.asarray(image if is_deep(image) else image.convert("RGB")), bands)


def as_bands(values: NDArray[Any], bands: int | None = None) -> Floats:
    """Return an array of one photo, H x W or with its bands first or last, as `read_bands` does.

    The bands are the axis that has as many as expected; else, where rows or columns are as many as
    their neighbours, the third one; else the shorter of the first and the last.

    >>> as_bands(np.zeros((4, 20, 30), np.uint16)).shape
    (20, 30, 4)
    """
    height, width, found = _last_bands(values.shape, bands)
    if values.ndim == 3 and values.shape != (height, width, found):
        values = np.moveaxis(values, 0, 2)
    return _measured(values.reshape(height, width, found), bands)


def preview(photo: NDArray[Any], ranges: Ranges | None) -> NDArray[np.uint8]:
    """Return a photo to look at, uint8 H x W x 3: the first three bands, or the first as grey.

    ranges: each band's lowest and highest value, shown black and white; None for a picture, which
    stays as it is.
    """
    if ranges is None:
        return photo
    shown = (0, 1, 2) if len(ranges) > 2 else (0, 0, 0)
    low, high = np.array(ranges, np.float32)[list(shown)].T
    shares = np.nan_to_num((photo[..., shown] - low) / (high - low))
    grey: NDArray[np.uint8] = np.rint(255 * shares.clip(0, 1)).astype(np.uint8)
    return grey


def resized(photo: NDArray[Any], size: tuple[int, int]) -> NDArray[Any]:
    """Return a photo, H x W x B of bytes or floats, at another size (rows, columns).

    Antialiased, as Pillow's `Image.resize` with `Resampling.BILINEAR`.
    """
    to, how = size[::-1], Image.Resampling.BILINEAR
    photo = np.ascontiguousarray(photo)
    if photo.dtype == np.uint8 and photo.shape[2] == 3:
        return np.array(Image.fromarray(photo).resize(to, how))

    def shrunk(band: NDArray[Any]) -> NDArray[Any]:
        return np.asarray(Image.fromarray(np.ascontiguousarray(band)).resize(to, how))

    missing = np.isnan(photo)
    if not missing.any():
        return np.stack([shrunk(band) for band in np.moveaxis(photo, 2, 0)], axis=2)
    # Pixels that were not measured have no weight.
    weights = resized((~missing).astype(np.float32), size)
    values = resized(np.where(missing, np.float32(0), photo), size)
    return np.where(
        weights > LEAST_WEIGHT, values / np.maximum(weights, LEAST_WEIGHT), np.float32(np.nan)
    )


def _last_bands(shape: tuple[int, ...], bands: int | None = None) -> tuple[int, int, int]:
    """Height, width and bands of a photo of this shape."""
    if len(shape) == 2 and 0 not in shape:
        return (*shape, 1)
    if len(shape) != 3 or 0 in shape:
        raise ImageError(
            f"an array of {' x '.join(map(str, shape))}, but rows x columns x bands were expected"
        )
    first, middle, last = shape
    if bands in (first, last):
        leading = last != bands
    elif middle in (first, last):
        leading = middle == last != first
    else:
        leading = first < last
    height, width, found = (middle, last, first) if leading else shape
    if found > MOST_BANDS:
        raise ImageError(f"{found} bands of {height} x {width}: {MOST_BANDS} bands are the most")
    return height, width, found


def _bounded(shape: Sequence[int], max_pixels: int) -> None:
    """Raise ImageError for a photo (height, width, ...) of too many pixels."""
    height, width, *_ = shape
    if height * width > max_pixels:
        raise ImageError(
            f"{width} x {height} pixels, more than the limit of {max_pixels:,}; "
            "cut it into parts, or raise the limit (max_pixels) if the file can be trusted"
        )


def _measured(values: NDArray[Any], bands: int | None) -> Floats:
    """Values H x W x B as float32, NaN where they are not finite."""
    if values.dtype.kind not in "uifb":
        raise ImageError(f"values of {values.dtype}, but whole or real numbers were expected")
    found = values.shape[2]
    if bands not in (None, found):
        raise ImageError(f"photos of {bands} bands were expected, and this one has {found}")
    pixels = values.astype(np.float32)
    pixels[~np.isfinite(pixels)] = np.nan
    return pixels


def _is_for_pillow(source: Source) -> bool:
    """Whether tifffile is missing and Pillow can open a TIFF file."""
    if find_spec("tifffile") is not None:
        return False
    try:
        with opened(source, decode=False):
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


def _tiff(stream: IO[bytes]) -> Any:
    """A TIFF file as tifffile opens it, which reads no other file."""
    try:
        import tifffile
    except ModuleNotFoundError:
        raise MissingPackageError(f"reading it needs tifffile: {_ADD}") from None
    stream.seek(0)
    return tifffile.TiffFile(BufferedReader(_Nameless(stream)), _multifile=False)


def _bands_of_tiff(file: Any) -> int | None:
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


def _read_tiff(file: Any, max_pixels: int) -> NDArray[Any]:
    """The values of a TIFF file's first photo, H x W x B; NaN for GDAL's no-data value."""
    page, image = file.pages[0], file.series[0]
    if "S" in image.axes or _band_axis(image.axes) is None:
        image = page  # which has all bands: further slices need not be read
    axes, place = image.axes, _band_axis(image.axes)
    height, width = (image.shape[axes.index(axis)] for axis in "YX")
    _bounded((height, width), max_pixels)
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
