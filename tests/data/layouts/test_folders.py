"""Mask files: Cityscapes, ADE20K, patterns; names of splits; what a folder is taken for."""

import numpy as np
import pytest
from writers import kinds, mask, photo, write

from upscore import data
from upscore.data.classes import voc_colour

LABEL_IDS = [[7, 8, 33], [0, 1, 255]]


def city(root, split, name, pixels, ending="labelIds"):
    photo(root / "leftImg8bit" / split / "ulm" / f"{name}_leftImg8bit.png", (2, 3))
    mask(root / "gtFine" / split / "ulm" / f"{name}_gtFine_{ending}.png", pixels)


@pytest.mark.parametrize(
    ("ending", "pixels"),
    [("labelIds", LABEL_IDS), ("labelTrainIds", [[0, 1, 18], [255, 255, 255]])],
)
def test_cityscapes(tmp_path, ending, pixels):
    city(tmp_path, "train", "ulm_000000_000019", pixels, ending)
    mask(tmp_path / "gtFine/train/ulm/ulm_000000_000019_gtFine_color.png", [[9]])
    city(tmp_path, "val", "ulm_000001_000019", pixels, ending)
    write(tmp_path / "leftImg8bit/train/ulm/._a_leftImg8bit.png", "as Macs add to zips")
    write(tmp_path / f"gtFine/train/ulm/._b_gtFine_{ending}.png", "as Macs add to zips")
    assert data.splits(tmp_path) == ("train", "val")
    found = data.find(tmp_path)
    assert (found.layout, len(found.class_names)) == ("cityscapes", 19)
    assert found.class_names[::9] == ("road", "terrain", "bicycle")
    assert found.palette[::9] == ((128, 64, 128), (152, 251, 152), (119, 11, 32))
    assert [sample.name for sample in found.samples] == ["ulm_000000_000019"]
    assert found.read(0)[1].tolist() == [[0, 1, 18], [255, 255, 255]]
    assert data.check(found) == []
    assert found.about == (
        f"Cityscapes (leftImg8bit/train, gtFine/train, *_gtFine_{ending}.png), 19 classes: road, "
        "sidewalk, building, wall, fence, pole, traffic light, traffic sign, ...; "
        "masks of class ids"
    )


def test_cityscapes_problems(tmp_path):
    city(tmp_path, "train", "a", LABEL_IDS)
    city(tmp_path, "train", "b", [[34, 7, 7], [7, 7, 7]])
    (tmp_path / "gtFine/train/ulm/a_gtFine_labelIds.png").unlink()
    mask(tmp_path / "gtFine/train/ulm/c_gtFine_labelIds.png", LABEL_IDS)
    assert kinds(tmp_path, "train") == [
        ("a_leftImg8bit.png", "no partner"),
        ("c_gtFine_labelIds.png", "no partner"),
        ("b_gtFine_labelIds.png", "no such class"),
    ]


def ade(root, split, pixels):
    photo(root / "images" / split / "ADE_1.jpg", (1, 3))
    mask(root / "annotations" / split / "ADE_1.png", pixels)


def test_ade20k(tmp_path):
    for split in ("training", "validation"):
        ade(tmp_path, split, [[0, 1, 150]])
    assert data.splits(tmp_path) == ("train", "val")
    found = data.find(tmp_path, "val")
    assert (found.layout, len(found.class_names)) == ("ade20k", 150)
    assert found.class_names[::149] == ("class_1", "class_150")
    assert found.read(0)[1].tolist() == [[255, 0, 149]]
    assert "annotations/validation; 0 is void, 1 the first class), 150 classes" in found.about
    table = ["Idx\tRatio\tTrain\tVal\tStuff\tName"]
    table += ["1\t0.15\t11664\t1172\t1\twall", "2\t0.11\t6046\t612\t1\tbuilding, edifice"]
    table += ["3\t0.1\t1\t1\t1\tscreen, crt", "4\t0.1\t1\t1\t1\tscreen", "999\t?", "nonsense"]
    write(tmp_path / "objectInfo150.txt", "\n".join(table))
    found = data.find(tmp_path)
    assert found.class_names[:5] == ("wall", "building", "screen 3", "screen 4", "class_5")
    assert "objectInfo150.txt" in found.about
    ade(tmp_path, "training", [[0, 1, 151]])
    assert kinds(tmp_path, "train") == [("ADE_1.png", "no such class")]


