"""COCO's JSON: folders, categories, polygons, run lengths, crowds, and every way to break it."""

import json
import pickle

import numpy as np
import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st
from writers import SQUARE, H, W, drawn, kinds, photo, picture, write

from upscore import data

BOX = [float(value) for point in SQUARE for value in point]
CATEGORIES = [{"id": 7, "name": "dog"}, {"id": 3, "name": "cat"}]


def note(segmentation, category=3, image=1, **more):
    return {
        "id": 5,
        "image_id": image,
        "category_id": category,
        "segmentation": segmentation,
    } | more


def content(*notes, name="a.jpg", categories=CATEGORIES):
    image = {"id": 1, "file_name": name, "height": H, "width": W}
    return {"images": [image], "annotations": list(notes), "categories": categories}


@pytest.fixture
def root(tmp_path):
    """The folders of the official data set."""
    photo(tmp_path / "train2017" / "a.jpg")
    write(tmp_path / "annotations" / "captions_train2017.json", {})
    return tmp_path


def annotate(root, *notes, **options):
    write(root / "annotations" / "instances_train2017.json", content(*notes, **options))
    return data.find(root, "train")


def test_the_official_folders(root):
    found = annotate(root, note([BOX]))
    photo(root / "val2017" / "b.jpg")
    write(root / "annotations/instances_val2017.json", content(name="b.jpg"))
    assert data.splits(root) == ("train", "val")
    assert (found.layout, found.split) == ("coco", "train")
    assert found.class_names == ("background", "cat", "dog")
    assert found.samples[0].mask == root / "annotations/instances_train2017.json"
    assert drawn(found) == picture("""
        ........
        .111....
        .111....
        .111....
        ........
        ........""")
    assert drawn(data.find(root, "val2017")) == "\n".join(["........"] * 6)  # by its own name
    assert data.check(found) == []
    assert (pickle.loads(pickle.dumps(found)).read(0)[1] == found.read(0)[1]).all()  # for workers
    assert found.about == (
        "COCO annotations (annotations/instances_train2017.json), 3 classes: background, cat, dog; "
        "masks drawn from polygons"
    )


def test_small_shapes_lie_on_large_ones_and_crowds_are_void(root):
    large, small = [0, 0, 8, 0, 8, 6, 0, 6], [2, 2, 4, 2, 4, 4, 2, 4]
    crowd = {"size": [H, W], "counts": [36, 12]}  # the last two columns
    found = annotate(root, note([small], 7), note([large]), note(crowd, iscrowd=1))
    assert drawn(found) == picture("""
        111111##
        111111##
        112211##
        112211##
        111111##
        111111##""")
    assert "polygons" in found.about
    assert "RLE" in found.about
    # The area that is written down decides.
    found = annotate(root, note([small], 7, area=90), note([large], area=48))
    assert "2" not in drawn(found)


def test_parts_of_one_object_are_drawn_together(root):
    parts = [[0, 0, 2, 0, 2, 2, 0, 2], [1, 1, 4, 1, 4, 3, 1, 3]]
    assert drawn(annotate(root, note(parts)))[:26] == "11......\n1111....\n.111...."


@pytest.mark.parametrize(
    "photo_at", ["train", "images/train", "images", "data", "train/images", "."]
)
def test_places_of_photos_beside_annotations(tmp_path, photo_at):
    photo(tmp_path / photo_at / "a.jpg")
    write(tmp_path / "annotations" / "train.json", content(note([BOX])))
    if photo_at == "train/images":
        (tmp_path / "annotations/train.json").rename(tmp_path / "train" / "labels.json")
        (tmp_path / "annotations").rmdir()
    if photo_at == "data":
        (tmp_path / "annotations/train.json").rename(tmp_path / "labels.json")
        (tmp_path / "annotations").rmdir()
    split = "all" if photo_at == "data" else "train"
    assert "111" in drawn(data.find(tmp_path, split))


