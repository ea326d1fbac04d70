"""COCO's instance annotations: one JSON file a split, with polygons and run lengths."""

from collections import defaultdict
from collections.abc import Iterator
from pathlib import Path
from typing import Any

from upscore.data.layouts.layout import (
    ALL,
    Layout,
    Listing,
    drawn_classes,
    in_order,
    own_name,
    photo_of,
    relative,
)
from upscore.data.problems import Problem, bad_shapes
from upscore.data.sample import Sample
from upscore.data.shapes import Drawing, Polygon, Runs, Shape, polygon
from upscore.data.text import (
    as_lengths,
    as_list,
    as_numbers,
    as_object,
    as_size,
    as_text,
    as_whole,
    read_json,
)
from upscore.errors import DataError

# Beside the photos, or in the folder of a split: of Roboflow, Label Studio, FiftyOne and others.
_NAMES = ("_annotations.coco.json", "annotations.json", "result.json", "labels.json")
# In annotations/, of the same photos: nothing to draw masks from.
_OTHERS = ("captions_", "image_info_", "panoptic_", "person_keypoints_", "stuff_")


def _files(root: Path) -> dict[str, Path]:
    """The annotation file of each split."""
    listed = sorted((root / "annotations").glob("[!.]*.json"))
    instances = [path for path in listed if path.name.startswith("instances_")]
    if listed := instances or [path for path in listed if not path.name.startswith(_OTHERS)]:
        return {path.stem.removeprefix("instances_"): path for path in listed}
    if alone := _beside(root):
        return {ALL: alone}
    folders = (path for path in root.iterdir() if path.is_dir())
    return {path.name: file for path in folders if (file := _beside(path))}


def _beside(folder: Path) -> Path | None:
    return next((folder / name for name in _NAMES if (folder / name).is_file()), None)


def _splits(root: Path) -> tuple[str, ...]:
    return in_order(_files(root))


def _read(root: Path, split: str) -> Listing:
    file = _files(root)[split]
    content = read_json(file)
    try:
        names = _categories(as_list(content.get("categories"), "categories"))
        listed = as_list(content.get("images"), "images")
        notes = _by_image(as_list(content.get("annotations"), "annotations"))
        samples, problems = _pairs(root, split, file, listed, notes, names)
    except DataError as error:
        raise DataError(f"{file}: {error}; is it a file of COCO's instances?") from error
    if notes:
        many = sum(map(len, notes.values()))
        message = f"{many} annotations of images that it does not list, such as {next(iter(notes))}"
        remedy = "add the images or take the annotations out"
        problems.append(Problem(file, "missing", message, remedy))
    return Listing(samples, problems, relative(root, file), drawn_classes(names.values()))


def _pairs(
    root: Path,
    split: str,
    file: Path,
    listed: list[Any],
    notes: dict[object, list[dict[str, Any]]],
    names: dict[object, str],
) -> tuple[list[Sample], list[Problem]]:
    """The listed photos with their drawings; their annotations are taken out of `notes`."""
    samples, problems = [], []
    beside = file.parent if file.parent.name != "annotations" else root
    folders = [root / split, root / "images" / split, beside / "images", beside / "data", beside]
    folders = [folder for folder in folders if folder.is_dir()]
    for number, image in enumerate(listed):
        image = as_object(image, f"images[{number}]")
        name = as_text(image.get("file_name"), f"images[{number}].file_name")
        mine = notes.pop(_key(image.get("id")), [])
        found = photo_of(folders, name)
        if found is None:
            message = f"{file.name} lists it, but no folder has it"
            remedy = "add the photo, or take it out of the list"
            problems.append(Problem(folders[0] / own_name(name), "missing", message, remedy))
            continue
        photo, name = found
        try:
            size = as_size(image.get("height"), image.get("width"))
        except DataError as error:
            problems.append(Problem(photo, "unreadable", f"{file.name}: {error}", "correct it"))
            continue
        shapes, faults = _shapes(mine, names)
        problems += bad_shapes(photo, [f"{file.name}: {fault}" for fault in faults])
        samples.append(Sample(name, photo, file, Drawing(shapes, size, shared=True)))
    return samples, problems


def _categories(listed: list[Any]) -> dict[object, str]:
    """Class names by id, in order; without the empty category that Roboflow puts above all."""
    categories = [as_object(entry, "categories") for entry in listed]
    above = [entry.get("supercategory") for entry in categories if entry.get("id") != 0]
    names = {
        as_whole(entry.get("id"), "category id"): as_text(entry.get("name"), "category name")
        for entry in categories
        if not (
            entry.get("id") == 0
            and entry.get("supercategory") == "none"
            and entry.get("name") in above
        )
    }
    return dict(sorted(names.items()))


def _by_image(annotations: list[Any]) -> dict[object, list[dict[str, Any]]]:
    grouped: dict[object, list[dict[str, Any]]] = defaultdict(list)
    for number, note in enumerate(annotations):
        note = as_object(note, f"annotations[{number}]")
        grouped[_key(note.get("image_id"))].append(note)
    return grouped


def _key(identity: object) -> object:
    """An id that can be looked up: ids are numbers, but some programs write text."""
    return identity if isinstance(identity, int | float | str) else repr(identity)


def _shapes(
    notes: list[dict[str, Any]], names: dict[object, str]
) -> tuple[tuple[Shape, ...], list[str]]:
    """The shapes of one photo, small ones on top of large ones, and what is wrong with others."""
    drawn: list[tuple[float, Shape]] = []
    faults = []
    for note in notes:
        try:
            label = None if note.get("iscrowd") else names.get(_key(note.get("category_id")))
            if label is None and not note.get("iscrowd"):
                raise DataError(f"category {note.get('category_id')!r} is not listed")
            shapes = list(_parts(label, note.get("segmentation")))
            area = note.get("area")
            if not isinstance(area, int | float):
                area = sum(shape.area() for shape in shapes)
            drawn += [(area, shape) for shape in shapes]
        except DataError as error:
            faults.append(f"annotation {note.get('id')}: {error}")
    drawn.sort(key=lambda pair: -pair[0])
    return tuple(shape for _, shape in drawn), faults


def _parts(label: str | None, segmentation: object) -> Iterator[Polygon | Runs]:
    """A segmentation's polygons, `[[x, y, x, y, ...], ...]`, or its run lengths."""
    if isinstance(segmentation, dict):
        size = as_list(segmentation.get("size"), "size")
        if len(size) != 2:
            raise DataError(f"size: {len(size)} numbers; expected height and width")
        height, width = (as_whole(side, "size") for side in size)
        counts = segmentation.get("counts")
        if not isinstance(counts, str):
            counts = as_lengths(as_list(counts, "counts"))
        yield Runs(label, (0, 0, width, height), counts, by_column=True)
        return
    if not segmentation:
        raise DataError("no segmentation: a box alone does not tell which pixels")
    for part in as_list(segmentation, "segmentation"):
        numbers = as_numbers(part, "polygon")
        if numbers.ndim != 1 or numbers.size % 2:
            raise DataError("a polygon that is not a list of x, y, x, y, ...")
        yield polygon(label, numbers.reshape(-1, 2))


COCO = Layout(
    "COCO annotations",
    "annotations/instances_train.json + train/ or images/, or train/_annotations.coco.json",
    _splits,
    _read,
)
