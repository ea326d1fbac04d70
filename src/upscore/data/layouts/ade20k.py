"""ADE20K as in the Scene Parsing Challenge of 2016: images/training, annotations/training."""

from collections.abc import Mapping
from pathlib import Path

from upscore.data.classes import VOID
from upscore.data.layouts.layout import Classes, Layout, Listing, images_in, in_order, match
from upscore.data.text import read_text

_COUNT = 150


def _values(count: int) -> Mapping[int, int]:
    """0 is void, so that class i has the value i + 1."""
    return {0: VOID} | {i + 1: i for i in range(count)}


def _splits(root: Path) -> tuple[str, ...]:
    photos, masks = root / "images", root / "annotations"
    if not (photos.is_dir() and masks.is_dir()):
        return ()
    return in_order(path.name for path in photos.iterdir() if (masks / path.name).is_dir())


def _is_own(root: Path) -> bool:
    """Whether this is ADE20K, and not a folder of its shape: there no id is to be shifted."""
    photos = (path for split in _splits(root) for path in images_in(root / "images" / split))
    return _table(root).exists() or any(path.name.startswith("ADE_") for path in photos)


def _read(root: Path, split: str) -> Listing:
    folders, table = (root / "images" / split, root / "annotations" / split), _table(root)
    classes = Classes(_names(table), values=_values)
    samples, problems, rule = match(*folders)
    named = f", {table.name}" if table.exists() else ""
    source = f"{rule.where(root, *folders)}{named}; 0 is void, 1 the first class"
    return Listing(samples, problems, source, classes)


def _table(root: Path) -> Path:
    return root / "objectInfo150.txt"


def _names(table: Path) -> tuple[str, ...]:
    """The first name of each class (`wall`, `building, edifice`), or class_1 to class_150.

    The table has a heading, and a line `Idx Ratio Train Val Stuff Name` for each class, with tabs.
    """
    names = [f"class_{i}" for i in range(1, _COUNT + 1)]
    for line in read_text(table).splitlines()[1:] if table.exists() else ():
        columns = line.split("\t")
        number, name = columns[0].strip(), columns[-1].replace(";", ",").split(",")[0].strip()
        if len(columns) > 1 and number.isdecimal() and 1 <= int(number) <= _COUNT and name:
            names[int(number) - 1] = name
    return tuple(
        name if names.count(name) == 1 else f"{name} {i}" for i, name in enumerate(names, 1)
    )


ADE20K = Layout(
    "ADE20K",
    "images/training/ADE_*.jpg + annotations/training/ADE_*.png, images/validation/ + ...",
    _splits,
    _read,
    _is_own,
)
