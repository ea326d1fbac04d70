"""CVAT's exports: for images 1.1 (XML) and Segmentation mask 1.1; XML that must not be trusted."""

import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st
from writers import H, W, drawn, kinds, mask, photo, picture, write

from upscore import data

META = """<meta><task><labels>
<label><name>tree</name><color>#00ff00</color><type>any</type></label>
<label><name>car</name><color>#ff0000</color></label>
</labels></task></meta>"""
POLYGON = '<polygon label="tree" source="manual" points="1.00,1.00;4,1;4,4;1,4" z_order="0"/>'


def image(*shapes, name="a.jpg", more=""):
    inside = "\n".join(shapes)
    return f'<image id="0" name="{name}" width="{W}" height="{H}" {more}>{inside}</image>'


def annotate(root, *images, head='<?xml version="1.0" encoding="utf-8"?>', meta=META):
    text = f"{head}\n<annotations><version>1.1</version>{meta}{''.join(images)}</annotations>"
    write(root / "annotations.xml", text)


@pytest.fixture
def root(tmp_path):
    photo(tmp_path / "images" / "a.jpg")
    return tmp_path


def test_polygons_boxes_ellipses_masks(root):
    annotate(
        root,
        image(
            '<mask label="car" rle="1, 2, 1" left="6" top="4" width="2" height="2" z_order="1"/>',
            '<box label="tree" xtl="5" ytl="3" xbr="8" ybr="6" z_order="0"/>',
            '<box label="car" xtl="0" ytl="0" xbr="2" ybr="6" rotation="90" z_order="-1"/>',
            '<ellipse label="tree" cx="6.5" cy="1.5" rx="1.2" ry="1.2" z_order="0"/>',
            '<tag label="car" source="manual"></tag>',
        ),
    )
    found = data.find(root, "all")
    assert found.class_names == ("background", "tree", "car")
    assert found.palette[1] == (0, 255, 0)
    assert drawn(found) == picture("""
        ......1.
        .....111
        2222..1.
        2222.111
        .....112
        .....121""")
    assert data.check(found) == []
    assert found.about == (
        "CVAT for images (annotations.xml), 3 classes: background, tree, car; "
        "masks drawn from RLE and polygons"
    )


def test_subsets_are_splits(root):
    photo(root / "images" / "Validation" / "b.jpg")
    photo(root / "images" / "Validation" / "p2" / "b.jpg")
    annotate(
        root,
        image(POLYGON, more='subset="Train"'),
        image(POLYGON, name="b.jpg", more='subset="Validation"'),
        image(POLYGON, name="p2/b.jpg", more='subset="Validation"'),
    )
    assert data.splits(root) == ("train", "val")
    assert [s.name for s in data.find(root, "val").samples] == ["b", "p2/b"]


def test_labels_without_a_list(root):
    annotate(root, image(POLYGON), meta="")
    assert data.find(root, "all").class_names == ("background", "tree")


@pytest.mark.parametrize(
    "shape",
    [
        '<polyline label="tree" points="1,1;2,2;3,3"/>',
        '<polygon label="tree" points="1,1;2"/>',
        '<polygon label="tree" points=""/>',
        '<polygon points="1,1;4,1;4,4"/>',
        '<box label="tree" xtl="5" ytl="3" xbr="8"/>',
        '<box label="tree" xtl="5" ytl="3" xbr="8" ybr="nan"/>',
        '<mask label="tree" rle="1, x" left="6" top="4" width="2" height="2"/>',
        '<mask label="tree" rle="9" left="6" top="4" width="2" height="2"/>',
        '<mask label="tree" rle="9" left="6" top="4" width="999999" height="999999"/>',
    ],
)
def test_shapes_that_cannot_be_drawn(root, shape):
    annotate(root, image(POLYGON, shape))
    assert kinds(root) == [("a.jpg", "bad shape")]


