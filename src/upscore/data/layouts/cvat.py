"""CVAT for images 1.1: annotations.xml beside images/."""

from pathlib import Path
from xml.etree.ElementTree import Element

from upscore.data.layouts.layout import (
    Layout,
    Listing,
    colour_of,
    drawn_classes,
    only_undivided,
    own_name,
    photo_of,
    relative,
)
from upscore.data.problems import Problem, bad_shapes
from upscore.data.sample import Sample
from upscore.data.shapes import Drawing, Runs, Shape, ellipse, polygon, rectangle
from upscore.data.text import as_lengths, as_numbers, as_size, as_text, as_whole, read_xml
from upscore.errors import DataError

_NO_SHAPES = {"tag"}  # of the whole photo


def _file(root: Path) -> Path:
    return root / "annotations.xml"


def _images(root: Path) -> tuple[Element, list[Element]]:
    """The whole file, and its photos."""
    content = read_xml(_file(root))
    if content.find("track") is not None:
        raise DataError(
            f"{_file(root)}: tracks of a video; export it as `CVAT for images 1.1` instead"
        )
    return content, content.findall("image")


def _splits(root: Path) -> tuple[str, ...]:
    """The subsets of a project, if one is called train; else none."""
    if not _file(root).is_file():
        return ()
    subsets = {image.get("subset") or "default" for image in _images(root)[1]}
    return only_undivided(subsets or {"default"})


def _read(root: Path, split: str) -> Listing:
    content, images = _images(root)
    divided = split in {image.get("subset") for image in images}
    samples, problems = [], []
    for number, image in enumerate(images):
        if divided and image.get("subset") != split:
            continue
        try:
            name = as_text(image.get("name"), "name")
            size = as_size(image.get("height"), image.get("width"))
        except DataError as error:
            raise DataError(f"{_file(root)}: image {number}: {error}") from error
        found = _photo(root, name, image.get("subset"))
        if found is None:
            message = "annotations.xml lists it, but images/ does not have it"
            remedy = "export with images, add the photo, or take it out of the list"
            problems.append(Problem(root / "images" / own_name(name), "missing", message, remedy))
            continue
        photo, name = found
        shapes, faults = _shapes(image)
        problems += bad_shapes(photo, [f"annotations.xml: {fault}" for fault in faults])
        drawing = Drawing(shapes, size, shared=True)
        samples.append(Sample(name, photo, _file(root), drawing))
    labels = {
        name: colour_of(label.findtext("color"))
        for label in content.findall("meta/*/labels/label")
        if (name := (label.findtext("name") or "").strip())
    }
    drawn = {shape.label for s in samples if s.drawing for shape in s.drawing.shapes}
    names = labels or sorted(label for label in drawn if label)
    palette = {name: colour for name, colour in labels.items() if colour}
    classes = drawn_classes(names, palette)
    return Listing(samples, problems, relative(root, _file(root)), classes)


def _photo(root: Path, name: str, subset: str | None) -> tuple[Path, str] | None:
    return photo_of((root / "images" / (subset or ""), root / "images", root), name)


def _shapes(image: Element) -> tuple[tuple[Shape, ...], list[str]]:
    """The shapes of a photo from the lowest to the topmost, and what is wrong with others."""
    shapes, faults = [], []
    for number, entry in enumerate(image, 1):
        if entry.tag in _NO_SHAPES:
            continue
        try:
            level = as_numbers(entry.get("z_order", "0"), "z_order")
            shapes.append((float(level), _shape(entry)))
        except DataError as error:
            faults.append(f"shape {number}: {error}")
    return tuple(shape for _, shape in sorted(shapes, key=lambda pair: pair[0])), faults


def _shape(entry: Element) -> Shape:
    label = as_text(entry.get("label"), "label")
    if entry.tag == "polygon":
        points = [point.split(",") for point in entry.get("points", "").split(";")]
        return polygon(label, as_numbers(points, "points"))
    if entry.tag == "box":
        corners = _attributes(entry, "xtl", "ytl", "xbr", "ybr")
        return rectangle(label, *corners, degrees=_turn(entry))
    if entry.tag == "ellipse":
        centre_and_radii = _attributes(entry, "cx", "cy", "rx", "ry")
        return ellipse(label, *centre_and_radii, degrees=_turn(entry))
    if entry.tag == "mask":
        left, top, width, height = (
            as_whole(entry.get(name), name) for name in ("left", "top", "width", "height")
        )
        lengths = as_lengths(entry.get("rle", "").split(","))
        return Runs(label, (left, top, width, height), lengths, by_column=False)
    raise DataError(f"a {entry.tag} has no area to draw; expected polygon, box, ellipse or mask")


def _attributes(entry: Element, *names: str) -> list[float]:
    values: list[float] = as_numbers([entry.get(name) for name in names], ", ".join(names)).tolist()
    return values


def _turn(entry: Element) -> float:
    """Degrees, clockwise."""
    return float(as_numbers(entry.get("rotation", "0"), "rotation"))


CVAT = Layout("CVAT for images", "annotations.xml (CVAT for images 1.1) + images/", _splits, _read)
