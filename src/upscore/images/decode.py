"""Photos from anywhere, decoded safely: with `bands.py`, the one place that opens image files."""

from collections.abc import Callable, Iterator
from contextlib import contextmanager
from io import BytesIO
from os import PathLike
from pathlib import Path
from typing import IO, Any, cast

import numpy as np
from numpy.typing import NDArray
from PIL import ExifTags, Image
from PIL import TiffImagePlugin as TiffImagePlugin
from PIL import WebPImagePlugin as WebPImagePlugin

from upscore.errors import FormatError, ImageError, MissingPackageError, SizeError
from upscore.images import npy

Source = str | PathLike[str] | bytes

# Pillow knows dozens more, which only widen the surface.
FORMATS = ("JPEG", "PNG", "WEBP", "TIFF", "BMP", "GIF", "PPM")
JPEG_SUFFIXES = frozenset((".jpg", ".jpeg", ".jpe", ".jfif"))
_TYPES = "png webp tif tiff bmp gif ppm pgm pbm npy"
SUFFIXES = JPEG_SUFFIXES | {f".{name}" for name in _TYPES.split()}
# Of photos that have to be converted first: where they lie, a message can say so.
UNREAD_SUFFIXES = frozenset((".heic", ".heif", ".avif", ".jxl", ".jp2", ".tga"))
MAX_PIXELS = 100_000_000

_UPRIGHT = {
    2: Image.Transpose.FLIP_LEFT_RIGHT,
    3: Image.Transpose.ROTATE_180,
    4: Image.Transpose.FLIP_TOP_BOTTOM,
    5: Image.Transpose.TRANSPOSE,
    6: Image.Transpose.ROTATE_270,
    7: Image.Transpose.TRANSVERSE,
    8: Image.Transpose.ROTATE_90,
}


def read(source: Source, *, max_pixels: int = MAX_PIXELS) -> NDArray[np.uint8]:
    """Decode a photo as it is meant to be seen.

    Equivalent: `torchvision.io.decode_image(data, mode="RGB", apply_exif_orientation=True)`, for
    more formats. Palettes, grey, CMYK and 16 bits become 8-bit RGB; transparent parts show white;
    EXIF orientation is applied; of several frames or pages the first is taken. A .npy file of
    bytes, H x W or H x W x 3, is a photo too.

    Args:
        source: a path, or the bytes of the file.
        max_pixels: a larger image is refused before a pixel is decoded.

    Returns:
        uint8 array of H x W x 3, RGB, 0..255.

    Raises:
        ImageError: the file is missing, empty, truncated, too large or not an image.

    Examples:
        >>> import upscore.images
        >>> upscore.images.read(b"P6 2 1 255 " + bytes([255, 0, 0, 0, 0, 255])).tolist()
        [[[255, 0, 0], [0, 0, 255]]]
    """
    return read_turned(source, max_pixels=max_pixels)[0]


def read_turned(source: Source, *, max_pixels: int = MAX_PIXELS) -> tuple[NDArray[np.uint8], bool]:
    """A photo as of `read`, and whether EXIF turned or mirrored it to an image of the same size."""
    with opened(source, max_pixels=max_pixels) as image:
        upright = _upright(image)
        return rgb(upright), upright is not image and upright.size == image.size


def from_pillow(image: Image.Image, *, max_pixels: int = MAX_PIXELS) -> NDArray[np.uint8]:
    """Return the pixels of an image that Pillow has opened, as `read` does.

    Args:
        image: the image.
        max_pixels: a larger image is refused before a pixel is decoded.

    Returns:
        uint8, H x W x 3, RGB.

    Raises:
        ImageError: it is too large, or its file turns out to be broken.
    """
    bounded(*image.size, max_pixels)
    try:
        return rgb(_upright(image))
    except OSError as error:  # Pillow decodes late
        raise ImageError(f"the image cannot be decoded ({error}); replace the file") from error


@contextmanager
def opened(
    source: Source, *, max_pixels: int = MAX_PIXELS, decode: bool = True
) -> Iterator[Image.Image]:
    """Open an image as it is stored: its own mode (a mask keeps its indices), not turned.

    Use it in a `with` statement, which should do no more than convert the pixels: all that is
    raised within becomes an ImageError with the file's name.

    Args:
        source: a path, or the bytes of the file.
        max_pixels: a larger image is refused before a pixel is decoded.
        decode: decode the pixels; else only the header is read.

    Yields:
        A Pillow image.

    Raises:
        ImageError: the file is missing, empty, truncated, too large or not an image.
    """
    with named(source), stream_of(source) as stream:
        image = _identify(stream, max_pixels)
        bounded(*image.size, max_pixels)
        if decode:
            image.load()
        yield image


