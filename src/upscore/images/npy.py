"""Arrays in NumPy's own files, as photos and masks; nothing is unpickled."""

from math import prod
from typing import IO, Any

import numpy as np
from numpy.lib import format as npy
from numpy.typing import NDArray
from PIL import Image

from upscore.errors import ImageError

MAGIC = npy.MAGIC_PREFIX
_HEADERS = {(1, 0): npy.read_array_header_1_0, (2, 0): npy.read_array_header_2_0}


def header(stream: IO[bytes]) -> tuple[tuple[int, ...], np.dtype[Any]]:
    """The shape and type of an array, read from its file's first bytes alone."""
    stream.seek(0)
    version = npy.read_magic(stream)
    if version not in _HEADERS:
        raise ImageError(f"an array in version {version} of NumPy's format; save it again")
    shape, _, dtype = _HEADERS[version](stream)
    return shape, dtype


def load(stream: IO[bytes], max_bytes: int) -> NDArray[Any]:
    """The array, once it is known to be of numbers and small enough."""
    shape, dtype = header(stream)
    if dtype.kind not in "uifb":
        raise ImageError(f"values of {dtype}, but whole or real numbers were expected")
    if prod(shape) * dtype.itemsize > max_bytes:
        raise ImageError(
            f"{' x '.join(map(str, shape))} values of {dtype}, more than the limit of "
            f"{max_bytes:,} bytes: cut it into parts"
        )
    stream.seek(0)
    found: NDArray[Any] = np.load(stream, allow_pickle=False)
    return found


def is_picture(shape: tuple[int, ...], dtype: np.dtype[Any]) -> bool:
    """Whether an array is one that a screen can show: bytes, H x W or H x W x 3."""
    return dtype == np.uint8 and (len(shape) == 2 or (len(shape) == 3 and shape[2] == 3))


def image(stream: IO[bytes], max_pixels: int) -> Image.Image:
    """A picture, or a mask of whole numbers H x W (x 1), as an image of Pillow."""
    values = load(stream, 8 * max_pixels)
    if values.ndim == 3 and values.shape[2] == 1:
        values = values[..., 0]
    if is_picture(values.shape, values.dtype):
        return Image.fromarray(values)
    if values.ndim != 2 or not np.array_equal(values, np.rint(values)):
        raise ImageError(
            f"an array of {values.dtype}, {' x '.join(map(str, values.shape))}, but a picture "
            "(uint8, H x W or H x W x 3) or a mask (whole numbers, H x W) was expected"
        )
    return Image.fromarray(values.clip(-1, np.iinfo(np.int32).max).astype(np.int32))
