"""Photos that are measurements: 16 bits or floats, any number of bands, from TIFF, PNG and .npy.

What a screen can show, 8 bits of grey or colour, is a picture and read by `upscore.images.read`.
All else is read here, as H x W x B float32: NaN where nothing was measured.
"""

from typing import Any

import numpy as np
from numpy.typing import NDArray
from PIL import Image

from upscore.errors import ImageError
from upscore.images import npy, tiff
from upscore.images.decode import MAX_PIXELS, Source, bounded, is_deep, named, opened, stream_of

Floats = NDArray[np.float32]
Ranges = tuple[tuple[float, float], ...]
Box = tuple[float, float, float, float]  # top, left, bottom, right

MOST_BANDS = 1024
_LEAST_WEIGHT = 0.25  # of the measured pixels around one of a resized photo: below it, that is NaN


def bands_of(source: Source) -> int | None:
    """Return how many bands of measured values a file has, from its header.

    Grey of more than 8 bits has one, also in floats. 8 bits of grey, grey and alpha, RGB and RGBA
    are pictures, and so are palettes, CMYK and all JPEGs. Without tifffile, a TIFF file is what
    Pillow takes it for.

    Args:
        source: a path, or the bytes of the file.

    Returns:
        The number of bands; None for a picture.

    Raises:
        ImageError: the file is missing, empty, or not an image.
        MissingPackageError: a TIFF file that Pillow cannot open, and tifffile is not installed.

    Examples:
        >>> bands_of(b"P5 1 1 65535 " + bytes(2)), bands_of(b"P5 1 1 255 " + bytes(1))
        (1, None)
    """
    with named(source), stream_of(source) as stream:
        start = stream.read(8)
        if start.startswith(npy.MAGIC):
            shape, dtype = npy.header(stream)
            return None if npy.is_picture(shape, dtype) else last_bands(shape)[2]
        if start.startswith(tiff.MAGIC) and not tiff.is_for_pillow(source):
            with tiff.opened(stream) as file:
                return tiff.bands_of(file)
    with opened(source, decode=False) as image:
        return 1 if is_deep(image) else None


def size(source: Source, *, max_pixels: int = MAX_PIXELS) -> tuple[int, int]:
    """Return the size of an image as it is stored, from its header alone.

    Args:
        source: a path, or the bytes of the file.
        max_pixels: a larger image is refused.

    Returns:
        Width and height in pixels.

    Raises:
        ImageError: the file is missing, empty, too large or not an image.
    """
    with named(source), stream_of(source) as stream:
        start = stream.read(8)
        if start.startswith(npy.MAGIC):
            height, width, _ = last_bands(npy.header(stream)[0])
            bounded(width, height, max_pixels)
            return width, height
        if start.startswith(tiff.MAGIC) and not tiff.is_for_pillow(source):
            with tiff.opened(stream) as file:
                width, height = int(file.pages[0].imagewidth), int(file.pages[0].imagelength)
            bounded(width, height, max_pixels)
            return width, height
    with opened(source, max_pixels=max_pixels, decode=False) as image:
        return image.size