def test_roboflow(tmp_path):
    """Its first category is above the others, of which nothing is drawn."""
    categories = [
        {"id": 0, "name": "pets", "supercategory": "none"},
        {"id": 1, "name": "cat", "supercategory": "pets"},
        {"id": 2, "name": "dog", "supercategory": ["no", "text"]},
    ]
    for split in ("train", "valid", "test"):
        photo(tmp_path / split / "a.jpg")
        listed = content(note([BOX], 1), categories=categories)
        write(tmp_path / split / "_annotations.coco.json", listed)
    assert data.splits(tmp_path) == ("train", "val", "test")
    found = data.find(tmp_path, "val")
    assert found.class_names == ("background", "cat", "dog")
    assert data.check(found) == []


def test_what_is_not_divided_is_divided(tmp_path):
    names = [f"{i}.jpg" for i in range(20)]
    for name in names:
        photo(tmp_path / "images" / name)
    listed = content()
    listed["images"] = [{"id": i, "file_name": f"images\\{n}"} for i, n in enumerate(names)]
    write(tmp_path / "annotations" / "instances_default.json", listed)  # as CVAT calls it
    assert data.splits(tmp_path) == ("train", "val", "all")
    sizes = [len(data.find(tmp_path, split)) for split in data.splits(tmp_path)]
    assert sizes == [18, 2, 20]
    assert data.find(tmp_path).read(0)[1].shape == (H, W)  # the photo's own


def test_classes_that_are_given_set_the_order(root):
    annotate(root, note([BOX], 7))
    given = data.find(root, class_names=["dog", "background", "cat"])
    assert drawn(given).splitlines()[1] == "1...1111".replace("1", "x").replace(".", "0").replace(
        "x", "1"
    ).replace("0", ".")
    without = data.find(root, class_names=["dog", "cat"])  # the rest is void
    assert drawn(without).splitlines()[1] == "#...####"
    write(root / "classes.txt", "background\ncat\ndig\n")
    [problem] = data.check(data.find(root))
    assert (problem.kind, problem.file.name) == ("no such class", "a.jpg")
    assert "did you mean dig?" in problem.remedy


def test_a_mapping_applies(root):
    annotate(root, note([BOX], 7))
    found = data.find(root, mapping={"pet": ["dog", "cat"], "ignore": "background"})
    assert found.class_names == ("pet",)
    assert drawn(found).splitlines()[1] == "#...####"


BROKEN_SHAPES = {
    "no segmentation": None,
    "of two points": [[1, 1, 2, 2]],
    "odd": [[1, 1, 2, 2, 3]],
    "text": [["a"]],
    "far away": [[1e30, 0, 1, 1, 2, 2]],
    "no number": [[float("nan"), 0, 1, 1, 2, 2]],
    "no list": "polygon",
    "RLE without a size": {"counts": "04"},
    "RLE of another size": {"size": [W, H], "counts": [48]},
    "RLE that is too short": {"size": [H, W], "counts": [47]},
    "RLE that is no text": {"size": [H, W], "counts": "\x00"},
    "RLE of fractions": {"size": [H, W], "counts": [[1]]},
}


@pytest.mark.parametrize("name", BROKEN_SHAPES)
def test_shapes_that_cannot_be_drawn(root, name):
    annotate(root, note(BROKEN_SHAPES[name]), note([BOX]))
    assert kinds(root, "train") == [("a.jpg", "bad shape")]
    found = data.find(root)
    text = data.skip_list(found, data.check(found))
    assert text == "train2017/a.jpg  # bad shape\n"
    assert len(data.find(root, skip=["train2017/a.jpg"])) == 0


def test_an_unlisted_category_is_a_bad_shape_and_can_be_left_out(root):
    annotate(root, note([BOX], 99))
    found = data.find(root)
    [problem] = data.check(found)
    assert "category 99 is not listed" in problem.message
    assert data.check(found, allow=["bad shape"]) == []
    assert set(drawn(found)) == {".", "\n"}


def test_photos_and_annotations_that_miss_each_other(root):
    annotate(root, note([BOX], image=2), name="b.jpg")
    assert kinds(root, "train") == [
        ("b.jpg", "missing"),
        ("instances_train2017.json", "missing"),
        (root.name, "empty split"),
    ]


