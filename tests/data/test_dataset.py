"""Readers: each layout, each encoding of masks, class lists and mappings, made on the fly."""

import subprocess
import sys
from pathlib import Path

import numpy as np
import pytest
from PIL import Image

from upscore import data
from upscore.data import masks
from upscore.data.classes import (
    CAMVID,
    VOC,
    VOID_NAMES,
    apply_mapping,
    read_classes,
    read_mapping,
    voc_colour,
)
from upscore.data.layouts import LAYOUTS
from upscore.data.problems import PROBLEM_KINDS

SHARED = Path(__file__).parents[3] / "shared" / "data"
AB, ABC = ("a", "b"), ("a", "b", "c")
IDS = np.array([[0, 0, 1], [2, 255, 1]], np.uint8)


def photo(path: Path, shape=(2, 3), seed=0) -> None:
    path.parent.mkdir(parents=True, exist_ok=True)
    pixels = np.random.default_rng(seed).integers(0, 256, (*shape, 3), np.uint8)
    Image.fromarray(pixels).save(path)


def mask(path: Path, pixels, palette: bool = False) -> None:
    path.parent.mkdir(parents=True, exist_ok=True)
    image = Image.fromarray(np.asarray(pixels))
    if palette:
        image.putpalette([value for i in range(256) for value in voc_colour(i)])
    image.save(path)


def pair(folder: Path, name: str, pixels=IDS, **options) -> None:
    photo(folder / "images" / f"{name}.png", np.shape(pixels)[:2], seed=sum(name.encode()))
    mask(folder / "masks" / f"{name}.png", pixels, **options)


def names(dataset: data.Dataset) -> list[str]:
    return [sample.name for sample in dataset.samples]


def test_folders_with_splits(tmp_path):
    for split, name in [("test", "t"), ("val", "v"), ("train", "b"), ("train", "a")]:
        pair(tmp_path / split, name)
    (tmp_path / "train" / "images" / "notes.txt").write_text("not a photo")
    (tmp_path / "classes.txt").write_text("sky\nroad\n\ncar\n")

    found = data.find(tmp_path, "train")

    assert data.splits(tmp_path) == ("train", "val", "test")
    assert (found.layout, found.split, names(found)) == ("folders", "train", ["a", "b"])
    assert found.class_names == ("sky", "road", "car")
    assert found.palette == ((0, 0, 0), (128, 0, 0), (0, 128, 0))
    image, labels = found.read(1)
    assert image.shape == (2, 3, 3)
    assert (image == np.asarray(Image.open(tmp_path / "train/images/b.png"))).all()
    assert labels.dtype == np.uint8
    assert (labels == IDS).all()
    assert names(data.find(tmp_path, "val")) == ["v"]


def test_photo_and_mask_may_have_different_suffixes(tmp_path):
    photo(tmp_path / "images" / "a.JPG")
    mask(tmp_path / "masks" / "a.png", IDS)
    assert names(data.find(tmp_path, "all", class_names=ABC)) == ["a"]


def test_an_undivided_folder_is_divided_the_same_way_each_time(tmp_path):
    for i in range(21):
        pair(tmp_path, f"p{i}")
    train, val, everything = (
        names(data.find(tmp_path, split, class_names=ABC)) for split in data.splits(tmp_path)
    )
    assert data.splits(tmp_path) == ("train", "val", "all")
    assert len(everything) == 21
    assert len(val) == 3
    assert sorted(train + val) == everything
    # A new photo moves at most one old one.
    pair(tmp_path, "new")
    later = names(data.find(tmp_path, "val", class_names=ABC))
    assert len(set(val) - set(later)) <= 1


def voc(root: Path) -> None:
    for name in ("one", "two"):
        photo(root / "JPEGImages" / f"{name}.jpg")
        mask(root / "SegmentationClass" / f"{name}.png", IDS, palette=True)
    listing = root / "ImageSets" / "Segmentation"
    listing.mkdir(parents=True)
    (listing / "train.txt").write_text("two\n")
    (listing / "val.txt").write_text("one\n\n")