def resolution(source: Source) -> float | None:
    """Return how long a pixel is on the ground, from a GeoTIFF's header.

    Args:
        source: a path, or the bytes of the file.

    Returns:
        Metres; None of other files.

    Raises:
        ImageError: the file is missing or broken.
    """
    with named(source), stream_of(source) as stream:
        if not stream.read(8).startswith(tiff.MAGIC) or tiff.is_for_pillow(source):
            return None
        with tiff.opened(stream) as file:
            return tiff.resolution(file)


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

    Examples:
        >>> read_bands(b"P5 2 1 65535 " + bytes([1, 0, 0, 7])).tolist()
        [[[256.0], [7.0]]]
    """
    with named(source), stream_of(source) as stream:
        start = stream.read(8)
        if start.startswith(npy.MAGIC):
            height, width, _ = last_bands(npy.header(stream)[0], bands)
            bounded(width, height, max_pixels)
            return as_bands(npy.load(stream, tiff.MOST_BYTES), bands)
        if start.startswith(tiff.MAGIC):
            with tiff.opened(stream) as file:
                _expect(bands, tiff.bands_of(file))  # before any is decoded
                return _measured(tiff.read(file, max_pixels), bands)
    with opened(source, max_pixels=max_pixels) as image:
        return as_bands(np.asarray(image if is_deep(image) else image.convert("RGB")), bands)


def as_bands(values: NDArray[Any], bands: int | None = None) -> Floats:
    """Return an array of one photo with its bands last, as `read_bands` does.

    The bands are the axis that has as many as expected; else, where rows or columns are as many as
    their neighbours, the third one; else the shorter of the first and the last.

    Args:
        values: H x W, or with the bands first or last, numbers of any type.
        bands: how many are expected; any number if not given.

    Returns:
        float32, H x W x B, NaN where values are not finite.

    Raises:
        ImageError: the array has another number of axes or bands, or holds no numbers.

    Examples:
        >>> as_bands(np.zeros((4, 20, 30), np.uint16)).shape
        (20, 30, 4)
    """
    height, width, found = last_bands(values.shape, bands)
    if values.ndim == 3 and values.shape != (height, width, found):
        values = np.moveaxis(values, 0, 2)
    return _measured(values.reshape(height, width, found), bands)


def preview(photo: NDArray[Any], ranges: Ranges | None) -> NDArray[np.uint8]:
    """Return a photo to look at: the first three bands, or the first as grey.

    Args:
        photo: H x W x B.
        ranges: each band's lowest and highest value, shown black and white; None for a picture,
            which stays as it is.

    Returns:
        uint8, H x W x 3.
    """
    if ranges is None:
        return photo
    shown = (0, 1, 2) if len(ranges) > 2 else (0, 0, 0)
    low, high = np.array(ranges, np.float32)[list(shown)].T
    shares = np.nan_to_num((photo[..., shown] - low) / (high - low))
    grey: NDArray[np.uint8] = np.rint(255 * shares.clip(0, 1)).astype(np.uint8)
    return grey


def resized(photo: NDArray[Any], size: tuple[int, int], box: Box | None = None) -> NDArray[Any]:
    """Return a photo at another size.

    Equivalent to Pillow's `Image.resize` with `Resampling.BILINEAR`, which is antialiased, for each
    band. Pixels that were not measured (NaN) have no weight.

    Args:
        photo: H x W x B of bytes or floats.
        size: rows and columns of the result.
        box: the part of the photo to take: the rows and columns at which it begins and ends (top,
            left, bottom, right). The pixels around it count.

    Returns:
        Array of `size` x B, of the type of `photo`.
    """
    photo = np.ascontiguousarray(photo)
    corners = None if box is None else (box[1], box[0], box[3], box[2])

    def shrunk(band: NDArray[Any]) -> NDArray[Any]:
        image = Image.fromarray(np.ascontiguousarray(band))
        return np.array(image.resize(size[::-1], Image.Resampling.BILINEAR, corners))

    if photo.dtype == np.uint8 and photo.shape[2] == 3:
        return shrunk(photo)
    missing = np.isnan(photo)
    if not missing.any():
        return np.stack([shrunk(band) for band in np.moveaxis(photo, 2, 0)], axis=2)
    # Pixels that were not measured have no weight.
    weights = resized((~missing).astype(np.float32), size, box)
    values = resized(np.where(missing, np.float32(0), photo), size, box)
    return np.where(
        weights > _LEAST_WEIGHT, values / np.maximum(weights, _LEAST_WEIGHT), np.float32(np.nan)
    )


def kind_of(bands: int | None) -> str:
    """Return what photos of so many bands are, in words.

    Args:
        bands: how many; None for pictures.

    Returns:
        Such as "pictures" or "measurements in 4 bands".
    """
    return "pictures" if bands is None else f"measurements in {bands} band{'s' * (bands != 1)}"


def last_bands(shape: tuple[int, ...], bands: int | None = None) -> tuple[int, int, int]:
    """Height, width and bands of a photo of this shape, by the rule of `as_bands`."""
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


def _expect(bands: int | None, found: int | None) -> None:
    """Raise ImageError where both are known and differ."""
    if None not in (bands, found) and bands != found:
        raise ImageError(f"photos of {bands} bands were expected, and this one has {found}")


def _measured(values: NDArray[Any], bands: int | None) -> Floats:
    """Values H x W x B as float32, NaN where they are not finite."""
    if values.dtype.kind not in "uifb":
        raise ImageError(f"values of {values.dtype}, but whole or real numbers were expected")
    _expect(bands, values.shape[2])
    pixels = values.astype(np.float32)
    pixels[~np.isfinite(pixels)] = np.nan
    return pixels
