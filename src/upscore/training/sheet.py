"""A sheet of validation photos to look at: photo, truth and prediction side by side."""

import numpy as np
from numpy.typing import NDArray
from PIL import Image, ImageDraw, ImageFont

from upscore.data import Dataset
from upscore.images import preview
from upscore.images.overlay import blend, with_legend
from upscore.inference.segmenter import Segmenter

ROWS = 6  # photos on a sheet
HEIGHT = 160  # of each, in pixels
GAP = 4  # between pictures
HEADINGS = ("photo", "truth", "prediction")
TEXT = 16  # pixels


def draw_sheet(segmenter: Segmenter, dataset: Dataset) -> Image.Image:
    """Draw up to six photos, spread over the data set, with their masks and what a model says."""
    spec = segmenter.spec
    chosen = np.unique(
        np.linspace(0, len(dataset) - 1, min(ROWS, len(dataset))).round().astype(int)
    )
    rows = []
    for i in chosen:
        pixels, mask = dataset.read(int(i))
        labels = segmenter.labels(pixels)
        # Made small first: contours stay visible, and large photos take no longer.
        photo = _low(preview(pixels, spec.ranges), Image.Resampling.BILINEAR)
        truth, found = (_low(ids, Image.Resampling.NEAREST) for ids in (mask, labels))
        pictures = (photo, blend(photo, truth, dataset.palette), blend(photo, found, spec.palette))
        rows.append([Image.fromarray(picture) for picture in pictures])
    sheet = _laid_out(rows)
    coloured = {n: c for n, c in zip(spec.class_names, spec.palette, strict=True) if any(c)}
    return with_legend(np.asarray(sheet), dict.fromkeys(coloured), coloured)


def _laid_out(rows: list[list[Image.Image]]) -> Image.Image:
    """Rows of pictures in columns, with a heading over each column."""
    font = ImageFont.load_default(TEXT)
    least = [round(font.getlength(heading)) for heading in HEADINGS]
    widths = [
        max(*(picture.width for picture in column), width)
        for *column, width in zip(*rows, least, strict=True)
    ]
    lefts = [sum(widths[:i]) + i * GAP for i in range(len(widths))]
    top, step = TEXT + 2 * GAP, HEIGHT + GAP
    sheet = Image.new("RGB", (lefts[-1] + widths[-1], top + step * len(rows) - GAP), "white")
    draw = ImageDraw.Draw(sheet)
    for left, heading in zip(lefts, HEADINGS, strict=True):
        draw.text((left, GAP), heading, "black", font)
    for y, row in enumerate(rows):
        for left, picture in zip(lefts, row, strict=True):
            sheet.paste(picture, (left, top + y * step))
    return sheet


def _low(pixels: NDArray[np.uint8], how: Image.Resampling) -> NDArray[np.uint8]:
    """A picture or label map at the height of the sheet's rows."""
    image = Image.fromarray(pixels)
    width = max(1, min(4 * HEIGHT, round(image.width * HEIGHT / image.height)))
    return np.asarray(image.resize((width, HEIGHT), how))