def test_voc(tmp_path):
    voc(tmp_path)
    found = data.find(tmp_path)
    assert data.splits(tmp_path) == ("train", "val")
    assert (found.layout, names(found)) == ("voc", ["two"])
    assert found.class_names == VOC
    assert found.palette[15] == (192, 128, 128)
    assert (found.read(0)[1] == IDS).all()


@pytest.mark.parametrize(
    "line",
    [
        "two.jpg",
        "/JPEGImages/two.jpg /SegmentationClassAug/two.png",
        "./JPEGImages/two.jpg",
        "two.jpg two.png",
    ],
)
def test_voc_lists_of_files_and_paths(tmp_path, line):
    voc(tmp_path)
    (tmp_path / "ImageSets/Segmentation/train.txt").write_text(f"{line}\n/elsewhere/three.jpg\n")
    (tmp_path / "ImageSets/Segmentation/._train.txt").write_bytes(b"\x80")  # of a Mac's zip
    found = data.find(tmp_path)
    assert data.splits(tmp_path) == ("train", "val")
    assert names(found) == ["two"]
    [problem] = found.problems
    assert (problem.file.name, problem.kind) == ("three", "missing")


def test_camvid_void_lies_above_the_classes(tmp_path):
    for split in ("train", "val"):
        photo(tmp_path / split / "x.png")
        mask(tmp_path / f"{split}annot" / "x.png", np.array([[0, 10, 11], [255, 11, 3]], np.uint8))
    found = data.find(tmp_path, "val")
    assert (found.layout, found.class_names) == ("camvid", tuple(CAMVID))
    assert found.palette[0] == (128, 128, 128)
    assert found.read(0)[1].tolist() == [[0, 10, 255], [255, 255, 3]]


def test_above_the_classes_is_an_error_elsewhere(tmp_path):
    pair(tmp_path, "a", np.array([[0, 3, 3]], np.uint8))
    with pytest.raises(data.DataError, match=r"a\.png: 66\.67% of the pixels are of no class: 3"):
        data.find(tmp_path, "all", class_names=ABC).read(0)


def test_the_layout_can_be_named(tmp_path):
    voc(tmp_path)
    pair(tmp_path, "c")
    assert data.find(tmp_path, class_names=ABC).layout == "folders"
    assert data.find(tmp_path, layout="voc").layout == "voc"
    with pytest.raises(data.DataError, match="expected\n  camvid: train/"):
        data.find(tmp_path, layout="camvid")
    with pytest.raises(ValueError, match="layout 'tiles' is not one of ade20k, folders, voc"):
        data.find(tmp_path, layout="tiles")


def test_errors_say_what_was_found(tmp_path):
    with pytest.raises(data.DataError, match="nowhere: no such folder"):
        data.find(tmp_path / "nowhere")
    (tmp_path / "pictures").mkdir()
    with pytest.raises(
        data.DataError, match=r"found pictures; expected\n(.*\n)*  folders: images/"
    ):
        data.find(tmp_path)
    voc(tmp_path / "VOC2012")
    with pytest.raises(data.DataError, match=r"did you mean .*VOC2012\?"):
        data.find(tmp_path)
    pair(tmp_path / "train", "a")
    with pytest.raises(data.DataError, match="no split 'val'; it has train"):
        data.find(tmp_path, "val", class_names=ABC)


# Classes that nothing names


def test_without_a_class_list_all_splits_have_the_classes_that_the_ids_tell(tmp_path):
    pair(tmp_path / "train", "a")
    pair(tmp_path / "val", "b", IDS + 2 * (IDS == 2).astype(np.uint8))  # 4 in place of 2
    pair(tmp_path / "test", "c", np.array([[0, 255]], np.uint8))  # would be binary alone
    for split in ("train", "val", "test"):
        found = data.find(tmp_path, split)
        assert found.class_names == ("class_0", "class_1", "class_2", "class_3", "class_4")
        assert found.decoder.encoding == "index"
        assert found.about.endswith(
            "masks of class ids; no classes.txt: classes named by their ids; "
            f"write {tmp_path / 'classes.txt'} to name them"
        )
    assert data.find(tmp_path, "val").read(0)[1].tolist() == [[0, 0, 1], [4, 255, 1]]
    assert data.find(tmp_path, skip=["b"]).class_names == ("class_0", "class_1", "class_2")
    mapping = {"ground": "class_0", "thing": "*"}
    assert data.find(tmp_path, mapping=mapping).class_names == ("ground", "thing")
    (tmp_path / "classes.txt").write_text("a\nb\nc\nd\ne\n")
    assert data.find(tmp_path).class_names == ("a", "b", "c", "d", "e")
    assert not data.find(tmp_path).hint


