"""Class names, colours, and mappings that merge or ignore classes."""

from collections.abc import Mapping, Sequence
from difflib import get_close_matches
from pathlib import Path

from upscore.data.text import read_text
from upscore.errors import DataError

VOID = 255
VOID_NAMES = frozenset({"__ignore__", "ignore", "unlabeled", "unlabelled", "void"})

Colour = tuple[int, int, int]
Source = Mapping[str, Sequence[str]] | str | Path

CAMVID = {
    "sky": (128, 128, 128),
    "building": (128, 0, 0),
    "pole": (192, 192, 128),
    "road": (128, 64, 128),
    "pavement": (60, 40, 222),
    "tree": (128, 128, 0),
    "sign": (192, 128, 128),
    "fence": (64, 64, 128),
    "car": (64, 0, 128),
    "pedestrian": (64, 64, 0),
    "bicyclist": (0, 128, 192),
}
VOC = (
    *("background", "aeroplane", "bicycle", "bird", "boat", "bottle", "bus", "car", "cat"),
    *("chair", "cow", "diningtable", "dog", "horse", "motorbike", "person", "pottedplant"),
    *("sheep", "sofa", "train", "tvmonitor"),
)


def voc_colour(index: int) -> Colour:
    """The colour of a class id in PASCAL VOC: its bits, dealt out to red, green and blue in turn.

    >>> voc_colour(1), voc_colour(15), voc_colour(255)
    ((128, 0, 0), (192, 128, 128), (224, 224, 192))
    """
    red, green, blue = (
        sum((index >> (3 * bit + channel) & 1) << (7 - bit) for bit in range(3))
        for channel in range(3)
    )
    return red, green, blue


def read_classes(path: Path) -> tuple[tuple[str, ...], tuple[Colour, ...] | None]:
    """Names and, where given, colours: a line `name` or `name 128 64 0` for each id, from 0 up."""
    names: list[str] = []
    colours: list[Colour] = []
    for number, line in enumerate(read_text(path).splitlines(), 1):
        if not line.strip():
            continue
        *words, r, g, b = ["", "", "", *line.split()]
        if r.isdecimal() and g.isdecimal() and b.isdecimal() and any(words):
            colour = int(r), int(g), int(b)
            if max(colour) > 255:
                raise DataError(f"{path}:{number}: colour {r} {g} {b} is outside 0 to 255")
            colours.append(colour)
            names.append(" ".join(filter(None, words)))
        else:
            names.append(line.strip())
    if colours and len(colours) != len(names):
        raise DataError(
            f"{path}: {len(colours)} of {len(names)} classes have a colour; "
            "write `name R G B` on every line or on none"
        )
    if len(set(colours)) != len(colours):
        red, green, blue = next(colour for colour in colours if colours.count(colour) > 1)
        raise DataError(f"{path}: two classes have the same colour, {red} {green} {blue}")
    check_names(names, str(path))
    return tuple(names), tuple(colours) or None


def check_names(names: Sequence[str], where: str) -> None:
    """Raise unless there are 1 to 255 class names, each there once."""
    if not 1 <= len(names) <= VOID:
        raise DataError(f"{where}: {len(names)} class names; expected 1 to {VOID}, one a line")
    twice = sorted({name for name in names if names.count(name) > 1})
    if twice:
        raise DataError(f"{where}: class name given twice: {', '.join(twice)}")


def read_mapping(path: Path) -> dict[str, tuple[str, ...]]:
    """A mapping file as a dictionary: lines `new = old, old`, `name`, `ignore = old`, `new = *`."""
    mapping: dict[str, tuple[str, ...]] = {}
    for number, line in enumerate(read_text(path).splitlines(), 1):
        new, _, olds = line.partition("#")[0].partition("=")
        new = new.strip()
        if not new and not olds.strip():
            continue
        members = tuple(old.strip() for old in (olds or new).split(","))
        if not new or not all(members):
            raise DataError(f"{path}:{number}: {line.strip()!r}; expected `new = old, old`")
        if new in mapping:
            raise DataError(f"{path}:{number}: {new} is there twice; put its classes on one line")
        mapping[new] = members
    return mapping


def apply_mapping(
    names: Sequence[str], mapping: Source | None
) -> tuple[tuple[str, ...], tuple[int, ...]]:
    """The new class names, and for each old class its new id (255 where it is ignored).

    New classes stand in the order of the mapping. `*` means every class that is named nowhere
    else; `* = *` keeps those under their own names, and is added at the end where no `*` is.
    A class called void, unlabelled, unlabeled or ignore is ignored without being asked.

    >>> names = "background", "bird", "cat", "dog"
    >>> apply_mapping(names, {"pet": ["cat", "dog"], "other": ["*"]})
    (('pet', 'other'), (1, 1, 0, 0))
    >>> apply_mapping(names, {"ignore": ["bird"], "* ": "*", "pet": ["cat", "dog"]})
    (('background', 'pet'), (0, 255, 1, 1))
    """
    where = "mapping"
    if isinstance(mapping, str | Path):
        where = str(mapping)
        mapping = read_mapping(Path(mapping))
    groups = {
        new.strip(): (olds,) if isinstance(olds, str) else tuple(olds)
        for new, olds in (mapping or {}).items()
    }
    void = [name for name in names if name.lower() in VOID_NAMES]
    groups["ignore"] = (*groups.get("ignore", ()), *void)
    if groups.get("*", ("*",)) != ("*",):
        raise DataError(f"{where}: `*` on the left keeps names; write `* = *`")
    if not any("*" in olds for olds in groups.values()):
        groups["*"] = ("*",)

    owner: dict[str, str] = {}
    for new, olds in groups.items():
        for old in olds:
            if old != "*" and old not in names:
                near = get_close_matches(old, names, 1)
                hint = f"; did you mean {near[0]}?" if near else ""
                raise DataError(f"{where}: no class {old!r} among {', '.join(names)}{hint}")
            if owner.setdefault(old, new) != new:
                raise DataError(f"{where}: {old!r} is in {owner[old]!r} and in {new!r}")
    rest = [name for name in names if name not in owner]
    home = owner.pop("*")
    owner |= {name: name if home == "*" else home for name in rest}

    kept = {"*": rest, "ignore": []}
    new_names = [name for new in groups for name in kept.get(new, [new])]
    check_names(new_names, where)
    for empty in sorted(set(new_names) - set(owner.values())):
        raise DataError(f"{where}: no class is left for {empty!r}; take its line out")
    ids = {name: i for i, name in enumerate(new_names)}
    return tuple(new_names), tuple(ids.get(owner[name], VOID) for name in names)
