"""Where a folder keeps its photos and masks: the known layouts, found by looking."""

from dataclasses import dataclass, replace
from pathlib import Path

from upscore.data.layouts.ade20k import ADE20K
from upscore.data.layouts.camvid import CAMVID_FOLDER
from upscore.data.layouts.cityscapes import CITYSCAPES
from upscore.data.layouts.coco import COCO
from upscore.data.layouts.cvat import CVAT
from upscore.data.layouts.folders import FOLDERS
from upscore.data.layouts.labelme import LABELME
from upscore.data.layouts.layout import (
    ALL,
    Layout,
    Listing,
    few,
    folders_in,
    is_usual,
    known_as,
)
from upscore.data.layouts.patterns import BY_PATTERNS as BY_PATTERNS
from upscore.data.layouts.patterns import Patterns as Patterns
from upscore.data.layouts.patterns import chosen as chosen
from upscore.data.layouts.supervisely import SUPERVISELY
from upscore.data.layouts.voc import VOC_FOLDER
from upscore.data.sample import Sample, by_hash
from upscore.errors import ArgumentError, DataError

LAYOUTS = {
    "ade20k": ADE20K,  # before folders, which take what is not certainly ADE20K
    "folders": FOLDERS,
    "voc": VOC_FOLDER,
    "camvid": CAMVID_FOLDER,
    "cityscapes": CITYSCAPES,
    "coco": COCO,
    "supervisely": SUPERVISELY,
    "cvat": CVAT,
    "labelme": LABELME,
}


@dataclass(frozen=True)
class Recognised:
    """A folder whose layout is known.

    `splits` maps the names that users know, train, val and test first, to the layout's own.
    """

    root: Path
    name: str
    layout: Layout
    splits: dict[str, str]

    def read(self, split: str) -> tuple[str, Listing]:
        """The usual name of a split, and what it holds; a DataError if there is no such split."""
        names = {own: known for known, own in self.splits.items()} | {k: k for k in self.splits}
        if split not in names:
            raise DataError(f"{self.root}: no split {split!r}; it has {few(self.splits)}")
        split = names[split]
        listing = self.layout.read(self.root, self.splits[split])
        undivided = ALL in self.splits and len(set(self.splits.values())) == 1
        return split, _part(listing, split) if undivided else listing

    def samples(self) -> list[Sample]:
        """What all splits hold, each sample once."""
        listings = [self.layout.read(self.root, own) for own in set(self.splits.values())]
        return sorted(
            {sample for listing in listings for sample in listing.samples},
            key=lambda sample: sample.mask,
        )


def recognise(root: Path, layout: str | Patterns | None = None) -> Recognised:
    """The layout of a folder: the one asked for, or the first that fits."""
    if isinstance(layout, str) and layout not in LAYOUTS:
        raise ArgumentError(f"layout {layout!r} is not one of {', '.join(LAYOUTS)}")
    if not root.is_dir():
        raise DataError(f"{root}: {'not a folder' if root.exists() else 'no such folder'}")
    if isinstance(layout, Patterns):
        candidates = {"patterns": layout.layout()}
    else:
        candidates = {n: known for n, known in LAYOUTS.items() if layout in (None, n)}
    for name, known in candidates.items():
        splits = known.splits(root) if layout or known.certain(root) else ()
        if splits and (layout or not _is_above(root, splits)):
            return Recognised(root, name, known, _known(splits))
    found = few(sorted(path.name for path in root.iterdir())) or "nothing"
    inside = [path for path in folders_in(root) if _fits(path)]
    if inside:
        raise DataError(f"{root}: found {found}; did you mean {few(map(str, inside))}?")
    expected = [f"  {name}: {known.about}" for name, known in candidates.items()]
    lines = [f"{root}: found {found}; expected", *expected, f"or {BY_PATTERNS}"]
    raise DataError("\n".join(lines))


def _is_above(root: Path, splits: tuple[str, ...]) -> bool:
    """Whether the one split is a data set in a folder of its own: `archive` of `archive/birds`."""
    split, *others = splits
    return not (others or split == ALL or is_usual(split)) and _fits(root / split)


def _known(splits: tuple[str, ...]) -> dict[str, str]:
    """A layout's splits by the names users know; what is not divided will be, in `_part`."""
    if len(splits) == 1 and splits[0] in (ALL, "default"):  # CVAT calls it so
        return dict.fromkeys(("train", "val", ALL), splits[0])
    return known_as(splits)


def _part(listing: Listing, split: str) -> Listing:
    """A part of what is not divided: the tenth of the names with the lowest hash is "val"."""
    if split == ALL:
        return listing
    samples = listing.samples
    ranked = sorted(samples, key=lambda sample: by_hash(sample.name))
    held_out = {s.name for s in ranked[: -(-len(samples) // 10)]}
    kept = [s for s in samples if (s.name in held_out) == (split == "val")]
    elsewhere = {s.at_fault for s in samples} - {s.at_fault for s in kept}
    problems = [problem for problem in listing.problems if problem.file not in elsewhere]
    return replace(listing, samples=kept, problems=problems)


def _fits(folder: Path) -> bool:
    try:
        return folder.is_dir() and any(
            layout.certain(folder) and layout.splits(folder) for layout in LAYOUTS.values()
        )
    except DataError:  # it is there, but broken
        return True
