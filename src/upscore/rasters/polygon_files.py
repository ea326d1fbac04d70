"""Polygons as files, a batch at a time."""

import json
import struct
import warnings
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Any, NamedTuple

import numpy as np
from numpy.typing import NDArray

from upscore.errors import ImageError, MissingPackageError, OutputError
from upscore.rasters.raster import Georeference

_BATCH = 100_000  # corners that are projected and written at a time
_DECIMALS = 8  # of degrees: a millimetre

Ring = NDArray[np.float64]


class Polygon(NamedTuple):
    """A region of one label: closed rings (columns, rows) of corners, the outer one first."""

    label: int
    rings: list[Ring]
    pixels: int


@dataclass(frozen=True)
class Outlined:
    """The polygons of a picture, and what their files tell of it."""

    polygons: Iterator[Polygon]
    class_names: tuple[str, ...]
    picture: str
    size: tuple[int, int]
    georeference: Georeference | None
    square_metres: float | None  # of a pixel

    def area(self, polygon: Polygon) -> float | None:
        return None if self.square_metres is None else polygon.pixels * self.square_metres


def signed_area(ring: Ring) -> float:
    """The area inside a closed ring, positive where it runs anticlockwise (y upwards)."""
    x, y = (ring - ring[0]).T  # Small numbers lose less.
    return float(x[:-1] @ y[1:] - x[1:] @ y[:-1]) / 2


def write_geojson(path: Path, outlined: Outlined) -> None:
    """Write RFC 7946: outer rings anticlockwise, longitude before latitude."""
    with path.open("w", encoding="utf-8") as file:
        file.write('{"type": "FeatureCollection", "features": [')
        separator = "\n"
        for batch in _batches(outlined.polygons):
            for polygon, rings in zip(batch, _placed(batch, outlined, wgs84=True), strict=True):
                for index, ring in enumerate(rings):
                    if (signed_area(ring) > 0) == (index > 0):
                        rings[index] = ring[::-1]
                feature = {
                    "type": "Feature",
                    "properties": {
                        "class": outlined.class_names[polygon.label],
                        "label": polygon.label,
                        "pixels": polygon.pixels,
                        "area_m2": outlined.area(polygon),
                    },
                    "geometry": {
                        "type": "Polygon",
                        "coordinates": [ring.round(_DECIMALS).tolist() for ring in rings],
                    },
                }
                file.write(separator + json.dumps(feature, ensure_ascii=False, allow_nan=False))
                separator = ",\n"
        file.write("\n]}\n")


def write_coco(path: Path, outlined: Outlined) -> None:
    """Write COCO's `instances`, in pixels; a category's id is its label."""
    height, width = outlined.size
    image = {"id": 1, "file_name": outlined.picture, "height": height, "width": width}
    categories = [{"id": i, "name": name} for i, name in enumerate(outlined.class_names)]
    with path.open("w", encoding="utf-8") as file:
        head = {"images": [image], "categories": categories}
        file.write(json.dumps(head, ensure_ascii=False)[:-1] + ', "annotations": [')
        separator = "\n"
        for number, polygon in enumerate(outlined.polygons, 1):
            low, high = polygon.rings[0].min(axis=0), polygon.rings[0].max(axis=0)
            annotation = {
                "id": number,
                "image_id": 1,
                "category_id": polygon.label,
                "segmentation": [_slit(polygon.rings).astype(int).ravel().tolist()],
                "bbox": [*low.astype(int).tolist(), *(high - low).astype(int).tolist()],
                "area": polygon.pixels,
                "iscrowd": 0,
            }
            file.write(separator + json.dumps(annotation))
            separator = ",\n"
        file.write("\n]}\n")


def write_geopackage(path: Path, outlined: Outlined) -> None:
    """Write the layer `polygons` in the raster's own coordinate system, with a spatial index."""
    try:
        from pyogrio import raw
        from pyogrio.errors import DataLayerError, DataSourceError, FeatureError, GeometryError
    except ModuleNotFoundError:
        raise MissingPackageError("this needs pyogrio: pip install 'upscore[rasters]'") from None
    fields = ["class", "label", "pixels", "area_m2"]
    crs = None if outlined.georeference is None else outlined.georeference.crs
    names = np.array(outlined.class_names, object)
    try:
        with warnings.catch_warnings():
            warnings.filterwarnings("ignore", ".*'crs' was not provided.*")
            for number, batch in enumerate(_batches(outlined.polygons)):
                labels = np.array([polygon.label for polygon in batch], np.int16)
                pixels = np.array([polygon.pixels for polygon in batch], np.int64)
                areas = np.array([outlined.area(polygon) for polygon in batch], np.float64)
                raw.write(
                    path,
                    np.array([_wkb(rings) for rings in _placed(batch, outlined)], object),
                    [names[labels], labels, pixels, areas],
                    fields,
                    layer="polygons",
                    driver="GPKG",
                    geometry_type="Polygon",
                    crs=crs,
                    append=number > 0,
                )
    except (DataLayerError, DataSourceError, FeatureError, GeometryError) as error:
        raise OutputError(f"GDAL cannot write it: {error}") from error


def _batches(polygons: Iterator[Polygon]) -> Iterator[list[Polygon]]:
    """Polygons in groups of some corners; one group, though empty, at the least."""
    batch: list[Polygon] = []
    corners, number = 0, 0
    for polygon in polygons:
        batch.append(polygon)
        corners += sum(map(len, polygon.rings))
        if corners >= _BATCH:
            yield batch
            batch, corners, number = [], 0, number + 1
    if batch or not number:
        yield batch


def _placed(batch: list[Polygon], outlined: Outlined, *, wgs84: bool = False) -> list[list[Ring]]:
    """The rings of each polygon where the picture lies."""
    rings = [ring for polygon in batch for ring in polygon.rings]
    if outlined.georeference is not None and rings:
        column, row = np.concatenate(rings).T
        a, b, c, d, e, f = outlined.georeference.transform
        x, y = a * column + b * row + c, d * column + e * row + f
        if wgs84 and outlined.georeference.crs is not None:
            x, y = _degrees(x, y, outlined.georeference.crs)
        ends = np.cumsum([len(ring) for ring in rings])[:-1]
        rings = np.split(np.stack([x, y], axis=1), ends)
    remaining = iter(rings)
    return [[next(remaining) for _ in polygon.rings] for polygon in batch]


def _degrees(x: Any, y: Any, crs: str) -> tuple[Any, Any]:
    """Longitudes and latitudes."""
    from rasterio import warp
    from rasterio._err import CPLE_BaseError

    try:
        x, y = map(np.array, warp.transform(crs, "OGC:CRS84", x, y))
        found = np.isfinite(x).all() and np.isfinite(y).all()
    except CPLE_BaseError:
        found = False
    if not found:
        raise ImageError("the raster reaches to where WGS 84 has no coordinates; write a .gpkg")
    return x, y


def _wkb(rings: list[Ring]) -> bytes:
    """A polygon as well-known binary, little-endian."""
    parts = [struct.pack("<BII", 1, 3, len(rings))]
    for ring in rings:
        parts += [struct.pack("<I", len(ring)), ring.astype("<f8").tobytes()]
    return b"".join(parts)


def _slit(rings: list[Ring]) -> Ring:
    """One ring, not closed, of an outline and its holes: from its first corner to each and back."""
    outer, *holes = rings
    return np.concatenate([outer[:-1], *(part for hole in holes for part in (outer[:1], hole))])
