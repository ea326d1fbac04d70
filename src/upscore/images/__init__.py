"""Photos from anywhere, decoded safely; label maps as pictures."""

from upscore.errors import ImageError
from upscore.images.bundled import samples
from upscore.images.decode import (
    FORMATS,
    MAX_PIXELS,
    SUFFIXES,
    from_pillow,
    opened,
    read,
    rgb,
    size,
)

__all__ = [
    "FORMATS",
    "MAX_PIXELS",
    "SUFFIXES",
    "ImageError",
    "from_pillow",
    "opened",
    "read",
    "rgb",
    "samples",
    "size",
]
