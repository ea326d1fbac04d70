"""Ordinary photos, which are decoded whole: JPEG, PNG, WebP, arrays of NumPy."""

from pathlib import Path
from typing import Any, Self

import numpy as np
from numpy.typing import NDArray

from upscore import images
from upscore.rasters.raster import Georeference, Window


class PictureRaster:
    """A photo as `upscore.images` reads it, turned upright; the values of an array as they are."""

    georeference: Georeference | None = None

    def __init__(self, path: Path) -> None:
        self.path = path
        self._pixels = _pixels(path)
        self.size = self._pixels.shape[0], self._pixels.shape[1]
        self.bands, self.dtype = self._pixels.shape[2], self._pixels.dtype

    def read(self, window: Window) -> NDArray[Any]:
        """The pixels of a window, height x width x bands."""
        top, left, height, width = window
        return self._pixels[top : top + height, left : left + width].copy()

    def valid(self, window: Window) -> NDArray[np.bool_] | None:
        """Where any band of an array is finite; None for a photo."""
        return np.isfinite(self.read(window)).any(axis=2) if self.dtype.kind == "f" else None

    def close(self) -> None:
        """Nothing is held open."""

    def __enter__(self) -> Self:
        return self

    def __exit__(self, *_: object) -> None:
        self.close()


def _pixels(path: Path) -> NDArray[Any]:
    """All pixels, those of grey with 16 bits as such."""
    if images.bands_of(path) is None:
        return images.read(path)
    values = images.read_bands(path)
    small = path.suffix.lower() != ".npy" and values.min() >= 0 and values.max() < 1 << 16
    return values.astype(np.uint16) if small else values
