"""Which photos an evaluation scores: those asked for, or those that training did not learn from."""

from collections.abc import Collection, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from upscore import data as datasets
from upscore.data import Patterns
from upscore.data.holdout import digests
from upscore.data.layouts.layout import ALL
from upscore.data.sample import Sample
from upscore.errors import DataError
from upscore.models.spec import Spec


@dataclass(frozen=True)
class Scored:
    """Which photos to score.

    Attributes:
        splits: where they are.
        about: which they are and why these, in words.
        names: where training held photos out, their names: no others are scored.
    """

    splits: tuple[str, ...]
    about: str
    names: frozenset[str] = frozenset()


def scored(
    root: Path, specs: Sequence[Spec], split: str | None, layout: str | Patterns | None
) -> Scored:
    """The photos of a folder to score one or more models on.

    If no split is asked for, it is "val": where the data have none of their own, or a model is of a
    fold, what training held out. Of an undivided folder that no model was trained on, it is all.

    Raises DataError where these photos were learned from.
    """
    if split not in (None, "val"):
        return Scored((str(split),), f"{split}, as asked")
    found = [_scored(root, spec, split, layout) for spec in specs]
    held_out = sorted((one for one in found if one.names), key=lambda one: len(one.names))
    if not held_out:
        return found[0]
    # One that has the data's own val has learned from all of train, of which a fold holds out some.
    learned = "train" in held_out[0].splits and any(
        not one.names and spec.card.get("data") == root.resolve().name
        for spec, one in zip(specs, found, strict=True)
    )
    if learned or any(not held_out[0].names <= one.names for one in held_out):
        raise DataError(
            f"{root}: the models held out different photos, so that each photo was learned from by "
            "one of them: score them one by one, or name a split that none has learned from, such "
            "as 'test'"
        )
    return held_out[0]


def _scored(root: Path, spec: Spec, split: str | None, layout: str | Patterns | None) -> Scored:
    """The photos to score one model on, where "val" or no split is asked for."""
    available, card = datasets.splits(root, layout=layout), spec.card
    undivided = ALL in available
    if "val" in available and not undivided and not card.get("fold"):
        return Scored(("val",), "val of the data")
    parts = (ALL,) if undivided else tuple(p for p in ("train", "val") if p in available)
    listed = datasets.layouts.recognise(root, layout)
    samples = [sample for part in parts for sample in listed.read(part)[1].samples]
    names = frozenset(card.get("held_out", ()))
    if _trained_on(card, root, samples):
        _check_held_out(root, names, samples, parts[0])
        where = "this folder" if undivided else " and ".join(parts)
        return Scored(parts, f"the photos that training held out of {where}", names)
    if not undivided:
        return Scored(("val",), "val of the data")
    if split is None:
        about = "all photos, as the folder is not divided and the model was not trained on it"
        return Scored((ALL,), about)
    return Scored(("val",), "val, as asked: a tenth of the photos by the hash of their names")


def _trained_on(card: Mapping[str, Any], root: Path, samples: Sequence[Sample]) -> bool:
    """Whether a model was trained on these photos: names and sizes of half of them tell.

    Of a model of an earlier version, without digests, the names of those held out tell, or that of
    the folder if some of them are there.
    """
    names = frozenset(card.get("held_out", ()))
    mine = [sample for sample in samples if sample.name in names] if names else samples
    known = frozenset(card.get("digests", ()))
    if known:
        return 2 * len(known.intersection(digests(mine))) >= len(known)
    alike = bool(names) and names == {sample.name for sample in mine}
    return alike or (bool(mine) and card.get("data") == root.resolve().name)


def _check_held_out(
    root: Path, names: Collection[str], samples: Sequence[Sample], split: str
) -> None:
    """Raise DataError where no photo was held out, or one that was is gone."""
    if not names:
        raise DataError(
            f"{root}: the model learned from the photos of this folder, and none was held out to "
            f"score it. Evaluate another folder, or name the split, --split {split}, to score "
            "photos that were learned from: that says nothing of new ones"
        )
    missing = sorted(set(names).difference(sample.name for sample in samples))
    if missing:
        raise DataError(
            f"{root}: training held out {len(names)} photos, and {len(missing)} of them are not "
            f"here, such as {missing[0]}; others of 'val' may have been learned from. Put them "
            "back, or name another split to score"
        )