def test_photos_that_are_missing_and_labels_that_are_not_listed(root):
    annotate(root, image(POLYGON.replace("tree", "bush")), image(name="b.jpg"))
    assert kinds(root) == [("b.jpg", "missing"), ("a.jpg", "no such class")]


ENTITIES = """<?xml version="1.0"?><!DOCTYPE a [<!ENTITY a "ha"><!ENTITY b "&a;&a;&a;&a;">]>"""


def test_entities_are_refused(root):
    annotate(root, image(POLYGON), head=ENTITIES)
    with pytest.raises(data.DataError, match=r"annotations\.xml: declares a document type"):
        data.find(root, "all")
    # In another encoding, the declaration would not be seen in the bytes.
    text = (root / "annotations.xml").read_text()
    (root / "annotations.xml").write_bytes(text.encode("utf-16"))
    with pytest.raises(data.DataError, match="cannot be read as text"):
        data.find(root, "all")


@pytest.mark.parametrize(
    ("text", "message"),
    [
        ("", "not XML"),
        ("<annotations>", "not XML"),
        ("<annotations><track id='0'/></annotations>", "export it as `CVAT for images 1.1`"),
        ("<annotations><image id='0'/></annotations>", "image 0: name: nothing"),
    ],
)
def test_files_that_are_broken(root, text, message):
    write(root / "annotations.xml", text)
    with pytest.raises(data.DataError, match=message) as error:
        data.find(root, "all")
    assert "annotations.xml" in str(error.value)


@settings(
    max_examples=100, deadline=None, suppress_health_check=[HealthCheck.function_scoped_fixture]
)
@given(st.data())
def test_a_file_that_is_changed_anywhere_is_an_error_or_a_problem(root, source):
    annotate(root, image(POLYGON, '<box label="car" xtl="5" ytl="3" xbr="8" ybr="6"/>'))
    text = (root / "annotations.xml").read_text()
    begin = source.draw(st.integers(0, len(text)))
    end = source.draw(st.integers(begin, min(begin + 5, len(text))))
    new = source.draw(st.text(st.characters(codec="utf-8"), max_size=4))
    write(root / "annotations.xml", text[:begin] + new + text[end:])
    try:
        found = data.find(root, "all")
    except data.DataError:
        return
    if not data.check(found):
        found.read(0)


def segmentation_masks(root, labels):
    write(root / "labelmap.txt", labels)
    write(root / "ImageSets" / "Segmentation" / "default.txt", "a\n")
    photo(root / "JPEGImages" / "a.jpg", (1, 3))
    mask(root / "SegmentationClass" / "a.png", [[[0, 0, 0], [51, 221, 255], [250, 50, 83]]])


def test_segmentation_mask_export(tmp_path):
    text = (
        "# label:color_rgb:parts:actions\nbackground:0,0,0::\ncar:250,50,83::\ntree:51,221,255::\n"
    )
    segmentation_masks(tmp_path, text)
    assert data.splits(tmp_path) == ("train", "val", "all")
    found = data.find(tmp_path, "all")
    assert (found.layout, found.class_names) == ("voc", ("background", "car", "tree"))
    assert found.palette[1] == (250, 50, 83)
    assert found.read(0)[1].tolist() == [[0, 2, 1]]
    assert data.check(found) == []
    assert "ImageSets/Segmentation/default.txt, labelmap.txt" in found.about


@pytest.mark.parametrize("line", ["car", "car:1,2::", "car:1,2,256::", "background:1,2,3::"])
def test_a_broken_labelmap(tmp_path, line):
    segmentation_masks(tmp_path, f"background:0,0,0::\n{line}\n")
    with pytest.raises(data.DataError, match=r"labelmap\.txt:2: "):
        data.find(tmp_path, "all")
    segmentation_masks(tmp_path, "background:0,0,0::\ncar:0,0,0::\n")
    with pytest.raises(data.DataError, match="two classes have the same colour"):
        data.find(tmp_path, "all")
