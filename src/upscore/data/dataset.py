"""Data sets of photos and masks: find one in a folder, read its pairs."""

from collections.abc import Collection, Iterable, Sequence, Set
from dataclasses import dataclass, field, replace
from difflib import get_close_matches
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from upscore import images as photos
from upscore.data import layouts
from upscore.data.classes import (
    VOID,
    Colour,
    Source,
    apply_mapping,
    check_names,
    read_classes,
    voc_colour,
)
from upscore.data.layouts.layout import Classes, Listing, as_they_are
from upscore.data.layouts.patterns import Patterns
from upscore.data.masks import ENCODINGS, UNKNOWN, Decoder, recognise
from upscore.data.problems import Problem, report
from upscore.data.sample import Sample
from upscore.data.unnamed import names_by_ids
from upscore.errors import ArgumentError, DataError, ImageError
from upscore.images.decode import JPEG_SUFFIXES

_SHOWN = 8  # class names in a sentence
_LOOKED_AT = 16  # photos from which their kind is recognised
_BY_IDS = "no classes.txt: classes named by their ids; write"


@dataclass(frozen=True)
class Dataset:
    """The photos and masks of one split, and the classes of its masks; `find` makes one.

    Attributes:
        root: the folder.
        layout: what the folder was taken for, such as "voc".
        split: which part of it.
        samples: the pairs of photo and mask.
        class_names: the C classes, in the order of the ids.
        palette: one RGB colour for each class, 0 to 255.
        decoder: what turns mask files into class ids.
        bands: how many bands of measurements the photos have, such as 16-bit TIFF files; None for
            pictures, read as bytes of RGB.
        problems: what was wrong in the listing itself, such as a photo without a mask; `check`
            looks into the files.
        source: which files were listed.
        hint: how to name classes where nothing does and they are called by their ids.
    """

    root: Path
    layout: str
    split: str
    samples: tuple[Sample, ...]
    class_names: tuple[str, ...]
    palette: tuple[Colour, ...]
    decoder: Decoder = field(repr=False)
    bands: int | None = None
    problems: tuple[Problem, ...] = field(default=(), repr=False)
    source: str = field(default="", repr=False)
    hint: str = field(default="", repr=False)

    def __len__(self) -> int:
        return len(self.samples)

    @property
    def about(self) -> str:
        """What the folder was taken for: its layout and files, classes and kind of masks."""
        shown = ", ".join(self.class_names[:_SHOWN])
        more = ", ..." if len(self.class_names) > _SHOWN else ""
        count = len(self.class_names)
        classes = f"{count} class{'es' * (count != 1)}: {shown}{more}"
        measured = "" if self.bands is None else f"photos of {photos.kind_of(self.bands)}"
        about = (f"{self.source}, {classes}", self._how(), measured, self.hint)
        return "; ".join(filter(None, about))

    def _how(self) -> str:
        drawings = [sample.drawing for sample in self.samples if sample.drawing]
        kinds = sorted({shape.kind for drawing in drawings for shape in drawing.shapes})
        return {
            "index": "masks of class ids",
            "colour": "masks of colours",
            "binary": "masks of 0 and 255",
            "shapes": f"masks drawn from {' and '.join(kinds) or 'shapes'}",
        }[self.decoder.encoding]

    def photo(self, i: int) -> NDArray[Any]:
        """Return one photo.

        Args:
            i: its number, from 0.

        Returns:
            uint8, H x W x 3, RGB; or float32, H x W x bands.

        Raises:
            ImageError: the file is no usable photo.
        """
        file = self.samples[i].image
        return photos.read(file) if self.bands is None else photos.read_bands(file, self.bands)

    def read(self, i: int) -> tuple[NDArray[Any], NDArray[np.uint8]]:
        """Return one photo and its mask.

        Args:
            i: its number, from 0.

        Returns:
            The photo, as of `photo`, and the mask, uint8, H x W: class ids 0 to C - 1, 255 for
            void.

        Raises:
            ImageError: a file is no usable image.
            DataError: the mask has values that are no class, or another size than the photo.
        """
        sample, image = self.samples[i], self.photo(i)
        try:
            mask = self.decoder.class_ids(self.decoder.pixels_of(sample))
        except DataError as error:
            raise DataError(f"{sample.at_fault}: {error}") from None
        if image.shape[:2] != mask.shape:
            raise DataError(
                f"{sample.at_fault}: a mask of {mask.shape[1]} x {mask.shape[0]} pixels, "
                f"but {sample.image.name} has {image.shape[1]} x {image.shape[0]}"
            )
        return image, mask


def splits(
    root: str | Path,
    *,
    layout: str | Patterns | None = None,
    images: str | None = None,
    masks: str | None = None,
) -> tuple[str, ...]:
    """Return the splits of a folder, train, val and test first.

    Those called training, valid, validation, dev or testing have the usual names. What is not
    divided, such as `images/` + `masks/`, has "train", "val" (a tenth, chosen by the names' hash,
    the same every time) and "all".

    Args:
        root: the folder.
        layout: as for `find`.
        images: as for `find`.
        masks: as for `find`.

    Returns:
        The names, as `find` takes them.

    Raises:
        DataError: the folder is not there, or has no layout that is known.
        ArgumentError: no such layout, or arguments that do not go together.
    """
    return tuple(layouts.recognise(Path(root), layouts.chosen(layout, images, masks)).splits)


