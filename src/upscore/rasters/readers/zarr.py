"""zarr arrays, and OME-Zarr groups, of which the finest level is read."""

import re
from math import inf, isfinite, prod
from pathlib import Path
from typing import Any, Self

import numpy as np
from numpy.typing import NDArray

from upscore.errors import ImageError, MissingPackageError
from upscore.images import MAX_PIXELS
from upscore.images.bands import last_bands
from upscore.rasters.gdal import bounded
from upscore.rasters.raster import Georeference, Window

_METRES = {"meter": 1.0, "metre": 1.0, "millimeter": 1e-3, "micrometer": 1e-6, "nanometer": 1e-9}
_BANDS = ("c", "band", "bands", "channel", "channels", "rgb", "s", "sample", "samples")
_MOST_BANDS = 1024
_MOST_CHUNK = 4 * MAX_PIXELS  # bytes that are decoded at once, for whatever window


class ZarrRaster:
    """An array with axes for rows, columns and, if any, bands; the first of all other axes."""

    def __init__(self, path: Path) -> None:
        try:
            import zarr
        except ModuleNotFoundError:
            raise MissingPackageError(
                f"{path}: reading it needs zarr: pip install 'upscore[rasters]'"
            ) from None
        try:
            node: Any = zarr.open(path, mode="r")
        except Exception as error:  # of many types, for whatever a folder may hold
            raise ImageError(f"{path}: zarr cannot open it ({error})") from error
        names, self.georeference = None, _stored(node)
        if isinstance(node, zarr.Group):
            node, names, self.georeference = _finest(path, node)
        self._array: Any = node
        self._places = _places(path, node, names)
        shape, (y, x, c) = node.shape, self._places
        self.path, self.size, self.dtype = path, (shape[y], shape[x]), np.dtype(node.dtype)
        self.bands = 1 if c is None else shape[c]
        if self.bands > _MOST_BANDS or 0 in shape or self.dtype.kind not in "uifb":
            raise ImageError(
                f"{path}: {self.dtype} of {shape}, but rows x columns x bands expected"
            )
        if prod(node.chunks) * self.dtype.itemsize > _MOST_CHUNK:
            raise ImageError(
                f"{path}: it is stored in chunks of {node.chunks}; save it in smaller ones"
            )
        self._latest: tuple[Window, NDArray[np.bool_]] | None = None

    def read(self, window: Window) -> NDArray[Any]:
        """The pixels of a window, height x width x bands."""
        top, left, height, width = window
        y, x, c = self._places
        where: list[Any] = [0] * self._array.ndim
        where[y], where[x] = slice(top, top + height), slice(left, left + width)
        if c is not None:
            where[c] = slice(None)
        try:
            values = np.asarray(self._array[tuple(where)])
            self.path.stat()  # of a folder that is gone, all chunks would be the fill value
        except Exception as error:  # a broken chunk: what its codec raises
            raise ImageError(
                f"{self.path}: rows {top} to {top + height}, columns {left} to {left + width} "
                f"cannot be read ({error}); copy it again from its source"
            ) from error
        kept = [place for place in (y, x, c) if place is not None]
        values = values.transpose([sorted(kept).index(place) for place in kept])
        pixels = np.ascontiguousarray(values).reshape(height, width, self.bands)
        if self.dtype.kind == "f":
            self._latest = window, np.isfinite(pixels).any(axis=2)
        return pixels

    def valid(self, window: Window) -> NDArray[np.bool_] | None:
        """Where any band is finite; None for whole numbers."""
        if self.dtype.kind != "f":
            return None
        if self._latest is None or self._latest[0] != window:
            self.read(window)
        assert self._latest is not None
        return self._latest[1].copy()

    def close(self) -> None:
        """Nothing is held open."""

    def __enter__(self) -> Self:
        return self

    def __exit__(self, *_: object) -> None:
        self.close()


def _places(path: Path, array: Any, names: list[str] | None) -> tuple[int, int, int | None]:
    """The axes of rows, columns and bands, by their names or else by their lengths."""
    found = names or getattr(array.metadata, "dimension_names", None)
    found = found or array.attrs.get("_ARRAY_DIMENSIONS")  # of xarray, in zarr 2
    lower = [str(name).lower() for name in found or ()]
    if {"x", "y"} <= set(lower):
        bands = next((i for i, name in enumerate(lower) if name in _BANDS), None)
        return lower.index("y"), lower.index("x"), bands
    if array.ndim == 2:
        return 0, 1, None
    if array.ndim == 3:
        try:
            last = last_bands(array.shape) == array.shape
        except ImageError as error:
            raise ImageError(f"{path}: {error}") from error
        return (0, 1, 2) if last else (1, 2, 0)
    raise ImageError(
        f"{path}: {array.ndim} axes without names; name them y, x and c (dimension_names)"
    )


def _finest(path: Path, group: Any) -> tuple[Any, list[str] | None, Georeference | None]:
    """The first level of an OME-Zarr group, its axes' names, and how large its pixels are."""
    attributes = dict(group.attrs)
    try:
        scales = attributes.get("ome", attributes)["multiscales"][0]
        first = scales["datasets"][0]
        array = group[first["path"]]
        axes = [axis["name"] for axis in scales["axes"]]
        x, y = axes.index("x"), axes.index("y")
        changes = list(first["coordinateTransformations"])
        changes += scales.get("coordinateTransformations", ())  # of all levels, after their own
        steps = [t["scale"] for t in changes if "scale" in t]
        unit = _METRES.get(scales["axes"][x].get("unit"))
        wide, tall = (prod(float(step[at]) for step in steps) for at in (x, y))
    except (AttributeError, LookupError, TypeError, ValueError) as error:
        raise ImageError(
            f"{path}: a group that is no OME-Zarr picture; name one of its arrays, such as "
            f"{path / '0'}"
        ) from error
    if len(axes) != array.ndim:
        raise ImageError(f"{path}: an OME-Zarr picture of {array.ndim} axes that names {len(axes)}")
    if unit is None or not (0 < wide < inf and 0 < tall < inf):
        return array, axes, None
    transform = wide * unit, 0.0, 0.0, 0.0, tall * unit, 0.0
    return array, axes, Georeference(transform, None, wide * unit)


def _stored(node: Any) -> Georeference | None:
    """Where an array lies that `write_labels` wrote."""
    found = (node.attrs.get(name) for name in ("transform", "crs", "resolution"))
    transform, crs, resolution = found
    if not (isinstance(transform, list) and len(transform) == 6 and _numbers(transform)):
        return None
    a, b, c, d, e, f = map(float, transform)
    return Georeference(
        (a, b, c, d, e, f),
        _wkt(crs) if isinstance(crs, str) else None,
        float(resolution) if _numbers([resolution]) and resolution > 0 else None,
    )


def _wkt(crs: str) -> str | None:
    """A coordinate system as WKT, of WKT or an EPSG code; None of all else, such as an address."""
    code = re.fullmatch(r"EPSG:(\d{1,6})", crs.strip(), re.IGNORECASE)
    with bounded(0) as rasterio:
        known = rasterio.crs.CRS
        try:
            found = known.from_epsg(int(code[1])) if code else known.from_wkt(crs)
        except rasterio.errors.CRSError:
            return None
        wkt: str = found.to_wkt()
        return wkt or None


def _numbers(values: list[Any]) -> bool:
    return all(isinstance(value, int | float) and isfinite(value) for value in values)
