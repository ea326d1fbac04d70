"""A result as a cloud-optimised GeoTIFF."""

import json
from pathlib import Path
from typing import Any
from xml.etree import ElementTree as ET

from upscore.images.overlay import VOID_COLOUR
from upscore.io.atomic import replacing, write_bytes
from upscore.rasters.gdal import bounded
from upscore.rasters.layer import VOID, Layer, Windows
from upscore.rasters.raster import Georeference

_BLOCK = 512
# Deflate opens everywhere. Predictors are for smooth values; labels pack worse with them.
_COG = {
    "COMPRESS": "DEFLATE",
    "PREDICTOR": "NO",
    "BIGTIFF": "IF_SAFER",
    "BLOCKSIZE": _BLOCK,
    "OVERVIEWS": "FORCE_USE_EXISTING",
    "NUM_THREADS": "ALL_CPUS",
    "SPARSE_OK": "YES",
}


def write(
    path: Path,
    size: tuple[int, int],
    windows: Windows,
    georeference: Georeference | None,
    layer: Layer,
    scratch: Path,
) -> None:
    """Write a GeoTIFF whose overviews stand before its pixels, whole or not at all.

    That order needs two passes: the windows go to a draft in the folder `scratch`, which takes
    their overviews too and is then copied in order. The draft has always the same name, so one left
    by a kill is used up by the next attempt.
    """
    draft = scratch / f".{path.stem}.draft.tif"
    try:
        with replacing(path) as temporary, bounded(size[1]) as rasterio:
            _write_draft(rasterio, draft, size, windows, georeference, layer)
            from rasterio import shutil

            shutil.copy(draft, temporary, driver="COG", **_COG)
            if layer.class_names:
                write_bytes(f"{path}.aux.xml", _names(layer))
    finally:
        draft.unlink(missing_ok=True)


def _write_draft(
    rasterio: Any,
    path: Path,
    size: tuple[int, int],
    windows: Windows,
    georeference: Georeference | None,
    layer: Layer,
) -> None:
    """Write all but the order of the parts.

    Blocks that windows share are packed several times, which the fastest level makes cheap.
    """
    place = {}
    if georeference is not None:
        place = {"transform": rasterio.Affine(*georeference.transform), "crs": georeference.crs}
    profile = {
        "driver": "GTiff",
        "height": size[0],
        "width": size[1],
        "count": 1,
        "dtype": "uint8",
        "nodata": VOID,
        "tiled": True,
        "blockxsize": _BLOCK,
        "blockysize": _BLOCK,
        "compress": "deflate",
        "zlevel": 1,
        "bigtiff": "yes",
        "sparse_ok": True,
    }
    with rasterio.open(path, "w", **profile, **place) as file:
        file.set_band_description(1, layer.name)
        if layer.class_names:
            file.write_colormap(1, _colours(layer))
            file.update_tags(CLASS_NAMES=json.dumps(layer.class_names, ensure_ascii=False))
        if layer.scale != 1:
            file.scales = (layer.scale,)
        for window, values in windows:
            if (values == VOID).all():  # what is not there reads as void, and costs nothing
                continue
            top, left, height, width = window
            file.write(values, 1, window=((top, top + height), (left, left + width)))
    with rasterio.open(path, "r+") as file:
        halvings = max(0, (max(size) - 1) // _BLOCK).bit_length()
        file.build_overviews([2 << i for i in range(halvings)], rasterio.enums.Resampling.mode)


def _colours(layer: Layer) -> dict[int, tuple[int, ...]]:
    return {**dict(enumerate(layer.palette)), VOID: (*VOID_COLOUR, 0)}


def _names(layer: Layer) -> bytes:
    """Class names as GDAL keeps them beside a TIFF file: for QGIS, ArcGIS and `gdalinfo`."""
    root = ET.Element("PAMDataset")
    band = ET.SubElement(root, "PAMRasterBand", band="1")
    names = ET.SubElement(band, "CategoryNames")
    table = ET.SubElement(band, "GDALRasterAttributeTable", tableType="thematic")
    # A column's type (0 integer, 2 text) and what it is used for, by GDAL's numbers.
    columns = (("Value", 0, 5), ("Class", 2, 2), ("Red", 0, 6), ("Green", 0, 7), ("Blue", 0, 8))
    for index, (name, kind, usage) in enumerate(columns):
        column = ET.SubElement(table, "FieldDefn", index=str(index))
        for tag, value in (("Name", name), ("Type", kind), ("Usage", usage)):
            ET.SubElement(column, tag).text = str(value)
    for index, (name, colour) in enumerate(zip(layer.class_names, layer.palette, strict=True)):
        ET.SubElement(names, "Category").text = name
        row = ET.SubElement(table, "Row", index=str(index))
        for value in (index, name, *colour):
            ET.SubElement(row, "F").text = str(value)
    data: bytes = ET.tostring(root, encoding="utf-8")
    return data