@contextmanager
def named(source: Source) -> Iterator[None]:
    """Make anything that is raised while a file is decoded an `ImageError` with the file's name.

    The block should do no more than convert the pixels.
    """
    name = "the image" if isinstance(source, bytes) else str(Path(source))
    try:
        yield
    except MissingPackageError as error:
        raise MissingPackageError(f"{name}: {error}") from None
    except ImageError as error:
        raise type(error)(f"{name}: {error}") from None
    except Exception as error:  # Broken bytes make decoders raise nearly anything.
        reason = str(error) or type(error).__name__
        raise ImageError(f"{name}: cannot be decoded ({reason}); replace the file") from error


def bounded(width: int, height: int, max_pixels: int) -> None:
    """Raise ImageError for an image of no pixels or too many."""
    if width * height == 0:
        raise ImageError(f"{width} x {height} pixels; an image must have at least 1 x 1")
    if width * height > max_pixels:
        raise SizeError(
            f"{width} x {height} pixels, more than the limit of {max_pixels:,}; "
            "label it by windows (upscore predict --tile auto), shrink it, or raise the limit "
            "(max_pixels) if the file can be trusted"
        )


def rgb(image: Image.Image) -> NDArray[np.uint8]:
    """Return the pixels of a Pillow image of any mode, transparent parts white.

    Args:
        image: the image.

    Returns:
        uint8, H x W x 3, RGB.
    """
    if is_deep(image):
        grey = to_8_bits(np.asarray(image))
        return np.repeat(grey[:, :, None], 3, axis=2)
    if image.has_transparency_data:
        image = image.convert("RGBA")
        white = Image.new("RGBA", image.size, "white")
        image = Image.alpha_composite(white, image)
    return np.array(image.convert("RGB"))


def is_deep(image: Image.Image) -> bool:
    """Whether an image has grey of more than 8 bits: the modes I, I;16 and F."""
    return image.mode[0] in "IF"


def to_8_bits(values: NDArray[Any]) -> NDArray[np.uint8]:
    """Grey values of 16 bits (or floats of 0..1) as 0..255; Pillow itself would clip them."""
    top = 1.0 if values.dtype.kind == "f" else 65535.0
    if not (values.min() >= 0 and values.max() <= top):
        raise ImageError(
            f"grey values from {values.min()} to {values.max()}, but 0 to {top:g} was expected "
            f"of {values.dtype}; rescale them or save the image with 8 bits"
        )
    return np.rint(values * (255 / top)).astype(np.uint8)


def stream_of(source: Source) -> IO[bytes]:
    """The bytes of a file; an ImageError where there are none."""
    if isinstance(source, bytes):
        stream, size = cast(IO[bytes], BytesIO(source)), len(source)
    else:
        path = Path(source)
        if not path.is_file():
            raise ImageError("not a file" if path.exists() else "no such file")
        stream, size = path.open("rb"), path.stat().st_size
    if size == 0:
        stream.close()
        raise ImageError("the file is empty (0 bytes); copy it again from its source")
    return stream


def _identify(stream: IO[bytes], max_pixels: int = MAX_PIXELS) -> Image.Image:
    """Parse the header alone, but for arrays of NumPy.

    This is `PIL.Image.open` without its global pixel limit, which would warn of sizes that the
    caller has allowed.
    """
    Image.preinit()  # registers the other formats
    prefix = stream.read(16)
    if prefix.startswith(npy.MAGIC):
        return npy.image(stream, max_pixels)
    for name in FORMATS:
        factory, accept = Image.OPEN[name]
        if accept is None or accept(prefix) is True:
            stream.seek(0)
            return cast(Callable[[IO[bytes], str], Image.Image], factory)(stream, "")
    known = ", ".join(FORMATS)
    raise FormatError(f"not an image in a known format ({known}, NumPy); convert it to PNG")


def _upright(image: Image.Image) -> Image.Image:
    """Apply the EXIF orientation."""
    method = _UPRIGHT.get(image.getexif().get(ExifTags.Base.Orientation, 1))
    return image if method is None else image.transpose(method)
