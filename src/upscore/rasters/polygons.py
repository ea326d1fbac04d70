"""Labels as polygons: GeoJSON, GeoPackage, COCO."""

from collections.abc import Callable, Iterator, Sequence
from os import PathLike
from pathlib import Path
from typing import Any
from xml.sax.saxutils import escape

import numpy as np
from numpy.typing import NDArray

from upscore.errors import ArgumentError, ImageError
from upscore.io.atomic import replacing
from upscore.rasters import polygon_files
from upscore.rasters.areas import pixel_area
from upscore.rasters.gdal import bounded
from upscore.rasters.polygon_files import Outlined, Polygon, signed_area
from upscore.rasters.raster import Georeference

_WRITERS: dict[str, Callable[[Path, Outlined], None]] = {
    ".geojson": polygon_files.write_geojson,
    ".gpkg": polygon_files.write_geopackage,
    ".coco.json": polygon_files.write_coco,
}


def write_polygons(
    labels: str | PathLike[str],
    out: str | PathLike[str],
    *,
    class_names: Sequence[str],
    skip: Sequence[str] | None = None,
    min_area: float | None = None,
    simplify: float | None = None,
    georeference: Georeference | None = None,
    picture: str | None = None,
) -> None:
    """Write a polygon for each connected region (by sides) of a class, with its holes.

    `.geojson` is in WGS 84, longitude first (RFC 7946); where the coordinate system is not known,
    coordinates are the raster's own. `.gpkg` is in the raster's own system. Both carry `class`,
    `label`, `pixels` and `area_m2`, which is null where no metres are known. `.coco.json` is in
    pixels, and a hole is joined to its outline by a slit of no width, as COCO knows no holes.

    Polygons follow the pixels' sides, so their areas are exact: pixels times a pixel's area. GDAL
    keeps all outlines in memory (some 30 bytes a corner), but never the raster.

    Args:
        labels: a raster that GDAL opens, as `write_labels` writes it to .tif.
        out: the file, whose suffix chooses the format.
        class_names: of each label from 0 up; other labels, such as 255, have no polygons.
        skip: classes without polygons; `background` if None.
        min_area: leave out polygons below this many square metres, pixels where no metres are
            known; what they covered stays empty.
        simplify: leave out corners that lie within so many pixels of the line (Douglas-Peucker).
            `pixels` and areas stay those of the labels; neighbours may part or overlap as far.
        georeference: where the labels lie, if not as their file says.
        picture: the name of the picture for COCO; that of the labels if None.

    Raises:
        ArgumentError: an unknown suffix, a class to skip that is not one.
        ImageError: GDAL cannot open the labels; or GeoJSON of a raster that lies where WGS 84 has
            no coordinates.
        MissingPackageError: a GeoPackage without pyogrio.
        OutputError: the file cannot be written.
    """
    labels, out = Path(labels).resolve(), Path(out)
    writer = next((w for end, w in _WRITERS.items() if out.name.lower().endswith(end)), None)
    if writer is None:
        raise ArgumentError(f"{out}: expected a name that ends in {', '.join(_WRITERS)}")
    if skip is None:
        skip = [name for name in class_names if name.lower() == "background"]
    if unknown := set(skip) - set(class_names):
        raise ArgumentError(f"skip={sorted(unknown)[0]!r}, expected one of {list(class_names)}")
    wanted = [name not in skip for name in class_names]
    with bounded(1) as rasterio, _opened(rasterio, labels) as file:
        if georeference is None and (file.crs or not file.transform.is_identity):
            crs = file.crs.to_wkt() if file.crs else None
            georeference = Georeference(tuple(file.transform)[:6], crs)
        metres = None if georeference is None else pixel_area(georeference)
        fewest = 0.0 if min_area is None else min_area / (metres or 1)
        polygons = (
            polygon if simplify is None else _simplified(polygon, simplify)
            for polygon in _traced(rasterio, file, labels, wanted)
            if polygon.pixels >= fewest
        )
        name, size = picture or labels.name, (file.height, file.width)
        outlined = Outlined(polygons, tuple(class_names), name, size, georeference, metres)
        with replacing(out) as temporary:
            writer(temporary, outlined)


