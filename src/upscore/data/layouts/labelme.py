"""LabelMe: a JSON file beside each photo, of the same stem."""

from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np

from upscore.data.layouts.layout import (
    ALL,
    Layout,
    Listing,
    annotated,
    by_stem,
    drawn_classes,
    in_order,
    no_partner,
    relative,
)
from upscore.data.problems import Problem
from upscore.data.sample import Sample
from upscore.data.shapes import Bitmap, Drawing, Ring, Shape, ellipse, polygon, rectangle
from upscore.data.text import as_list, as_numbers, as_object, as_size, as_text
from upscore.errors import DataError

# What LabelMe's own converters make of these two labels.
_SPECIAL = {"__ignore__": None, "_background_": "background"}


def _notes(folder: Path) -> dict[str, Path]:
    return {path.stem: path for path in sorted(folder.glob("[!.]*.json"))}


def _is_annotated(folder: Path) -> bool:
    """Whether some JSON file has a photo beside it."""
    return folder.is_dir() and not _notes(folder).keys().isdisjoint(by_stem(folder)[0])


def _splits(root: Path) -> tuple[str, ...]:
    if _is_annotated(root):
        return (ALL,)
    return in_order(path.name for path in root.iterdir() if _is_annotated(path))


def _read(root: Path, split: str) -> Listing:
    """The labels are those of all splits, so that each split has the same classes."""
    listings = {name: _folder(root if name == ALL else root / name) for name in _splits(root)}
    labels = {
        shape.label
        for samples, _ in listings.values()
        for sample in samples
        for shape in (sample.drawing.shapes if sample.drawing else ())
    }
    names = sorted(label for label in labels if label is not None)
    folder = root if split == ALL else root / split
    source = relative(root, folder / "*.json")
    return Listing(*listings[split], source, drawn_classes(names))


def _folder(folder: Path) -> tuple[list[Sample], list[Problem]]:
    photos, problems = by_stem(folder)
    notes, samples = _notes(folder), list[Sample]()
    for stem in sorted(photos.keys() | notes.keys()):
        photo, note = photos.get(stem), notes.get(stem)
        if note is None and photo is not None:
            problems.append(no_partner(photo, f"no {stem}.json beside it", "annotations"))
        elif photo is None and note is not None:
            problems.append(no_partner(note, f"no photo named {stem}.* beside it", "photo"))
        elif photo and note:
            found, wrong = annotated(stem, photo, note, _drawing)
            samples, problems = samples + found, problems + wrong
    return samples, problems


def _drawing(content: dict[str, Any]) -> tuple[Drawing, list[str]]:
    size = as_size(content.get("imageHeight"), content.get("imageWidth"))
    shapes, faults = [], []
    for number, entry in enumerate(as_list(content.get("shapes"), "shapes"), 1):
        try:
            shapes.append(_shape(as_object(entry, "shape")))
        except DataError as error:
            faults.append(f"shape {number}: {error}")
    return Drawing(tuple(shapes), size), faults


def _shape(entry: dict[str, Any]) -> Shape:
    label: str | None = as_text(entry.get("label"), "label")
    label = _SPECIAL.get(label, label) if label else None
    kind = entry.get("shape_type") or "polygon"  # which old files leave out
    points = as_numbers(entry.get("points"), "points")
    if kind == "polygon":
        return polygon(label, points)
    draw = _OF_TWO_POINTS.get(str(kind))
    if draw is None:
        expected = f"polygon, {', '.join(_OF_TWO_POINTS)}"
        raise DataError(f"a {str(kind)[:40]} has no area to draw; expected {expected}")
    if points.shape != (2, 2):
        raise DataError(f"a {kind} of {len(np.atleast_1d(points))} points; expected two")
    return draw(label, points, entry)


def _rectangle(label: str | None, points: Ring, entry: dict[str, Any]) -> Shape:
    return rectangle(label, *points.ravel().tolist())


def _circle(label: str | None, points: Ring, entry: dict[str, Any]) -> Shape:
    """The centre, and a point of the circle."""
    (x, y), radius = points[0].tolist(), float(np.hypot(*(points[1] - points[0])))
    return ellipse(label, x, y, radius, radius)


def _mask(label: str | None, points: Ring, entry: dict[str, Any]) -> Shape:
    """The first point is the bitmap's first pixel."""
    x, y = points[0].astype(int).tolist()
    return Bitmap(label, (x, y), as_text(entry.get("mask"), "mask"))


_OF_TWO_POINTS: dict[str, Callable[[str | None, Ring, dict[str, Any]], Shape]] = {
    "rectangle": _rectangle,
    "circle": _circle,
    "mask": _mask,
}

LABELME = Layout(
    "LabelMe annotations",
    "a.json (LabelMe) beside each photo a.*, alone or under train/, val/, test/",
    _splits,
    _read,
)
