"""Supervisely projects: bitmaps and polygons, data sets and splits, and every way to break them."""

import zlib
from base64 import b64encode
from io import BytesIO

import numpy as np
import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st
from PIL import Image
from test_coco import VALUES
from writers import H, W, drawn, kinds, photo, picture, write

from upscore import data

META = {
    "classes": [
        {"title": "tree", "shape": "bitmap", "color": "#00FF00"},
        {"title": "car", "shape": "polygon", "color": "#FF0000"},
    ],
    "tags": [],
}


def bitmap(pixels):
    """As Supervisely packs one: a palette PNG whose colour 0 is transparent, zlib, base64."""
    image = Image.fromarray(np.array(pixels, np.uint8), "P")
    image.putpalette([0, 0, 0, 255, 255, 255])
    stream = BytesIO()
    image.save(stream, "PNG", transparency=0)
    return b64encode(zlib.compress(stream.getvalue())).decode()


def thing(title="tree", kind="polygon", exterior=((1, 1), (4, 1), (4, 4), (1, 4)), interior=()):
    points = {"exterior": list(map(list, exterior)), "interior": list(interior)}
    return {"classTitle": title, "geometryType": kind, "points": points, "tags": []}


def spot(title, origin, pixels):
    packed = {"origin": list(origin), "data": bitmap(pixels)}
    return {"classTitle": title, "geometryType": "bitmap", "bitmap": packed}


def annotate(folder, *objects, name="a", **more):
    photo(folder / "img" / f"{name}.jpg")
    content = {"description": "", "tags": [], "size": {"height": H, "width": W}}
    return write(folder / "ann" / f"{name}.jpg.json", content | {"objects": list(objects)} | more)


@pytest.fixture
def root(tmp_path):
    write(tmp_path / "meta.json", META)
    return tmp_path


def test_bitmaps_polygons_rectangles(root):
    hole = [[2, 2], [3, 2], [3, 3], [2, 3]]
    annotate(
        root / "ds0",
        thing("car", "polygon", [(0, 0), (5, 0), (5, 5), (0, 5)], [hole]),
        thing("tree", "rectangle", [(6, 0), (7, 1)]),
        spot("tree", (6, 4), [[1, 0], [1, 1]]),
    )
    write(root / "ds0/ann/._a.jpg.json", "as Macs add to zips")
    found = data.find(root, "all")
    assert found.class_names == ("background", "tree", "car")
    assert found.palette == ((0, 0, 0), (0, 255, 0), (255, 0, 0))
    assert drawn(found) == picture("""
        22222.11
        22222.11
        22.22...
        22222...
        22222.1.
        ......11""")
    assert data.check(found) == []
    assert found.about.startswith("a Supervisely project (meta.json, ds0/ann), 3 classes")


def test_data_sets_are_splits_where_one_is_called_train(root):
    for i in range(12):
        annotate(root / "ds0", name=f"{i}")
        annotate(root / "ds1", name=f"{i + 12}")
    assert data.splits(root) == ("train", "val", "all")
    assert [len(data.find(root, split)) for split in data.splits(root)] == [21, 3, 24]
    annotate(root / "ds1", name="0")  # as one of ds0 is called
    names = [sample.name for sample in data.find(root, "all").samples]
    assert len(set(names)) == len(names) == 25
    assert {"ds0/0", "ds1/0"} < set(names)
    (root / "ds1/img/0.jpg").unlink()
    (root / "ds1/ann/0.jpg.json").unlink()
    (root / "ds0").rename(root / "train")
    (root / "ds1").rename(root / "valid")
    assert data.splits(root) == ("train", "val")
    assert len(data.find(root, "val")) == 12


def test_a_data_set_at_the_top(root):
    annotate(root, thing())
    assert len(data.find(root, "all")) == 1


def test_faults(root):
    annotate(root / "ds0", thing("tree", "point"), name="a")
    annotate(root / "ds0", thing("bush"), name="b")
    annotate(root / "ds0", size=None, name="c")
    annotate(root / "ds0", spot("tree", (0, 0), np.ones((99, 99))), name="d")
    photo(root / "ds0/img/e.jpg")
    write(root / "ds0/ann/f.jpg.json", {})
    broken = spot("tree", (0, 0), [[1]])
    broken["bitmap"]["data"] = "no picture"
    annotate(root / "ds0", broken, name="g")
    bomb = spot("tree", (0, 0), [[1]])
    bomb["bitmap"]["data"] = b64encode(zlib.compress(bytes(30_000_000))).decode()
    annotate(root / "ds0", bomb, name="h")
    assert sorted(kinds(root)) == [
        ("a.jpg.json", "bad shape"),
        ("b.jpg.json", "no such class"),
        ("c.jpg.json", "unreadable"),
        ("d.jpg.json", "bad shape"),
        ("e.jpg", "no partner"),
        ("f.jpg.json", "no partner"),
        ("g.jpg.json", "bad shape"),
        ("h.jpg.json", "bad shape"),
    ]


@pytest.mark.parametrize("meta", ["{", "{}", '{"classes": [{}]}', '{"classes": [7]}'])
def test_a_broken_meta_file(root, meta):
    annotate(root, thing())
    write(root / "meta.json", meta)
    with pytest.raises(data.DataError, match=r"meta\.json: "):
        data.find(root, "all")


@settings(
    max_examples=60, deadline=None, suppress_health_check=[HealthCheck.function_scoped_fixture]
)
@given(st.sampled_from(["classTitle", "geometryType", "points", "bitmap", "origin"]), VALUES)
def test_any_value_anywhere_is_a_problem(root, key, value):
    entry = spot("tree", (6, 4), [[1]]) if key in ("bitmap", "origin") else thing()
    if key == "origin":
        entry["bitmap"][key] = value
    else:
        entry[key] = value
    annotate(root, entry)
    found = data.find(root, "all")
    if not data.check(found):
        found.read(0)
