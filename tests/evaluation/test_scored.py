"""Which photos are scored: by the model's card and what lies in the folder."""

import shutil

import pytest

import tiny
from upscore import data
from upscore.data.holdout import digests
from upscore.errors import DataError
from upscore.evaluation.scored import scored

HELD_OUT = ("1", "4")


@pytest.fixture(scope="module")
def folder(tmp_path_factory):
    """Ten photos that are not divided."""
    root = tmp_path_factory.mktemp("scored") / "photos"
    tiny.discs(root, 10)
    (root / "classes.txt").write_text("ground\ndisc\nsquare\n")
    return root


def card(folder, held_out=HELD_OUT, **more):
    """The card of a model that was trained on the folder."""
    samples = data.find(folder, "all").samples
    held = [sample for sample in samples if sample.name in held_out]
    found = {"data": folder.name, "held_out": list(held_out), "fold": None}
    return found | {"digests": digests(held or samples)} | more


def chosen(root, *cards, split=None):
    """The names of the photos that are scored, and the words for them."""
    found = scored(root, [tiny.spec(card=card) for card in cards], split, None)
    names = [sample.name for part in found.splits for sample in data.find(root, part).samples]
    return [name for name in names if not found.names or name in found.names], found.about


def test_what_training_held_out_is_scored(folder):
    for split in (None, "val"):
        names, about = chosen(folder, card(folder), split=split)
        assert names == list(HELD_OUT)
        assert about == "the photos that training held out of this folder"
    names, about = chosen(folder, card(folder), split="all")
    assert len(names) == 10
    assert about == "all, as asked"


def test_an_undivided_folder_of_others_is_scored_whole(folder):
    for other in ({}, {"data": "photos", "digests": ["of a training photo beside a val"]}):
        names, about = chosen(folder, other)
        assert len(names) == 10
        assert about.startswith("all photos")
    names, about = chosen(folder, {}, split="val")
    assert len(names) == 1
    assert "a tenth" in about


def test_photos_of_the_same_names_are_not_taken_for_those_of_training(folder, tmp_path):
    tiny.discs(tmp_path / "test-photos", 12)
    shutil.copy(folder / "classes.txt", tmp_path / "test-photos")
    assert len(chosen(tmp_path / "test-photos", card(folder))[0]) == 12


@pytest.mark.parametrize("changed", [(), ("9",)])
def test_a_folder_that_was_moved_or_has_changed_is_known(folder, tmp_path, changed):
    moved = shutil.copytree(folder, tmp_path / "elsewhere")
    for name in changed:
        for part in ("images", "masks"):
            shutil.copy(moved / part / f"{name}.png", moved / part / "new.png")
    assert chosen(moved, card(folder))[0] == list(HELD_OUT)


@pytest.mark.parametrize("name", ["photos", "elsewhere"])
def test_held_out_photos_that_are_gone_are_named(folder, tmp_path, name):
    root = shutil.copytree(folder, tmp_path / name)
    (root / "images" / "4.png").unlink()
    (root / "masks" / "4.png").unlink()
    with pytest.raises(DataError, match="held out 2 photos, and 1 of them are not here, such as 4"):
        chosen(root, card(folder))


def test_learned_photos_are_scored_only_if_asked_for(folder, tmp_path):
    learned = card(folder, held_out=())
    for split in (None, "val"):
        with pytest.raises(DataError, match=r"none was held out to score it.*--split all"):
            chosen(folder, learned, split=split)
    assert len(chosen(folder, learned, split="all")[0]) == 10
    # The folder's train, by a model that had a val beside it.
    beside = {"data": "other", "digests": learned["digests"]}
    with pytest.raises(DataError, match="none was held out"):
        chosen(folder, beside)
    divided = tmp_path / "divided"
    shutil.copytree(folder, divided / "train")
    (divided / "train" / "classes.txt").rename(divided / "classes.txt")
    with pytest.raises(DataError, match=r"none was held out.*--split train"):
        chosen(divided, learned)


def test_models_without_a_digest_are_known_by_names(folder, tmp_path):
    moved = shutil.copytree(folder, tmp_path / "elsewhere")
    old = {"data": folder.name, "held_out": list(HELD_OUT)}
    assert chosen(folder, old)[0] == chosen(moved, old)[0] == list(HELD_OUT)
    old["held_out"] = [*HELD_OUT, "far away"]
    assert len(chosen(moved, old)[0]) == 10


def test_other_photos_in_a_folder_of_the_same_name_are_scored_whole(folder, tmp_path):
    tiny.discs(tmp_path / folder.name, 12)
    shutil.copy(folder / "classes.txt", tmp_path / folder.name)
    for held_out in (HELD_OUT, ()):
        assert len(chosen(tmp_path / folder.name, card(folder, held_out=held_out))[0]) == 12


def test_a_fold_and_a_model_with_a_val_have_no_photos_in_common(folder, tmp_path):
    root = tmp_path / "divided"
    for split in ("train", "val"):
        for part in ("images", "masks"):
            shutil.copytree(folder / part, root / split / part)
    shutil.copy(folder / "classes.txt", root)
    photos = data.find(root, "train").samples
    held = [sample for sample in photos if sample.name in HELD_OUT]
    fold = {"data": "divided", "held_out": list(HELD_OUT), "fold": "0/5"}
    fold |= {"digests": digests(held)}
    assert chosen(root, fold)[0]
    with pytest.raises(DataError, match="the models held out different photos"):
        chosen(root, fold, {"data": "divided", "digests": digests(photos)})


def test_several_models_are_scored_on_what_none_has_learned_from(folder):
    held = card(folder)
    assert chosen(folder, {}, held)[0] == list(HELD_OUT)
    with pytest.raises(DataError, match="the models held out different photos"):
        chosen(folder, held, card(folder, held_out=("2", "4")))
    with pytest.raises(DataError, match="none was held out"):
        chosen(folder, held, card(folder, held_out=()))
