import json
import os

import numpy as np
import pyogrio
import pytest
import rasterio
from pycocotools import mask as coco_mask
from rasterio.warp import transform

from upscore.errors import ArgumentError, ImageError
from upscore.rasters.labels import write_labels
from upscore.rasters.polygon_files import signed_area
from upscore.rasters.polygons import write_polygons
from upscore.rasters.raster import Georeference, Window

NAMES = ["background", "wood & water", "straße", "d"]
COLOURS = [(0, 0, 0), (0, 90, 0), (90, 0, 0), (0, 0, 90)]
UTM = rasterio.crs.CRS.from_epsg(32632).to_wkt()
PLACE = Georeference((0.5, 0, 500_000, 0, -0.5, 5_600_000), UTM, 0.5)


def blobs(height=90, width=70, seed=0):
    """Labels in clumps, with holes, islands in them and void."""
    shape, weights = (height // 3, width // 3), (0.2, 0.55, 0.1, 0.1, 0.05)
    coarse = np.random.default_rng(seed).choice([0, 1, 2, 3, 255], shape, p=weights)
    return np.kron(coarse, np.ones((4, 4)))[:height, :width].astype(np.uint8)


def raster(tmp_path, labels, georeference=PLACE):
    path = tmp_path / "it's <labels> & more.tif"
    windows = [(Window(0, 0, *labels.shape), labels)]
    write_labels(
        path,
        labels.shape,
        windows,
        class_names=NAMES,
        palette=COLOURS,
        georeference=georeference,
    )
    return path


def regions(labels, label):
    """How many connected regions there are, by sides."""
    from scipy.ndimage import label as connected

    return connected(labels == label)[1]


def features(tmp_path, labels, georeference=PLACE, **options):
    path = raster(tmp_path, labels, georeference)
    write_polygons(path, tmp_path / "out.geojson", class_names=NAMES, **options)
    value = json.loads((tmp_path / "out.geojson").read_text("utf-8"))
    assert value["type"] == "FeatureCollection"
    return value["features"]


def rings_of(feature):
    assert feature["geometry"]["type"] == "Polygon"
    return [np.array(ring) for ring in feature["geometry"]["coordinates"]]


def test_geojson_areas_are_exact(tmp_path):
    labels = blobs()
    found = features(tmp_path, labels)
    assert {f["properties"]["label"] for f in found} == {1, 2, 3}
    for label in (1, 2, 3):
        mine = [f for f in found if f["properties"]["label"] == label]
        assert len(mine) == regions(labels, label)
        assert sum(f["properties"]["pixels"] for f in mine) == (labels == label).sum()
        assert {f["properties"]["class"] for f in mine} == {NAMES[label]}
    holes = 0
    for feature in found:
        rings = rings_of(feature)
        holes += len(rings) - 1
        assert all((ring[0] == ring[-1]).all() for ring in rings)
        signs = [np.sign(signed_area(ring)) for ring in rings]
        assert signs == [1] + [-1] * (len(rings) - 1)
        # Back on the map, the polygon has the area that it is said to have.
        metric = [np.stack(transform("OGC:CRS84", UTM, *ring.T), axis=1) for ring in rings]
        area = sum(map(signed_area, metric))
        assert feature["properties"]["area_m2"] == feature["properties"]["pixels"] * 0.25
        assert area == pytest.approx(feature["properties"]["area_m2"], rel=0.01)
    assert holes > 5


def test_geojson_lies_where_the_raster_does(tmp_path):
    labels = np.full((20, 30), 255, np.uint8)
    labels[2:6, 10:14] = 1
    (feature,) = features(tmp_path, labels)
    corners = rings_of(feature)[0]
    (west, east), (north, south) = transform(
        UTM, "OGC:CRS84", [500_005, 500_007], [5_599_999, 5_599_997]
    )
    np.testing.assert_allclose(corners.min(axis=0), (west, south), atol=1e-7)
    np.testing.assert_allclose(corners.max(axis=0), (east, north), atol=1e-7)


def test_without_a_place_coordinates_are_pixels(tmp_path):
    labels = np.full((20, 30), 0, np.uint8)
    labels[2:6, 10:14] = 1
    labels[3, 11] = 2
    found = features(tmp_path, labels, None)
    by_label = {feature["properties"]["label"]: feature for feature in found}
    assert sorted(by_label) == [1, 2]
    outer, hole = rings_of(by_label[1])
    assert {tuple(corner) for corner in outer.tolist()} == {(10, 2), (14, 2), (14, 6), (10, 6)}
    assert (signed_area(outer), signed_area(hole)) == (16, -1)
    assert by_label[1]["properties"] == {
        "class": "wood & water",
        "label": 1,
        "pixels": 15,
        "area_m2": None,
    }
    slide = Georeference((1, 0, 0, 0, 1, 0), None, 0.5)
    write_polygons(
        tmp_path / "it's <labels> & more.tif",
        tmp_path / "out.geojson",
        class_names=NAMES,
        georeference=slide,
    )
    (first, _) = json.loads((tmp_path / "out.geojson").read_text("utf-8"))["features"]
    assert first["properties"]["area_m2"] == first["properties"]["pixels"] / 4


def test_classes_and_small_regions_are_left_out(tmp_path):
    labels = blobs()
    everything = features(tmp_path, labels, skip=())
    assert {f["properties"]["label"] for f in everything} == {0, 1, 2, 3}
    large = features(tmp_path, labels, skip=["d", "straße"], min_area=10)
    expected = [f for f in everything if f["properties"]["label"] in (0, 1)]
    expected = [f for f in expected if f["properties"]["pixels"] >= 40]
    order = ("label", "pixels")
    key = [sorted([f["properties"][k] for k in order] for f in fs) for fs in (large, expected)]
    assert key[0] == key[1]
    assert 0 < len(large) < len(everything)


def test_simplified_lines_stay_near(tmp_path):
    y, x = np.mgrid[:200, :200]
    labels = np.where((x - 100) ** 2 + (y - 90) ** 2 < 80**2, 1, 0).astype(np.uint8)
    labels[100, 100] = 3
    exact = features(tmp_path, labels, None)
    fewer = features(tmp_path, labels, None, simplify=1)
    assert [f["properties"] for f in exact] == [f["properties"] for f in fewer]
    (circle,) = [f for f in fewer if f["properties"]["label"] == 1]
    (full,) = [f for f in exact if f["properties"]["label"] == 1]
    outer, hole = rings_of(circle)
    assert len(outer) < len(rings_of(full)[0]) / 5
    distances = np.hypot(*(outer - (100.5, 90.5)).T)
    assert np.abs(distances - 80).max() < 2
    assert signed_area(outer) == pytest.approx(signed_area(rings_of(full)[0]), rel=0.02)
    np.testing.assert_array_equal(hole, rings_of(full)[1])  # Too small to lose a corner.


def test_geopackage(tmp_path, monkeypatch):
    monkeypatch.setattr("upscore.rasters.polygon_files._BATCH", 50)  # of several batches
    labels = blobs()
    write_polygons(raster(tmp_path, labels), tmp_path / "out.gpkg", class_names=NAMES)
    info = pyogrio.read_info(tmp_path / "out.gpkg")
    assert info["layer_name"] == "polygons"
    assert rasterio.crs.CRS.from_string(info["crs"]) == rasterio.crs.CRS.from_epsg(32632)
    assert info["features"] == sum(regions(labels, label) for label in (1, 2, 3))
    meta, _, _, columns = pyogrio.raw.read(tmp_path / "out.gpkg")
    table = dict(zip(meta["fields"], columns, strict=True))
    for label in (1, 2, 3):
        mine = table["label"] == label
        assert table["pixels"][mine].sum() == (labels == label).sum()
        assert set(table["class"][mine]) == {NAMES[label]}
    np.testing.assert_array_equal(table["area_m2"], table["pixels"] * 0.25)
    # GDAL computes the same areas from what was written, and finds by place.
    sql = (
        'SELECT SUM(ABS(ST_Area(geom) - area_m2)) AS off, SUM(NOT ST_IsValid(geom)) FROM "polygons"'
    )
    _, _, _, (off, invalid) = pyogrio.raw.read(tmp_path / "out.gpkg", sql=sql)
    assert off[0] < 1e-6
    assert invalid[0] == 0
    some = pyogrio.raw.read(tmp_path / "out.gpkg", bbox=(500_000, 5_599_995, 500_005, 5_600_000))
    assert 0 < len(some[2]) < info["features"]
    assert sorted(os.listdir(tmp_path))[-1] == "out.gpkg"


def test_geopackage_without_polygons_or_place(tmp_path):
    path = raster(tmp_path, np.zeros((5, 6), np.uint8), None)
    write_polygons(path, tmp_path / "out.gpkg", class_names=NAMES)
    info = pyogrio.read_info(tmp_path / "out.gpkg")
    assert (info["features"], info["crs"]) == (0, None)
    assert list(info["fields"]) == ["class", "label", "pixels", "area_m2"]


@pytest.mark.filterwarnings("ignore:__array__ implementation:DeprecationWarning")  # pycocotools'
def test_coco_decodes_to_the_labels(tmp_path):
    labels = blobs(seed=3)
    write_polygons(
        raster(tmp_path, labels), tmp_path / "out.coco.json", class_names=NAMES, picture="a.tif"
    )
    value = json.loads((tmp_path / "out.coco.json").read_text("utf-8"))
    assert value["images"] == [{"id": 1, "file_name": "a.tif", "height": 90, "width": 70}]
    assert [category["name"] for category in value["categories"]] == NAMES
    drawn = np.where(np.isin(labels, (0, 255)), labels, 77)
    for annotation in value["annotations"]:
        mask = coco_mask.decode(coco_mask.frPyObjects(annotation["segmentation"], 90, 70))[..., 0]
        assert annotation["area"] == mask.sum()
        rows, columns = np.nonzero(mask)
        low = columns.min(), rows.min()
        assert annotation["bbox"] == [*low, np.ptp(columns) + 1, np.ptp(rows) + 1]
        assert annotation["iscrowd"] == 0
        assert (drawn[mask == 1] == 77).all()
        drawn[mask == 1] = annotation["category_id"]
    np.testing.assert_array_equal(drawn, labels)
    ids = [annotation["id"] for annotation in value["annotations"]]
    assert ids == list(range(1, len(ids) + 1))


def test_errors_say_what_is_wrong(tmp_path):
    path = raster(tmp_path, blobs())
    with pytest.raises(ArgumentError, match=r"expected a name that ends in .geojson, .gpkg"):
        write_polygons(path, tmp_path / "out.shp", class_names=NAMES)
    with pytest.raises(ArgumentError, match="skip='sea', expected one of"):
        write_polygons(path, tmp_path / "out.gpkg", class_names=NAMES, skip=["sea"])
    (tmp_path / "a.tif").write_text("no TIFF")
    with pytest.raises(ImageError, match=r"a.tif: no raster that GDAL opens"):
        write_polygons(tmp_path / "a.tif", tmp_path / "out.gpkg", class_names=NAMES)
    assert not (tmp_path / "out.gpkg").exists()
