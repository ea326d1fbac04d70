"""Windows of a picture as a model takes photos."""

from collections.abc import Sequence
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from upscore.errors import ImageError
from upscore.images.decode import to_8_bits

Ranges = Sequence[tuple[float, float]]


def as_photo(
    pixels: NDArray[Any], valid: NDArray[np.bool_] | None, ranges: Ranges | None, path: Path
) -> NDArray[Any]:
    """Return what was read of a window as a model takes it: as `upscore.images` reads a small file.

    Without `ranges` the model takes pictures: uint8 H x W x 3, of one band repeated, or of the
    first three of more; grey of 16 bits from 0 to 65535, or floats from 0 to 1, for black to white;
    white where nothing was measured. With one range a band it takes measurements: float32
    H x W x B, NaN where nothing was measured.

    Raises ImageError where the picture is neither.
    """
    if ranges is not None:
        if pixels.shape[2] != len(ranges):
            raise ImageError(
                f"{path}: it has {pixels.shape[2]} bands, and the model takes {len(ranges)}"
            )
        values = pixels.astype(np.float32)
        values[~np.isfinite(values)] = np.nan
        if valid is not None:
            values[~valid] = np.nan
        return values
    if pixels.dtype != np.uint8 and pixels.shape[2] == 1:
        try:
            pixels = to_8_bits(pixels if valid is None else np.where(valid[..., None], pixels, 0))
        except ImageError as error:
            raise ImageError(f"{path}: {error}") from None
    if pixels.dtype != np.uint8 or pixels.shape[2] == 2:
        raise ImageError(
            f"{path}: {pixels.shape[2]} bands of {pixels.dtype}, and the model takes "
            "pictures: 8-bit colour, or grey; convert it (gdal_translate -ot Byte "
            "-scale), or train a model on such measurements"
        )
    picture = pixels[..., :3] if pixels.shape[2] > 2 else pixels.repeat(3, axis=2)
    if valid is not None:
        picture = np.where(valid[..., None], picture, np.uint8(255))
    return np.ascontiguousarray(picture)
