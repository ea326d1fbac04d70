"""Cityscapes: leftImg8bit/train/city/*_leftImg8bit.png, gtFine/train/city/*_gtFine_labelIds.png."""

from collections.abc import Mapping
from pathlib import Path

from upscore.data.classes import VOID, Colour
from upscore.data.layouts.layout import (
    Classes,
    Layout,
    Listing,
    as_they_are,
    in_order,
    no_partner,
    relative,
)
from upscore.data.sample import Sample

_PHOTO = "_leftImg8bit"
_MASKS = ("_gtFine_labelIds.png", "_gtFine_labelTrainIds.png")
_LAST_ID = 33  # ids from 0 to here that are of no training class are void

# The classes of training ids 0 to 18, each with its label id and colour: `labels.py` of
# cityscapesScripts.
_CLASSES: dict[str, tuple[int, Colour]] = {
    "road": (7, (128, 64, 128)),
    "sidewalk": (8, (244, 35, 232)),
    "building": (11, (70, 70, 70)),
    "wall": (12, (102, 102, 156)),
    "fence": (13, (190, 153, 153)),
    "pole": (17, (153, 153, 153)),
    "traffic light": (19, (250, 170, 30)),
    "traffic sign": (20, (220, 220, 0)),
    "vegetation": (21, (107, 142, 35)),
    "terrain": (22, (152, 251, 152)),
    "sky": (23, (70, 130, 180)),
    "person": (24, (220, 20, 60)),
    "rider": (25, (255, 0, 0)),
    "car": (26, (0, 0, 142)),
    "truck": (27, (0, 0, 70)),
    "bus": (28, (0, 60, 100)),
    "train": (31, (0, 80, 100)),
    "motorcycle": (32, (0, 0, 230)),
    "bicycle": (33, (119, 11, 32)),
}
_PALETTE = {name: colour for name, (_, colour) in _CLASSES.items()}


def _label_ids(count: int) -> Mapping[int, int]:
    """The 19 classes by label id; other names than those say what the values are themselves."""
    if count != len(_CLASSES):
        return {i: i for i in range(count)}
    void = dict.fromkeys(range(_LAST_ID + 1), VOID)
    return void | {value: i for i, (value, _) in enumerate(_CLASSES.values())}


def _splits(root: Path) -> tuple[str, ...]:
    photos, masks = root / "leftImg8bit", root / "gtFine"
    if not (photos.is_dir() and masks.is_dir()):
        return ()
    return in_order(path.name for path in photos.iterdir() if (masks / path.name).is_dir())


def _read(root: Path, split: str) -> Listing:
    photos_in, masks_in = root / "leftImg8bit" / split, root / "gtFine" / split
    photos = {
        path.relative_to(photos_in).as_posix().removesuffix(f"{_PHOTO}.png"): path
        for path in sorted(photos_in.glob(f"*/[!.]*{_PHOTO}.png"))
    }
    ending = next((end for end in _MASKS if any(masks_in.glob(f"*/*{end}"))), _MASKS[0])
    masks = {
        path.relative_to(masks_in).as_posix().removesuffix(ending): path
        for path in sorted(masks_in.glob(f"*/[!.]*{ending}"))
    }
    samples = [
        Sample(photo.stem.removesuffix(_PHOTO), photo, masks[name])
        for name, photo in photos.items()
        if name in masks
    ]
    problems = [
        no_partner(photos[name], f"no mask {masks_in / name}{ending}", "mask")
        if name in photos
        else no_partner(masks[name], f"no photo {photos_in / name}{_PHOTO}.png", "photo")
        for name in sorted(photos.keys() ^ masks.keys())
    ]
    values = _label_ids if ending == _MASKS[0] else as_they_are
    classes = Classes(tuple(_CLASSES), palette=_PALETTE, values=values)
    source = f"{relative(root, photos_in, masks_in)}, *{ending}"
    return Listing(samples, problems, source, classes)


CITYSCAPES = Layout(
    "Cityscapes",
    f"leftImg8bit/train/*/*{_PHOTO}.png + gtFine/train/*/*{_MASKS[0]} or *{_MASKS[1]}",
    _splits,
    _read,
)
