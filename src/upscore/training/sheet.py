"""A sheet of validation photos to look at: photo, truth and prediction side by side."""

import numpy as np
from PIL import Image

from upscore.data import Dataset
from upscore.images import preview
from upscore.images.overlay import blend, with_legend
from upscore.inference.segmenter import Segmenter

ROWS = 6  # photos on a sheet
HEIGHT = 160  # of each, in pixels


def draw_sheet(segmenter: Segmenter, dataset: Dataset) -> Image.Image:
    """Draw up to six photos, spread over the data set, with their masks and what a model says."""
    spec = segmenter.spec
    chosen = np.unique(
        np.linspace(0, len(dataset) - 1, min(ROWS, len(dataset))).round().astype(int)
    )
    rows = []
    for i in chosen:
        pixels, mask = dataset.read(int(i))
        photo = preview(pixels, spec.ranges)
        pictures = (
            photo,
            blend(photo, mask, dataset.palette),
            blend(photo, segmenter.labels(pixels), spec.palette),
        )
        rows.append([_low(picture) for picture in pictures])
    width = max(sum(picture.width for picture in row) for row in rows)
    sheet = Image.new("RGB", (width, HEIGHT * len(rows)), "white")
    for y, row in enumerate(rows):
        x = 0
        for picture in row:
            sheet.paste(picture, (x, y * HEIGHT))
            x += picture.width
    coloured = {n: c for n, c in zip(spec.class_names, spec.palette, strict=True) if any(c)}
    return with_legend(np.asarray(sheet), dict.fromkeys(coloured), coloured)


def _low(picture: np.ndarray[tuple[int, ...], np.dtype[np.uint8]]) -> Image.Image:
    """A picture at the height of the sheet's rows."""
    image = Image.fromarray(picture)
    width = max(1, min(4 * HEIGHT, round(image.width * HEIGHT / image.height)))
    return image.resize((width, HEIGHT), Image.Resampling.BILINEAR)
