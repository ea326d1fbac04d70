"""Holding photos out: the same ones every time, with every class, groups together."""

import os
import sys

import numpy as np
import pytest
from test_dataset import mask

from upscore import data
from upscore.data.holdout import Fold, hold_out
from upscore.errors import ArgumentError


def surveyed(root, masks, classes="ground a b"):
    """A survey of photos with these names, all different, and masks of these ids."""
    for i, (name, ids) in enumerate(masks.items()):
        mask(root / "train" / "images" / f"{name}.png", np.full((1, len(ids)), i, np.uint8))
        mask(root / "train" / "masks" / f"{name}.png", np.array([ids], np.uint8))
    (root / "classes.txt").write_text("\n".join(classes.split()))
    return data.survey(data.find(root, encoding="index"))


def names(survey, places):
    return {survey.dataset.samples[i].name for i in places}


@pytest.mark.parametrize(
    ("count", "held"), [(1, 0), (3, 0), (4, 1), (9, 1), (12, 2), (20, 4), (79, 8), (100, 10)]
)
def test_a_tenth_is_held_out_but_a_few_at_least(tmp_path, count, held):
    found = surveyed(tmp_path, {f"p{i}": [0, 0, 0] for i in range(count)})
    parts = hold_out(found)
    assert len(parts.validation) == held
    assert sorted(parts.training + parts.validation) == list(range(count))


@pytest.mark.skipif(sys.platform != "linux", reason="names are Unicode there")
def test_names_need_not_be_utf_8(tmp_path):
    """As from an old archive: `München` in Latin-1."""
    found = surveyed(tmp_path, {os.fsdecode(b"M\xfcnchen%d" % i): [0, 1] for i in range(8)})
    assert len(hold_out(found).validation) == 1


def test_the_choice_is_one_of_names_alone(tmp_path):
    all_names = [f"p{i}" for i in range(40)]
    first = surveyed(tmp_path / "a", {name: [0, 1] for name in all_names})
    more = surveyed(tmp_path / "b", {name: [0, 1] for name in ["other", *all_names]})
    held = names(first, hold_out(first).validation)
    assert len(held ^ names(more, hold_out(more).validation) - {"other"}) <= 1


def test_every_class_is_there_where_it_can_be_spared(tmp_path):
    masks = {f"p{i}": [0, 0] for i in range(20)}
    masks |= {"p3": [0, 1], "p4": [0, 1], "p5": [0, 2]}
    found = surveyed(tmp_path, masks)
    held = names(found, hold_out(found).validation)
    assert len(held & {"p3", "p4"}) == 1  # one to learn from, one to score it
    assert "p5" not in held  # the only one of its class is to be learned


def test_groups_stay_together(tmp_path):
    masks = {f"patient_{i // 5:02}_{i % 5}": [0, 1] for i in range(50)}
    found = surveyed(tmp_path, masks)
    for pattern in (r"patient_\d+", r"^patient_(\d+)_"):
        parts = hold_out(found, group_by=pattern)
        held, kept = ({n[:10] for n in names(found, p)} for p in (parts[1], parts[0]))
        assert not held & kept
        assert len(held) == 1
    with pytest.raises(ArgumentError, match="too few to hold one out"):
        hold_out(found, group_by="patient")
    with pytest.raises(ValueError, match="no regular expression"):
        hold_out(found, group_by="(")


def test_photos_can_be_grouped_by_the_folders_they_lie_in(tmp_path):
    for i in range(20):
        photo = tmp_path / f"patient{i // 4}" / f"{i}.png"
        mask(photo, np.full((1, 9), i, np.uint8))
        mask(photo.with_stem(f"{i}_mask"), np.zeros((1, 9), np.uint8))
    (tmp_path / "classes.txt").write_text("ground\n")
    patterns = data.Patterns("*/*.png", "{parent}/{stem}_mask.png")
    found = data.survey(data.find(tmp_path, "all", layout=patterns, encoding="index"))
    parts = hold_out(found, group_by=r"patient(\d)")
    held = {found.dataset.samples[i].image.parent for i in parts.validation}
    assert len(held) == 1
    assert len(parts.validation) == 4
    assert "5 groups by patient(\\d) kept together" in parts.reason


