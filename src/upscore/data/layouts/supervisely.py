"""Supervisely projects: meta.json, and data sets that are folders with img/ and ann/."""

from pathlib import Path
from typing import Any

from upscore.data.classes import Colour
from upscore.data.layouts.layout import (
    ALL,
    Layout,
    Listing,
    annotated,
    colour_of,
    drawn_classes,
    images_in,
    no_partner,
    only_undivided,
    relative,
)
from upscore.data.problems import Problem
from upscore.data.sample import Sample
from upscore.data.shapes import Bitmap, Drawing, Shape, polygon, rectangle
from upscore.data.text import as_list, as_numbers, as_object, as_size, as_text, read_json
from upscore.errors import DataError

_CENTRE = 0.5  # points name pixels, whose centres lie half a pixel further


def _is_set(folder: Path) -> bool:
    return (folder / "img").is_dir() and (folder / "ann").is_dir()


def _sets(root: Path) -> dict[str, Path]:
    if not (root / "meta.json").is_file():
        return {}
    return {path.name: path for path in sorted(root.iterdir()) if _is_set(path)}


def _splits(root: Path) -> tuple[str, ...]:
    """Data sets called train, val, ...; others are no splits, and taken together."""
    if (root / "meta.json").is_file() and _is_set(root):
        return (ALL,)
    return only_undivided(_sets(root))


def _read(root: Path, split: str) -> Listing:
    meta = root / "meta.json"
    palette = _classes(meta)
    sets = {split: root} if _is_set(root) else _sets(root)
    folders = list(sets.values()) if split == ALL else [sets[split]]
    samples: list[Sample] = []
    problems: list[Problem] = []
    for folder in folders:
        more, wrong = _folder(folder, f"{folder.name}/" if len(folders) > 1 else "")
        samples, problems = samples + more, problems + wrong
    source = relative(root, meta, *(folder / "ann" for folder in folders))
    known = {name: colour for name, colour in palette.items() if colour}
    return Listing(samples, problems, source, drawn_classes(palette, known))


def _classes(meta: Path) -> dict[str, Colour | None]:
    """Class names in the order of meta.json, with their colours."""
    content = read_json(meta)
    try:
        entries = [as_object(e, "classes") for e in as_list(content.get("classes"), "classes")]
        return {as_text(e.get("title"), "title"): colour_of(e.get("color")) for e in entries}
    except DataError as error:
        raise DataError(f"{meta}: {error}; is it a Supervisely project?") from error


def _folder(folder: Path, prefix: str) -> tuple[list[Sample], list[Problem]]:
    """The photos of one data set; the prefix tells their names from those of another."""
    photos = {path.name: path for path in images_in(folder / "img")}
    notes = {path.stem: path for path in sorted((folder / "ann").glob("[!.]*.json"))}
    samples: list[Sample] = []
    problems: list[Problem] = []
    for name in sorted(photos.keys() | notes.keys()):
        photo, note = photos.get(name), notes.get(name)
        if photo and note:
            found, wrong = annotated(f"{prefix}{photo.stem}", photo, note, _drawing)
            samples, problems = samples + found, problems + wrong
        elif photo:
            problems.append(no_partner(photo, f"no ann/{name}.json", "annotations"))
        elif note:
            problems.append(no_partner(note, f"no img/{name}", "photo"))
    return samples, problems


def _drawing(content: dict[str, Any]) -> tuple[Drawing, list[str]]:
    size = as_object(content.get("size"), "size")
    shapes, faults = [], []
    for number, entry in enumerate(as_list(content.get("objects"), "objects"), 1):
        try:
            shapes.append(_shape(as_object(entry, "object")))
        except DataError as error:
            faults.append(f"object {number}: {error}")
    return Drawing(tuple(shapes), as_size(size.get("height"), size.get("width"))), faults


def _shape(entry: dict[str, Any]) -> Shape:
    label = as_text(entry.get("classTitle"), "classTitle")
    kind = entry.get("geometryType")
    if kind == "bitmap":
        bitmap = as_object(entry.get("bitmap"), "bitmap")
        origin = as_numbers(bitmap.get("origin"), "origin")
        if origin.shape != (2,):
            raise DataError("origin: expected x and y")
        x, y = origin.astype(int).tolist()
        return Bitmap(label, (x, y), as_text(bitmap.get("data"), "data"))
    if kind not in ("polygon", "rectangle"):
        raise DataError(f"a {str(kind)[:40]} has no area to draw; expected polygon, bitmap, ...")
    points = as_object(entry.get("points"), "points")
    outside = as_numbers(points.get("exterior"), "exterior")
    if kind == "rectangle":
        if outside.shape != (2, 2):
            raise DataError("a rectangle that is not of two points")
        (x0, y0), (x1, y1) = outside.min(axis=0).tolist(), outside.max(axis=0).tolist()
        return rectangle(label, x0, y0, x1 + 1, y1 + 1)
    holes = [as_numbers(hole, "interior") for hole in as_list(points.get("interior", []), "holes")]
    return polygon(label, *(ring + _CENTRE for ring in (outside, *holes)))


SUPERVISELY = Layout(
    "a Supervisely project", "meta.json + train/img/, train/ann/*.json, ...", _splits, _read
)
