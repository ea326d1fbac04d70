"""What a model is and how to use it, as plain values: needs no framework."""

import re
from collections.abc import Mapping
from dataclasses import dataclass, field, fields
from typing import Any, Literal

from upscore.errors import ArgumentError

Width = int | Literal["classes"]
Colour = tuple[int, int, int]

COARSEST = 32  # the stride of an encoder's last features; photos are padded to multiples of it
STRIDES = {"fcn32s": 32, "fcn16s": 16, "fcn8s": 8, "fcn4s": 4, "fcn2s": 2, "fcn1s": 1}

MOST_CLASSES = 255  # label maps are uint8, and 255 is void
MOST_PIXELS_A_SIDE = 100_000
MOST_CHANNELS = 4096
MOST_VALUE = 1e30  # of a band
LEAST_ZOOM, MOST_ZOOM = 0.001, 16
MOST_RESOLUTION = 1e5  # metres a pixel: weather satellites see some thousand


@dataclass(frozen=True)
class Spec:
    """What rebuilds a network and says how to use it.

    A network knows things at the size at which it was trained, so photos are resized for it: the
    longer side to `long_side` pixels or, where that is None, both sides by the factor `zoom`.

    Attributes:
        architecture: as for `upscore.models.build`.
        encoder: as for `upscore.models.build`.
        width: as for `upscore.models.build`.
        class_names: the C classes, in the order of the scores.
        palette: one RGB colour for each class, 0 to 255.
        mean: of each band, of values in 0..1: bytes over 255, or a band's range from low to high.
        std: of each band, of the same values.
        card: free: the data, the recipe, the scores and the limits, and the class mapping that the
            model was trained with.
        long_side: pixels of the longer side that photos are resized to, or None.
        zoom: the factor that photos are resized by where there is no `long_side`.
        ranges: (low, high) of each band of measurements, which clip its values; None for pictures,
            bytes of RGB.
        resolution: how many metres a pixel of the training photos was on the ground, where most of
            them told; else None.
    """

    architecture: str
    encoder: str
    width: Width
    class_names: tuple[str, ...]
    palette: tuple[Colour, ...]
    mean: tuple[float, ...]
    std: tuple[float, ...]
    card: Mapping[str, Any] = field(default_factory=dict, hash=False)
    long_side: int | None = None
    zoom: float = 1.0
    ranges: tuple[tuple[float, float], ...] | None = None
    resolution: float | None = None

    @property
    def bands(self) -> int | None:
        """How many bands of measured values photos have; None for pictures."""
        return None if self.ranges is None else len(self.ranges)

    @property
    def stride(self) -> int:
        """The stride of the scores."""
        return STRIDES[self.architecture]


def spec_from(values: Mapping[str, Any]) -> Spec:
    """Return the `Spec` that JSON values describe; every field is checked.

    Raises ArgumentError naming the field, what was found and what was expected.
    """
    expected = {f.name for f in fields(Spec)}
    # Models of before do not have all.
    values = {"zoom": 1.0, "ranges": None, "resolution": None} | dict(values)
    if values.keys() != expected:
        missing, extra = expected - values.keys(), values.keys() - expected
        raise ArgumentError(f"missing fields {sorted(missing)}, unknown fields {sorted(extra)}")
    names, palette = _classes(values)
    ranges = _ranges(values)
    bands = 3 if ranges is None else len(ranges)
    for name, least in (("mean", -1e6), ("std", 1e-6)):
        numbers = _items(values, name, (int, float))
        good = len(numbers) == bands and all(least <= n <= 1e6 for n in numbers)
        _expect(good, name, numbers, f"{bands} numbers from {least:g} to 1e+06")
    width, long_side = values["width"], values["long_side"]
    good = width == "classes" or _whole(width, 1, MOST_CHANNELS)
    _expect(good, "width", width, f'"classes" or a whole number from 1 to {MOST_CHANNELS}')
    good = long_side is None or _whole(long_side, 1, MOST_PIXELS_A_SIDE)
    _expect(good, "long_side", long_side, f"null or a whole number up to {MOST_PIXELS_A_SIDE}")
    zoom = values["zoom"]
    good = isinstance(zoom, float | int) and LEAST_ZOOM <= zoom <= MOST_ZOOM
    _expect(good, "zoom", zoom, f"a number from {LEAST_ZOOM} to {MOST_ZOOM}")
    resolution = values["resolution"]
    good = resolution is None or (_is_number(resolution) and 0 < resolution <= MOST_RESOLUTION)
    _expect(good, "resolution", resolution, f"null or metres up to {MOST_RESOLUTION:g}")
    architecture = values["architecture"]
    known = isinstance(architecture, str) and architecture in STRIDES
    _expect(known, "architecture", architecture, f"one of {', '.join(STRIDES)}")
    encoder, card = values["encoder"], values["card"]
    # timm would take other text for the address of a model to fetch.
    good = isinstance(encoder, str) and re.fullmatch(r"\w[\w.-]*", encoder) is not None
    _expect(good, "encoder", encoder, "the name of a timm model")
    _check_card(card)
    return Spec(
        architecture=architecture,
        encoder=encoder,
        width=width,
        class_names=names,
        palette=palette,
        mean=tuple(map(float, values["mean"])),
        std=tuple(map(float, values["std"])),
        card=card,
        long_side=long_side,
        zoom=float(zoom),
        ranges=ranges,
        resolution=None if resolution is None else float(resolution),
    )


