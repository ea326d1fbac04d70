"""The data sets of benchmarks/training.py, brought into one layout that every contender sees.

A set becomes train/images and train/masks, val/... where the set has one, test/... and classes.txt.
Photos are links to the originals; masks are written as 8-bit class ids, 255 void.
"""

import os
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path

from PIL import Image

from upscore import data as datasets
from upscore.io.atomic import make_folder, write_bytes
from upscore.training.recipe import RECIPES

Mapped = Mapping[str, tuple[str, ...]]


@dataclass(frozen=True)
class Source:
    """Where a set comes from, and what of it is used.

    `first`: only so many photos of train, in the order of its list, or sorted where it has none.
    `background`: class 0 is what is left over, so that there is a foreground to score.
    `any_way_up`: the photos have no up and down, as seen from above or through a microscope.
    """

    folder: str
    val: str | None = None
    test: str = "test"
    first: int | None = None
    class_names: tuple[str, ...] | None = None
    mapping: Mapped | None = None
    background: bool = True
    any_way_up: bool = False

    @property
    def splits(self) -> dict[str, str]:
        """From the names of the splits here to those of the source."""
        named = {"train": "train", "val": self.val, "test": self.test}
        return {ours: theirs for ours, theirs in named.items() if theirs is not None}


SETS = {
    "membrane": Source(
        "membrane", val="val", class_names=("background", "membrane"), any_way_up=True
    ),
    "cracks": Source("cracks", class_names=("background", "crack"), any_way_up=True),
    "camvid20": Source("camvid", test="val", first=20, background=False),
    "voc200": Source("voc-animals", test="val", first=200, mapping=RECIPES["voc-animals"].mapping),
}


def build(name: str, data: Path, folder: Path) -> Path:
    """Lay a set out in a folder, if it is not there yet."""
    source = SETS[name]
    if (folder / "classes.txt").exists():  # written last
        return folder
    for split, theirs in source.splits.items():
        dataset = datasets.find(
            data / source.folder, theirs, class_names=source.class_names, mapping=source.mapping
        )
        images, masks = (make_folder(folder / split / each) for each in ("images", "masks"))
        last = source.first if split == "train" else None
        for i, sample in enumerate(dataset.samples[:last]):
            link(images / f"{sample.name}{sample.image.suffix}", sample.image)
            Image.fromarray(dataset.read(i)[1]).save(masks / f"{sample.name}.png")
    write_bytes(folder / "classes.txt", "\n".join((*dataset.class_names, "")).encode())
    return folder


def link(path: Path, target: Path) -> None:
    """Make a symbolic link, replacing one that an interrupted run left."""
    path.unlink(missing_ok=True)
    os.symlink(target.resolve(), path)


def photos(folder: Path, split: str) -> dict[str, Path]:
    """The photos of a split by stem; none where the set has no such split."""
    return {path.stem: path for path in sorted((folder / split / "images").glob("*"))}


def mask_of(folder: Path, split: str, name: str) -> Path:
    return folder / split / "masks" / f"{name}.png"


def class_names(folder: Path) -> list[str]:
    return (folder / "classes.txt").read_text().splitlines()
