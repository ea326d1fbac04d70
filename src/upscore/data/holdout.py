"""Which photos are held out of training: chosen by the hash of their names, the same every time."""

import re
from collections.abc import Sequence
from dataclasses import dataclass
from typing import NamedTuple
from zlib import crc32

import numpy as np
from numpy.typing import NDArray

from upscore.data.survey import Survey
from upscore.errors import ArgumentError

FEW = 3  # photos; of so few none can be spared
SHARE = 0.1  # of the photos that is held out ...
AT_LEAST, AT_MOST = 4, 0.2  # ... but so many photos, though never more than this share


@dataclass(frozen=True)
class Fold:
    """One of several parts, each held out in turn: `0/5` is the first of five."""

    index: int
    count: int

    @classmethod
    def parse(cls, text: str) -> "Fold":
        """The fold that `i/n` means; ArgumentError for other text."""
        match = re.fullmatch(r"(\d+)/(\d+)", text)
        if match is None or not int(match[1]) < int(match[2]) or int(match[2]) < 2:
            raise ArgumentError(f"fold is {text!r}; expected i/n with i from 0 to n - 1: 0/5")
        return cls(int(match[1]), int(match[2]))


class Parts(NamedTuple):
    """Places of the samples to learn from and of those held out, and in words why these."""

    training: list[int]
    validation: list[int]
    reason: str


def hold_out(survey: Survey, *, group_by: str | None = None, fold: Fold | None = None) -> Parts:
    """Divide the photos of a survey into those to learn from and those that score what is learned.

    A tenth of the photos, but at least four and at most a fifth; of three photos or fewer none.
    First come photos that hold each class, the rarest first, then those whose names have the lowest
    hash. So the choice does not depend on the order, and a photo more changes it little.

    Args:
        survey: what is divided.
        group_by: a regular expression; photos whose names agree in what it matches (in its first
            group, if it has one) stay together, such as all frames of one video.
        fold: hold out this one of n parts instead.

    Raises:
        ArgumentError: `group_by` is no regular expression, or puts all photos into one group.
    """
    names = [sample.name for sample in survey.dataset.samples]
    if len(names) <= FEW and fold is None:
        return Parts(list(range(len(names))), [], f"{len(names)} photos: none to spare")
    groups = _groups(names, group_by)
    if len(set(groups)) < (fold.count if fold else 2):
        raise ArgumentError(
            f"{group_by or 'the names'!r} puts the {len(names)} photos into {len(set(groups))} "
            "groups: too few to hold one out"
        )
    order = sorted(set(groups), key=lambda group: (crc32(group.encode()), group))
    together = "" if group_by is None else f", groups by {group_by} kept together"
    if fold is not None:
        chosen = set(order[fold.index :: fold.count])
        reason = f"part {fold.index} of {fold.count} by the hash of the names{together}"
    else:
        wanted = min(max(round(SHARE * len(names)), AT_LEAST), max(1, int(AT_MOST * len(names))))
        chosen = _chosen(order, groups, survey.class_pixels > 0, wanted)
        reason = f"no val in the data: held out of train by the hash of the names{together}"
    if not chosen:
        return Parts(list(range(len(names))), [], "no photo can be spared: each has its own class")
    held = [i for i, group in enumerate(groups) if group in chosen]
    kept = [i for i, group in enumerate(groups) if group not in chosen]
    return Parts(kept, held, reason)


def _groups(names: Sequence[str], pattern: str | None) -> list[str]:
    """The group of each name: itself where no pattern is given or it does not match."""
    if pattern is None:
        return list(names)
    try:
        expression = re.compile(pattern)
    except re.error as error:
        raise ArgumentError(f"{pattern!r} is no regular expression: {error}") from error
    matches = [expression.search(name) for name in names]
    return [
        name if match is None else match[1 if match.re.groups else 0] or name
        for name, match in zip(names, matches, strict=True)
    ]


def _chosen(
    order: Sequence[str], groups: Sequence[str], present: NDArray[np.bool_], wanted: int
) -> set[str]:
    """Groups with about `wanted` photos in all; each class stays in some group that is kept."""
    photos: dict[str, list[int]] = {group: [] for group in order}
    for i, group in enumerate(groups):
        photos[group].append(i)
    holds = {group: np.any(present[places], axis=0) for group, places in photos.items()}
    kept_in = np.sum(list(holds.values()), axis=0)  # how many of the groups kept hold each class
    chosen: set[str] = set()
    held = 0

    def hold(group: str) -> bool:
        """Hold a group out, unless it is too much, or the last that is kept with some class."""
        nonlocal held, kept_in
        too_many = held > 0 and held + len(photos[group]) > max(wanted, 1) * 1.5
        last = (holds[group] & (kept_in == 1)).any() or len(chosen) + 1 >= len(order)
        if group in chosen or too_many or last:
            return False
        chosen.add(group)
        held += len(photos[group])
        kept_in = kept_in - holds[group]
        return True

    seen = np.zeros(present.shape[1], bool)
    for label in np.argsort(kept_in, kind="stable"):
        for group in order:
            if seen[label] or held >= wanted:
                break
            if holds[group][label] and hold(group):
                seen |= holds[group]
    for group in order:
        if held >= wanted:
            break
        hold(group)
    return chosen
