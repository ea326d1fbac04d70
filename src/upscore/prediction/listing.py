"""Which photos a list of files, folders and patterns means, and what to call each."""

import glob
import os
from collections.abc import Collection, Iterable, Iterator
from os import PathLike
from pathlib import Path

from upscore import images
from upscore.images.decode import UNREAD_SUFFIXES

_ARRAY = ".zarr"  # a folder that is one picture


def named_photos(
    paths: Iterable[str | PathLike[str]],
    results: Path,
    suffixes: Collection[str] = images.SUFFIXES,
) -> Iterator[tuple[Path, str]]:
    """Every photo that the paths mean, each once, with a name of its own for its results.

    Folders are searched for files of these suffixes. A folder's photos are called by their place in
    it; a.jpg and a.png become a and a-2. What cannot be found is passed on as it is, for the reader
    to report; so are photos in formats that nobody reads, after the others. Hidden files and what
    earlier runs wrote to `results` are no photos.
    """
    return _named(_found(paths, results, suffixes))


def _found(
    paths: Iterable[str | PathLike[str]], out: Path, suffixes: Collection[str]
) -> Iterator[tuple[Path, Path]]:
    """The photos and their paths below what was given."""
    results = {(out / part).resolve() for part in ("labels", "overlays", "confidence")}
    seen: set[Path] = set()
    for given in paths:
        path = Path(given)
        if path.is_dir() and not _is_array(path, suffixes):
            files = [p for p in _in_order(path, suffixes) if _is_new(p, results)]
            pairs = [(p, p.relative_to(path)) for p in files]
        else:
            matches = [] if path.exists() else sorted(glob.glob(str(given), recursive=True))
            files = [p for p in map(Path, matches) if p.is_file() or _is_array(p, suffixes)]
            pairs = [(p, Path(p.name)) for p in files if _is_new(p, results)]
        for photo, name in pairs or [(path, Path(path.resolve().name or "photo"))]:
            if (whole := photo.resolve()) not in seen:
                seen.add(whole)
                yield photo, name


def _in_order(folder: Path, suffixes: Collection[str]) -> list[Path]:
    """The photos in a folder; then those in formats that are not read and lie there alone.

    a.heic beside a.jpg has been converted. Where no photos are asked for, but videos, none are.
    """
    others = UNREAD_SUFFIXES.difference(suffixes) if set(suffixes) >= images.SUFFIXES else ()
    found = sorted(_inside(folder, {*suffixes, *others}))
    read = [path for path in found if path.suffix.lower() not in others]
    converted = {path.with_suffix("") for path in read}
    return read + [
        path
        for path in found
        if path.suffix.lower() in others and path.with_suffix("") not in converted
    ]


def _inside(folder: Path, suffixes: Collection[str]) -> Iterator[Path]:
    """The photos in a folder and in those below it, but for hidden ones."""
    for place, folders, files in os.walk(folder):
        below = [Path(place, name) for name in folders if not name.startswith(".")]
        arrays = [path for path in below if _is_array(path, suffixes)]
        folders[:] = [path.name for path in below if path not in arrays]
        yield from arrays
        for path in (Path(place, name) for name in files if not name.startswith(".")):
            if path.suffix.lower() in suffixes and path.is_file():
                yield path


def _is_array(path: Path, suffixes: Collection[str]) -> bool:
    return _ARRAY in suffixes and path.suffix.lower() == _ARRAY and path.is_dir()


def _is_new(path: Path, results: set[Path]) -> bool:
    """Whether no earlier run wrote this file."""
    return results.isdisjoint(path.resolve().parents)


def _named(found: Iterable[tuple[Path, Path]]) -> Iterator[tuple[Path, str]]:
    """Number names that are taken; some file systems do not tell A from a."""
    taken: set[str] = set()
    for path, relative in found:
        name = stem = relative.with_suffix("").as_posix()
        number = 1
        while name.lower() in taken:
            number += 1
            name = f"{stem}-{number}"
        taken.add(name.lower())
        yield path, name
