"""Which photos a list of files, folders and patterns means, and what to call each."""

import glob
from collections.abc import Iterable, Iterator
from os import PathLike
from pathlib import Path

from upscore import images


def named_photos(paths: Iterable[str | PathLike[str]], results: Path) -> Iterator[tuple[Path, str]]:
    """Every photo that the paths mean, each once, with a name of its own for its results.

    A folder's photos are called by their place in it; a.jpg and a.png become a and a-2. What cannot
    be found is passed on as it is, for the reader to report. Hidden files and what earlier runs
    wrote to `results` are no photos.
    """
    return _named(_found(paths, results))


def _found(paths: Iterable[str | PathLike[str]], out: Path) -> Iterator[tuple[Path, Path]]:
    """The photos and their paths below what was given."""
    results = {(out / part).resolve() for part in ("labels", "overlays")}
    seen: set[Path] = set()
    for given in paths:
        path = Path(given)
        if path.is_dir():
            pairs = [(p, p.relative_to(path)) for p in sorted(path.rglob("*"))]
            pairs = [pair for pair in pairs if _is_photo(*pair, results)]
        else:
            matches = [] if path.exists() else sorted(glob.glob(str(given), recursive=True))
            files = [p for p in map(Path, matches) if p.is_file() and _is_new(p, results)]
            pairs = [(p, Path(p.name)) for p in files]
        for photo, name in pairs or [(path, Path(path.resolve().name or "photo"))]:
            if (whole := photo.resolve()) not in seen:
                seen.add(whole)
                yield photo, name


def _is_photo(path: Path, inside: Path, results: set[Path]) -> bool:
    hidden = any(part.startswith(".") for part in inside.parts)
    known = path.suffix.lower() in images.SUFFIXES and not hidden
    return known and path.is_file() and _is_new(path, results)


def _is_new(path: Path, results: set[Path]) -> bool:
    """Whether a file is none that an earlier run wrote."""
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
