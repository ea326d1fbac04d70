"""Photos in one folder and masks in another, matched by stem: images/ and masks/, or the like."""

from pathlib import Path

from upscore.data.layouts.layout import (
    ALL,
    Layout,
    Listing,
    folders_in,
    has_images,
    in_order,
    is_usual,
    match,
)
from upscore.errors import DataError

_PHOTOS = ("images", "image", "imgs", "img", "photos", "photo", "pictures")
_MASKS = (
    *("masks", "mask", "labels", "label", "gt", "groundtruth", "ground_truth"),
    *("annotations", "annotation", "segmentations"),
)

Pair = tuple[Path, Path]  # the folders of photos and of masks


def _pair(folder: Path) -> Pair | None:
    """The two folders in this one that hold photos and their masks; None if there are none.

    There may be others of such names, of text files mostly. An empty `masks` is taken for what it
    says, so that what is missing is reported.
    """
    inside = folders_in(folder)
    photos, masks = ([f for f in inside if f.name.lower() in known] for known in (_PHOTOS, _MASKS))
    pairs = [(images, marked) for images in photos for marked in masks if _fit(images, marked)]
    plain = folder / "images", folder / "masks"
    if plain in pairs or not pairs:
        return plain if all(path.is_dir() for path in plain) else None
    if len(pairs) > 1:
        found = ", ".join(f"{images.name} + {marked.name}" for images, marked in pairs)
        raise DataError(
            f"{folder}: more than one pair of photos and masks: {found}; move those you do not "
            "want elsewhere, or name yours with --images and --masks"
        )
    [pair] = pairs
    others = [f.name for f in inside if f not in (*photos, *masks) and has_images(f)]
    if others and pair[1].name.lower() != "masks":  # in DRIVE, `mask` is the camera's field of view
        raise DataError(
            f"{folder}: the masks may be in {pair[1].name} or in {', '.join(others)}; call their "
            "folder masks, or name it with --images and --masks"
        )
    return pair


def _fit(photos: Path, masks: Path) -> bool:
    """Whether both folders hold images, themselves or in sub-folders of one name."""
    if any(masks.glob("*.json")):  # annotations of COCO, whatever lies beside them
        return False
    if has_images(photos):
        return has_images(masks)
    return any(has_images(masks / name, deep=True) for name in _shared(photos, masks))


def _shared(photos: Path, masks: Path) -> list[str]:
    return [path.name for path in folders_in(photos) if (masks / path.name).is_dir()]


def _pairs(root: Path) -> dict[str, Pair]:
    """The two folders of each split."""
    pair = _pair(root)
    if pair is None:
        return {path.name: found for path in folders_in(root) if (found := _pair(path))}
    shared = [] if has_images(pair[0]) else _shared(*pair)
    if not any(map(is_usual, shared)):
        return {ALL: pair}
    return {name: (pair[0] / name, pair[1] / name) for name in shared}


def _splits(root: Path) -> tuple[str, ...]:
    return in_order(_pairs(root))


def _read(root: Path, split: str) -> Listing:
    photos_in, masks_in = _pairs(root)[split]
    samples, problems, rule = match(photos_in, masks_in, deep=not has_images(photos_in))
    return Listing(samples, problems, rule.where(root, photos_in, masks_in))


FOLDERS = Layout(
    "folders of photos and masks",
    "images/ + masks/ (or photos/, img/, labels/, gt/, ...) matched by name, alone or divided: "
    "train/images/ + train/masks/, or images/train/ + masks/train/",
    _splits,
    _read,
)