def _classes(values: Mapping[str, Any]) -> tuple[tuple[str, ...], tuple[Colour, ...]]:
    """The names of the classes, and a colour for each."""
    names = _items(values, "class_names", str)
    _expect(1 <= len(names) <= MOST_CLASSES, "class_names", names, f"1 to {MOST_CLASSES} names")
    _expect(len(set(names)) == len(names), "class_names", names, "names that differ")
    palette = _items(values, "palette", list)
    for colour in palette:
        whole = len(colour) == 3 and all(_whole(c, 0, 255) for c in colour)
        _expect(whole, "palette", colour, "three whole numbers from 0 to 255")
    _expect(len(palette) == len(names), "palette", palette, f"{len(names)} colours, one a class")
    return tuple(names), tuple((r, g, b) for r, g, b in palette)


def _check_card(card: Any) -> None:
    """Raise ArgumentError where what evaluation reads of the card is not what it should be."""
    _expect(isinstance(card, dict), "card", card, "an object")
    mapping = card.get("mapping")
    _expect(mapping is None or _is_mapping(mapping), "card.mapping", mapping, "names of classes")
    for name, kind in (
        ("held_out", "names of photos"),
        ("digests", "hashes of photos"),
        ("allow", "kinds of problems"),
    ):
        found = card.get(name, [])
        good = isinstance(found, list | tuple) and all(isinstance(item, str) for item in found)
        _expect(good, f"card.{name}", found, kind)


def _ranges(values: Mapping[str, Any]) -> tuple[tuple[float, float], ...] | None:
    """The lowest and the highest value of each band, None where there are none."""
    if values["ranges"] is None:
        return None
    pairs = _items(values, "ranges", (list, tuple))
    _expect(1 <= len(pairs) <= MOST_CHANNELS, "ranges", pairs, f"1 to {MOST_CHANNELS} pairs")
    for pair in pairs:
        numbers = all(map(_is_number, pair))
        good = numbers and len(pair) == 2 and -MOST_VALUE <= pair[0] < pair[1] <= MOST_VALUE
        _expect(good, "ranges", pair, "two numbers, the first the lower one")
    return tuple((float(low), float(high)) for low, high in pairs)


def _items(values: Mapping[str, Any], name: str, of: type | tuple[type, ...]) -> list[Any]:
    """The list in a field, once all its items are of one type; true and false are no numbers."""
    found = values[name]
    good = isinstance(found, list | tuple) and all(
        isinstance(item, of) and not isinstance(item, bool) for item in found
    )
    _expect(good, name, found, "a list of the right type")
    return list(found)


def _is_mapping(value: Any) -> bool:
    """Whether a value is an object of class names, each with a list of them."""
    return isinstance(value, dict) and all(
        isinstance(names, list | tuple) and all(isinstance(name, str) for name in names)
        for names in value.values()
    )


def _is_number(value: Any) -> bool:
    return isinstance(value, int | float) and not isinstance(value, bool)


def _whole(value: Any, least: int, most: int) -> bool:
    return isinstance(value, int) and not isinstance(value, bool) and least <= value <= most


def _expect(good: bool, name: str, found: Any, expected: str) -> None:
    if not good:
        raise ArgumentError(f"{name} is {str(found)[:80]}, but {expected} was expected")