def find(
    root: str | Path,
    split: str = "train",
    *,
    layout: str | Patterns | None = None,
    images: str | None = None,
    masks: str | None = None,
    mapping: Source | None = None,
    class_names: Sequence[str] | str | Path | None = None,
    encoding: str | None = None,
    skip: Collection[str | Path] = (),
) -> Dataset:
    """Find the photos and masks of one split under a folder, by looking at it.

    Opens some 16 photos and masks, to recognise their kind; `upscore.data.check` opens all.
    Annotation files (JSON, XML) are read whole, and so are all masks of ids whose classes nothing
    names: these are "class_0", "class_1", ... to the largest id in any split.

    Args:
        root: the folder.
        split: one of `upscore.data.splits(root)`, or the folder's own name for it.
        layout: a name in `upscore.data.layouts.LAYOUTS`, or `Patterns`; recognised if not given.
        images: a pattern of the photos, in place of a layout; see `Patterns`.
        masks: a pattern of the masks, which goes with it.
        mapping: merges and ignores classes: a file, or a dictionary from new names to old ones.
        class_names: names in the order of the ids, or a file of them; if not given,
            `root/classes.txt`, else the layout's own, else those that the ids tell.
        encoding: how mask files store classes: "index", "colour" or "binary"; recognised if not
            given.
        skip: what to leave out: names of samples, stems, file names or paths.

    Returns:
        A `Dataset`.

    Raises:
        DataError: a folder, split, annotation file, class list or mapping is not there or cannot
            be used; no photo has a mask, and nothing names the classes.
        ArgumentError: no such layout or encoding, or arguments that do not go together.

    Examples:
        >>> import upscore.data
        >>> train = upscore.data.find("my-data", "train")  # doctest: +SKIP
        >>> photo, mask = train.read(0)  # doctest: +SKIP
    """
    root = Path(root)
    found = layouts.recognise(root, layouts.chosen(layout, images, masks))
    split, listing = found.read(split)
    samples, classes = listing.samples, listing.classes

    leave = {str(entry) for entry in skip}
    names, colours = _known_classes(root, classes, class_names)
    # Where nothing names the classes, the masks of all splits tell them: the same for each split.
    telling = samples if names else _without(leave, root, found.samples())
    if not telling and not names:
        if samples:
            raise DataError(f"{root}: all photos are to be skipped")
        raise _no_pairs(root, listing)
    encoding = _encoding(telling, names, colours, encoding)
    by_ids = names_by_ids([s.mask for s in telling]) if not names and encoding == "index" else None
    names = _names_for(encoding, names or by_ids, root, telling)
    kept = _without(leave, root, samples)
    problems = [*listing.problems, *_unknown_labels(samples, names)]
    colours = colours or _colours_for(classes, names)
    new_names, ids = apply_mapping(names, mapping)
    palette = tuple(colours[ids.index(i)] for i in range(len(new_names)))

    return Dataset(
        root,
        found.name,
        split,
        tuple(kept),
        new_names,
        palette,
        _decoder(encoding, classes, names, colours, ids),
        _bands([sample.image for sample in kept]),
        tuple(p for p in problems if leave.isdisjoint(_called(root, p.file))),
        f"{found.layout.title} ({listing.source})",
        f"{_BY_IDS} {root / 'classes.txt'} to name them" if by_ids else "",
    )


def joined(first: Dataset, *others: Dataset) -> Dataset:
    """Splits of one folder as one; a DataError where their files are not read alike."""
    for other in (each for each in others if each.samples and first.samples):
        kinds = [(each.class_names, each.decoder, each.bands) for each in (first, other)]
        if kinds[0] != kinds[1]:
            raise DataError(
                f"{first.root}: {first.split!r} and {other.split!r} cannot be taken together, "
                f"as their classes or kinds of files differ\n  {first.about}\n  {other.about}"
            )
    parts = (first, *others)
    return replace(
        first,
        split=" and ".join(part.split for part in parts),
        samples=tuple(sample for part in parts for sample in part.samples),
        problems=tuple(problem for part in parts for problem in part.problems),
    )


