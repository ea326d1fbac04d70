"""The parity gate: an export must label photos as its model does, or it is not written."""

from collections.abc import Callable, Collection, Iterable
from dataclasses import asdict, dataclass
from typing import TYPE_CHECKING, Any

import numpy as np
from numpy.typing import NDArray

from upscore.errors import ArgumentError, ParityError
from upscore.evaluation import metrics
from upscore.inference.segmenter import Segmenter

if TYPE_CHECKING:
    from rich.table import Table

Bytes = NDArray[np.uint8]

# What is measured. The first four compare the export's labels with the model's own.
MEASURES = {
    "agreement": "share of pixels with the same label",
    "mean-iou": "mean IoU with the model's labels",
    "worst-class": "lowest IoU of a class",
    "boundary": "mean boundary IoU",
    "masks": "change of the mean IoU on the masks",
}

# The least of each measure, by precision.
LIMITS = {
    # Another runtime adds up in another order: only pixels where two classes tie may change.
    # The bundled model: 1.0000 of all four in every format, on 300 photos of its validation.
    "float32": (0.9999, 0.999, 0.998, 0.998, -0.0005),
    # Weights keep 11 bits, which moves a contour by less than a pixel (0.9998, 0.999, 0.999, 0.997,
    # on the same photos).
    "float16": (0.999, 0.995, 0.99, 0.98, -0.002),
    # 8 bits move contours by a pixel or two (0.994, 0.978, 0.966, 0.908); what is lost on the masks
    # must stay below what another training run would change, one to two points of mean IoU.
    "int8": (0.98, 0.93, 0.85, 0.80, -0.01),
}
# A class on fewer pixels than this share, in either map, has an IoU made of chance: it counts in
# agreement alone.
SMALLEST_SHARE = 0.001


@dataclass(frozen=True)
class Measure:
    """One number of the comparison, and the least that it may be.

    Attributes:
        name: "agreement", "mean-iou", "worst-class", "boundary" or "masks"; the table of `Parity`
            says what each is.
        value: what was measured.
        limit: the least that lets the export be written.
    """

    name: str
    value: float
    limit: float

    @property
    def met(self) -> bool:
        """Whether the value is within its limit; NaN is not."""
        return self.value >= self.limit


@dataclass(frozen=True)
class Parity:
    """How far an export's labels are those of its model; `rich.print` shows it as a table.

    Attributes:
        photos: how many were compared.
        source: where they are from.
        precision: "float32", "float16" or "int8": of the export.
        measures: what was measured, and the least that each may be.
        masks: mean IoU on the masks, the model's and the export's; None without masks.
        accepted: names of measures that may be beyond their limit.
    """

    photos: int
    source: str
    precision: str
    measures: tuple[Measure, ...]
    masks: tuple[float, float] | None = None  # mean IoU on the masks: the model's, the export's
    accepted: tuple[str, ...] = ()

    def to_dict(self) -> dict[str, Any]:
        """Return the comparison as plain JSON values.

        Returns:
            Each field by its name, None for NaN.
        """
        values = asdict(self)
        values["measures"] = [
            {key: metrics.plain(value) for key, value in row.items()} for row in values["measures"]
        ]
        return values | {"masks": self.masks and [metrics.plain(value) for value in self.masks]}

    def check(self) -> None:
        """Raise an error if a measure is beyond its limit and not accepted.

        Raises:
            ParityError: with the measures that are beyond their limits.
        """
        beyond = [m for m in self.measures if not m.met and m.name not in self.accepted]
        if not beyond:
            return
        lines = "\n".join(
            f"  {m.name}: {m.value:.4f}, at least {m.limit:g} was expected ({MEASURES[m.name]})"
            for m in beyond
        )
        accept = " ".join(f"--accept {m.name}" for m in beyond)
        raise ParityError(
            f"nothing is written: the {self.precision} export does not label {self.photos} photos "
            f"as the model does\n{lines}\nto write it nevertheless: {accept}",
            self,
        )

    def __rich__(self) -> "Table":
        from rich.table import Table

        table = Table(box=None, title=f"parity on {self.photos} photos ({self.source})")
        for heading in ("measure", "", "value", "least", ""):
            table.add_column(heading, justify="right" if heading in ("value", "least") else "left")
        for m in self.measures:
            beyond = "accepted" if m.name in self.accepted else "beyond the limit"
            verdict = "" if m.met else beyond
            table.add_row(m.name, MEASURES[m.name], f"{m.value:.4f}", f"{m.limit:g}", verdict)
        if self.masks is not None:
            table.add_row("", "mean IoU on the masks, model", f"{self.masks[0]:.4f}", "", "")
            table.add_row("", "mean IoU on the masks, export", f"{self.masks[1]:.4f}", "", "")
        return table


def checked_names(accept: Collection[str]) -> tuple[str, ...]:
    """The names of measures to accept, in a fixed order; ArgumentError for another name."""
    if isinstance(accept, str):
        accept = (accept,)
    unknown = set(accept) - MEASURES.keys()
    if unknown:
        raise ArgumentError(f"accept {sorted(unknown)}: measures are {', '.join(MEASURES)}")
    return tuple(name for name in MEASURES if name in accept)


def compare(
    model: Segmenter,
    labels_of: Callable[[NDArray[Any]], Bytes],
    pairs: Iterable[tuple[NDArray[Any], Bytes | None]],
    *,
    source: str,
    precision: str,
    accepted: tuple[str, ...] = (),
) -> Parity:
    """Compare an export's labels with its model's on the same pixels.

    labels_of: the export, from a photo H x W x B to labels H x W.
    pairs: photos at the size at which both label them, and their masks in the model's classes or
        None.
    """
    classes = len(model.spec.class_names)
    model = model.at(None)
    to_model, model_to_mask, export_to_mask = np.zeros((3, classes, classes), np.int64)
    boundary = np.zeros((classes, 2), np.int64)
    photos, masked = 0, False
    for photo, mask in pairs:
        expected, found = model.labels(photo), labels_of(photo)
        photos += 1
        to_model += metrics.confusion(found, expected, classes)
        boundary += metrics.boundary_counts(found, expected, classes)
        if mask is not None:
            masked = True
            model_to_mask += metrics.confusion(expected, mask, classes)
            export_to_mask += metrics.confusion(found, mask, classes)
    values = list(_agreement(to_model, boundary))
    masks = None
    if masked:
        before, after = (metrics.scores(m).mean_iou for m in (model_to_mask, export_to_mask))
        masks = before, after
        values.append(after - before)
    # Without masks there is one value fewer, and its limit does not apply.
    rows = zip(MEASURES, values, LIMITS[precision], strict=False)
    measures = tuple(Measure(*row) for row in rows)
    return Parity(photos, source, precision, measures, masks, accepted)


def _agreement(confusion: metrics.Counts, boundary: metrics.Counts) -> tuple[float, ...]:
    """The four measures that need no masks."""
    scores = metrics.scores(confusion)
    either = scores.true_pixels + scores.predicted_pixels - np.diagonal(confusion)
    common = either >= SMALLEST_SHARE * confusion.sum()
    iou, both, one = scores.iou[common], boundary[common, 0], boundary[common, 1]
    return (
        scores.pixel_accuracy,
        metrics.nan_mean(iou),
        float(iou.min()),
        metrics.nan_mean(metrics.ratio(both, one)),
    )
