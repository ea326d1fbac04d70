"""One look into every photo and mask of a data set, before hours are spent on it."""

import os
from collections.abc import Callable, Collection, Sequence
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass, replace
from functools import cached_property, partial
from itertools import islice
from pathlib import Path
from typing import NamedTuple

import numpy as np
from numpy.typing import NDArray

from upscore.data import faults, measure
from upscore.data.dataset import Dataset
from upscore.data.masks import Pixels
from upscore.data.problems import PROBLEM_KINDS, Problem
from upscore.data.ranges import Normalisation, normalisation, some_values
from upscore.errors import ArgumentError, DataError, ImageError

Progress = Callable[[int, int], object]
Counts = NDArray[np.int64]
Floats = NDArray[np.float64]

_THICKNESS_OF = 200  # masks; measuring it takes longer than decoding them


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
        upper_pixels: int64 N x C, those of `class_pixels` that are in the upper half of the mask.
        thickness: float64 N x C, how thick in pixels the things of each class are, as
            `upscore.data.measure.thickness`; NaN where there are none, and where it was not
            measured: some 200 masks tell enough.
        values: of photos of measurements, float32 N x P x B: some pixels of each of the B bands;
            None for pictures.
    """

    dataset: Dataset
    problems: tuple[Problem, ...]
    class_pixels: Counts
    sizes: Counts
    upper_pixels: Counts
    thickness: Floats
    values: NDArray[np.float32] | None = None

    def __len__(self) -> int:
        return len(self.dataset)

    @cached_property
    def normalisation(self) -> Normalisation | None:
        """What normalises the bands of measurements; None for pictures."""
        return None if self.values is None else normalisation(self.values)

    def part(self, indices: Sequence[int]) -> "Survey":
        """Return the same of some of the samples; problems stay with the whole.

        Args:
            indices: the numbers of the samples, from 0.

        Returns:
            A new Survey.
        """
        samples = tuple(self.dataset.samples[i] for i in indices)
        arrays = ["class_pixels", "sizes", "upper_pixels", "thickness"]
        arrays += ["values"] if self.values is not None else []
        rows = {name: getattr(self, name)[list(indices)] for name in arrays}
        return replace(self, dataset=replace(self.dataset, samples=samples), problems=(), **rows)

    @property
    def long_side(self) -> int:
        """The median of the photos' longer sides, in pixels; a DataError where no photo is."""
        sides = self.sizes.max(axis=1)
        if not sides.any():
            raise DataError(
                f"{self.dataset.root}: no photo of {self.dataset.split!r} can be read; "
                "upscore check says why"
            )
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

    Returns:
        A `Survey`.

    Raises:
        ArgumentError: `allow` names a kind of problem that does not exist.

    Examples:
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
    shape = (len(dataset), len(dataset.class_names))
    problems += [problem for row in rows for problem in row.problems]
    problems += faults.duplicates(dataset, against)
    return Survey(
        dataset,
        tuple(problem for problem in problems if problem.kind not in allow),
        np.array([row.class_pixels for row in rows], np.int64).reshape(shape),
        np.array([row.size for row in rows], np.int64).reshape(len(dataset), 2),
        np.array([row.upper_pixels for row in rows], np.int64).reshape(shape),
        np.array([row.thickness for row in rows], np.float64).reshape(shape),
        _stacked(rows) if dataset.bands is not None else None,
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

    Equivalent to `list(upscore.data.survey(dataset, ...).problems)`.

    Problems are of these kinds: "empty split", "no partner", "ambiguous" (two files of one stem),
    "missing" (listed but not there), "unreadable", "sizes differ", "bad shape" (one that cannot be
    drawn), "binary" (0 and 255 alone among masks of ids), "blurred" (resized with interpolation),
    "no such class", and "duplicate" (the same photo is in a split of `against`).

    Args:
        dataset: what to look into.
        against: other splits, which should share no photo with this one.
        allow: kinds of problems that are not to be reported.
        progress: called as `progress(done, total)` after each pair.
        workers: threads; as many as there are processors if not given.

    Returns:
        All that is wrong, in the order of the samples; empty when all is well.

    Raises:
        ArgumentError: `allow` names a kind of problem that does not exist.

    Examples:
        >>> from upscore import data
        >>> data.check(data.find("my-data"))  # doctest: +SKIP
    """
    found = survey(dataset, against=against, allow=allow, progress=progress, workers=workers)
    return list(found.problems)


class _Row(NamedTuple):
    """What is known of one pair."""

    problems: list[Problem]
    size: tuple[int, int]
    class_pixels: Counts
    upper_pixels: Counts
    thickness: Floats
    values: NDArray[np.float32] | None


def _stacked(rows: Sequence[_Row]) -> NDArray[np.float32]:
    """The values of all photos; of those that cannot be used, as if they were another's."""
    found = [row.values for row in rows if row.values is not None]
    if not found:
        return np.zeros((len(rows), 0, 0), np.float32)
    return np.stack([found[0] if row.values is None else row.values for row in rows])


def _look_into_all(
    dataset: Dataset, allow: Collection[str], progress: Progress | None, workers: int | None
) -> list[_Row]:
    """A row of every sample, in order, in threads: decoding releases the interpreter's lock."""
    rows = []
    every = max(1, len(dataset) // _THICKNESS_OF)
    with ThreadPoolExecutor(workers or os.cpu_count()) as pool:
        try:
            for row in pool.map(partial(_look, dataset, allow, every), range(len(dataset))):
                rows.append(row)
                if progress:
                    progress(len(rows), len(dataset))
        except BaseException:
            pool.shutdown(cancel_futures=True)
            raise
    return rows


def _look(dataset: Dataset, allow: Collection[str], every: int, index: int) -> _Row:
    """Decode one photo and its mask. Of a mask's values the likeliest fault alone is reported."""
    decoder, sample, classes = dataset.decoder, dataset.samples[index], len(dataset.class_names)
    problems: list[Problem] = []
    counts = upper = np.zeros(classes, np.int64)
    thickness, size = np.full(classes, np.nan), (0, 0)
    photo = _decoded(partial(dataset.photo, index), sample.image, problems)
    mask = _decoded(partial(decoder.pixels_of, sample), sample.at_fault, problems)
    values = None
    if photo is not None:
        size = photo.shape[:2]
        values = None if dataset.bands is None else some_values(photo)
    if photo is not None and mask is not None:
        problems += faults.sizes_differ(sample, photo, mask)
    if mask is not None:
        no_class = None
        try:
            ids = decoder.class_ids(mask)
            counts, upper = measure.class_counts(ids, classes)
            if index % every == 0:
                thickness = measure.thickness(ids, classes)
        except DataError as error:
            no_class = error
        wrong = faults.wrong_values(sample.at_fault, mask, decoder, no_class)
        problems += islice((problem for problem in wrong if problem.kind not in allow), 1)
    return _Row(problems, size, counts, upper, thickness, values)


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
