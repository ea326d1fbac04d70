import csv

import numpy as np
import pytest
import rasterio

from upscore.errors import ArgumentError
from upscore.rasters.areas import Areas, pixel_area
from upscore.rasters.raster import Georeference


def wkt(epsg):
    return rasterio.crs.CRS.from_epsg(epsg).to_wkt()


def test_counts_add_up_over_windows():
    rng = np.random.default_rng(0)
    labels = rng.choice([0, 1, 2, 255], (30, 40)).astype(np.uint8)
    areas = Areas("abcd", Georeference((0.5, 0, 0, 0, -0.25, 0), wkt(32632), 0.35))
    for rows in np.split(labels, [7, 20]):
        areas.add(rows[:, ::-1])
    valid = (labels != 255).sum()
    for i, row in enumerate(areas.rows()):
        pixels = (labels == i).sum()
        assert (row["class"], row["pixels"]) == ("abcd"[i], pixels)
        assert row["share"] == pixels / valid
        assert row["square_metres"] == pixels * 0.125
        assert row["hectares"] == pixels * 0.125 / 10_000
    assert areas.invalid == labels.size - valid


def test_counts_do_not_overflow():
    areas = Areas(["a"])
    areas._counts[0] = 1 << 40
    areas.add(np.zeros((2, 2), np.uint8))
    assert areas.rows()[0]["pixels"] == (1 << 40) + 4


def test_the_file_has_a_row_a_class_and_one_of_what_is_invalid(tmp_path):
    areas = Areas(["Wald, dicht", "ö"])
    areas.add(np.uint8([[0, 255, 255]]))
    areas.write(tmp_path / "areas.csv")
    with (tmp_path / "areas.csv").open(encoding="utf-8", newline="") as file:
        rows = list(csv.reader(file))
    assert rows == [
        ["class", "pixels", "share", "square_metres", "hectares"],
        ["Wald, dicht", "1", "1.0", "", ""],
        ["ö", "0", "0.0", "", ""],
        ["(invalid)", "2", "", "", ""],
    ]


def test_nothing_valid_has_no_shares():
    areas = Areas(["a"])
    areas.add(np.full((2, 2), 255, np.uint8))
    assert areas.rows()[0]["share"] is None


def test_a_label_that_is_no_class_is_refused():
    with pytest.raises(ArgumentError, match="label 3, expected 0 to 1 or 255"):
        Areas("ab").add(np.uint8([[0, 3]]))


@pytest.mark.parametrize(
    ("transform", "crs", "resolution", "expected"),
    [
        ((0.5, 0, 7, 0, -0.5, 9), 32632, 0.5, 0.25),
        ((3, 4, 7, 4, -3, 9), 32632, 5.0, 25.0),  # turned
        ((3, 0, 7, 0, -3, 9), 2263, 0.9, 9 * (1200 / 3937) ** 2),  # US survey feet
        ((1e-5, 0, 7, 0, -1e-5, 9), 4326, None, None),
        ((1, 0, 0, 0, 1, 0), None, 0.25, 0.0625),
        ((1, 0, 0, 0, 1, 0), None, None, None),
    ],
)
def test_the_area_of_a_pixel(transform, crs, resolution, expected):
    place = Georeference(transform, crs and wkt(crs), resolution)
    assert pixel_area(place) == (None if expected is None else pytest.approx(expected, rel=1e-12))
