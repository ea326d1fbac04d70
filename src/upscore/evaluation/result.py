"""The result of an evaluation, and the scores that follow from it."""

from dataclasses import dataclass
from typing import Any

import numpy as np

from upscore.evaluation import metrics
from upscore.evaluation.metrics import Counts, Floats

FEW = 10  # images: the interval of fewer is too narrow to trust


@dataclass(frozen=True)
class Evaluation:
    """A model's scores on a data set.

    Attributes:
        model: the model's name.
        class_names: the model's C classes.
        image_names: the N photos.
        confusion: int64, C x C: pixels, rows the truth and columns the prediction.
        images: int64, N x C x 5: of each photo and class hits, true pixels, predicted pixels, and
            boundary intersection and union.
        interval: the 95 % interval of the mean IoU, by drawing photos again and again (bootstrap);
            NaN for a single photo.
        protocol: how it was measured: data, split, sizes, engine and versions.
    """

    model: str
    class_names: tuple[str, ...]
    image_names: tuple[str, ...]
    confusion: Counts
    images: Counts
    interval: tuple[float, float]
    protocol: dict[str, Any]

    @property
    def scores(self) -> metrics.Scores:
        """The pooled scores."""
        return metrics.scores(self.confusion)

    @property
    def boundary_iou(self) -> Floats:
        """Boundary IoU of each class, NaN where there is no boundary."""
        both, either = self.images[..., 3:].sum(axis=0).T
        return metrics.ratio(both, either)

    @property
    def image_iou(self) -> Floats:
        """Each image's own mean IoU: to find the worst, never to be averaged."""
        hits, true, predicted = np.moveaxis(self.images[..., :3], -1, 0)
        iou = metrics.ratio(hits, true + predicted - hits)
        return metrics.ratio(np.nansum(iou, axis=1), (~np.isnan(iou)).sum(axis=1))

    @property
    def interval_in_words(self) -> str:
        """The interval, and whether the photos are enough for it."""
        (low, high), photos = self.interval, len(self.image_names)
        if photos < 2:
            return "no 95 % interval: it needs two images or more"
        few = f", too narrow to trust with {photos} images" if photos < FEW else ""
        return f"95 % interval {low:.3f} to {high:.3f}{few}"

    def worst(self, count: int) -> list[int]:
        """Return which photos have the lowest mean IoU, worst first.

        Args:
            count: how many, at most.

        Returns:
            Places in `image_names`; photos whose masks are all void are left out.
        """
        order = np.argsort(self.image_iou, kind="stable")
        return [int(i) for i in order if not np.isnan(self.image_iou[i])][:count]

    def to_dict(self) -> dict[str, Any]:
        """Return all scores as plain JSON values.

        Returns:
            What `upscore evaluate --json` writes; scores that do not exist are None.
        """
        scores = self.scores.to_dict()
        boundary = self.boundary_iou
        per_class = ("iou", "accuracy", "true_pixels", "predicted_pixels")
        return {
            "model": self.model,
            **{key: value for key, value in scores.items() if key not in per_class},
            "mean_iou_95": [metrics.plain(end) for end in self.interval],
            "mean_boundary_iou": metrics.plain(metrics.nan_mean(boundary)),
            "classes": {
                name: {key: scores[key][i] for key in per_class}
                | {"boundary_iou": metrics.plain(boundary[i])}
                for i, name in enumerate(self.class_names)
            },
            "confusion": self.confusion.tolist(),
            "images": dict(zip(self.image_names, metrics.plain(self.image_iou), strict=True)),
            "protocol": self.protocol,
        }
