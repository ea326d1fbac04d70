"""What a layout is, and what several of them need: files by stem, pairs, names of splits."""

import re
from collections.abc import Callable, Iterable, Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path, PureWindowsPath
from typing import Any

from upscore import images
from upscore.data.classes import Colour
from upscore.data.problems import Problem, bad_shapes
from upscore.data.sample import Sample
from upscore.data.shapes import Drawing
from upscore.data.text import read_json
from upscore.errors import DataError

ALL = "all"  # the one split of a layout that has none: it is divided into "train" and "val"
_USUAL = {
    "train": "train",
    "training": "train",
    "test": "test",
    "testing": "test",
    "val": "val",
    "valid": "val",
    "validation": "val",
    "dev": "val",
}
_FIRST = {"train": 0, "val": 1, "test": 2}


def as_they_are(count: int) -> Mapping[int, int]:
    """The classes of the mask values 0..count-1: those very numbers."""
    return {i: i for i in range(count)}


@dataclass(frozen=True)
class Classes:
    """What a layout itself says of its classes.

    Attributes:
        names: in the order of their ids; None where nothing tells.
        colours: those that stand for the classes in colour masks, where a file lists them.
        palette: colours to show classes in, by name.
        values: given the number of classes, the class of each value in a mask, 255 for void.
    """

    names: tuple[str, ...] | None = None
    colours: tuple[Colour, ...] | None = None
    palette: Mapping[str, Colour] = field(default_factory=dict)
    values: Callable[[int], Mapping[int, int]] = as_they_are


@dataclass(frozen=True)
class Listing:
    """The pairs of one split, what is wrong in listing them, and which files say so."""

    samples: list[Sample]
    problems: list[Problem]
    source: str
    classes: Classes = Classes()


@dataclass(frozen=True)
class Layout:
    """A way to keep a data set.

    Attributes:
        title: its name in a sentence.
        about: what the folder holds.
        splits: the names of the splits below a folder: none where the layout does not fit, `ALL`
            where it does not divide.
        read: lists one of these splits.
    """

    title: str
    about: str
    splits: Callable[[Path], tuple[str, ...]]
    read: Callable[[Path, str], Listing]


def by_stem(folder: Path) -> tuple[dict[str, Path], list[Problem]]:
    """The image files of a folder by stem, and those whose stem another file already has."""
    files: dict[str, Path] = {}
    problems = []
    for path in images_in(folder):
        first = files.setdefault(path.stem, path)
        if first != path:
            message = f"{first.name} has the same stem"
            remedy = "keep one of the two, or rename one with its partner"
            problems.append(Problem(path, "ambiguous", message, remedy))
    return files, problems


def images_in(folder: Path) -> list[Path]:
    """The image files of a folder, in order."""
    return [
        path
        for path in (sorted(folder.iterdir()) if folder.is_dir() else ())
        if path.suffix.lower() in images.SUFFIXES and not path.name.startswith(".")
    ]


def match(
    photos_in: Path, masks_in: Path, names: Iterable[str] | None = None, source: str = ""
) -> tuple[list[Sample], list[Problem]]:
    """Pair two folders by stem: all the names in either, or the `names` that `source` lists."""
    photos, problems = by_stem(photos_in)
    masks, more = by_stem(masks_in)
    problems += more
    if names is not None:
        names = dict.fromkeys(names)
        problems = [problem for problem in problems if problem.file.stem in names]
    samples = []
    for name in sorted(photos.keys() | masks.keys()) if names is None else names:
        photo, mask = photos.get(name), masks.get(name)
        if photo and mask:
            samples.append(Sample(name, photo, mask))
        elif photo:
            problems.append(no_partner(photo, f"no mask named {name}.* in {masks_in}", "mask"))
        elif mask:
            problems.append(no_partner(mask, f"no photo named {name}.* in {photos_in}", "photo"))
        else:
            message = f"{source} lists it, but neither {photos_in} nor {masks_in} has it"
            remedy = "add both files or take the line out"
            problems.append(Problem(photos_in / name, "missing", message, remedy))
    return samples, problems


