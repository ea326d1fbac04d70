"""Data sets of photos and masks: find one in a folder, read its pairs."""

from collections.abc import Collection, Sequence
from dataclasses import dataclass, field
from pathlib import Path

import numpy as np
from numpy.typing import NDArray

from upscore import images
from upscore.data import layouts, masks
from upscore.data.classes import (
    CAMVID,
    VOC,
    VOID,
    Colour,
    Source,
    apply_mapping,
    check_names,
    read_classes,
    voc_colour,
)
from upscore.data.layouts import Sample
from upscore.data.problems import Problem
from upscore.errors import ArgumentError, DataError


@dataclass(frozen=True)
class Dataset:
    """The photos and masks of one split, and the classes of its masks.

    `problems` holds what was wrong in the listing itself, such as a photo without a mask;
    `upscore.data.check` looks into the files.
    """

    root: Path
    layout: str
    split: str
    samples: tuple[Sample, ...]
    class_names: tuple[str, ...]
    palette: tuple[Colour, ...]
    decoder: masks.Decoder = field(repr=False)
    problems: tuple[Problem, ...] = field(default=(), repr=False)

    def __len__(self) -> int:
        return len(self.samples)

    def read(self, i: int) -> tuple[NDArray[np.uint8], NDArray[np.uint8]]:
        """Photo (uint8, H x W x 3, RGB) and mask (uint8, H x W: 0..C-1, 255 = void) number `i`."""
        sample = self.samples[i]
        image = images.read(sample.image)
        pixels = self.decoder.pixels(sample.mask)
        try:
            mask = self.decoder.class_ids(pixels)
        except DataError as error:
            raise DataError(f"{sample.mask}: {error}") from None
        if image.shape[:2] != mask.shape:
            raise DataError(
                f"{sample.mask}: {mask.shape[1]} x {mask.shape[0]} pixels, "
                f"but {sample.image.name} has {image.shape[1]} x {image.shape[0]}"
            )
        return image, mask


def splits(root: str | Path, *, layout: str | None = None) -> tuple[str, ...]:
    """The splits of a folder, train, val and test first.

    An undivided `images/` + `masks/` has "train", "val" (a tenth, chosen by the stems' hash, the
    same every time) and "all".
    """
    return layouts.recognise(Path(root), layout)[1]


def find(
    root: str | Path,
    split: str = "train",
    *,
    layout: str | None = None,
    mapping: Source | None = None,
    class_names: Sequence[str] | str | Path | None = None,
    encoding: str | None = None,
    skip: Collection[str | Path] = (),
) -> Dataset:
    """Find the photos and masks of one split under a folder, by looking at it.

    Opens no files but some 16 masks, to recognise their encoding; `upscore.data.check` opens all.

    Args:
        root: the folder.
        split: one of `upscore.data.splits(root)`.
        layout: "folders", "voc" or "camvid"; recognised if not given.
        mapping: merges and ignores classes: a file, or a dictionary from new names to old ones.
        class_names: names in the order of the ids, or a file of them; if not given,
            `root/classes.txt`, else the layout's own.
        encoding: how masks store classes: "index", "colour" or "binary"; recognised if not given.
        skip: what to leave out: stems, file names or paths.

    Raises:
        DataError: a folder, split, class list or mapping is not there or cannot be used.
        ArgumentError: no such layout or encoding.

    Example:
        >>> import upscore.data
        >>> train = upscore.data.find("my-data", "train")  # doctest: +SKIP
        >>> photo, mask = train.read(0)  # doctest: +SKIP
    """
    root = Path(root)
    layout, available = layouts.recognise(root, layout)
    if split not in available:
        raise DataError(f"{root}: no split {split!r}; it has {', '.join(available)}")
    samples, problems = layouts.LAYOUTS[layout].pairs(root, split)

    names, colours = _known_classes(root, layout, class_names)
    if encoding is None:
        paths = [sample.mask for sample in samples]
        encoding = masks.recognise(paths, len(names) if names else None, colours)
    elif encoding not in masks.ENCODINGS:
        raise ArgumentError(f"encoding {encoding!r} is not one of {', '.join(masks.ENCODINGS)}")
    names = _names_for(encoding, names, root)
    colours = colours or _colours_for(layout, names)
    new_names, ids = apply_mapping(names, mapping)
    palette = tuple(colours[ids.index(i)] for i in range(len(new_names)))

    leave = {str(entry) for entry in skip}
    return Dataset(
        root,
        layout,
        split,
        tuple(s for s in samples if leave.isdisjoint(_called(root, s.image, s.mask))),
        new_names,
        palette,
        _decoder(encoding, layout, colours, ids),
        tuple(p for p in problems if leave.isdisjoint(_called(root, p.file))),
    )


def _decoder(
    encoding: str, layout: str, colours: tuple[Colour, ...], ids: tuple[int, ...]
) -> masks.Decoder:
    """A decoder to `ids`, and to void: 255, in CamVid just above the classes, in VOC a colour."""
    border = voc_colour(VOID)
    if encoding == "colour" and border not in colours:
        colours = (*colours, border)
    if layout == "camvid" or len(colours) > len(ids):
        ids = (*ids, VOID)
    unknown = (masks.UNKNOWN,) * (VOID - len(ids))
    return masks.Decoder(encoding, colours, (*ids, *unknown, VOID)[:256])


def _called(root: Path, *files: Path) -> set[str]:
    """What a skip list may call these files: stem, name, path below the root, whole path."""
    return {
        name
        for file in files
        for name in (file.stem, file.name, file.relative_to(root).as_posix(), str(file))
    }


def _known_classes(
    root: Path, layout: str, class_names: Sequence[str] | str | Path | None
) -> tuple[tuple[str, ...] | None, tuple[Colour, ...] | None]:
    """Class names and colours, as far as they are known before the masks are looked at."""
    if class_names is None and not (root / "classes.txt").exists():
        return {"voc": VOC, "camvid": tuple(CAMVID)}.get(layout), None
    if class_names is None or isinstance(class_names, str | Path):
        return read_classes(Path(class_names or root / "classes.txt"))
    check_names(class_names, "class_names")
    return tuple(class_names), None


def _names_for(encoding: str, names: tuple[str, ...] | None, root: Path) -> tuple[str, ...]:
    """The class names, once it is known how masks are stored; a DataError if they do not fit."""
    if names is None:
        if encoding != "binary":
            raise DataError(
                f"{root}: no class names; write {root / 'classes.txt'}, one name a line in the "
                "order of the ids, or pass them as class_names"
            )
        return ("background", "foreground")
    if encoding == "binary" and len(names) != 2:
        raise DataError(f"{root}: 0/255 masks have two classes, but {len(names)} are named")
    return names


def _colours_for(layout: str, names: tuple[str, ...]) -> tuple[Colour, ...]:
    """The layout's own colours where all names are its own, else those of VOC by id."""
    own = CAMVID if layout == "camvid" and CAMVID.keys() >= set(names) else {}
    return tuple(own.get(name, voc_colour(i)) for i, name in enumerate(names))
