"""The photos to learn from and those that score what is learned: found, looked into, divided."""

from collections.abc import Collection, Mapping
from pathlib import Path

from upscore import data as datasets
from upscore.data import Dataset, Survey
from upscore.data.classes import Source
from upscore.data.dataset import joined
from upscore.data.holdout import Fold, hold_out
from upscore.data.layouts.layout import few
from upscore.data.progress import progress_bar
from upscore.errors import ArgumentError, DataError
from upscore.images import kind_of
from upscore.io.atomic import make_folder, write_bytes
from upscore.training.processes import process
from upscore.training.reading import Reading


def found_parts(
    root: Path, reading: Reading, mapping: Source | None, out: str | Path | None
) -> tuple[Survey, Dataset | None, str]:
    """The photos to learn from, those that score it, and in words how they were told apart."""
    fold = None if reading.fold is None else Fold.parse(reading.fold)
    group_by = reading.group_by
    available = datasets.splits(root, layout=reading.layout)
    if "train" not in available:
        raise DataError(
            f"{root}: no split 'train' to learn from; it has {few(available)}: rename one, "
            "or put the photos into images/ and the masks into masks/"
        )
    # "all" is what an undivided folder has: it is divided here, by its classes and groups.
    names = ("all",) if "all" in available else ("train", "val", "test")
    found = {
        name: datasets.find(root, name, layout=reading.layout, mapping=mapping, skip=reading.skip)
        for name in names
        if name in available
    }
    if "all" in found:
        found["train"] = found.pop("all")
    if "val" in found and fold is None:
        if group_by is not None:
            raise ArgumentError(f"{root} has its own val: group_by divides data without one")
        unknown = [n for n in found["val"].class_names if n not in found["train"].class_names]
        if unknown:
            raise DataError(
                f"{root}: val has classes that train does not have: {', '.join(unknown)}. Merge or "
                "ignore them (--mapping)"
            )
        kinds = [kind_of(found[name].bands) for name in ("train", "val")]
        if kinds[0] != kinds[1] and found["val"].samples:
            raise DataError(f"{root}: the photos of train are {kinds[0]}, those of val {kinds[1]}")
        surveys = _surveyed(found, ("train", "val"), reading.allow, out)
        if not surveys["val"].class_pixels.any():
            raise DataError(
                f"{root}: the masks of 'val' are void everywhere. Mark classes in them, or remove "
                "'val': then photos of 'train' are held out"
            )
        return surveys["train"], found["val"], "train and val of the data"
    if "val" in found:
        found["train"] = joined(found["train"], found.pop("val"))
    survey = _surveyed(found, ("train",), reading.allow, out)["train"]
    parts = hold_out(survey, group_by=group_by, fold=fold)
    if not parts.validation:
        return survey, None, parts.reason
    held = survey.part(parts.validation)
    if not held.class_pixels.any():
        return survey, None, f"{parts.reason}; nothing is marked in those, so all are learned from"
    return survey.part(parts.training), held.dataset, parts.reason


def _surveyed(
    found: Mapping[str, Dataset],
    names: Collection[str],
    allow: Collection[str],
    out: str | Path | None,
) -> dict[str, Survey]:
    """Look into all files before the first step; if some are broken, say which to mend or skip."""
    main = process().is_main_process
    surveys = {}
    for name in names:
        # Only with the later splits: a photo of two is listed once, and one of them keeps it.
        later = list(found.values())[list(found).index(name) + 1 :]
        with progress_bar(f"checking {name}", shown=main) as progress:
            surveys[name] = datasets.survey(
                found[name], against=later, allow=allow, progress=progress
            )
    problems = [problem for survey in surveys.values() for problem in survey.problems]
    if not problems:
        return surveys
    message = datasets.report(problems)
    skippable = datasets.skip_list(found["train"], problems)
    if skippable and out is not None:
        listing = make_folder(out) / "skip.txt"
        write_bytes(listing, skippable.encode(errors="surrogateescape"))
        message += f"\nFix them, or leave them out with --skip {listing}"
    raise DataError(message)
