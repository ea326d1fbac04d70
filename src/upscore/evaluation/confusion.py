"""Count a model's hits and misses on a data set."""

from collections.abc import Collection, Iterable
from typing import Any

import numpy as np
from numpy.typing import NDArray

from upscore.arrays import framework
from upscore.data import Dataset
from upscore.errors import DataError
from upscore.evaluation import metrics
from upscore.evaluation.metrics import VOID, Counts
from upscore.heads.confusion import confusion
from upscore.inference.fusion import Coarse
from upscore.inference.segmenter import Segmenter
from upscore.io.read_ahead import map_ahead


def confusion_of(
    segmenter: Segmenter, dataset: Dataset, indices: Iterable[int], *, boundary: bool = False
) -> tuple[Counts, Counts]:
    """Count a model's hits and misses on some images of a data set.

    Every image is counted once, whole, at its mask's own size: processes that share out the indices
    (`range(rank, len(dataset), world)`) add up their matrices to what one would have counted.

    Args:
        segmenter: the model.
        dataset: its classes must all be among the model's; they are matched by name.
        indices: which images.
        boundary: count contours too, in two more columns.

    Returns:
        The confusion matrix, int64 C x C in the model's classes, rows the truth; and of each image
        int64 C x 3 (or 5): hits, true, predicted (boundary intersection, boundary union).
    """
    classes = len(segmenter.spec.class_names)
    table = class_table(dataset.class_names, segmenter.spec.class_names)

    def look(pair: tuple[NDArray[Any], NDArray[np.uint8]]) -> tuple[Any, NDArray[np.uint8]]:
        photo, mask = pair
        found = segmenter.labels(photo) if boundary else segmenter.coarse(photo[None])
        return found, table[mask]

    def count(pair: tuple[Any, NDArray[np.uint8]]) -> tuple[Counts, Counts]:
        found, target = pair
        if boundary:
            matrix = metrics.confusion(found, target, classes)
        else:
            matrix = _of_scores(found, target)
        columns = [np.diagonal(matrix), matrix.sum(axis=1), matrix.sum(axis=0)]
        if boundary:
            columns += list(metrics.boundary_counts(found, target, classes).T)
        return matrix, np.stack(columns, axis=1)

    total = np.zeros((classes, classes), np.int64)
    images = []
    for matrix, counts in map_ahead(count, map(look, map_ahead(dataset.read, indices))):
        total += matrix
        images.append(counts)
    return total, np.array(images, np.int64).reshape(-1, classes, 5 if boundary else 3)


def _of_scores(coarse: Coarse, target: NDArray[np.uint8]) -> Counts:
    """The confusion matrix of a photo's scores, without its labels."""
    arrays = framework(coarse.scores)
    truth = arrays.placed(coarse.scores, target[None])
    counts = confusion(
        coarse.scores, truth, ignore_index=VOID, stride=coarse.stride, size=coarse.size
    )
    return arrays.numpy(counts)


def class_table(data_classes: Collection[str], model_classes: tuple[str, ...]) -> NDArray[np.uint8]:
    """Return a table from the ids of a mask (255 void) to those of the same names in the model."""
    if not set(data_classes) <= set(model_classes):
        raise unknown_classes(data_classes, model_classes)
    table = np.full(256, VOID, np.uint8)
    table[: len(data_classes)] = [model_classes.index(name) for name in data_classes]
    return table


def unknown_classes(data_classes: Collection[str], model_classes: Collection[str]) -> DataError:
    unknown = [name for name in data_classes if name not in model_classes]
    return DataError(
        f"the model does not know {len(unknown)} of the data's classes: {', '.join(unknown)}.\n"
        f"  data:  {', '.join(data_classes)}\n"
        f"  model: {', '.join(model_classes)}\n"
        "Write a mapping file, one line for each class of the model, `dog = hound, puppy`; "
        "`background = *` takes the rest and `ignore = ...` counts as void. Then give it as mapping"
    )