NO_IDS = "the values in the masks look like no ids"


def blurred(tmp_path):
    coarse = np.random.default_rng(0).integers(0, 3, (8, 8)).astype(np.uint8) * np.uint8(20)
    image = Image.fromarray(coarse).resize((50, 40), Image.Resampling.BILINEAR)
    pair(tmp_path / "train", "a", np.asarray(image))


def large(tmp_path):
    pair(tmp_path / "train", "a", np.array([[0, 1, 64]], np.uint8))


def nothing(tmp_path):
    pair(tmp_path / "train", "a", np.zeros((2, 3), np.uint8))


def lossy(tmp_path):
    photo(tmp_path / "train" / "images" / "a.png")
    mask(tmp_path / "train" / "masks" / "a.jpg", np.array([[0, 1, 2]] * 2, np.uint8))


def coloured(tmp_path):
    pair(tmp_path / "train", "a", np.array([[[1, 2, 3], [4, 5, 6]]], np.uint8))


@pytest.mark.parametrize(
    ("make", "why"),
    [
        (blurred, NO_IDS),
        (large, NO_IDS),
        (nothing, NO_IDS),
        (lossy, "the masks are JPEG files"),
        (coloured, "the masks hold colours, so a line is `name R G B`"),
    ],
)
def test_masks_whose_ids_tell_no_classes_need_a_class_list(tmp_path, make, why):
    make(tmp_path)
    with pytest.raises(data.DataError, match=rf"no class names; write .*classes\.txt.*{why}"):
        data.find(tmp_path)


# Encodings of masks


def read_back(tmp_path: Path, pixels, encoding: str | None = None, **options) -> tuple[str, list]:
    pair(tmp_path, "a", pixels, palette=options.pop("palette", False))
    found = data.find(tmp_path, "all", encoding=encoding, **options)
    return found.decoder.encoding, found.read(0)[1].tolist()


def test_palette_masks_are_read_as_indices(tmp_path):
    assert read_back(tmp_path, IDS, palette=True, class_names=ABC) == ("index", IDS.tolist())


@pytest.mark.parametrize("dtype", [bool, np.uint8, np.uint16])
def test_integer_masks_of_any_depth(tmp_path, dtype):
    ids = np.array([[0, 1, 1]], dtype)
    assert read_back(tmp_path, ids, class_names=AB) == ("index", [[0, 1, 1]])


def test_ids_written_three_times_as_grey(tmp_path):
    assert read_back(tmp_path, np.stack([IDS] * 3, 2), class_names=ABC) == ("index", IDS.tolist())


def test_transparent_grey(tmp_path):
    assert read_back(tmp_path, np.stack([IDS, 0 * IDS], 2), class_names=ABC)[1] == IDS.tolist()


def test_large_ids_do_not_wrap_round(tmp_path):
    pair(tmp_path, "a", np.array([[256, 1]], np.uint16))
    with pytest.raises(data.DataError, match="of no class: 256"):
        data.find(tmp_path, "all", class_names=AB).read(0)


def test_colours_of_voc(tmp_path):
    pixels = np.array([[voc_colour(i) for i in row] for row in IDS], np.uint8)
    assert read_back(tmp_path, pixels, class_names=ABC) == ("colour", IDS.tolist())


def test_colours_of_a_table(tmp_path):
    (tmp_path / "classes.txt").write_text("sky 9 8 7\nzebra crossing 200 0 200\nVoid 0 0 0\n")
    pixels = np.array([[[200, 0, 200], [9, 8, 7], [0, 0, 0]]], np.uint8)
    assert read_back(tmp_path, pixels) == ("colour", [[1, 0, 255]])
    found = data.find(tmp_path, "all")
    assert found.class_names == ("sky", "zebra crossing")
    assert found.palette == ((9, 8, 7), (200, 0, 200))
    pair(tmp_path, "a", pixels + np.uint8(1))
    with pytest.raises(data.DataError, match=r"100.00% .* no class: \[1, 1, 1\], \[10, 9, 8\]"):
        data.find(tmp_path, "all").read(0)