def test_a_pattern_that_matches_nothing_is_an_error(tmp_path):
    found = surveyed(tmp_path, {f"a{i}": [0] for i in range(8)} | {"b1": [0], "b2": [0]})
    message = "'patient' matches none of the 10 photos.*'a0'.*'train/images/a0.png'"
    with pytest.raises(ArgumentError, match=message):
        hold_out(found, group_by="patient")
    reason = hold_out(found, group_by=r"^b\d|^a[0-5]$").reason
    assert "8 groups by ^b\\d|^a[0-5]$ kept together, 2 photos match none" in reason


def test_equal_photos_stay_on_one_side(tmp_path):
    surveyed(tmp_path, {f"p{i}": [0, 1] for i in range(20)})
    photos = tmp_path / "train" / "images"
    for i in range(10):
        (photos / f"p{i + 10}.png").write_bytes((photos / f"p{i}.png").read_bytes())
    found = data.survey(data.find(tmp_path, encoding="index"))
    for fold in (None, Fold(0, 2), Fold(1, 3)):
        parts = hold_out(found, fold=fold)
        held, kept = (
            {found.dataset.samples[i].image.read_bytes() for i in places} for places in parts[:2]
        )
        assert held
        assert not held & kept
        assert "10 copies kept with their photo" in parts.reason


def test_a_copy_keeps_the_groups_of_both_photos_together(tmp_path):
    surveyed(tmp_path, {f"{patient}{i}": [0, 1] for patient in "abcd" for i in range(5)})
    photos = tmp_path / "train" / "images"
    (photos / "b0.png").write_bytes((photos / "a0.png").read_bytes())
    found = data.survey(data.find(tmp_path, encoding="index"))
    for i in range(3):
        parts = hold_out(found, group_by="^[a-d]", fold=Fold(i, 3))
        held = {name[0] for name in names(found, parts.validation)}
        assert ("a" in held) == ("b" in held)
        assert not held & {name[0] for name in names(found, parts.training)}


def test_of_copies_alone_none_is_held_out(tmp_path):
    surveyed(tmp_path, {f"p{i}": [0, 1] for i in range(5)})
    for photo in (tmp_path / "train" / "images").iterdir():
        mask(photo, np.zeros((1, 2), np.uint8))
    found = data.survey(data.find(tmp_path, encoding="index"))
    assert hold_out(found)[1:] == ([], "5 photos, all of them equal: none to spare")
    with pytest.raises(ArgumentError, match="form 1 group by their names and contents: too few"):
        hold_out(found, fold=Fold(0, 2))


def test_folds_are_disjoint_and_cover_all(tmp_path):
    found = surveyed(tmp_path, {f"p{i}": [0] for i in range(23)})
    held = [hold_out(found, fold=Fold(i, 5)).validation for i in range(5)]
    assert sorted(i for part in held for i in part) == list(range(23))
    assert {len(part) for part in held} <= {4, 5}
    assert Fold.parse("2/5") == Fold(2, 5)
    for text in ("5/5", "1", "a/b", "0/1", "-1/3"):
        with pytest.raises(ValueError, match="expected i/n"):
            Fold.parse(text)


@pytest.mark.parametrize("seed", range(5))
def test_no_class_is_lost_to_training_and_at_most_a_fifth_is_held_out(tmp_path, seed):
    rng = np.random.default_rng(seed)
    masks = {
        f"{seed}-{i}": [0, *np.flatnonzero(rng.random(20) < 0.05) + 1] + [0] * 9 for i in range(60)
    }
    width = max(map(len, masks.values()))
    masks = {name: ids + [0] * (width - len(ids)) for name, ids in masks.items()}
    found = surveyed(tmp_path, masks, " ".join(f"class_{i}" for i in range(21)))
    parts = hold_out(found)
    there = found.class_pixels.any(axis=0)
    assert (found.class_pixels[parts.training].any(axis=0) == there).all()
    assert 4 <= len(parts.validation) <= 12


def test_photos_that_each_have_a_class_of_their_own_are_all_learned_from(tmp_path):
    for i in range(4):
        for part in ("images", "masks"):
            mask(tmp_path / "train" / part / f"{i}.png", np.full((2, 2), i, np.uint8))
    (tmp_path / "classes.txt").write_text("a\nb\nc\nd\n")
    parts = hold_out(data.survey(data.find(tmp_path, encoding="index")))
    assert parts.training == [0, 1, 2, 3]
    assert "no photo can be spared" in parts.reason
