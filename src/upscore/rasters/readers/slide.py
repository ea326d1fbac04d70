"""Scanned slides, through OpenSlide: their finest level."""

from math import inf
from pathlib import Path
from typing import Any, Self

import numpy as np
from numpy.typing import NDArray

from upscore.errors import ImageError, MissingPackageError
from upscore.rasters.raster import Georeference, Window

_MICROMETRE = 1e-6


class SlideRaster:
    """A slide that OpenSlide opens. What was not scanned is transparent."""

    bands, dtype = 3, np.dtype(np.uint8)

    def __init__(self, path: Path) -> None:
        try:
            import openslide
        except ModuleNotFoundError:
            raise MissingPackageError(
                f"{path}: reading it needs OpenSlide: pip install 'upscore[slides]'"
            ) from None
        self.path, self._library = path, openslide
        self._slide = self._opened()
        self._latest: tuple[Window, NDArray[np.bool_]] | None = None
        width, height = self._slide.dimensions
        self.size = height, width
        self.georeference = _georeference(self._slide.properties)

    def read(self, window: Window) -> NDArray[Any]:
        """The pixels of a window, height x width x 3."""
        rgba = self._rgba(window)
        self._latest = window, rgba[..., 3] != 0
        return np.ascontiguousarray(rgba[..., :3])

    def valid(self, window: Window) -> NDArray[np.bool_] | None:
        """What was scanned."""
        if self._latest is None or self._latest[0] != window:
            self.read(window)
        assert self._latest is not None
        return self._latest[1].copy()

    def _opened(self) -> Any:
        try:
            return self._library.OpenSlide(self.path)
        except self._library.OpenSlideError as error:
            raise ImageError(f"{self.path}: OpenSlide cannot open it ({error})") from error

    def _rgba(self, window: Window) -> NDArray[np.uint8]:
        top, left, height, width = window
        try:
            return np.asarray(self._slide.read_region((left, top), 0, (width, height)))
        except self._library.OpenSlideError as error:
            self._slide.close()
            self._slide = self._opened()  # one that failed once fails for ever
            raise ImageError(
                f"{self.path}: rows {top} to {top + height}, columns {left} to {left + width} "
                f"cannot be read ({error}); copy the file again from its source"
            ) from error

    def close(self) -> None:
        """Let go of the file."""
        self._slide.close()

    def __enter__(self) -> Self:
        return self

    def __exit__(self, *_: object) -> None:
        self.close()


def _georeference(properties: Any) -> Georeference | None:
    """How large pixels are, where the scanner said so; positions are from the slide's corner."""
    try:
        across, down = (float(properties[f"openslide.mpp-{axis}"]) for axis in "xy")
    except (KeyError, ValueError):
        return None
    if not (0 < across < inf and 0 < down < inf):
        return None
    across, down = across * _MICROMETRE, down * _MICROMETRE
    return Georeference((across, 0, 0, 0, down, 0), None, across)
