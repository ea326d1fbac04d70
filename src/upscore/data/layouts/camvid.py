"""CamVid as SegNet's authors keep it: a split and its masks in `train` and `trainannot`."""

from collections.abc import Mapping
from pathlib import Path

from upscore.data.classes import CAMVID, VOID
from upscore.data.layouts.layout import Classes, Layout, Listing, in_order, match


def _values(count: int) -> Mapping[int, int]:
    """Void is the value just above the classes."""
    return {i: i for i in range(count)} | {count: VOID}


def _splits(root: Path) -> tuple[str, ...]:
    return in_order(p.name for p in root.iterdir() if (root / f"{p.name}annot").is_dir())


def _read(root: Path, split: str) -> Listing:
    folders = root / split, root / f"{split}annot"
    classes = Classes(tuple(CAMVID), palette=CAMVID, values=_values)
    samples, problems, rule = match(*folders)
    return Listing(samples, problems, rule.where(root, *folders), classes)


CAMVID_FOLDER = Layout("CamVid", "train/ + trainannot/, val/ + valannot/, ...", _splits, _read)
