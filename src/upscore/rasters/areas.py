"""How much of a picture each class covers."""

import csv
from collections.abc import Sequence
from os import PathLike
from typing import Any

import numpy as np
from numpy.typing import NDArray

from upscore.errors import ArgumentError
from upscore.io.atomic import replacing
from upscore.rasters.gdal import bounded
from upscore.rasters.layer import VOID
from upscore.rasters.raster import Georeference

_COLUMNS = ("class", "pixels", "share", "square_metres", "hectares")


class Areas:
    """Pixels of each class, counted from windows as they pass.

    Args:
        class_names: of each label from 0 up.
        georeference: where the picture lies; without it, areas are known in pixels alone.

    Example:
        >>> import numpy as np
        >>> from upscore.rasters.raster import Georeference
        >>> areas = Areas(["roof", "grass"], Georeference((2, 0, 0, 0, -2, 0), None, 2.0))
        >>> areas.add(np.uint8([[0, 0], [1, 255], [0, 255]]))
        >>> areas.rows()[0]
        {'class': 'roof', 'pixels': 3, 'share': 0.75, 'square_metres': 12.0, 'hectares': 0.0012}
        >>> areas.invalid
        2
    """

    def __init__(
        self, class_names: Sequence[str], georeference: Georeference | None = None
    ) -> None:
        self.class_names = tuple(class_names)
        self._square_metres = None if georeference is None else pixel_area(georeference)
        self._counts = np.zeros(256, np.int64)

    def add(self, labels: NDArray[np.uint8]) -> None:
        """Count the labels of a window. Raises ArgumentError for one that is no class."""
        counts = np.bincount(labels.ravel(), minlength=256)
        strange = np.flatnonzero(counts[len(self.class_names) : VOID])
        if strange.size:
            raise ArgumentError(
                f"label {len(self.class_names) + strange[0]}, "
                f"expected 0 to {len(self.class_names) - 1} or {VOID}"
            )
        self._counts += counts

    @property
    def invalid(self) -> int:
        """Pixels that are void."""
        return int(self._counts[VOID])

    def rows(self) -> list[dict[str, Any]]:
        """One row a class: pixels, share of the pixels that are valid, and areas where known."""
        counts = self._counts[: len(self.class_names)].tolist()
        valid = sum(counts)
        return [
            self._row(name, count, count / valid if valid else None)
            for name, count in zip(self.class_names, counts, strict=True)
        ]

    def _row(self, name: str, pixels: int, share: float | None) -> dict[str, Any]:
        metres = None if self._square_metres is None else pixels * self._square_metres
        hectares = None if metres is None else metres / 10_000
        return dict(zip(_COLUMNS, (name, pixels, share, metres, hectares), strict=True))

    def write(self, path: str | PathLike[str]) -> None:
        """Write the rows and a last one, without a share, of invalid pixels as CSV."""
        with (
            replacing(path) as temporary,
            temporary.open("w", newline="", encoding="utf-8") as file,
        ):
            table = csv.DictWriter(file, _COLUMNS)
            table.writeheader()
            table.writerows([*self.rows(), self._row("(invalid)", self.invalid, None)])


def pixel_area(georeference: Georeference) -> float | None:
    """Square metres of a pixel on the map; None where its system is in degrees, or not known.

    A map's area is the ground's as far as its projection keeps areas: UTM does to a thousandth,
    Web Mercator's is too large by 1 / cos^2 of the latitude.
    """
    if georeference.crs is None:
        return None if georeference.resolution is None else georeference.resolution**2
    a, b, _, d, e, _ = georeference.transform
    with bounded(1) as rasterio:
        system = rasterio.crs.CRS.from_wkt(georeference.crs)
        if not system.is_projected:
            return None
        metres = system.linear_units_factor[1]
    return float(abs(a * e - b * d) * metres**2)