def annotated(
    name: str,
    photo: Path,
    note: Path,
    draw: Callable[[dict[str, Any]], tuple[Drawing, list[str]]],
) -> tuple[list[Sample], list[Problem]]:
    """A photo with what the JSON file that is its own draws; none where that cannot be read.

    draw: makes shapes of the file's content, and says what is wrong with those it leaves out.
    """
    try:
        drawing, faults = draw(read_json(note))
    except DataError as error:
        message = str(error).removeprefix(f"{note}: ")
        return [], [Problem(note, "unreadable", message, "export it again, or skip it")]
    return [Sample(name, photo, note, drawing)], bad_shapes(note, faults)


def no_partner(file: Path, message: str, what: str) -> Problem:
    """A photo without its mask or annotations, or these without their photo."""
    return Problem(file, "no partner", message, f"add the {what}, remove this file, or skip it")


def below(folder: Path, name: str) -> Path | None:
    """The file that an annotation calls `name`, in `folder`, or None.

    Names come from other machines: with backslashes, absolute, or of folders that are not here.
    Then the file's own name decides. Nothing outside the folder is looked at.
    """
    path = PureWindowsPath(name)  # knows both separators
    inside = not path.anchor and ".." not in path.parts
    for parts in (path.parts, (path.name,)) if inside else ((path.name,),):
        file = folder.joinpath(*parts)
        if path.name not in ("", "..") and is_file(file):
            return file
    return None


def own_name(name: str) -> str:
    """A file's own name, of a path written on any machine."""
    return PureWindowsPath(name).name or "?"


def is_file(path: Path) -> bool:
    """Whether a path, perhaps a senseless one, is a file."""
    try:
        return path.is_file()
    except (OSError, ValueError):
        return False


def colour_of(text: object) -> Colour | None:
    """The colour that `#rrggbb` spells, or None."""
    if not isinstance(text, str) or not re.fullmatch("#[0-9a-fA-F]{6}", text):
        return None
    red, green, blue = bytes.fromhex(text[1:])
    return red, green, blue


def drawn_classes(names: Iterable[str], palette: Mapping[str, Colour] | None = None) -> Classes:
    """The classes of drawn masks: `background`, which no shape needs to cover, and `names`."""
    names = ("background", *(name for name in names if name != "background"))
    return Classes(names, palette={"background": (0, 0, 0), **(palette or {})})


def relative(root: Path, *paths: Path) -> str:
    """Paths below a root, for a sentence."""
    return ", ".join(path.relative_to(root).as_posix() for path in paths)


def in_order(names: Iterable[str]) -> tuple[str, ...]:
    """Split names with train, val and test first."""
    return tuple(sorted(names, key=lambda name: (_FIRST.get(usual(name), 3), name)))


def usual(name: str) -> str:
    """The usual name of a split: "valid" is "val", "train2017" is "train"; others keep theirs.

    >>> [usual(name) for name in ("Validation", "train2017", "dev", "trainval")]
    ['val', 'train', 'val', 'trainval']
    """
    plain = re.sub(r"[-_ ]?(19|20)\d\d$", "", name.lower())
    return _USUAL.get(plain, name)


def known_as(names: Sequence[str]) -> dict[str, str]:
    """Splits by the names that users know: the usual ones, where two do not share one.

    >>> known_as(["training", "validation", "extra"])
    {'train': 'training', 'val': 'validation', 'extra': 'extra'}
    >>> known_as(["val", "valid"])
    {'val': 'val', 'valid': 'valid'}
    """
    shared = [usual(name) for name in names]
    known = {
        usual(name) if shared.count(usual(name)) == 1 else name: name for name in in_order(names)
    }
    return dict(sorted(known.items(), key=lambda item: (_FIRST.get(item[0], 3), item[0])))


def only_undivided(names: Iterable[str]) -> tuple[str, ...]:
    """The names, in order, if one of them is usual for a training split; else `ALL` of them."""
    names = in_order(names)
    return names if any(usual(name) == "train" for name in names) else (ALL,) if names else ()
