"""Photos and masks in two folders: names of the folders, splits, and masks called by a rule."""

import pytest
from writers import mask, photo, write

from upscore import data
from upscore.data.layouts.pairing import Rule, rule_of

AB = {"class_names": ["a", "b"]}


def pair(image, marked):
    photo(image, (1, 2))
    mask(marked, [[0, 1]])


def names(found):
    return [sample.name for sample in found.samples]


@pytest.mark.parametrize(
    ("photos_in", "masks_in"),
    [("images", "masks"), ("Images", "Labels"), ("img", "gt"), ("photos", "annotations")],
)
@pytest.mark.parametrize("place", ["{0}", "{0}/train", "train/{0}"])
def test_usual_names_of_the_two_folders_alone_and_divided(tmp_path, photos_in, masks_in, place):
    for split in ("train", "val") if "train" in place else ("",):
        here = tmp_path / place.format(photos_in).replace("train", split)
        there = tmp_path / place.format(masks_in).replace("train", split)
        pair(here / f"a{split}.jpg", there / f"a{split}.png")
    divided = ("train", "val") if "train" in place else ("train", "val", "all")
    assert data.splits(tmp_path) == divided
    found = data.find(tmp_path, divided[-1], **AB)
    assert (found.layout, names(found)) == ("folders", ["aval" if "train" in place else "a"])
    assert data.check(found) == []


def test_text_files_in_labels_are_no_masks(tmp_path):
    for split in ("train", "val"):
        photo(tmp_path / "images" / split / "a.jpg")
        write(tmp_path / "labels" / split / "a.txt", "0 0.5 0.5 0.1 0.1")
    with pytest.raises(data.DataError, match="found images, labels; expected") as error:
        data.find(tmp_path)
    assert "or say where the files are: --images 'img/*.jpg' --masks" in str(error.value)
    pair(tmp_path / "images/train/b.jpg", tmp_path / "masks/train/b.png")
    assert names(data.find(tmp_path, "train", **AB)) == ["b"]  # not refused as two pairs


def test_two_folders_that_would_do_are_refused(tmp_path):
    pair(tmp_path / "train/images/a.jpg", tmp_path / "train/mask/a.png")
    mask(tmp_path / "train/labels/a.png", [[0, 1]])
    with pytest.raises(data.DataError, match=r"train: more than one .*: images \+ labels, images"):
        data.find(tmp_path)
    (tmp_path / "train/mask").rename(tmp_path / "train/masks")  # the name that is sure
    assert data.find(tmp_path, "train", **AB).samples[0].mask.parent.name == "masks"


def test_annotations_of_coco_are_no_masks(tmp_path):
    """Even with pictures of its stuff beside them."""
    pair(tmp_path / "images/train/a.jpg", tmp_path / "annotations/train/a.png")
    write(tmp_path / "annotations/instances_train.json", {"images": [], "annotations": []})
    with pytest.raises(data.DataError, match=r"instances_train\.json"):
        data.find(tmp_path)


def test_a_folder_of_another_name_may_hold_the_masks(tmp_path):
    """As in DRIVE, whose `mask` is the camera's field of view."""
    for folder in ("training", "test"):
        photo(tmp_path / folder / "images" / "1.png")
        for name in ("mask", "1st_manual"):
            mask(tmp_path / folder / name / "1.png", [[0, 1]])
    with pytest.raises(ValueError, match=r"may be in mask or in 1st_manual.*--images and --masks"):
        data.splits(tmp_path)
    for folder in ("training", "test"):
        (tmp_path / folder / "mask").rename(tmp_path / folder / "masks")
    assert data.splits(tmp_path) == ("train", "test")


def test_folders_that_are_no_splits_are_read_as_one(tmp_path):
    for patient in ("p1", "p2"):
        for name in ("001", "002"):
            pair(
                tmp_path / f"images/{patient}/{name}.jpg", tmp_path / f"masks/{patient}/{name}.png"
            )
    photo(tmp_path / "images/.thumbs/x.jpg")
    found = data.find(tmp_path, "all", **AB)
    assert names(found) == ["p1/001", "p1/002", "p2/001", "p2/002"]
    assert found.samples[2].mask == tmp_path / "masks/p2/001.png"
    assert data.check(found) == []
    parts = [data.find(tmp_path, split, **AB) for split in ("train", "val")]
    assert [len(part) for part in parts] == [3, 1]
    assert len(data.find(tmp_path, "all", skip=["p1/001"], **AB)) == 3


