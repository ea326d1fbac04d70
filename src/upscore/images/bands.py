"""Photos that are measurements: 16 bits or floats, any number of bands, from TIFF, PNG and .npy.

What a screen can show, 8 bits of grey or colour, is a picture and read by `upscore.images.read`.
All else keeps its values: H x W x B float32.
"""

from contextlib import suppress
from importlib.util import find_spec
from io import BytesIO
from math import prod
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray
from PIL import Image

from upscore.errors import ImageError, MissingPackageError
from upscore.images import npy
from upscore.images.decode import MAX_PIXELS, Source, named, opened, stream_of

Floats = NDArray[np.float32]
Ranges = tuple[tuple[float, float], ...]

MOST_BANDS = 256  # no camera has more: what looks like more is no photo
_TIFF = (b"II*\0", b"MM\0*", b"II+\0", b"MM\0+")
_ALPHA = (1, 2)  # of TIFF's ExtraSamples: transparency, not a band
_BANDS = "SCQ"  # tifffile's names of axes that are bands: samples, channels, and unnamed ones
_MOST_A_PIXEL = 16  # values in a file for each pixel that is allowed: bounds its memory
_ADD = "pip install 'upscore[bands]'"


def bands_of(source: Source) -> int | None:
    """How many bands of measured values a file has, from its header; None for a picture.

    16-bit grey has one. So has a grey float. 8 bits of grey, grey and alpha, RGB and RGBA are
    pictures, and so are palettes, CMYK and all JPEGs.

    Raises:
        ImageError: the file is missing, empty, or not an image.
        MissingPackageError: a TIFF file of a kind that needs tifffile.

    Example:
        >>> bands_of(b"P5 1 1 65535 " + bytes(2)), bands_of(b"P5 1 1 255 " + bytes(1))
        (1, None)
    """
    with named(source), stream_of(source) as stream:
        start = stream.read(8)
        if start.startswith(npy.MAGIC):
            shape, dtype = npy.header(stream)
            return None if npy.is_picture(shape, dtype) else _last_bands(shape)[2]
        if start.startswith(_TIFF):
            return _bands_of_tiff(source)
    with opened(source, decode=False) as image:
        return 1 if _is_deep(image) else None


def read_bands(source: Source, bands: int | None = None, *, max_pixels: int = MAX_PIXELS) -> Floats:
    """Read the values of a photo as they are stored.

    Equivalent: `tifffile.imread(file)` or `numpy.load(file)`, with the bands last. A band may come
    first in the file: the shorter of the first and last axis holds the bands. Values that are not
    finite, as some programs mark what was not measured, become 0. Of several pages or times the
    first is taken; TIFF's orientation is not applied.

    Args:
        source: a path, or the bytes of the file.
        bands: how many are expected; any number if not given.
        max_pixels: a larger photo is refused before its values are read.

    Returns:
        float32 array of H x W x B.

    Raises:
        ImageError: the file is missing, broken, too large, or has another number of bands.
        MissingPackageError: a TIFF file of a kind that needs tifffile or imagecodecs.

    Example:
        >>> read_bands(b"P5 2 1 65535 " + bytes([1, 0, 0, 7])).tolist()
        [[[256.0], [7.0]]]
    """
    with named(source), stream_of(source) as stream:
        start = stream.read(8)
        if start.startswith(npy.MAGIC):
            shape, _ = npy.header(stream)
            _bounded(shape, max_pixels)
            return as_bands(npy.load(stream, _MOST_A_PIXEL * max_pixels), bands)
        if start.startswith(_TIFF):
            return as_bands(_read_tiff(source, max_pixels), bands)
    with opened(source, max_pixels=max_pixels) as image:
        return as_bands(np.asarray(image if _is_deep(image) else image.convert("RGB")), bands)


def as_bands(values: NDArray[Any], bands: int | None = None) -> Floats:
    """Return an array of one photo, H x W or with its bands first or last, as `read_bands` does.

    >>> as_bands(np.zeros((4, 20, 30), np.uint16)).shape
    (20, 30, 4)
    """
    if values.dtype.kind not in "uifb":
        raise ImageError(f"values of {values.dtype}, but whole or real numbers were expected")
    height, width, found = _last_bands(values.shape, bands)
    if bands not in (None, found):
        raise ImageError(f"{found} bands, but {bands} were expected, as in the training photos")
    if values.shape != (height, width, found) and values.ndim == 3:
        values = np.moveaxis(values, 0, 2)
    pixels = values.reshape(height, width, found).astype(np.float32)
    return np.nan_to_num(pixels, copy=False, nan=0.0, posinf=0.0, neginf=0.0)


