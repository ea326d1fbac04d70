"""Holding photos out: the same ones every time, with every class, groups together."""

import numpy as np
import pytest
from test_dataset import mask

from upscore import data
from upscore.data.holdout import Fold, hold_out


def surveyed(root, masks):
    """A survey of photos with these names and masks of these ids."""
    for name, ids in masks.items():
        for part in ("images", "masks"):
            mask(root / "train" / part / f"{name}.png", np.array([ids], np.uint8))
    (root / "classes.txt").write_text("ground\na\nb\n")
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
    assert held & {"p3", "p4"}
    assert "p5" not in held  # the only one of its class is to be learned


def test_groups_stay_together(tmp_path):
    masks = {f"patient_{i // 5:02}_{i % 5}": [0, 1] for i in range(50)}
    found = surveyed(tmp_path, masks)
    for pattern in (r"patient_\d+", r"^patient_(\d+)_"):
        parts = hold_out(found, group_by=pattern)
        held, kept = ({n[:10] for n in names(found, p)} for p in (parts[1], parts[0]))
        assert not held & kept
        assert len(held) == 1
    with pytest.raises(data.DataError.__mro__[1], match="too few to hold one out"):
        hold_out(found, group_by="patient")
    with pytest.raises(ValueError, match="no regular expression"):
        hold_out(found, group_by="(")


def test_folds_are_disjoint_and_cover_all(tmp_path):
    found = surveyed(tmp_path, {f"p{i}": [0] for i in range(23)})
    held = [hold_out(found, fold=Fold(i, 5)).validation for i in range(5)]
    assert sorted(i for part in held for i in part) == list(range(23))
    assert {len(part) for part in held} <= {4, 5}
    assert Fold.parse("2/5") == Fold(2, 5)
    for text in ("5/5", "1", "a/b", "0/1", "-1/3"):
        with pytest.raises(ValueError, match="expected i/n"):
            Fold.parse(text)
