"""Look into every file of a data set before hours are spent on it."""

import hashlib
import os
from collections.abc import Callable, Collection, Iterable, Sequence
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from typing import TypeVar

import numpy as np
from numpy.typing import NDArray

from upscore import images
from upscore.data.classes import VOID
from upscore.data.dataset import Dataset
from upscore.data.layouts import Problem, Sample, read_text
from upscore.data.masks import Decoder, Pixels
from upscore.errors import ArgumentError, DataError

Progress = Callable[[int, int], object]
T = TypeVar("T")

# Of the places where a mask changes along a row or column, the share that are steps of a ramp:
# at most 0.05 in CamVid and VOC, also resized by the nearest pixel; at least 0.27 after bilinear
# or bicubic resizing by 0.33 to 2.
RAMP = 0.15

KINDS = (
    *("empty split", "no partner", "ambiguous", "missing", "unreadable", "sizes differ"),
    *("binary", "blurred", "no such class", "duplicate"),
)
_VALUES = {
    "index": "save one channel of ids that the class list has; 255 is void",
    "colour": "give each colour a class (`name R G B` in classes.txt), or correct the mask",
    "binary": "write 0 and 255 only, or name the kind 'index' if the values are ids",
}


def check(
    dataset: Dataset,
    *,
    against: Sequence[Dataset] = (),
    allow: Collection[str] = (),
    progress: Progress | None = None,
    workers: int | None = None,
) -> list[Problem]:
    """Decode every photo and mask and say what is wrong with them.

    Problems are of these kinds: "empty split", "no partner", "ambiguous" (two files of one stem),
    "missing" (listed but not there), "unreadable", "sizes differ", "binary" (0 and 255 alone among
    masks of ids), "blurred" (resized with interpolation), "no such class", and "duplicate" (the
    same photo is in a split of `against`).

    Args:
        against: other splits, which should share no photo with this one.
        allow: kinds that are not to be reported, such as "blurred" for masks of thin outlines.
        progress: called as `progress(done, total)` after each pair.
        workers: threads; as many as there are processors if not given.

    Returns:
        the problems, in the order of the samples; empty when all is well.
    """
    unknown = set(allow).difference(KINDS)
    if unknown:
        raise ArgumentError(f"no kind of problem {sorted(unknown)}; expected of {', '.join(KINDS)}")
    problems = list(dataset.problems)
    if not dataset.samples:
        message = f"the split {dataset.split!r} has no photo with a mask"
        remedy = "add pairs, or name another split"
        problems.append(Problem(dataset.root, "empty split", message, remedy))
    faults = _each(lambda s: list(_faults(s, dataset.decoder)), dataset, progress, workers)
    problems += [problem for found in faults for problem in found]
    problems += _duplicates(dataset, against)
    return [problem for problem in problems if problem.kind not in allow]


def report(problems: Sequence[Problem], shown: int = 20) -> str:
    """The problems as text: how many of each kind, and the first of them one by one."""
    kinds = [problem.kind for problem in problems]
    counts = ", ".join(f"{kinds.count(kind)} {kind}" for kind in dict.fromkeys(kinds))
    lines = [f"{len(problems)} problem{'s' * (len(problems) != 1)} ({counts}):"]
    lines += [f"  {problem}" for problem in problems[:shown]]
    if len(problems) > shown:
        lines.append(f"  and {len(problems) - shown} more")
    return "\n".join(lines)


def skip_list(dataset: Dataset, problems: Iterable[Problem]) -> str:
    """The files with problems as the text of a skip list: paths below the root, and why."""
    return "".join(
        f"{problem.file.relative_to(dataset.root).as_posix()}  # {problem.kind}\n"
        for problem in problems
        if problem.kind != "empty split"
    )


def read_skip_list(path: Path) -> tuple[str, ...]:
    """The entries of a skip list, for `find(skip=...)`: one a line, `  # ` begins a comment."""
    lines = (line.split("  # ")[0].strip() for line in read_text(path).splitlines())
    return tuple(line for line in lines if line and not line.startswith("#"))


def class_pixels(
    dataset: Dataset, *, progress: Progress | None = None, workers: int | None = None
) -> NDArray[np.int64]:
    """How many pixels of each class each mask has: N x C, void left out.

    Class weights follow from it: `counts.sum(0)` are the class frequencies.
    """

    def count(sample: Sample) -> NDArray[np.int64]:
        mask = dataset.decoder.classes(dataset.decoder.pixels(sample.mask))
        return np.bincount(mask.ravel(), minlength=VOID)[: len(dataset.classes)]

    rows = _each(count, dataset, progress, workers)
    return np.array(rows, np.int64).reshape(len(dataset), len(dataset.classes))


def long_side(dataset: Dataset, *, workers: int | None = None) -> int:
    """The median of the photos' longer sides, in pixels."""
    sides = _each(lambda sample: max(images.size(sample.image)), dataset, None, workers)
    return int(np.median(sides))