def test_photos_of_one_stem_in_two_folders(root):
    for name in ("p1/001.jpg", "p2/001.jpg"):
        photo(root / "train2017" / name)
    listed = content()
    listed["images"] = [
        {"id": i, "file_name": f"{folder}/001.jpg", "height": H, "width": W}
        for i, folder in enumerate(("p1", "p2"))
    ]
    write(root / "annotations" / "train2017.json", listed)
    write(root / "annotations" / "._train2017.json", "as Macs add to zips")
    assert data.splits(root) == ("train",)
    assert [sample.name for sample in data.find(root, "train").samples] == ["p1/001", "p2/001"]


def test_names_from_other_machines(root):
    for name in ("/home/me/a.jpg", r"C:\photos\a.jpg", "../../a.jpg", "elsewhere/a.jpg"):
        assert annotate(root, name=name).samples[0].image == root / "train2017/a.jpg"
    photo(root.parent / "outside.jpg")
    assert len(annotate(root, name="../../outside.jpg")) == 0
    assert len(annotate(root, name="\x00" + "x" * 300)) == 0


def test_sizes_that_differ(root):
    photo(root / "train2017" / "a.jpg", (W, H))
    annotate(root, note([BOX]))
    [problem] = data.check(data.find(root))
    assert (problem.kind, problem.file.name) == ("sizes differ", "a.jpg")
    assert "EXIF" in problem.remedy
    with pytest.raises(data.DataError, match=r"a\.jpg: a mask of 8 x 6 pixels"):
        data.find(root).read(0)


def test_a_claim_of_many_pixels_takes_no_memory(root):
    listed = content(note([BOX]))
    listed["images"][0] |= {"height": 900_000, "width": 900_000}
    write(root / "annotations" / "instances_train2017.json", listed)
    assert kinds(root, "train") == [("a.jpg", "bad shape")]


@pytest.mark.parametrize(
    ("text", "message"),
    [
        ("{", "not JSON"),
        ("[" * 100_000, "not JSON"),
        ("[]", "expected a JSON object"),
        ("{}", "categories: nothing; expected a list"),
        ('{"categories": [], "images": [3], "annotations": []}', r"images\[0\]: 3; expected an"),
        ('{"categories": [{"id": -1}], "images": [], "annotations": []}', "category id"),
        ('{"categories": [], "images": [], "annotations": [7]}', r"annotations\[0\]: 7"),
    ],
)
def test_files_that_are_not_of_coco(root, text, message):
    write(root / "annotations" / "instances_train2017.json", text)
    with pytest.raises(data.DataError, match=message) as error:
        data.find(root)
    assert "instances_train2017.json" in str(error.value)


def test_a_category_twice(root):
    twice = [{"id": 1, "name": "cat"}, {"id": 2, "name": "cat"}]
    with pytest.raises(data.DataError, match="class name given twice: cat"):
        annotate(root, categories=twice)


def found_or_error(root, split="train"):
    try:
        return data.find(root, split), None
    except data.DataError as error:
        return None, str(error)


VALUES = st.recursive(
    st.none() | st.booleans() | st.integers() | st.floats() | st.text(max_size=5),
    lambda inner: st.lists(inner, max_size=4) | st.dictionaries(st.text(max_size=3), inner),
    max_leaves=6,
)


@settings(
    max_examples=100, deadline=None, suppress_health_check=[HealthCheck.function_scoped_fixture]
)
@given(st.data())
def test_any_value_anywhere_is_an_error_or_a_problem(root, source):
    listed = content(note([BOX]), note({"size": [H, W], "counts": "X1"}))
    place = source.draw(st.sampled_from(["images", "annotations", "categories"]))
    entry = source.draw(st.sampled_from(listed[place]))
    key = source.draw(st.sampled_from(sorted(entry)))
    entry[key] = source.draw(VALUES)
    write(root / "annotations" / "instances_train2017.json", json.dumps(listed))
    found, error = found_or_error(root)
    if found is None:
        assert "instances_train2017.json" in error or "class name" in error
    elif not data.check(found):
        for i in range(len(found)):
            assert set(np.unique(found.read(i)[1])) <= {0, 1, 2, 255}
