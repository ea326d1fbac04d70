"""Which photos are held out of training: chosen by the hash of their names, the same every time."""

import re
from collections import defaultdict
from collections.abc import Callable, Hashable, Iterable, Sequence
from dataclasses import dataclass
from hashlib import sha256
from pathlib import Path
from typing import NamedTuple

import numpy as np
from numpy.typing import NDArray

from upscore.data import faults
from upscore.data.sample import Sample, by_hash
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
        group_by: a regular expression; photos that agree in what it matches (in its first group, if
            it has one) stay together, such as all frames of one video. It is tried on a photo's
            name, then on its path below the data folder.
        fold: hold out this one of n parts instead.

    Raises:
        ArgumentError: `group_by` is no regular expression or matches no photo, or there are too few
            groups to hold one out.
    """
    samples = survey.dataset.samples
    photos = len(samples)
    everywhere = list(range(photos))
    if photos <= FEW and fold is None:
        return Parts(everywhere, [], f"{photos} photos: none to spare")
    groups, together = _groups(samples, survey.dataset.root, group_by)
    count, least = len(set(groups)), fold.count if fold else 2
    if count == 1 and group_by is None and fold is None:
        return Parts(everywhere, [], f"{photos} photos, all of them equal: none to spare")
    if count < least:
        raise ArgumentError(
            f"{photos} photos form {count} group{'s' * (count != 1)} by "
            f"{group_by or 'their names and contents'}: too few to hold one out; expected at least "
            f"{least}"
        )
    order = sorted(set(groups), key=by_hash)
    if fold is not None:
        chosen = set(order[fold.index :: fold.count])
        reason = f"part {fold.index} of {fold.count} by the hash of the names{together}"
    else:
        wanted = min(max(round(SHARE * photos), AT_LEAST), max(1, int(AT_MOST * photos)))
        chosen = _chosen(order, groups, survey.class_pixels > 0, wanted)
        reason = f"no val in the data: held out of train by the hash of the names{together}"
    if not chosen:
        return Parts(everywhere, [], "no photo can be spared: each has its own class")
    held = [i for i, group in enumerate(groups) if group in chosen]
    kept = [i for i, group in enumerate(groups) if group not in chosen]
    return Parts(kept, held, reason)


def digests(samples: Iterable[Sample]) -> list[str]:
    """Hashes of some photos' names and sizes in bytes: they tell them from others of such names.

    The lowest hundred, which are as good as drawn by chance.
    """
    lines = (f"{sample.name} {sample.image.stat().st_size}" for sample in samples)
    hashes = (sha256(line.encode(errors="surrogateescape")).hexdigest() for line in lines)
    return sorted(line[:16] for line in hashes)[:100]


def _groups(samples: Sequence[Sample], root: Path, pattern: str | None) -> tuple[list[str], str]:
    """The group of each photo, and in words which photos stay together."""
    groups, together = [sample.name for sample in samples], ""
    if pattern is not None:
        found = _matched(pattern, samples, root)
        alone = found.count(None)
        if alone == len(found):
            raise ArgumentError(
                f"group_by {pattern!r} matches none of the {len(found)} photos, neither their "
                f"names, such as {samples[0].name!r}, nor their paths, such as "
                f"{_below(root, samples[0])!r}"
            )
        groups = [key or name for key, name in zip(found, groups, strict=True)]
        together = f", {len(set(found) - {None})} groups by {pattern} kept together"
        together += f", {alone} photos match none" if alone else ""
    copies = _copies([sample.image for sample in samples])
    into: dict[str, str] = {}  # of two groups that share a photo, the later to the earlier

    def joined(group: str) -> str:
        while group in into:
            group = into[group]
        return group

    for first, copy in copies:
        one, other = sorted((joined(groups[first]), joined(groups[copy])))
        if one != other:
            into[other] = one
    groups = [joined(group) for group in groups]
    return groups, together + (f", {len(copies)} copies kept with their photo" if copies else "")


def _matched(pattern: str, samples: Sequence[Sample], root: Path) -> list[str | None]:
    """What a pattern matches in each photo's name, or else in its path; None where in neither."""
    try:
        expression = re.compile(pattern)
    except re.error as error:
        raise ArgumentError(f"{pattern!r} is no regular expression: {error}") from error
    matches = [expression.search(s.name) or expression.search(_below(root, s)) for s in samples]
    group = 1 if expression.groups else 0
    return [(match[group] or None) if match else None for match in matches]


def _below(root: Path, sample: Sample) -> str:
    return sample.image.relative_to(root).as_posix()


def _copies(photos: Sequence[Path]) -> list[tuple[int, int]]:
    """Places of equal files, the first and another. Only files of one size and beginning are read.

    Without compression most files are of one size, and the beginnings tell them apart.
    """
    copies, everywhere = [], list(range(len(photos)))
    for alike in _by(lambda i: photos[i].stat().st_size, everywhere):
        for similar in _by(lambda i: _beginning(photos[i]), alike):
            for first, *others in _by(lambda i: faults.digest(photos[i]), similar):
                copies += [(first, other) for other in others]
    return copies


def _by(key: Callable[[int], Hashable], places: Sequence[int]) -> list[list[int]]:
    """Places that agree in a key, where there are two or more."""
    found: dict[Hashable, list[int]] = defaultdict(list)
    for place in places:
        found[key(place)].append(place)
    return [group for group in found.values() if len(group) > 1]


def _beginning(file: Path) -> bytes:
    with file.open("rb") as stream:
        return stream.read(1 << 12)


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
