"""What `masks` and `assign` are asked for: how large, and by way of which other sizes."""

from typing import Any

from upscore.errors import ArgumentError, ArgumentTypeError
from upscore.geometry import whole
from upscore.heads.grid import MOST_PIXELS

Pair = tuple[int, int]
Crop = tuple[int, int, int, int]  # top, left, height, width

MOST_SIDE = (1 << 31) - 1  # the kernel numbers rows with 32 bits


def check_pair(name: str, value: Any) -> Pair:
    """Return a height and a width."""
    try:
        height, width = value
    except (TypeError, ValueError):
        raise ArgumentTypeError(f"{name} must be (height, width), not {value!r}") from None
    height, width = whole(f"height of {name}", height, 1), whole(f"width of {name}", width, 1)
    if max(height, width) > MOST_SIDE or height * width > MOST_PIXELS:
        raise ArgumentError(
            f"{name}={height} x {width} is more than {MOST_PIXELS:,} pixels or {MOST_SIDE:,} on a "
            "side; make it smaller"
        )
    return height, width


def check_steps(source: Pair, through: Any, crop: Any) -> tuple[Pair | None, Crop | None]:
    """Return the size to resize scores of `source` pixels to first, and what is kept of that."""
    if through is not None:
        through = check_pair("through", through)
    if crop is None:
        return through, None
    whole_picture = through or source
    try:
        top, left, height, width = (0, 0, *crop) if len(crop) == 2 else crop
    except (TypeError, ValueError):
        raise ArgumentTypeError(
            f"crop must be (height, width) or (top, left, height, width), not {crop!r}"
        ) from None
    top, left = whole("top", top, 0), whole("left", left, 0)
    height, width = check_pair("crop", (height, width))
    if top + height > whole_picture[0] or left + width > whole_picture[1]:
        raise ArgumentError(
            f"crop={crop!r} reaches beyond the {whole_picture[0]} x {whole_picture[1]} pixels "
            "that it is cut from"
        )
    return through, (top, left, height, width)