def outlines(labels: NDArray[np.uint8]) -> Iterator[Polygon]:
    """The connected regions (by sides) of a label map, along the sides of its pixels.

    >>> [(p.label, p.pixels) for p in outlines(np.array([[7, 7, 0]], np.uint8))]
    [(7, 2), (0, 1)]
    """
    with bounded(0):
        from rasterio.features import shapes

        yield from map(_polygon, shapes(labels))


def _opened(rasterio: Any, labels: Path) -> Any:
    try:
        return rasterio.open(labels)
    except rasterio.errors.RasterioIOError as error:
        raise ImageError(f"{labels}: no raster that GDAL opens ({error}); use a .tif") from error


def _traced(rasterio: Any, file: Any, path: Path, wanted: list[bool]) -> Iterator[Polygon]:
    """The regions of the wanted classes."""
    from rasterio.features import shapes

    with rasterio.open(_view(path, file.width, file.height, wanted)) as view:
        yield from map(_polygon, shapes(rasterio.band(view, 1), mask=rasterio.band(view, 2)))


def _polygon(traced: tuple[Any, float]) -> Polygon:
    """A region as GDAL gives it."""
    shape, label = traced
    rings = [np.array(ring) for ring in shape["coordinates"]]
    outer, *holes = (abs(signed_area(ring.astype(np.int64))) for ring in rings)
    return Polygon(int(label), rings, round(outer - sum(holes)))


def _view(path: Path, width: int, height: int, wanted: list[bool]) -> str:
    """A raster, computed as it is read, of the labels and of which are wanted.

    It has no georeference, so that GDAL's outlines are in pixels and not in map units.
    """
    table = ",".join(f"{i}:{int(i < len(wanted) and wanted[i])}" for i in range(256))
    bands = "".join(
        f'<VRTRasterBand dataType="Byte" band="{band}"><ComplexSource>'
        f'<SourceFilename relativeToVRT="0">{escape(str(path))}</SourceFilename>'
        f"<SourceBand>1</SourceBand>{change}</ComplexSource></VRTRasterBand>"
        for band, change in ((1, ""), (2, f"<LUT>{table}</LUT>"))
    )
    return f'<VRTDataset rasterXSize="{width}" rasterYSize="{height}">{bands}</VRTDataset>'


def _simplified(polygon: Polygon, tolerance: float) -> Polygon:
    """A polygon with fewer corners; a ring that would become a line keeps all of its own."""
    rings = []
    for ring in polygon.rings:
        middle = int(np.hypot(*(ring - ring[0]).T).argmax())
        first, second = _corners(ring[: middle + 1], tolerance), _corners(ring[middle:], tolerance)
        fewer = np.concatenate([first[:-1], second])
        rings.append(fewer if len(fewer) > 3 else ring)
    return polygon._replace(rings=rings)


def _corners(line: NDArray[np.float64], tolerance: float) -> NDArray[np.float64]:
    """Douglas and Peucker's choice of a line's points, ends among them."""
    keep = np.zeros(len(line), bool)
    keep[[0, -1]] = True
    spans = [(0, len(line) - 1)]
    while spans:
        first, last = spans.pop()
        if last - first < 2:
            continue
        start, along = line[first], line[last] - line[first]
        between = line[first + 1 : last] - start
        share = np.clip(between @ along / (along @ along), 0, 1)
        distance = np.hypot(*(between - share[:, None] * along).T)
        if distance.max() > tolerance:
            furthest = first + 1 + int(distance.argmax())
            keep[furthest] = True
            spans += [(first, furthest), (furthest, last)]
    return line[keep]