def test_a_palette_that_holds_the_colours_of_the_table_in_another_order(tmp_path):
    (tmp_path / "classes.txt").write_text("a 0 128 0\nb 128 0 0\nc 0 0 0\n")
    ids = np.array([[0, 1, 2]], np.uint8)
    assert read_back(tmp_path, ids, palette=True) == ("colour", [[2, 1, 0]])
    assert read_back(tmp_path, ids, "index", palette=True) == ("index", [[0, 1, 2]])


def test_binary(tmp_path):
    assert read_back(tmp_path, IDS // 255 * 255) == ("binary", [[0, 0, 0], [0, 1, 0]])
    assert data.find(tmp_path, "all").class_names == ("background", "foreground")
    named = data.find(tmp_path, "all", class_names=("skin", "lesion"))
    assert (named.class_names, named.decoder.encoding) == (("skin", "lesion"), "binary")
    assert data.find(tmp_path, "all", class_names=AB, encoding="index").read(0)[1][1, 1] == 255
    with pytest.raises(data.DataError, match="two classes, and 3 named"):
        data.find(tmp_path, "all", class_names=ABC, encoding="binary")


def test_two_classes_with_void_are_not_binary(tmp_path):
    pair(tmp_path, "a", np.array([[0, 255]], np.uint8))
    pair(tmp_path, "b", np.array([[1, 255]], np.uint8))
    assert data.find(tmp_path, "all", class_names=AB).decoder.encoding == "index"


def test_binary_is_seen_behind_many_empty_masks(tmp_path):
    for i in range(40):
        pair(tmp_path, f"{i:02}", np.full((2, 2), 255 * (i == 33), np.uint8))
    assert data.find(tmp_path, "all").decoder.encoding == "binary"


def test_read_refuses_sizes_that_differ(tmp_path):
    pair(tmp_path, "a")
    photo(tmp_path / "images" / "a.png", (4, 5))
    with pytest.raises(
        data.DataError, match=r"a\.png: a mask of 3 x 2 pixels, but a\.png has 5 x 4"
    ):
        data.find(tmp_path, "all", class_names=ABC).read(0)


# Class lists and mappings


@pytest.mark.parametrize(
    ("text", "message"),
    [
        ("", "0 class names"),
        ("a\nb\na\n", "given twice: a"),
        ("a 1 2 3\nb\n", "1 of 2 classes have a colour"),
        ("a 1 2 3\nb 1 2 3\n", "the same colour"),
        ("a 1 2 256\n", "classes.txt:1: colour 1 2 256 is outside"),
    ],
)
def test_bad_class_lists(tmp_path, text, message):
    (tmp_path / "classes.txt").write_text(text)
    with pytest.raises(data.DataError, match=message):
        read_classes(tmp_path / "classes.txt")


def test_numbers_may_be_class_names(tmp_path):
    (tmp_path / "classes.txt").write_text("0\n1\nlane 2\n")
    assert read_classes(tmp_path / "classes.txt") == (("0", "1", "lane 2"), None)


GUIDE = (Path(__file__).parents[2] / "docs" / "guides" / "data.md").read_text()
ANIMALS = GUIDE.split("makes new classes of old ones:\n\n```\n")[1].split("```")[0]


def test_the_guide_names_every_choice():
    for choice in (*LAYOUTS, *masks.ENCODINGS, *PROBLEM_KINDS, *VOID_NAMES):
        assert f"`{choice}`" in GUIDE


def test_mapping_file_of_the_animals(tmp_path):
    (tmp_path / "animals.txt").write_text(ANIMALS)
    classes, ids = apply_mapping(VOC, tmp_path / "animals.txt")
    assert classes == ("background", "person", "cat", "dog", "horse", "sheep", "cow")
    assert {VOC[i]: new for i, new in enumerate(ids) if new} == {
        "person": 1, "cat": 2, "dog": 3, "horse": 4, "sheep": 5, "cow": 6
    }  # fmt: skip


def test_mapping_applies_to_masks_and_palette(tmp_path):
    voc(tmp_path)
    mapping = {"vehicle": ["bicycle"], "ignore": "aeroplane", "background": "*"}
    found = data.find(tmp_path, mapping=mapping)
    assert found.class_names == ("vehicle", "background")
    assert found.palette == ((0, 128, 0), (0, 0, 0))
    assert found.read(0)[1].tolist() == [[1, 1, 255], [0, 255, 255]]


def test_mapping_keeps_what_it_does_not_name(tmp_path):
    (tmp_path / "map.txt").write_text("vehicle = car, bus\nignore = sky\n")
    old = ("road", "car", "sky", "bus", "tree")
    assert apply_mapping(old, tmp_path / "map.txt") == (("vehicle", "road", "tree"),
                                                        (1, 0, 255, 0, 2))  # fmt: skip
    (tmp_path / "map.txt").write_text("* = *\nvehicle = car, bus\nignore = sky\n")
    assert apply_mapping(old, tmp_path / "map.txt")[0] == ("road", "tree", "vehicle")


@pytest.mark.parametrize(
    ("text", "message"),
    [
        ("pet = cat, dgo", "no class 'dgo' among cat, dog, cow; did you mean dog?"),
        ("pet = cat\nbeast = cat", "'cat' is in 'pet' and in 'beast'"),
        ("pet = *\nbeast = *", r"'\*' is in 'pet' and in 'beast'"),
        ("pet = cat\npet = dog", "map.txt:2: pet is there twice"),
        ("pet = cat,", "map.txt:1: 'pet = cat,'; expected `new = old, old`"),
        ("= cat", "map.txt:1: '= cat'; expected"),
        ("* = cat", r"write `\* = \*`"),
        ("cat\ndog\ncow\nrest = *", "no class is left for 'rest'"),
        ("dog = cat", "class name given twice: dog"),
        ("ignore = *", "0 class names"),
    ],
)
def test_bad_mappings(tmp_path, text, message):
    (tmp_path / "map.txt").write_text(text)
    with pytest.raises(data.DataError, match=message):
        apply_mapping(("cat", "dog", "cow"), tmp_path / "map.txt")


def test_mapping_that_is_not_there(tmp_path):
    with pytest.raises(data.DataError, match=r"map\.txt: cannot be read as text"):
        read_mapping(tmp_path / "map.txt")


def test_voc_palette_against_torchvision_free_table():
    """The first colours and the border, as the VOC development kit lists them."""
    listed = {
        0: (0, 0, 0),
        8: (64, 0, 0),
        14: (64, 128, 128),
        20: (0, 64, 128),
        255: (224, 224, 192),
    }
    assert {i: voc_colour(i) for i in listed} == listed


def test_reading_needs_no_torch():
    code = "import sys, upscore.data; sys.exit('torch' in sys.modules)"
    assert subprocess.run([sys.executable, "-c", code], check=False).returncode == 0


# Real data


@pytest.mark.skipif(not SHARED.is_dir(), reason=f"needs the data sets in {SHARED}")
def test_real_camvid():
    found = data.find(SHARED / "camvid")
    assert (found.layout, len(found), len(data.find(found.root, "val"))) == ("camvid", 367, 101)
    image, labels = found.read(0)
    assert image.shape == (360, 480, 3)
    assert set(np.unique(labels)) <= {*range(11), 255}
    assert not found.problems


@pytest.mark.skipif(not SHARED.is_dir(), reason=f"needs the data sets in {SHARED}")
def test_real_voc_animals(tmp_path):
    (tmp_path / "animals.txt").write_text(ANIMALS)
    found = data.find(SHARED / "voc-animals", "val", mapping=tmp_path / "animals.txt")
    assert (found.layout, len(found), len(data.find(found.root))) == ("voc", 300, 2831)
    # The palette drawn in the files is the one that the classes have.
    raw = Image.open(found.samples[0].mask)
    colours = np.array(raw.convert("RGB"))
    labels = found.read(0)[1]
    for i, name in enumerate(found.class_names[1:], 1):
        assert (colours[labels == i] == voc_colour(VOC.index(name))).all()
    assert (np.asarray(raw)[labels == 255] == 255).all()
