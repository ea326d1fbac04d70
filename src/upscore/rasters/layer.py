"""What the values of a result mean."""

from collections.abc import Iterable
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from upscore.rasters.raster import Window

VOID = 255
Colour = tuple[int, int, int]
Windows = Iterable[tuple[Window, NDArray[np.uint8]]]


@dataclass(frozen=True)
class Layer:
    """A result of one uint8 value a pixel, 255 for void: classes with colours, or a scaled number.

    What is meant is `scale` times the value. A layer without classes has no palette.
    """

    name: str
    class_names: tuple[str, ...] = ()
    palette: tuple[Colour, ...] = ()
    scale: float = 1.0


CONFIDENCE = Layer("confidence", scale=0.01)
