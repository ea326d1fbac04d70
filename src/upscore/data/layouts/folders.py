"""Photos in images/, masks in masks/, matched by stem."""

from pathlib import Path

from upscore.data.layouts.layout import ALL, Layout, Listing, in_order, match, relative


def _is_pair(folder: Path) -> bool:
    return (folder / "images").is_dir() and (folder / "masks").is_dir()


def _splits(root: Path) -> tuple[str, ...]:
    if _is_pair(root):
        return (ALL,)
    return in_order(path.name for path in root.iterdir() if _is_pair(path))


def _read(root: Path, split: str) -> Listing:
    folder = root if _is_pair(root) else root / split
    photos_in, masks_in = folder / "images", folder / "masks"
    return Listing(*match(photos_in, masks_in), relative(root, photos_in, masks_in))


FOLDERS = Layout(
    "folders of photos and masks",
    "images/ + masks/ matched by stem, alone or under train/, val/, test/",
    _splits,
    _read,
)
