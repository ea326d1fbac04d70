"""One look into every photo and mask of a data set, before hours are spent on it."""

import os
from collections.abc import Callable, Collection, Iterator, Sequence
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass, replace
from functools import cached_property, partial
from itertools import islice
from pathlib import Path
from typing import NamedTuple, TypeVar

import numpy as np
from numpy.typing import NDArray

from upscore.data import faults, measure
from upscore.data.dataset import Dataset
from upscore.data.masks import Pixels
from upscore.data.problems import FATAL_KINDS, PROBLEM_KINDS, Problem
from upscore.data.ranges import Normalisation, normalisation, some_values
from upscore.errors import ArgumentError, DataError, ImageError
from upscore.images.decode import read_turned

Progress = Callable[[int, int], object]
Counts = NDArray[np.int64]
Floats = NDArray[np.float64]
_T = TypeVar("_T")

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
        colour: bool N, whether a photo is a picture with colours: neither grey nor measurements.
        values: of photos of measurements, float32 N x P x B: some pixels of each of the B bands;
            None for pictures.
        notes: what is no problem but should be known, such as masks that were cut at 128.
        allow: kinds of problems that are not among `problems`.
    """

    dataset: Dataset
    problems: tuple[Problem, ...]
    class_pixels: Counts
    sizes: Counts
    upper_pixels: Counts
    thickness: Floats
    colour: NDArray[np.bool_]
    values: NDArray[np.float32] | None = None
    notes: tuple[str, ...] = ()
    allow: tuple[str, ...] = ()

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
        arrays = ["class_pixels", "sizes", "upper_pixels", "thickness", "colour"]
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
            outlines; see `upscore.data.check`. What keeps a file from being read is reported all
            the same.
        progress: called as `progress(done, total)` after each pair.
        workers: threads; as many as there are processors if not given.

    Returns:
        A `Survey`.

    Raises:
        ArgumentError: `allow` names a kind of problem that does not exist or cannot be allowed.

    Examples:
        >>> from upscore import data
        >>> found = data.survey(data.find("my-data"))  # doctest: +SKIP
        >>> found.class_pixels.sum(axis=0), found.long_side  # doctest: +SKIP
    """
    _check_kinds(allow)
    problems = [problem for problem in dataset.problems if problem.kind not in allow]
    if not dataset.samples:
        message = f"the split {dataset.split!r} has no photo with a mask"
        remedy = "add pairs, or name another split"
        problems.append(Problem(dataset.root, "empty split", message, remedy))
    rows = _look_into_all(dataset, allow, progress, workers)
    shape = (len(dataset), len(dataset.class_names))
    problems += [problem for row in rows for problem in row.problems]
    if "duplicate" not in allow:
        problems += faults.duplicates(dataset, against)
    return Survey(
        dataset,
        tuple(problems),
        np.array([row.class_pixels for row in rows], np.int64).reshape(shape),
        np.array([row.size for row in rows], np.int64).reshape(len(dataset), 2),
        np.array([row.upper_pixels for row in rows], np.int64).reshape(shape),
        np.array([row.thickness for row in rows], np.float64).reshape(shape),
        np.array([row.colour for row in rows], np.bool_),
        _stacked(rows) if dataset.bands is not None else None,
        tuple(_notes(dataset, rows)),
        tuple(allow),
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
    "no such class", and "duplicate" (the same photo is in a split of `against`). All but "empty
    split", "unreadable", "sizes differ" and "no such class" can be allowed.

    Args:
        dataset: what to look into.
        against: other splits, which should share no photo with this one.
        allow: kinds of problems that are not to be reported; see `survey`.
        progress: called as `progress(done, total)` after each pair.
        workers: threads; as many as there are processors if not given.

    Returns:
        All that is wrong, in the order of the samples; empty when all is well.

    Raises:
        ArgumentError: `allow` names a kind of problem that does not exist or cannot be allowed.

    Examples:
        >>> from upscore import data
        >>> data.check(data.find("my-data"))  # doctest: +SKIP
    """
    found = survey(dataset, against=against, allow=allow, progress=progress, workers=workers)
    return list(found.problems)


def _check_kinds(allow: Collection[str]) -> None:
    """Raise ArgumentError unless these are kinds of problems that a reader gets past."""
    known = ", ".join(kind for kind in PROBLEM_KINDS if kind not in FATAL_KINDS)
    for kind in allow:
        if kind not in PROBLEM_KINDS:
            raise ArgumentError(f"no such kind of problem: {kind}; you can allow {known}")
        if kind in FATAL_KINDS:
            raise ArgumentError(
                f"{kind!r} cannot be allowed, as such files cannot be learned from: mend or skip "
                f"them; you can allow {known}"
            )


class _Row(NamedTuple):
    """What is known of one pair.

    `cut`: its mask has values between 0 and 255, which count as the nearer one. `turned`: EXIF
    turned the photo, and no size tells whether it turned the mask.
    """

    problems: list[Problem]
    size: tuple[int, int]
    class_pixels: Counts
    upper_pixels: Counts
    thickness: Floats
    colour: bool
    values: NDArray[np.float32] | None
    cut: bool
    turned: bool


def _notes(dataset: Dataset, rows: Sequence[_Row]) -> Iterator[str]:
    """What is no problem but should be known."""
    if cut := sum(row.cut for row in rows):
        yield (
            f"{cut} of {len(rows)} masks have values between 0 and 255, as JPEG files and soft "
            "edges do; they are cut at 128: less is the first class, the rest is the second"
        )
    turned = [i for i, row in enumerate(rows) if row.turned]
    if turned:
        yield (
            f"{len(turned)} of {len(rows)} photos are turned or mirrored by their EXIF data, such "
            f"as {dataset.samples[turned[0]].image.name}: their masks must fit what a viewer shows"
        )


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
    thickness, size, cut = np.full(classes, np.nan), (0, 0), False
    shown = _decoded(partial(_photo, dataset, index), sample.image, problems)
    photo, turned = shown or (None, False)
    mask = _decoded(partial(decoder.pixels_of, sample), sample.at_fault, problems)
    values, colour = None, False
    if photo is not None:
        size = photo.shape[:2]
        colour = dataset.bands is None and measure.has_colour(photo)
        values = None if dataset.bands is None else some_values(photo)
    if photo is not None and mask is not None:
        problems += faults.sizes_differ(sample, photo, mask)
    if mask is not None:
        no_class = None
        try:
            ids = decoder.class_ids(mask)
            counts, upper = measure.class_counts(ids, classes)
            cut = decoder.encoding == "binary" and not np.isin(mask, (0, 255)).all()
            if index % every == 0:
                thickness = measure.thickness(ids, classes)
        except DataError as error:
            no_class = error
        wrong = faults.wrong_values(sample.at_fault, mask, decoder, no_class)
        problems += islice((problem for problem in wrong if problem.kind not in allow), 1)
    return _Row(problems, size, counts, upper, thickness, colour, values, cut, turned)


def _photo(dataset: Dataset, index: int) -> tuple[Pixels, bool]:
    """A photo, and whether EXIF turned it in a way that its size does not show."""
    if dataset.bands is None:
        return read_turned(dataset.samples[index].image)
    return dataset.photo(index), False


def _decoded(decode: Callable[[], _T], file: Path, problems: list[Problem]) -> _T | None:
    """What a file holds; where it cannot be read, a problem is added."""
    try:
        return decode()
    except ImageError as error:
        problems.append(faults.unreadable(file, error))
    except DataError as error:
        remedy = "mend it where it was drawn, or skip it"
        problems.append(Problem(file, "bad shape", str(error), remedy))
    return None