def _bands(files: Sequence[Path]) -> int | None:
    """How many bands of measured values photos have, judged by some of them; None for pictures."""
    found: dict[int | None, Path] = {}
    for file in files[:: max(1, len(files) // _LOOKED_AT)]:
        try:
            found.setdefault(photos.bands_of(file), file)
        except ImageError:
            continue  # the checks report it
    if len(found) > 1:
        shown = ", ".join(f"{file} has {photos.kind_of(bands)}" for bands, file in found.items())
        raise DataError(f"all photos must be of one kind: {shown}; convert or skip some of them")
    return next(iter(found), None)


def _encoding(
    samples: Sequence[Sample],
    names: tuple[str, ...] | None,
    colours: tuple[Colour, ...] | None,
    asked: str | None,
) -> str:
    """The encoding asked for, or the one that the masks have."""
    if asked is not None and asked not in ENCODINGS:
        raise ArgumentError(f"encoding {asked!r} is not one of {', '.join(ENCODINGS)}")
    if any(sample.drawing for sample in samples):
        if asked is not None:
            raise ArgumentError(f"encoding {asked!r} is for mask files, but these are drawn")
        return "shapes"
    files = [sample.mask for sample in samples]
    return asked or recognise(files, len(names) if names else None, colours)


def _decoder(
    encoding: str,
    classes: Classes,
    names: tuple[str, ...],
    colours: tuple[Colour, ...],
    ids: tuple[int, ...],
) -> Decoder:
    """A decoder to `ids`, and to void: 255, further values of the layout, in VOC a colour."""
    table = [UNKNOWN] * VOID + [VOID]
    by_value = classes.values if encoding == "index" else as_they_are
    for value, i in by_value(len(ids)).items():
        table[value] = VOID if i == VOID else ids[i]
    border = voc_colour(VOID)
    if encoding == "colour" and border not in colours:
        colours = (*colours, border)
    if encoding == "colour" and len(colours) > len(ids):
        table[len(ids)] = VOID
    return Decoder(encoding, colours, tuple(table), names if encoding == "shapes" else ())


def _unknown_labels(samples: Iterable[Sample], names: Sequence[str]) -> list[Problem]:
    """Labels of shapes that are no class: of a class list that the user gave, mostly."""
    known, problems = {None, *names}, []
    for sample in samples:
        labels = {shape.label for shape in sample.drawing.shapes} if sample.drawing else set()
        for label in sorted(label for label in labels - known if label):
            near = get_close_matches(label, names, 1)
            message = f"the label {label!r} is not among {', '.join(names[:_SHOWN])}"
            remedy = f"did you mean {near[0]}? correct it" if near else "add it to the class list"
            problems.append(Problem(sample.at_fault, "no such class", message, remedy))
    return problems


def _without(leave: Set[str], root: Path, samples: Iterable[Sample]) -> list[Sample]:
    """The samples that a skip list does not name."""
    return [s for s in samples if leave.isdisjoint({s.name, *_called(root, s.image, s.at_fault)})]


def _called(root: Path, *files: Path) -> set[str]:
    """What a skip list may call these files: stem, name, path below the root, whole path."""
    return {
        name
        for file in files
        for name in (file.stem, file.name, file.relative_to(root).as_posix(), str(file))
    }


def _known_classes(
    root: Path, classes: Classes, class_names: Sequence[str] | str | Path | None
) -> tuple[tuple[str, ...] | None, tuple[Colour, ...] | None]:
    """Class names and colours, as far as they are known before the masks are looked at."""
    if class_names is None and not (root / "classes.txt").exists():
        if classes.names is not None:
            check_names(classes.names, str(root))
        return classes.names, classes.colours
    if class_names is None or isinstance(class_names, str | Path):
        return read_classes(Path(class_names or root / "classes.txt"))
    check_names(class_names, "class_names")
    return tuple(class_names), None


def _no_pairs(root: Path, listing: Listing) -> DataError:
    """That there is nothing to read, and why: no photo of any split has a mask."""
    found = [f"{root}: no photo has a mask ({listing.source})"]
    found += [report(listing.problems, 3)] if listing.problems else []
    found += [f"if masks are called by another rule, {layouts.BY_PATTERNS}"]
    return DataError("\n".join(found))


def _names_for(
    encoding: str, names: tuple[str, ...] | None, root: Path, samples: Sequence[Sample]
) -> tuple[str, ...]:
    """The class names, once it is known how masks are stored; a DataError if they do not fit."""
    if names is None:
        if encoding != "binary":
            raise DataError(f"{root}: {_unnamed(encoding, root / 'classes.txt', samples)}")
        return ("background", "foreground")
    if encoding == "binary" and len(names) != 2:
        raise DataError(f"{root}: 0/255 masks have two classes, and {len(names)} named")
    return names


def _unnamed(encoding: str, file: Path, samples: Sequence[Sample]) -> str:
    """Why no names could be made of the masks, and what to write."""
    if encoding == "colour":
        return f"no class names; write {file}: the masks hold colours, so a line is `name R G B`"
    why = "the values in the masks look like no ids: they are blurred, above 63, or 0 alone"
    if any(sample.mask.suffix.lower() in JPEG_SUFFIXES for sample in samples):
        why = "the masks are JPEG files, which change ids: export them as PNG"
    return f"no class names; write {file}, one name a line in the order of the ids ({why})"


def _colours_for(classes: Classes, names: tuple[str, ...]) -> tuple[Colour, ...]:
    """The layout's own colours where all names are its own, else those of VOC by id."""
    own = classes.palette if classes.palette.keys() >= set(names) else {}
    return tuple(own.get(name, voc_colour(i)) for i, name in enumerate(names))