def _each(
    work: Callable[[Sample], T], dataset: Dataset, progress: Progress | None, workers: int | None
) -> list[T]:
    """`work` of every sample, in order, in threads: decoding releases the interpreter's lock."""
    results = []
    with ThreadPoolExecutor(workers or os.cpu_count()) as pool:
        try:
            for result in pool.map(work, dataset.samples):
                results.append(result)
                if progress:
                    progress(len(results), len(dataset))
        except BaseException:
            pool.shutdown(cancel_futures=True)
            raise
    return results


def _faults(sample: Sample, decoder: Decoder) -> Iterable[Problem]:
    """What is wrong with one photo and its mask."""
    photo = mask = None
    try:
        photo = images.read(sample.image)
    except images.ImageError as error:
        yield _unreadable(sample.image, error)
    try:
        mask = decoder.pixels(sample.mask)
    except images.ImageError as error:
        yield _unreadable(sample.mask, error)
    if mask is None:
        return
    if photo is not None and photo.shape[:2] != mask.shape[:2]:
        (h, w), (rows, columns) = mask.shape[:2], photo.shape[:2]
        turned = (
            "if EXIF data turn the photo, turn the mask too"
            if (h, w) == (columns, rows)
            else "export the mask again at the photo's size, or resize it by the nearest pixel"
        )
        message = f"{w} x {h} pixels, but {sample.image.name} has {columns} x {rows}"
        yield Problem(sample.mask, "sizes differ", message, turned)
    yield from _content(sample.mask, mask, decoder)


def _content(file: Path, mask: Pixels, decoder: Decoder) -> Iterable[Problem]:
    """What is wrong with the values of a mask: the likeliest cause only."""
    if decoder.kind == "index" and np.array_equal(np.unique(mask), (0, 255)):
        message = "only 0 and 255, among masks of class ids, where 255 is void"
        remedy = "write the class's id for 255; if 255 is void here, allow the kind 'binary'"
        yield Problem(file, "binary", message, remedy)
    elif (share := ramp_share(mask)) > RAMP:
        message = f"blurred: {share:.0%} of the steps between classes are in-between values"
        remedy = "resize the original mask by the nearest pixel, or save it as PNG"
        yield Problem(file, "blurred", message, remedy)
    else:
        try:
            decoder.classes(mask)
        except DataError as error:
            lossy = file.suffix.lower() in (".jpg", ".jpeg")
            remedy = "save masks as PNG: JPEG alters them" if lossy else _VALUES[decoder.kind]
            yield Problem(file, "no such class", str(error), remedy)


def ramp_share(mask: Pixels) -> float:
    """Of the changes between neighbouring pixels, the share that continue upwards or downwards.

    >>> ramp_share(np.tile([0, 0, 0, 9, 9, 9], (9, 1)))
    0.0
    >>> ramp_share(np.tile([0, 0, 3, 6, 9, 9], (9, 1)))
    0.666...
    """
    ramps = changes = 0
    for lines in (mask, mask.swapaxes(0, 1)):
        steps = lines[:, 1:] != lines[:, :-1]
        steps = steps if mask.ndim == 2 else steps.any(-1)
        changes += int(np.count_nonzero(steps))
        twice = steps[:, 1:] & steps[:, :-1]
        left, here, right = (lines[:, i : i + twice.shape[1]][twice] for i in range(3))
        ramp = (np.minimum(left, right) <= here) & (here <= np.maximum(left, right))
        ramps += int(np.count_nonzero(ramp if mask.ndim == 2 else ramp.all(-1)))
    return ramps / changes if ramps >= 16 else 0.0


def _unreadable(file: Path, error: images.ImageError) -> Problem:
    message = str(error).removeprefix(f"{file}: ")
    return Problem(file, "unreadable", message, "replace the file, or skip it")


def _duplicates(dataset: Dataset, against: Sequence[Dataset]) -> Iterable[Problem]:
    """Photos of this split that, byte for byte, are in another one too."""
    others: dict[int, list[tuple[str, Path]]] = {}
    for other in against:
        for sample in other.samples:
            if sample.image.is_file():
                size = sample.image.stat().st_size
                others.setdefault(size, []).append((other.split, sample.image))
    for sample in dataset.samples:
        photo = sample.image
        for split, other_photo in others.get(photo.stat().st_size, ()) if photo.is_file() else ():
            if photo.samefile(other_photo) or _digest(photo) == _digest(other_photo):
                message = f"the same photo is in {split!r}: {other_photo}"
                yield Problem(photo, "duplicate", message, "keep it in one split alone")


def _digest(path: Path) -> bytes:
    with path.open("rb") as stream:
        return hashlib.file_digest(stream, "sha256").digest()
