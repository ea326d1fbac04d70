"""One look into every photo and mask of a data set, before hours are spent on it."""

import os
from collections.abc import Callable, Collection, Sequence
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass
from functools import partial
from itertools import islice
from pathlib import Path
from typing import NamedTuple

import numpy as np
from numpy.typing import NDArray

from upscore import images
from upscore.data import faults
from upscore.data.classes import VOID
from upscore.data.dataset import Dataset
from upscore.data.masks import Pixels
from upscore.data.problems import PROBLEM_KINDS, Problem
from upscore.data.sample import Sample
from upscore.errors import ArgumentError, DataError, ImageError

Progress = Callable[[int, int], object]
Counts = NDArray[np.int64]


@dataclass(frozen=True, eq=False)
class Survey:
    """What one look into every photo and mask of a data set found.

    Row i of an array describes `dataset.samples[i]`. It is zero where a file cannot be used; then
    a problem says so, unless its kind was allowed.

    Attributes:
        dataset: the data set, of N samples and C classes.
        problems: all that is wrong, in the order of the samples; empty when all is well.
        class_pixels: int64 N x C, how many pixels of each class each mask has, void left out.
            Class weights follow from it: `class_pixels.sum(0)` are the class frequencies.
        sizes: int64 N x 2, height and width of each photo.
    """

    dataset: Dataset
    problems: tuple[Problem, ...]
    class_pixels: Counts
    sizes: Counts

    @property
    def long_side(self) -> int:
        """The median of the photos' longer sides, in pixels; a DataError where no photo is."""
        sides = self.sizes.max(axis=1)
        if not sides.any():
            raise DataError(f"{self.dataset.root}: no photo of {self.dataset.split!r} can be read")
        return int(np.median(sides[sides > 0]))


def survey(
    dataset: Dataset,
    *,
    against: Sequence[Dataset] = (),
    allow: Collection[str] = (),
    progress: Progress | None = None,
    workers: int | None = None,
) -> Survey:
    """Decode every photo and mask once, and note what is wrong and what training needs to know.

    Args:
        dataset: what to look into.
        against: other splits, which should share no photo with this one.
        allow: kinds of problems that are not to be reported, such as "blurred" for masks of thin
            outlines; see `upscore.data.check`.
        progress: called as `progress(done, total)` after each pair.
        workers: threads; as many as there are processors if not given.

    Raises:
        ArgumentError: `allow` names a kind of problem that does not exist.

    Example:
        >>> from upscore import data
        >>> found = data.survey(data.find("my-data"))  # doctest: +SKIP
        >>> found.class_pixels.sum(axis=0), found.long_side  # doctest: +SKIP
    """
    unknown = set(allow).difference(PROBLEM_KINDS)
    if unknown:
        expected = ", ".join(PROBLEM_KINDS)
        raise ArgumentError(f"no kind of problem {sorted(unknown)}; expected of {expected}")
    problems = list(dataset.problems)
    if not dataset.samples:
        message = f"the split {dataset.split!r} has no photo with a mask"
        remedy = "add pairs, or name another split"
        problems.append(Problem(dataset.root, "empty split", message, remedy))
    rows = _look_into_all(dataset, allow, progress, workers)
    problems += [problem for row in rows for problem in row.problems]
    problems += faults.duplicates(dataset, against)
    counts = np.array([row.class_pixels for row in rows], np.int64)
    return Survey(
        dataset,
        tuple(problem for problem in problems if problem.kind not in allow),
        counts.reshape(len(dataset), len(dataset.class_names)),
        np.array([row.size for row in rows], np.int64).reshape(len(dataset), 2),
    )


def check(
    dataset: Dataset,
    *,
    against: Sequence[Dataset] = (),
    allow: Collection[str] = (),
    progress: Progress | None = None,
    workers: int | None = None,
) -> list[Problem]:
    """Decode every photo and mask and say what is wrong with them.

    Equivalent: `list(upscore.data.survey(dataset, ...).problems)`, whose arguments these are.

    Problems are of these kinds: "empty split", "no partner", "ambiguous" (two files of one stem),
    "missing" (listed but not there), "unreadable", "sizes differ", "bad shape" (one that cannot be
    drawn), "binary" (0 and 255 alone among masks of ids), "blurred" (resized with interpolation),
    "no such class", and "duplicate" (the same photo is in a split of `against`).

    Returns:
        the problems, in the order of the samples; empty when all is well.
    """
    found = survey(dataset, against=against, allow=allow, progress=progress, workers=workers)
    return list(found.problems)


class _Row(NamedTuple):
    """What is known of one pair."""

    problems: list[Problem]
    class_pixels: Counts
    size: tuple[int, int]


def _look_into_all(
    dataset: Dataset, allow: Collection[str], progress: Progress | None, workers: int | None
) -> list[_Row]:
    """A row of every sample, in order, in threads: decoding releases the interpreter's lock."""
    rows = []
    with ThreadPoolExecutor(workers or os.cpu_count()) as pool:
        try:
            for row in pool.map(partial(_look, dataset, allow), dataset.samples):
                rows.append(row)
                if progress:
                    progress(len(rows), len(dataset))
        except BaseException:
            pool.shutdown(cancel_futures=True)
            raise
    return rows


def _look(dataset: Dataset, allow: Collection[str], sample: Sample) -> _Row:
    """Decode one photo and its mask. Of a mask's values the likeliest fault alone is reported."""
    decoder = dataset.decoder
    problems: list[Problem] = []
    class_pixels = np.zeros(len(dataset.class_names), np.int64)
    photo = _decoded(partial(images.read, sample.image), sample.image, problems)
    mask = _decoded(partial(decoder.pixels_of, sample), sample.at_fault, problems)
    if photo is not None and mask is not None:
        problems += faults.sizes_differ(sample, photo, mask)
    if mask is not None:
        no_class = None
        try:
            ids = decoder.class_ids(mask)
            class_pixels = np.bincount(ids.ravel(), minlength=VOID)[: len(class_pixels)]
        except DataError as error:
            no_class = error
        wrong = faults.wrong_values(sample.at_fault, mask, decoder, no_class)
        problems += islice((problem for problem in wrong if problem.kind not in allow), 1)
    height, width = (0, 0) if photo is None else photo.shape[:2]
    return _Row(problems, class_pixels, (height, width))


def _decoded(decode: Callable[[], Pixels], file: Path, problems: list[Problem]) -> Pixels | None:
    """The pixels of a file; where there are none, a problem is added."""
    try:
        return decode()
    except ImageError as error:
        problems.append(faults.unreadable(file, error))
    except DataError as error:
        remedy = "mend it where it was drawn, or skip it"
        problems.append(Problem(file, "bad shape", str(error), remedy))
    return None
