"""What a picture read by windows is, and where on the ground it lies."""

from dataclasses import dataclass
from pathlib import Path
from typing import Any, NamedTuple, Protocol, Self

import numpy as np
from numpy.typing import NDArray


class Window(NamedTuple):
    """A rectangle of pixels: rows top to top + height, columns left to left + width."""

    top: int
    left: int
    height: int
    width: int


@dataclass(frozen=True)
class Georeference:
    """Where pixels lie on the ground.

    `transform` is (a, b, c, d, e, f): the corner of pixel (row, column) is at
    x = a column + b row + c, y = d column + e row + f. `crs` is the coordinate system as WKT, and
    `resolution` the side of a pixel in metres, None where the system does not tell.
    """

    transform: tuple[float, float, float, float, float, float]
    crs: str | None = None
    resolution: float | None = None


class Raster(Protocol):
    """A picture that is read by windows and never whole. `upscore.rasters.open_raster` makes one.

    Values come as they are stored, bands last, of the file's dtype. Palettes are resolved to RGB.
    """

    path: Path
    size: tuple[int, int]  # height and width
    bands: int
    dtype: np.dtype[Any]
    georeference: Georeference | None

    def read(self, window: Window) -> NDArray[Any]:
        """The pixels of a window inside the picture, height x width x bands.

        Raises ImageError, naming file and place, where they cannot be read.
        """

    def valid(self, window: Window) -> NDArray[np.bool_] | None:
        """Which pixels of a window hold a measurement; None where all do."""

    def close(self) -> None:
        """Let go of the file."""

    def __enter__(self) -> Self: ...

    def __exit__(self, *_: object) -> None: ...
