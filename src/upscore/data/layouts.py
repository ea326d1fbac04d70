"""Where a folder keeps its photos and masks: three layouts, found by looking."""

from collections.abc import Callable, Iterable
from dataclasses import dataclass
from pathlib import Path
from zlib import crc32

from upscore import images
from upscore.data.problems import Problem
from upscore.errors import ArgumentError, DataError


@dataclass(frozen=True)
class Sample:
    """One photo and its mask."""

    name: str
    image: Path
    mask: Path


Listing = tuple[list[Sample], list[Problem]]


@dataclass(frozen=True)
class Layout:
    """A way to keep a data set: its splits (none where it does not fit), and their pairs."""

    about: str
    splits: Callable[[Path], tuple[str, ...]]
    pairs: Callable[[Path, str], Listing]


def _by_stem(folder: Path) -> tuple[dict[str, Path], list[Problem]]:
    """The image files of a folder by stem, and those whose stem another file already has."""
    files: dict[str, Path] = {}
    problems = []
    for path in sorted(folder.iterdir()) if folder.is_dir() else ():
        if path.suffix.lower() not in images.SUFFIXES or path.name.startswith("."):
            continue
        first = files.setdefault(path.stem, path)
        if first != path:
            message = f"{first.name} has the same stem"
            remedy = "keep one of the two, or rename one with its partner"
            problems.append(Problem(path, "ambiguous", message, remedy))
    return files, problems


def _match(
    photos_in: Path, masks_in: Path, names: Iterable[str] | None = None, source: str = ""
) -> Listing:
    """Pair two folders by stem: all the names in either, or the `names` that `source` lists."""
    photos, problems = _by_stem(photos_in)
    labels, more = _by_stem(masks_in)
    problems += more
    if names is not None:
        names = dict.fromkeys(names)
        problems = [problem for problem in problems if problem.file.stem in names]
    samples = []
    for name in sorted(photos.keys() | labels.keys()) if names is None else names:
        photo, mask = photos.get(name), labels.get(name)
        if photo and mask:
            samples.append(Sample(name, photo, mask))
        elif there := photo or mask:
            what, folder = ("mask", masks_in) if photo else ("photo", photos_in)
            message = f"no {what} named {name}.* in {folder}"
            remedy = f"add the {what}, remove this file, or skip it"
            problems.append(Problem(there, "no partner", message, remedy))
        else:
            message = f"{source} lists it, but neither {photos_in} nor {masks_in} has it"
            remedy = "add both files or take the line out"
            problems.append(Problem(photos_in / name, "missing", message, remedy))
    return samples, problems


def _is_pair(folder: Path) -> bool:
    return (folder / "images").is_dir() and (folder / "masks").is_dir()


def _folder_splits(root: Path) -> tuple[str, ...]:
    if _is_pair(root):
        return ("train", "val", "all")
    return _in_order(p.name for p in root.iterdir() if _is_pair(p))


def _folder_pairs(root: Path, split: str) -> Listing:
    """An undivided folder is divided here: the tenth of the stems with the lowest hash is "val"."""
    if not _is_pair(root):
        return _match(root / split / "images", root / split / "masks")
    samples, problems = _match(root / "images", root / "masks")
    if split != "all":
        ranked = sorted(samples, key=lambda s: (crc32(s.name.encode()), s.name))
        held_out = {s.name for s in ranked[: -(-len(samples) // 10)]}
        samples = [s for s in samples if (s.name in held_out) == (split == "val")]
    return samples, problems


def _voc_splits(root: Path) -> tuple[str, ...]:
    if not all((root / name).is_dir() for name in ("JPEGImages", "SegmentationClass")):
        return ()
    return _in_order(p.stem for p in (root / "ImageSets" / "Segmentation").glob("*.txt"))


def _voc_pairs(root: Path, split: str) -> Listing:
    listing = root / "ImageSets" / "Segmentation" / f"{split}.txt"
    lines = read_text(listing).splitlines()
    names = (line.strip() for line in lines if line.strip())
    return _match(root / "JPEGImages", root / "SegmentationClass", names, listing.name)


def _camvid_splits(root: Path) -> tuple[str, ...]:
    return _in_order(p.name for p in root.iterdir() if (root / f"{p.name}annot").is_dir())


def _camvid_pairs(root: Path, split: str) -> Listing:
    return _match(root / split, root / f"{split}annot")


def _in_order(names: Iterable[str]) -> tuple[str, ...]:
    """Split names with train, val and test first."""
    first = {"train": 0, "val": 1, "test": 2}
    return tuple(sorted(names, key=lambda name: (first.get(name, 3), name)))


LAYOUTS = {
    "folders": Layout(
        "images/ + masks/ matched by stem, alone or under train/, val/, test/",
        _folder_splits,
        _folder_pairs,
    ),
    "voc": Layout(
        "JPEGImages/ + SegmentationClass/ + ImageSets/Segmentation/*.txt", _voc_splits, _voc_pairs
    ),
    "camvid": Layout("train/ + trainannot/, val/ + valannot/, ...", _camvid_splits, _camvid_pairs),
}


def recognise(root: Path, layout: str | None = None) -> tuple[str, tuple[str, ...]]:
    """The layout of a folder (the one asked for, or the first that fits) and its splits."""
    if layout is not None and layout not in LAYOUTS:
        raise ArgumentError(f"layout {layout!r} is not one of {', '.join(LAYOUTS)}")
    if not root.is_dir():
        raise DataError(f"{root}: {'not a folder' if root.exists() else 'no such folder'}")
    for name in LAYOUTS if layout is None else (layout,):
        splits = LAYOUTS[name].splits(root)
        if splits:
            return name, splits
    expected = [f"  {n}: {known.about}" for n, known in LAYOUTS.items() if layout in (None, n)]
    found = ", ".join(sorted(p.name for p in root.iterdir())[:8]) or "nothing"
    inside = [
        path
        for path in root.iterdir()
        if path.is_dir() and any(known.splits(path) for known in LAYOUTS.values())
    ]
    hint = f"\n(did you mean {inside[0]}?)" if inside else ""
    raise DataError(f"{root}: found {found}; expected\n" + "\n".join(expected) + hint)


def read_text(path: Path) -> str:
    """A small text file; a DataError where it is not one."""
    try:
        return path.read_text(encoding="utf-8-sig")
    except (OSError, UnicodeDecodeError) as error:
        raise DataError(f"{path}: cannot be read as text: {error}") from error