@pytest.mark.parametrize(
    ("photos", "masks", "told"),
    [
        (["x", "y"], ["x_mask", "y_mask"], "images/{stem}.*, masks/{stem}_mask.*"),
        (["x", "y"], ["x.jpg", "y.jpg"], "images/{stem}.*, masks/{stem}.jpg.*"),
        (["x"], ["x_mask"], "images/{stem}.*, masks/{stem}_mask.*"),
        (["img_1", "img_2"], ["mask_1", "mask_2"], "images/img_{stem}.*, masks/mask_{stem}.*"),
        (
            ["21_training", "22_training"],
            ["21_manual1", "22_manual1"],
            "images/{stem}_training.*, masks/{stem}_manual1.*",
        ),
    ],
)  # fmt: skip
def test_masks_that_are_called_by_a_rule(tmp_path, photos, masks, told):
    for one, other in zip(photos, masks, strict=True):
        pair(tmp_path / f"images/{one}.jpg", tmp_path / f"masks/{other}.png")
    found = data.find(tmp_path, "all", **AB)
    assert [(s.image.stem, s.mask.stem) for s in found.samples] == list(
        zip(photos, masks, strict=True)
    )
    assert names(found) == photos
    assert told in found.about
    assert data.check(found) == []


def test_digits_that_all_names_begin_with_are_not_cut_off():
    photos = [f"img_{i:03}" for i in range(20)]
    rule = rule_of(photos, photos_of := [f"mask_{i:03}" for i in range(10)])
    assert [rule.photo_of(name) for name in photos_of] == photos[:10]
    assert rule.mask_of("img_011") == "mask_011"


@pytest.mark.parametrize(
    ("photos", "masks"),
    [
        (["x", "y"], ["y", "z_mask"]),  # some stems are equal
        (["x"], ["y"]),  # of one, all is common
        (["cat_1"], ["dog_1"]),
        (["a", "b"], ["a_mask", "c_mask"]),  # a mask finds no photo
        (["a", "b"], ["a_0_mask", "a_1_mask"]),  # two masks of one photo
        (["a", "a_a"], ["a_a_a"]),  # it could be of either photo
        (["cat1", "cat2"], ["cats1", "cats2x"]),
    ],
)
def test_no_rule_is_made_up(photos, masks):
    assert rule_of(photos, masks) == Rule()


def test_a_photo_without_a_mask_is_told_the_mask_it_should_have(tmp_path):
    for name in ("x", "y"):
        pair(tmp_path / f"images/{name}.jpg", tmp_path / f"masks/{name}_mask.png")
    (tmp_path / "masks/x_mask.png").unlink()
    [problem] = data.find(tmp_path, "all", **AB).problems
    assert (problem.file.name, problem.message) == (
        "x.jpg",
        f"no mask named x_mask.* in {tmp_path / 'masks'}",
    )


def test_where_nothing_pairs_the_message_says_what_does_not(tmp_path):
    pair(tmp_path / "images/x.jpg", tmp_path / "masks/other.png")
    with pytest.raises(data.DataError) as error:
        data.find(tmp_path)
    said = str(error.value)
    assert "no photo has a mask (images, masks)\n2 problems (2 no partner)" in said
    assert f"no mask named x.* in {tmp_path / 'masks'}" in said
    assert "--masks 'gt/{stem}_mask.png'" in said


def test_an_empty_folder_of_masks_is_named(tmp_path):
    photo(tmp_path / "images/x.jpg")
    (tmp_path / "masks").mkdir()
    with pytest.raises(data.DataError, match=r"no photo has a mask \(images, masks\)"):
        data.find(tmp_path)


@pytest.mark.parametrize("name", ["x.heic", "x.JP2", "x.tga"])
def test_a_photo_in_a_format_that_is_not_read_is_named(tmp_path, name):
    pair(tmp_path / "images/y.jpg", tmp_path / "masks/y.png")
    write(tmp_path / "images" / name, "")
    mask(tmp_path / "masks/x.png", [[0, 1]])
    [problem] = data.find(tmp_path, "all", **AB).problems
    assert problem.message.endswith(
        f"{name} is in a format that is not read: convert it to PNG or JPEG"
    )


def test_more_names_of_jpeg_files_and_hidden_ones(tmp_path):
    write(tmp_path / "images/._b.jpg", "as Macs add to zips")
    pair(tmp_path / "images/a.jpg", tmp_path / "masks/a.png")
    (tmp_path / "images/a.jpg").rename(tmp_path / "images/a.jfif")
    assert data.check(data.find(tmp_path, "all", **AB)) == []


def test_a_folder_one_level_up_is_not_one_split(tmp_path):
    pair(tmp_path / "Kvasir/images/a.jpg", tmp_path / "Kvasir/masks/a.png")
    with pytest.raises(data.DataError, match=r"found Kvasir; did you mean .*Kvasir\?$"):
        data.splits(tmp_path)


def test_of_many_splits_eight_are_named(tmp_path):
    for i in range(12):
        pair(tmp_path / f"s{i:02}/images/a.jpg", tmp_path / f"s{i:02}/masks/a.png")
    with pytest.raises(data.DataError, match=r"it has s00, .*, s07, \.\.\. \(12 in all\)$"):
        data.find(tmp_path, "train")
