"""The evaluation as one HTML page that needs no network, with its pictures beside it."""

from base64 import b64encode
from io import BytesIO
from pathlib import Path
from typing import Any

import numpy as np
from jinja2 import Environment, PackageLoader, StrictUndefined
from matplotlib.backends.backend_agg import FigureCanvasAgg
from matplotlib.figure import Figure
from numpy.typing import NDArray
from PIL import Image

from upscore.data import Dataset
from upscore.evaluation import metrics
from upscore.evaluation.confusion import class_table
from upscore.evaluation.metrics import VOID, Counts
from upscore.evaluation.result import Evaluation
from upscore.images import overlay, preview
from upscore.inference.segmenter import Segmenter
from upscore.io.atomic import write_bytes

WORST = 8
_SIDE = 360  # of a picture in the report, pixels
_MANY = 25  # more classes than this and the matrix has no room for numbers

_RIGHT, _WRONG, _LEFT_OUT = (235, 235, 235), (200, 30, 45), overlay.VOID_COLOUR


def write_report(folder: Path, result: Evaluation, segmenter: Segmenter, dataset: Dataset) -> None:
    """Write report.html, confusion.png and worst-*.jpg into a folder that exists.

    The page carries its pictures inside, so that it can be sent as one file.
    """
    confusion = confusion_picture(result.confusion, result.class_names)
    write_bytes(folder / "confusion.png", confusion)
    spec, worst = segmenter.spec, []
    for rank, i in enumerate(result.worst(WORST), 1):
        picture = _comparison(segmenter, dataset, i)
        write_bytes(folder / f"worst-{rank}.jpg", picture)
        source = _inline(picture, "jpeg")
        worst.append({"name": result.image_names[i], "iou": result.image_iou[i], "src": source})
    environment = Environment(
        loader=PackageLoader("upscore.evaluation", ""), autoescape=True, undefined=StrictUndefined
    )
    environment.filters["score"] = _score
    page = environment.get_template("report.html").render(
        result=result.to_dict(),
        interval=result.interval_in_words,
        palette=dict(zip(spec.class_names, spec.palette, strict=True)),
        confusion=_inline(confusion, "png"),
        worst=worst,
    )
    write_bytes(folder / "report.html", page.encode())


def confusion_picture(confusion: Counts, class_names: tuple[str, ...]) -> bytes:
    """A confusion matrix as a PNG: each row in shares of its true pixels."""
    shares = metrics.ratio(
        confusion, np.repeat(confusion.sum(1, keepdims=True), len(class_names), 1)
    )
    side = min(14.0, 3 + 0.45 * len(class_names))
    figure = Figure(figsize=(side + 1, side), layout="constrained")
    FigureCanvasAgg(figure)
    axes = figure.add_subplot()
    axes.grid(False)
    shown = axes.imshow(shares, cmap="Blues", vmin=0, vmax=1)
    axes.set(xlabel="predicted", ylabel="true (rows sum to 1)")
    axes.set_xticks(range(len(class_names)), class_names, rotation=90)
    axes.set_yticks(range(len(class_names)), class_names)
    figure.colorbar(shown, shrink=0.8)
    if len(class_names) <= _MANY:
        for (row, column), share in np.ndenumerate(shares):
            if share >= 0.005:
                colour = "white" if share > 0.5 else "black"
                text = f"{share:.2f}"
                axes.text(column, row, text, color=colour, ha="center", va="center", fontsize=8)
    stream = BytesIO()
    figure.savefig(stream, dpi=110)
    return stream.getvalue()


def _comparison(segmenter: Segmenter, dataset: Dataset, index: int) -> bytes:
    """Photo, truth, prediction and mistakes side by side, as a JPEG."""
    spec = segmenter.spec
    pixels, mask = dataset.read(index)
    photo = preview(pixels, spec.ranges)
    target = class_table(dataset.class_names, spec.class_names)[mask]
    labels = segmenter.labels(pixels)
    mistakes = np.full(photo.shape, _RIGHT, np.uint8)
    mistakes[labels != target] = _WRONG
    mistakes[target == VOID] = _LEFT_OUT
    views = (
        photo,
        overlay.blend(photo, target, spec.palette, alpha=0.7),
        overlay.blend(photo, labels, spec.palette, alpha=0.7),
        mistakes,
    )
    gap = ((0, 0), (0, 4), (0, 0))
    row = np.concatenate(
        [np.pad(_shrunk(view), gap, constant_values=255) for view in views], axis=1
    )
    stream = BytesIO()
    Image.fromarray(row).save(stream, "JPEG", quality=85)
    return stream.getvalue()


def _shrunk(view: NDArray[np.uint8]) -> NDArray[np.uint8]:
    image = Image.fromarray(view)
    image.thumbnail((_SIDE, _SIDE))
    return np.asarray(image)


def _inline(picture: bytes, form: str) -> str:
    return f"data:image/{form};base64,{b64encode(picture).decode()}"


def _score(value: Any) -> str:
    """A score with three places, a dash where there is none."""
    return "–" if value is None else f"{value:.3f}"
