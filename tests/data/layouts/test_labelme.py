"""LabelMe's JSON: its kinds of shapes, its labels, and every way to break it."""

from base64 import b64encode
from io import BytesIO

import numpy as np
import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st
from PIL import Image
from test_coco import VALUES, found_or_error
from writers import SQUARE, H, W, drawn, kinds, photo, picture, write

from upscore import data


def shape(label, points, kind="polygon", **more):
    return {"label": label, "points": points, "shape_type": kind, "group_id": None} | more


def annotate(folder, *shapes, name="a", **more):
    photo(folder / f"{name}.jpg")
    content = {
        "version": "5.4.1",
        "flags": {},
        "shapes": list(shapes),
        "imagePath": f"{name}.jpg",
        "imageData": None,
        "imageHeight": H,
        "imageWidth": W,
    }
    return write(folder / f"{name}.json", content | more)


def test_polygons_rectangles_circles_masks(tmp_path):
    stream = BytesIO()
    Image.fromarray(np.array([[255, 0], [255, 255]], np.uint8)).convert("1").save(stream, "PNG")
    annotate(
        tmp_path,
        shape("leaf", SQUARE),
        shape("apple", [[8, 6], [6, 4]], "rectangle"),
        shape("disc", [[6.5, 1.5], [7.6, 1.5]], "circle"),
        shape("pear", [[0, 4], [1, 5]], "mask", mask=b64encode(stream.getvalue()).decode()),
        shape("__ignore__", [[3, 3], [5, 3], [5, 5], [3, 5]], None),
    )
    write(tmp_path / "._a.json", "as Macs add to zips")
    found = data.find(tmp_path, "all")
    assert found.class_names == ("background", "apple", "disc", "leaf", "pear")
    assert drawn(found) == picture("""
        ......2.
        .333.222
        .333..2.
        .33##...
        4..##.11
        44....11""")
    assert data.check(found) == []
    assert found.about.startswith("LabelMe annotations (*.json), 5 classes: background, apple")
    assert found.about.endswith("masks drawn from bitmaps and polygons")


def test_splits_have_the_labels_of_all(tmp_path):
    annotate(tmp_path / "training", shape("b", SQUARE))
    annotate(tmp_path / "validation", shape("_background_", SQUARE), shape("a", SQUARE))
    assert data.splits(tmp_path) == ("train", "val")
    for split in ("train", "val"):
        assert data.find(tmp_path, split).class_names == ("background", "a", "b")


def test_a_label_that_is_misspelt(tmp_path):
    annotate(tmp_path, shape("craks", SQUARE))
    write(tmp_path / "classes.txt", "background\ncrack\n")
    [problem] = data.check(data.find(tmp_path, "all"))
    assert (problem.kind, problem.file.name) == ("no such class", "a.json")
    assert "did you mean crack?" in problem.remedy


@pytest.mark.parametrize(
    ("points", "kind", "message"),
    [
        (SQUARE, "line", "a line has no area to draw; expected polygon, rectangle, circle, mask"),
        (SQUARE[:2], "polygon", "three or more points"),
        (SQUARE, "circle", "a circle of 4 points; expected two"),
        (3, "rectangle", "a rectangle of 1 points; expected two"),
        ("x", "polygon", "expected numbers"),
        (SQUARE[:2], "mask", "mask: nothing; expected text"),
    ],
)
def test_shapes_that_cannot_be_drawn(tmp_path, points, kind, message):
    annotate(tmp_path, shape("a", SQUARE), shape("b", points, kind))
    [problem] = data.check(data.find(tmp_path, "all"))
    assert (problem.kind, problem.file.name) == ("bad shape", "a.json")
    assert message in problem.message
    assert "shape 2" in problem.message


def test_files_alone_and_files_that_are_broken(tmp_path):
    annotate(tmp_path, shape("a", SQUARE))
    photo(tmp_path / "b.jpg")
    write(tmp_path / "c.json", {"shapes": []})
    for name, text in (("d", "{"), ("e", '{"shapes": 3}'), ("f", "[]")):
        photo(tmp_path / f"{name}.jpg")
        write(tmp_path / f"{name}.json", text)
    annotate(tmp_path, name="g", imageHeight=1.5)
    assert sorted(kinds(tmp_path)) == [
        ("b.jpg", "no partner"),
        ("c.json", "no partner"),
        *((f"{name}.json", "unreadable") for name in "defg"),
    ]
    skip = data.skip_list(found := data.find(tmp_path, "all"), data.check(found))
    write(tmp_path / "skip.txt", skip)
    rest = data.find(tmp_path, "all", skip=data.read_skip_list(tmp_path / "skip.txt"))
    assert [sample.name for sample in rest.samples] == ["a"]
    assert data.check(rest) == []


@settings(
    max_examples=60, deadline=None, suppress_health_check=[HealthCheck.function_scoped_fixture]
)
@given(st.sampled_from(["label", "points", "shape_type", "shapes", "imageWidth"]), VALUES)
def test_any_value_anywhere_is_an_error_or_a_problem(tmp_path, key, value):
    entry = shape("a", SQUARE)
    if key in entry:
        annotate(tmp_path, entry | {key: value})
    else:
        annotate(tmp_path, entry, **{key: value})
    found, error = found_or_error(tmp_path, "all")
    if found is None:
        assert "class name" in error
    elif not data.check(found):
        found.read(0)