def test_ade20k_with_fewer_classes_that_are_named(tmp_path):
    ade(tmp_path, "training", [[0, 1, 2]])
    found = data.find(tmp_path, class_names=["wall", "sky"])
    assert found.read(0)[1].tolist() == [[255, 0, 1]]
    assert found.palette[1] == voc_colour(1)


def test_a_folder_of_the_shape_of_ade20k_keeps_its_ids(tmp_path):
    """Where nothing says that it is ADE20K: neither its table nor its names of photos."""
    photo(tmp_path / "images" / "training" / "a.jpg", (1, 3))
    mask(tmp_path / "annotations" / "training" / "a.png", [[0, 1, 255]])
    found = data.find(tmp_path, class_names=["a", "b"])
    assert (found.layout, found.split) == ("folders", "train")
    assert found.read(0)[1].tolist() == [[0, 1, 255]]
    asked = data.find(tmp_path, class_names=["a", "b"], layout="ade20k")
    assert asked.read(0)[1].tolist() == [[255, 0, 255]]
    write(tmp_path / "objectInfo150.txt", "")
    assert data.find(tmp_path).layout == "ade20k"


# Patterns


def tiles(root, count=21):
    for i in range(count):
        photo(root / "img" / f"p{i}.tif", (2, 3))
        mask(root / "gt" / f"p{i}_mask.png", [[0, 0, 1], [2, 255, 1]])
    write(root / "classes.txt", "a\nb\nc\n")


PATTERN = {"images": "img/*.tif", "masks": "gt/{stem}_mask.png"}


def test_patterns(tmp_path):
    tiles(tmp_path)
    assert data.splits(tmp_path, **PATTERN) == ("train", "val", "all")
    found = data.find(tmp_path, "all", **PATTERN)
    assert (found.layout, len(found)) == ("patterns", 21)
    assert found.read(3)[1].tolist() == [[0, 0, 1], [2, 255, 1]]
    assert data.check(found) == []
    assert found.about == (
        "patterns (img/*.tif, gt/{stem}_mask.png), 3 classes: a, b, c; masks of class ids"
    )
    same = data.find(tmp_path, "all", layout=data.Patterns(**PATTERN))
    assert same.samples == found.samples


def test_patterns_are_divided_as_folders_are(tmp_path):
    tiles(tmp_path / "one")
    for i in range(21):
        photo(tmp_path / "two" / "images" / f"p{i}.png", (2, 3))
        mask(tmp_path / "two" / "masks" / f"p{i}.png", [[0, 0, 1], [2, 255, 1]])
    for split in ("train", "val"):
        ours = data.find(tmp_path / "one", split, **PATTERN)
        theirs = data.find(tmp_path / "two", split, class_names=["a", "b", "c"])
        assert {s.name for s in ours.samples} == {s.name for s in theirs.samples}


def test_patterns_in_one_folder_and_in_many(tmp_path):
    for city in ("ulm", "bonn"):
        photo(tmp_path / "city" / city / "x.png", (1, 2))
        mask(tmp_path / "city" / city / "x_mask.png", [[0, 1]])
        write(tmp_path / "city" / city / "._x.png", "as Macs add to zips")
    found = data.find(
        tmp_path,
        "all",
        images="city/*/*.png",
        masks="{parent}/{stem}_mask.png",
        class_names=["a", "b"],
    )
    assert [sample.name for sample in found.samples] == ["bonn/x", "ulm/x"]
    assert data.check(found) == []


FILES = [
    ("img/8_sat.jpg", "img/8_mask.png", "img/{stem}_sat.jpg", "img/{stem}_mask.png"),
    ("8_json/img.png", "8_json/label.png", "*/img.png", "{parent}/label.png"),
    ("8_json/img.png", "gt/8.png", "{stem}_json/img.png", "gt/{stem}.png"),
    ("a/b/8-p.png", "a/b/8-m.png", "**/{stem}-[!m].png", "{parent}/{stem}-m.png"),
    ("img-8.png", "mask-8.png", "./img-{stem}.png", "mask-{stem}.png"),
]


@pytest.mark.parametrize(("image", "marked", "images", "masks"), FILES)
def test_what_photos_and_masks_have_in_common(tmp_path, image, marked, images, masks):
    for name in ("8", "12"):
        photo(tmp_path / image.replace("8", name), (1, 2))
        mask(tmp_path / marked.replace("8", name), [[0, 1]])
    options = {"images": images, "masks": masks, "class_names": ["a", "b"]}
    assert len(data.find(tmp_path, "all", **options)) == 2
    assert kinds(tmp_path, **options) == []
    (tmp_path / image).unlink()
    assert kinds(tmp_path, **options) == [(marked.rpartition("/")[2], "no partner")]


