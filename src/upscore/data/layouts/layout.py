"""What a layout is, and what several of them need: files by stem, pairs, names of splits."""

import os
import re
from collections.abc import Callable, Collection, Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path, PureWindowsPath
from typing import Any, NamedTuple

from upscore import images
from upscore.data.classes import Colour
from upscore.data.layouts.pairing import Rule, rule_of
from upscore.data.problems import Problem, bad_shapes
from upscore.data.sample import Sample
from upscore.data.shapes import Drawing
from upscore.data.text import read_json
from upscore.errors import DataError
from upscore.images.decode import UNREAD_SUFFIXES

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
_SHOWN = 8  # names in a sentence
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
        certain: whether a folder that fits can be of no other layout; one that is not is read so
            only where the layout is asked for by name.
    """

    title: str
    about: str
    splits: Callable[[Path], tuple[str, ...]]
    read: Callable[[Path, str], Listing]
    certain: Callable[[Path], bool] = lambda root: True


def by_stem(folder: Path, *, deep: bool = False) -> tuple[dict[str, Path], list[Problem]]:
    """The image files of a folder by stem, and those whose stem another file already has.

    deep: those in its sub-folders too; then `stem_below` stands for the stem.
    """
    files: dict[str, Path] = {}
    problems = []
    for path in images_in(folder, deep=deep):
        first = files.setdefault(stem_below(path, folder), path)
        if first != path:
            message = f"{first.name} has the same stem"
            remedy = "keep one of the two, or rename one with its partner"
            problems.append(Problem(path, "ambiguous", message, remedy))
    return files, problems


def images_in(folder: Path, *, deep: bool = False) -> list[Path]:
    """The image files of a folder, with `deep` those below it too, in order; no hidden ones."""
    return sorted(_images(folder, deep))


def has_images(folder: Path, *, deep: bool = False) -> bool:
    """Whether `images_in` finds any."""
    return any(True for _ in _images(folder, deep))


def _images(
    folder: Path, deep: bool, suffixes: Collection[str] = images.SUFFIXES
) -> Iterator[Path]:
    for place, folders, files in os.walk(folder, followlinks=True):  # as `folders_in` does
        folders[:] = [name for name in folders if deep and not name.startswith(".")]
        yield from (Path(place, name) for name in files if is_image(name, suffixes))


def is_image(name: str, suffixes: Collection[str] = images.SUFFIXES) -> bool:
    """Whether a file of this name is an image, and not a hidden one, as Macs write into zips."""
    return os.path.splitext(name)[1].lower() in suffixes and not name.startswith(".")


def folders_in(folder: Path) -> list[Path]:
    """The folders in a folder, in order; no hidden ones."""
    if not folder.is_dir():
        return []
    with os.scandir(folder) as entries:  # which knows what is a folder: there may be many files
        return sorted(Path(e.path) for e in entries if e.is_dir() and not e.name.startswith("."))


def stem_below(path: Path, folder: Path) -> str:
    """A photo's name: its stem and, before it, the folders that it is in below this one."""
    return path.relative_to(folder).with_suffix("").as_posix()


class Pairs(NamedTuple):
    """Photos with their masks, what has no partner, and by which rule they were paired."""

    samples: list[Sample]
    problems: list[Problem]
    rule: Rule


def match(
    photos_in: Path,
    masks_in: Path,
    names: Iterable[str] | None = None,
    source: str = "",
    *,
    deep: bool = False,
) -> Pairs:
    """Pair two folders by stem: all the names in either, or the `names` that `source` lists.

    Where no stem is in both, by the rule that their names follow, if there is one.

    deep: pair the files below the two folders by their places too.
    """
    photos, problems = by_stem(photos_in, deep=deep)
    masks, more = by_stem(masks_in, deep=deep)
    problems += more
    rule = rule_of(photos, masks) if names is None else Rule()
    masks = {rule.photo_of(name): path for name, path in masks.items()}
    if names is not None:
        names = dict.fromkeys(names)
        problems = [problem for problem in problems if problem.file.stem in names]
    unread_photos, unread_masks = (_unread(where, deep) for where in (photos_in, masks_in))
    samples = []
    for name in sorted(photos.keys() | masks.keys()) if names is None else names:
        photo, mask = photos.get(name), masks.get(name)
        if photo and mask:
            samples.append(Sample(name, photo, mask))
        elif photo:
            wanted = rule.mask_of(name)
            message = unread_masks.get(wanted, f"no mask named {wanted}.* in {masks_in}")
            problems.append(no_partner(photo, message, "mask"))
        elif mask:
            message = unread_photos.get(name, f"no photo named {name}.* in {photos_in}")
            problems.append(no_partner(mask, message, "photo"))
        else:
            message = f"{source} lists it, but neither {photos_in} nor {masks_in} has it"
            remedy = "add both files or take the line out"
            problems.append(Problem(photos_in / name, "missing", message, remedy))
    return Pairs(samples, problems, rule)


def _unread(folder: Path, deep: bool) -> dict[str, str]:
    """Names of pictures in formats that are not read, and words that say so."""
    return {
        stem_below(file, folder): f"{file} is in a format that is not read: convert it to PNG or "
        "JPEG"
        for file in _images(folder, deep, UNREAD_SUFFIXES)
    }


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


def photo_of(folders: Iterable[Path], name: str) -> tuple[Path, str] | None:
    """The photo that an annotation calls `name`, in the first folder that has it; what to call it.

    Its stem alone would not do: it may be `p1/001.png`, beside `p2/001.png`.
    """
    for folder in folders:
        if photo := below(folder, name):
            return photo, stem_below(photo, folder)
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


def is_usual(name: str) -> bool:
    """Whether a name is one of a split."""
    return usual(name) in _FIRST


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


def few(names: Iterable[str]) -> str:
    """Names for a sentence, eight of them at most.

    >>> few("abcdefghij")
    'a, b, c, d, e, f, g, h, ... (10 in all)'
    """
    names = list(names)
    more = f", ... ({len(names)} in all)" if len(names) > _SHOWN else ""
    return ", ".join(names[:_SHOWN]) + more


def only_undivided(names: Iterable[str]) -> tuple[str, ...]:
    """The names, in order, if one of them is usual for a training split; else `ALL` of them."""
    names = in_order(names)
    return names if any(usual(name) == "train" for name in names) else (ALL,) if names else ()
