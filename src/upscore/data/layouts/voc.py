"""PASCAL VOC, and CVAT's "Segmentation mask" export, which adds labelmap.txt."""

from pathlib import Path

from upscore.data.classes import VOC, Colour
from upscore.data.layouts.layout import (
    Classes,
    Layout,
    Listing,
    in_order,
    is_image,
    match,
    own_name,
    relative,
)
from upscore.data.text import read_text
from upscore.errors import DataError


def _lists(root: Path) -> Path:
    return root / "ImageSets" / "Segmentation"


def _splits(root: Path) -> tuple[str, ...]:
    if not all((root / name).is_dir() for name in ("JPEGImages", "SegmentationClass")):
        return ()
    return in_order(path.stem for path in _lists(root).glob("[!.]*.txt"))


def _read(root: Path, split: str) -> Listing:
    listing, labels = _lists(root) / f"{split}.txt", root / "labelmap.txt"
    lines = read_text(listing).splitlines()
    names = (_stem(line.strip()) for line in lines if line.strip())
    folders = root / "JPEGImages", root / "SegmentationClass"
    samples, problems, _ = match(*folders, names, listing.name)
    if not labels.exists():
        return Listing(samples, problems, relative(root, listing), Classes(VOC))
    return Listing(samples, problems, relative(root, listing, labels), _labelmap(labels))


def _stem(line: str) -> str:
    """The stem that a line of a list means: `a`, `a.jpg`, or the paths of a photo and its mask."""
    if all(map(is_image, line.split())):
        line = line.split()[0]
    name = own_name(line)
    return Path(name).stem if is_image(name) else name


def _labelmap(path: Path) -> Classes:
    """CVAT's classes: a line `name:red,green,blue:parts:actions` for each."""
    classes: dict[str, Colour] = {}
    for number, line in enumerate(read_text(path).splitlines(), 1):
        if not line.strip() or line.startswith("#"):
            continue
        name, _, rest = line.partition(":")
        values = [value.strip() for value in rest.partition(":")[0].split(",")]
        if len(values) != 3 or not all(v.isdecimal() and int(v) < 256 for v in values):
            raise DataError(f"{path}:{number}: {line[:80]!r}; expected `name:128,0,64::`")
        if name in classes:
            raise DataError(f"{path}:{number}: class name given twice: {name}")
        red, green, blue = map(int, values)
        classes[name] = red, green, blue
    if len(set(classes.values())) != len(classes):
        raise DataError(f"{path}: two classes have the same colour")
    return Classes(tuple(classes), tuple(classes.values()))


VOC_FOLDER = Layout(
    "PASCAL VOC",
    "JPEGImages/ + SegmentationClass/ + ImageSets/Segmentation/*.txt, with or without labelmap.txt",
    _splits,
    _read,
)