def test_patterns_of_splits(tmp_path):
    for split, name in (("training", "a"), ("training", "b"), ("valid", "a")):
        photo(tmp_path / split / "img" / f"{name}.jpg", (1, 2))
        mask(tmp_path / split / "gt" / f"{name}.png", [[0, 1]])
    options = {"images": "{split}/img/*.jpg", "masks": "{split}/gt/{stem}.png"}
    assert data.splits(tmp_path, **options) == ("train", "val")
    found = data.find(tmp_path, "train", class_names=["a", "b"], **options)
    assert [sample.name for sample in found.samples] == ["a", "b"]
    (tmp_path / "valid/img/a.jpg").rename(tmp_path / "valid/img/c.jpg")
    options["class_names"] = ["a", "b"]
    assert kinds(tmp_path, "train", **options) == []
    assert kinds(tmp_path, "val", **options) == [
        ("c.jpg", "no partner"),
        ("a.png", "no partner"),
        (tmp_path.name, "empty split"),
    ]


def test_two_photos_of_one_mask(tmp_path):
    tiles(tmp_path, 2)
    photo(tmp_path / "img" / "p1.png", (2, 3))
    options = PATTERN | {"images": "img/*"}
    assert kinds(tmp_path, **options) == [("p1.tif", "ambiguous")]


def test_files_that_match_alone(tmp_path):
    tiles(tmp_path, 3)
    (tmp_path / "gt/p1_mask.png").unlink()
    (tmp_path / "img/p2.tif").unlink()
    assert sorted(kinds(tmp_path, **PATTERN)) == [
        ("p1.tif", "no partner"),
        ("p2_mask.png", "no partner"),
    ]


@pytest.mark.parametrize(
    ("patterns", "message"),
    [
        ({"images": "img/*.tif"}, "images and masks go together"),
        (PATTERN | {"layout": "voc"}, "take the place of a layout"),
        (PATTERN | {"masks": "mask.png"}, r"one mask for all photos: put \{stem\}"),
        (PATTERN | {"masks": "../gt/{stem}.png"}, "expected a pattern below the folder"),
        (PATTERN | {"images": "/img/*"}, "expected a pattern below the folder"),
        (PATTERN | {"images": ""}, "expected a pattern below the folder"),
        (PATTERN | {"images": "img/**x"}, "not a valid pattern"),
        (PATTERN | {"images": "*.jpg"}, r"no photo matches '\*\.jpg'"),
    ],
)
def test_patterns_that_cannot_be_used(tmp_path, patterns, message):
    tiles(tmp_path, 1)
    with pytest.raises(ValueError, match=message):
        data.find(tmp_path, "all", **patterns)


# Names of splits


def test_usual_names_of_splits(tmp_path):
    for name in ("training", "dev", "testing", "extra"):
        photo(tmp_path / name / "images" / "a.png", (2, 3))
        mask(tmp_path / name / "masks" / "a.png", np.zeros((2, 3)))
    write(tmp_path / "classes.txt", "a\n")
    assert data.splits(tmp_path) == ("train", "val", "test", "extra")
    assert data.find(tmp_path, "val").samples == data.find(tmp_path, "dev").samples
    assert data.find(tmp_path, "dev").split == "val"
    (tmp_path / "extra").rename(tmp_path / "valid")  # now two would be "val"
    assert data.splits(tmp_path) == ("train", "test", "dev", "valid")
    with pytest.raises(data.DataError, match="no split 'val'; it has train, test, dev, valid"):
        data.find(tmp_path, "val")


def test_a_broken_data_set_below_is_hinted_at(tmp_path):
    write(tmp_path / "inner" / "annotations.xml", "<")
    with pytest.raises(data.DataError, match=r"did you mean .*inner\?"):
        data.find(tmp_path)


@pytest.mark.parametrize(
    ("pixels", "words"),
    [
        ([[0, 1]], "masks of class ids"),
        ([[0, 255]], "masks of 0 and 255"),
        ([[[0, 0, 0], [128, 0, 0]]], "masks of colours"),
    ],
)
def test_what_a_folder_was_taken_for(tmp_path, pixels, words):
    photo(tmp_path / "train" / "images" / "a.png", (1, 2))
    mask(tmp_path / "train" / "masks" / "a.png", pixels)
    found = data.find(tmp_path, class_names=["a", "b"])
    assert found.about == (
        f"folders of photos and masks (train/images, train/masks), 2 classes: a, b; {words}"
    )
