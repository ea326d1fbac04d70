"""Photos from anywhere, decoded safely; label maps as pictures."""

from upscore.errors import ImageError
from upscore.images.bands import (
    as_bands,
    bands_of,
    kind_of,
    preview,
    read_bands,
    resized,
    resolution,
    size,
)
from upscore.images.bundled import samples
from upscore.images.decode import (
    FORMATS,
    MAX_PIXELS,
    SUFFIXES,
    from_pillow,
    opened,
    read,
    rgb,
)

__all__ = [
    "FORMATS",
    "MAX_PIXELS",
    "SUFFIXES",
    "ImageError",
    "as_bands",
    "bands_of",
    "from_pillow",
    "kind_of",
    "opened",
    "preview",
    "read",
    "read_bands",
    "resized",
    "resolution",
    "rgb",
    "samples",
    "size",
]
