"""Photos that are stored turned or mirrored, as they are meant to be seen."""

from pathlib import Path
from typing import Any, Self

import numpy as np
from numpy.typing import NDArray
from PIL import ExifTags, Image

from upscore import images
from upscore.errors import ImageError, MissingPackageError
from upscore.images.decode import is_deep
from upscore.rasters.raster import Georeference, Raster, Window

# By EXIF orientation: whether rows are columns, and then which axes run backwards.
_TURNS = {
    2: (False, False, True),
    3: (False, True, True),
    4: (False, True, False),
    5: (True, False, False),
    6: (True, False, True),
    7: (True, True, True),
    8: (True, True, False),
}


class TurnedRaster:
    """Another raster, turned upright as `upscore.images.read` turns photos."""

    georeference: Georeference | None = None

    def __init__(self, raster: Raster, orientation: int) -> None:
        self._raster = raster
        self._swap, self._up, self._back = _TURNS[orientation]
        self.path, self.bands, self.dtype = raster.path, raster.bands, raster.dtype
        self.size = raster.size[::-1] if self._swap else raster.size

    def read(self, window: Window) -> NDArray[Any]:
        """The pixels of a window, height x width x bands."""
        return self._upright(self._raster.read(self._stored(window)))

    def valid(self, window: Window) -> NDArray[np.bool_] | None:
        """Which pixels hold a measurement; None where all do."""
        valid = self._raster.valid(self._stored(window))
        return None if valid is None else self._upright(valid)

    def _stored(self, window: Window) -> Window:
        """Where a window lies in the file."""
        top, left, height, width = window
        if self._up:
            top = self.size[0] - top - height
        if self._back:
            left = self.size[1] - left - width
        return Window(left, top, width, height) if self._swap else Window(top, left, height, width)

    def _upright(self, values: NDArray[Any]) -> NDArray[Any]:
        values = values.swapaxes(0, 1) if self._swap else values
        return np.ascontiguousarray(values[:: -1 if self._up else 1, :: -1 if self._back else 1])

    def close(self) -> None:
        """Let go of the file."""
        self._raster.close()

    def __enter__(self) -> Self:
        return self

    def __exit__(self, *_: object) -> None:
        self.close()


def upright(raster: Raster) -> Raster:
    """The raster, turned if its file is a photo that says so and does not lie on the ground."""
    if raster.georeference is not None or raster.dtype.kind == "f":
        return raster
    orientation = _orientation(raster.path, raster.size[0] * raster.size[1])
    return TurnedRaster(raster, orientation) if orientation in _TURNS else raster


def _orientation(path: Path, pixels: int) -> int:
    try:
        with images.opened(path, max_pixels=pixels, decode=False) as image:
            # A PNG file's own method would decode all of it, to look behind the pixels.
            found = int(Image.Image.getexif(image).get(ExifTags.Base.Orientation, 1))
            deep = is_deep(image)
        if found not in _TURNS or deep:
            return 1
        # Measurements stay as they are. All of Pillow's formats but TIFF have none but deep grey.
        turned = path.suffix.lower() not in (".tif", ".tiff") or images.bands_of(path) is None
        return found if turned else 1
    except (ImageError, MissingPackageError):  # Pillow does not know the format
        return 1