def preview(photo: NDArray[Any], ranges: Ranges | None) -> NDArray[np.uint8]:
    """Return a photo to look at, uint8 H x W x 3: the first three bands, or the first as grey.

    ranges: each band's lowest and highest value, shown black and white; None for a picture, which
    stays as it is.
    """
    if ranges is None:
        return photo
    shown = (0, 1, 2) if len(ranges) > 2 else (0, 0, 0)
    low, high = np.array(ranges, np.float32)[list(shown)].T
    shares = (photo[..., shown] - low) / (high - low)
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
    bands = (Image.fromarray(band.copy()).resize(to, how) for band in np.moveaxis(photo, 2, 0))
    return np.stack([np.asarray(band) for band in bands], axis=2)


def _last_bands(shape: tuple[int, ...], bands: int | None = None) -> tuple[int, int, int]:
    """Height, width and bands of a photo of this shape."""
    if len(shape) == 2:
        shape = (*shape, 1)
    if len(shape) != 3 or 0 in shape:
        raise ImageError(
            f"an array of {' x '.join(map(str, shape))}, but rows x columns x bands were expected"
        )
    first = shape[0] < shape[2] if bands not in (shape[0], shape[2]) else shape[2] != bands
    height, width, found = (*shape[1:], shape[0]) if first else shape
    if found > MOST_BANDS:
        raise ImageError(f"{found} bands, more than {MOST_BANDS}: {height} x {width} is no photo")
    return height, width, found


def _bounded(shape: tuple[int, ...], max_pixels: int) -> None:
    """Raise ImageError for too many pixels."""
    height, width, _ = _last_bands(shape)
    if height * width > max_pixels:
        raise ImageError(
            f"{width} x {height} pixels, more than the limit of {max_pixels:,}; "
            "cut it into parts, or raise the limit (max_pixels) if the file can be trusted"
        )


def _is_deep(image: Image.Image) -> bool:
    """Whether an image of Pillow has more than 8 bits: modes I, I;16, F."""
    return image.mode[0] in "IF"


def _tiff(source: Source) -> Any:
    try:
        import tifffile
    except ModuleNotFoundError:
        raise MissingPackageError(f"reading it needs tifffile: {_ADD}") from None
    return tifffile.TiffFile(BytesIO(source) if isinstance(source, bytes) else Path(source))


def _bands_of_tiff(source: Source) -> int | None:
    """The bands of a TIFF file; None for a picture."""
    if find_spec("tifffile") is None:
        with suppress(ImageError), opened(source, decode=False) as image:
            if image.mode in ("1", "L", "P", "RGB"):  # all other modes may hide a band
                return None
    with _tiff(source) as file:
        page, bands = file.pages[0], prod(_lengths(file, _BANDS))
        if page.bitspersample > 8 or page.sampleformat != 1 or page.samplesperpixel < bands:
            return bands
        colours = bands - sum(extra in _ALPHA for extra in page.extrasamples)
        return None if colours in (1, 4 if page.photometric.name == "SEPARATED" else 3) else bands


def _lengths(file: Any, kept: str) -> tuple[int, ...]:
    """The lengths of those axes of a TIFF file's first image that are called so."""
    image = file.series[0]
    return tuple(n for axis, n in zip(image.axes, image.shape, strict=True) if axis in kept)


def _read_tiff(source: Source, max_pixels: int) -> NDArray[Any]:
    """The values of a TIFF file's first photo, with its bands first or last."""
    kept = _BANDS + "YX"
    with _tiff(source) as file:
        _bounded(_lengths(file, kept), max_pixels)
        image = file.series[0]
        if prod(image.shape) > _MOST_A_PIXEL * max_pixels:
            raise ImageError(f"{image.shape} values are too many: save one photo in each file")
        try:
            values: NDArray[Any] = image.asarray()
        except ValueError as error:
            if "imagecodecs" not in str(error):
                raise
            raise MissingPackageError(f"{error}: {_ADD}") from None
        return values[tuple(slice(None) if axis in kept else 0 for axis in image.axes)]
