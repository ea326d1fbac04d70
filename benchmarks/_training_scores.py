"""How benchmarks/training.py scores label maps: the same code for every contender."""

from pathlib import Path

import numpy as np
from PIL import Image

from _training_sets import class_names, mask_of, photos
from upscore.evaluation import metrics
from upscore.evaluation.metrics import Counts

Interval = tuple[float, float, float]  # the score, and its 95 % interval


def score(labels: Path, data: Path, *, background: bool) -> dict[str, Interval | None]:
    """Score a folder of label maps, `STEM.png`, against the masks of the test split.

    `mIoU` is the mean over all classes, `foreground IoU` that over all but class 0 (None where
    class 0 is no background), `boundary IoU` the mean over all classes of Boundary IoU.
    """
    counts = counted(labels, data)
    areas = counts[..., :3]
    both, either = np.moveaxis(counts[..., 3:], -1, 0)
    return {
        "mIoU": interval(areas),
        "foreground IoU": interval(areas[:, 1:]) if background else None,
        # As hits, true and predicted pixels: what is true or predicted is then `either`.
        "boundary IoU": interval(np.stack([both, either, both], axis=-1)),
    }


def counted(labels: Path, data: Path) -> Counts:
    """N x C x 5: hits, true, predicted, boundary intersection and union of each photo."""
    classes = len(class_names(data))
    rows = []
    for name in photos(data, "test"):
        with (
            Image.open(labels / f"{name}.png") as map_,
            Image.open(mask_of(data, "test", name)) as mask,
        ):
            predicted, true = np.asarray(map_), np.asarray(mask)
        matrix = metrics.confusion(predicted, true, classes)
        areas = np.stack([np.diagonal(matrix), matrix.sum(axis=1), matrix.sum(axis=0)], axis=1)
        contours = metrics.boundary_counts(predicted, true, classes)
        rows.append(np.concatenate([areas, contours], axis=1))
    return np.array(rows)


def interval(counts: Counts) -> Interval:
    """The mean IoU of pooled counts (N x C x 3), and its 95 % bootstrap interval over photos."""
    hits, true, predicted = counts.sum(axis=0).T
    mean = metrics.nan_mean(metrics.ratio(hits, true + predicted - hits))
    return mean, *metrics.bootstrap(counts)
