"""Label maps as pictures: palette PNGs, photos with coloured classes, legends."""

from collections.abc import Mapping, Sequence

import numpy as np
from numpy.typing import NDArray
from PIL import Image, ImageDraw, ImageFont

Colour = tuple[int, int, int]
Bytes = NDArray[np.uint8]

VOID_COLOUR = (224, 224, 192)  # as in PASCAL VOC's masks
_TEXT = 16
_GAP = 8


def palette_image(labels: Bytes, palette: Sequence[Colour]) -> Image.Image:
    """A label map as a palette image: pixels are class ids (255 void), colours come with it."""
    image = Image.fromarray(labels)
    colours = np.zeros((256, 3), np.uint8)
    colours[: len(palette)] = palette
    colours[255] = VOID_COLOUR
    image.putpalette(colours.tobytes())
    return image


def blend(photo: Bytes, labels: Bytes, palette: Sequence[Colour], *, alpha: float = 0.5) -> Bytes:
    """Tint a photo (H x W x 3) with the colours of its classes and draw their contours white.

    A class whose colour is black, as background has in most palettes, is left untinted.
    """
    colours = np.zeros((256, 3), np.uint16)
    colours[: len(palette)] = palette
    weight = np.where(colours.any(axis=1), round(alpha * 256), 0).astype(np.uint16)
    tint, keep = colours * weight[:, None], (256 - weight)[labels]
    mixed = np.empty_like(photo)
    for channel in range(3):
        mixed[..., channel] = (photo[..., channel] * keep + tint[labels, channel]) >> 8
    mixed[_contours(labels)] = 255
    return mixed


def with_legend(
    picture: Bytes, shares: Mapping[str, float | None], colours: Mapping[str, Colour]
) -> Image.Image:
    """Put a strip below a picture: a swatch, a name and, if known, a share of the area a class."""
    font = ImageFont.load_default(_TEXT)
    texts = [(n, n if share is None else f"{n} {share:.1%}") for n, share in shares.items()]
    widths = [round(font.getlength(text)) + _TEXT + 3 * _GAP for _, text in texts]
    height, width = picture.shape[:2]
    canvas_width = max(width, *widths) if widths else width
    places, x, y = [], 0, 0
    for step in widths:
        if x and x + step > canvas_width:
            x, y = 0, y + _TEXT + _GAP
        places.append((x, y))
        x += step
    strip = y + _TEXT + 2 * _GAP if texts else 0
    canvas = Image.new("RGB", (canvas_width, height + strip), "white")
    canvas.paste(Image.fromarray(picture))
    draw = ImageDraw.Draw(canvas)
    for (x, y), (name, text) in zip(places, texts, strict=True):
        left, top = x + _GAP, height + _GAP + y
        box = (left, top, left + _TEXT, top + _TEXT)
        draw.rectangle(box, fill=colours[name], outline="grey")
        draw.text((left + _TEXT + _GAP, top + _TEXT // 2), text, "black", font, anchor="lm")
    return canvas


def _contours(labels: Bytes) -> NDArray[np.bool_]:
    """Pixels whose right or lower neighbour is of another class."""
    edge = np.zeros(labels.shape, bool)
    edge[:, :-1] |= labels[:, 1:] != labels[:, :-1]
    edge[:-1] |= labels[1:] != labels[:-1]
    return edge
