"""Test-time augmentation: the several views of one photo that a model is shown."""

from collections.abc import Collection
from dataclasses import dataclass
from itertools import product

from upscore.errors import ArgumentError, ArgumentTypeError

Tta = str | Collection[str]

SCALES = (0.75, 1.0, 1.25)
# Beyond twice, a view's scores would be skipped where they are brought onto a coarser grid.
LEAST, MOST = 0.25, 2.0
_SCALES_TEXT = "scales=" + "/".join(f"{scale:g}" for scale in SCALES)
_CHOICES = f"flip (left-right), flip-ud (up-down), scales, or {_SCALES_TEXT} with numbers of yours"

_ROWS, _COLUMNS = 1, 2  # axes of photos N x H x W x 3


@dataclass(frozen=True)
class Augmentation:
    """Which views: the photo and its mirror images, each at every scale of the size shown."""

    flip: bool = False
    flip_ud: bool = False
    scales: tuple[float, ...] = (1.0,)

    @property
    def mirrors(self) -> list[tuple[int, ...]]:
        """For each mirror image, the axes of the photos along which it is mirrored.

        >>> Augmentation(flip=True, flip_ud=True).mirrors
        [(), (2,), (1,), (1, 2)]
        """
        rows = [(), (_ROWS,)] if self.flip_ud else [()]
        columns = [(), (_COLUMNS,)] if self.flip else [()]
        return [up + left for up, left in product(rows, columns)]

    def __str__(self) -> str:
        """What `augmentation` would read; "none" for the photo alone."""
        scales = "scales=" + "/".join(f"{scale:g}" for scale in self.scales)
        said = {"flip": self.flip, "flip-ud": self.flip_ud, scales: self.scales != (1.0,)}
        return ", ".join(name for name, on in said.items() if on) or "none"


def augmentation(tta: Tta) -> Augmentation:
    """Read names such as ("flip", "scales"), or one text with commas between them.

    Raises ArgumentError for a name or a scale that does not fit, ArgumentTypeError for no text.

    >>> augmentation("flip, scales=0.5/1")
    Augmentation(flip=True, flip_ud=False, scales=(0.5, 1.0))
    """
    names = tta.split(",") if isinstance(tta, str) else list(tta)
    if not all(isinstance(name, str) for name in names):
        raise ArgumentTypeError(f"tta must be names, such as {_CHOICES}, not {tta!r}")
    flip = flip_ud = False
    scales: tuple[float, ...] = (1.0,)
    for name in filter(None, map(str.strip, names)):
        if name == "flip":
            flip = True
        elif name == "flip-ud":
            flip_ud = True
        elif name == "scales":
            scales = SCALES
        elif name.startswith("scales="):
            scales = _scales(name.removeprefix("scales="))
        else:
            raise ArgumentError(f"tta {name!r} is unknown: there are {_CHOICES}")
    return Augmentation(flip, flip_ud, scales)


def _scales(text: str) -> tuple[float, ...]:
    """The numbers between the slashes, each once."""
    try:
        scales = tuple(dict.fromkeys(float(number) for number in text.split("/")))
    except ValueError:
        raise ArgumentError(
            f"tta scales {text!r}: expected numbers with slashes between them, {_SCALES_TEXT}"
        ) from None
    if not all(LEAST <= scale <= MOST for scale in scales):  # nor NaN
        raise ArgumentError(f"tta scales {text!r}: each must be from {LEAST:g} to {MOST:g}")
    return scales
