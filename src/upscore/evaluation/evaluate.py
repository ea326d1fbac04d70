"""Score a model on a data set, at the masks' own size, from one pooled confusion matrix."""

from collections.abc import Collection, Iterable
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
import torch
from numpy.typing import NDArray
from rich.console import Console
from rich.progress import track

from upscore import __version__, metrics
from upscore import data as datasets
from upscore.data import DataError, Dataset
from upscore.errors import ArgumentError
from upscore.evaluation.metrics import VOID, Counts, Floats
from upscore.io.atomic import write_json
from upscore.models import FCN, Spec
from upscore.prediction.predictor import LongSide, label_map, load_for


@dataclass(frozen=True)
class Evaluation:
    """A model's scores on a data set.

    `images` (N x C x 5) counts, for each image and class: hits, true pixels, predicted pixels, and
    boundary intersection and union.
    """

    model: str
    classes: tuple[str, ...]
    names: tuple[str, ...]
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

    def worst(self, count: int) -> list[int]:
        """Places of the images with the lowest mean IoU, worst first; all-void ones left out."""
        order = np.argsort(self.image_iou, kind="stable")
        return [int(i) for i in order if not np.isnan(self.image_iou[i])][:count]

    def to_dict(self) -> dict[str, Any]:
        """Plain JSON values; scores that do not exist are None."""
        scores = self.scores.to_dict()
        boundary = self.boundary_iou
        per_class = ("iou", "accuracy", "true_pixels", "predicted_pixels")
        return {
            "model": self.model,
            **{key: value for key, value in scores.items() if key not in per_class},
            "mean_iou_95": list(self.interval),
            "mean_boundary_iou": metrics.plain(metrics.nan_mean(boundary)),
            "classes": {
                name: {key: scores[key][i] for key in per_class}
                | {"boundary_iou": metrics.plain(boundary[i])}
                for i, name in enumerate(self.classes)
            },
            "confusion": self.confusion.tolist(),
            "images": dict(zip(self.names, metrics.plain(self.image_iou), strict=True)),
            "protocol": self.protocol,
        }


def confusion_of(
    model: FCN, spec: Spec, dataset: Dataset, indices: Iterable[int], *, boundary: bool = False
) -> tuple[Counts, Counts]:
    """Count a model's hits and misses on some images of a data set.

    Every image is counted once, whole, at its mask's own size: processes that share out the indices
    (`range(rank, len(dataset), world)`) add up their matrices to what one would have counted.

    Args:
        model: in evaluation mode, on any device.
        dataset: its classes must all be among the model's; they are matched by name.
        indices: which images.
        boundary: count contours too, in two more columns.

    Returns:
        The confusion matrix, int64 C x C in the model's classes, rows the truth; and of each image
        int64 C x 3 (or 5): hits, true, predicted (boundary intersection, boundary union).
    """
    if model.training:
        raise ArgumentError(
            "the model is in training mode, which changes its answers: model.eval()"
        )
    classes = len(spec.classes)
    place = places(dataset.classes, spec.classes)

    def label(
        pair: tuple[NDArray[np.uint8], NDArray[np.uint8]],
    ) -> tuple[NDArray[np.uint8], NDArray[np.uint8]]:
        photo, mask = pair
        return label_map(model, spec, photo), place[mask]

    def count(pair: tuple[NDArray[np.uint8], NDArray[np.uint8]]) -> tuple[Counts, Counts]:
        labels, target = pair
        matrix = metrics.confusion(labels, target, classes)
        columns = [np.diagonal(matrix), matrix.sum(axis=1), matrix.sum(axis=0)]
        if boundary:
            columns += list(metrics.boundary_counts(labels, target, classes).T)
        return matrix, np.stack(columns, axis=1)

    total = np.zeros((classes, classes), np.int64)
    images = []
    for matrix, counts in map_ahead(count, map(label, map_ahead(dataset.read, indices))):
        total += matrix
        images.append(counts)
    return total, np.array(images, np.int64).reshape(-1, classes, 5 if boundary else 3)


def evaluate(
    data: str | Path,
    model: str | Path = "bundled",
    *,
    split: str = "val",
    layout: str | None = None,
    mapping: Any = None,
    skip: Collection[str | Path] = (),
    device: str | torch.device | None = None,
    long_side: LongSide = "trained",
    json_file: str | Path | None = None,
    report: str | Path | None = None,
    progress: bool = True,
) -> Evaluation:
    """Score a model on a folder of photos and masks.

    Args:
        data: the folder; see `upscore.data.find` for layouts.
        model: "bundled", a folder with a model.json, or the folder of a training run.
        split: which part of the data.
        layout, mapping, skip: as for `upscore.data.find`. Where the data have classes that the
            model does not know, and no mapping is given, the one it was trained with is used.
        device, long_side: as for `upscore.Predictor`.
        json_file: where to write `Evaluation.to_dict()`.
        report: a folder for report.html, which needs no network, and its pictures.
        progress: show a progress bar on standard error.

    Raises:
        DataError: the data cannot be found or used, or their classes are not the model's.
        ImageError: a photo or mask is broken; every one counts, so the evaluation stops.
        CheckpointError: the model cannot be loaded.
    """
    for folder in (json_file and Path(json_file).parent, report):
        if folder:  # now, not after the work
            Path(folder).mkdir(parents=True, exist_ok=True)
    network, spec = load_for(device, model, long_side)
    dataset, used = _matched(Path(data), spec, split, layout, mapping, skip)
    indices = track(
        range(len(dataset)), "Evaluating", console=Console(stderr=True), disable=not progress
    )
    confusion, images = confusion_of(network, spec, dataset, indices, boundary=True)
    result = Evaluation(
        str(model),
        spec.classes,
        tuple(sample.name for sample in dataset.samples),
        confusion,
        images,
        metrics.bootstrap(images[..., :3]),
        _protocol(dataset, spec, confusion, used),
    )
    if json_file is not None:
        write_json(json_file, result.to_dict())
    if report is not None:
        from upscore.evaluation.report import write_report

        write_report(Path(report), result, network, spec, dataset)
    return result


def _matched(
    root: Path,
    spec: Spec,
    split: str,
    layout: str | None,
    mapping: Any,
    skip: Collection[str | Path],
) -> tuple[Dataset, Any]:
    """The data set in classes the model knows, and the mapping that brought it there."""
    dataset = datasets.find(root, split, layout=layout, mapping=mapping, skip=skip)
    if mapping is None and not set(dataset.classes) <= set(spec.classes):
        mapping = spec.card.get("mapping")
        if mapping is not None:
            try:
                dataset = datasets.find(root, split, layout=layout, mapping=mapping, skip=skip)
            except DataError as error:  # the mapping is of other data
                raise _unknown(dataset.classes, spec.classes) from error
    places(dataset.classes, spec.classes)
    if dataset.problems:
        shown = "\n  ".join(map(str, dataset.problems[:5]))
        raise DataError(
            f"{root}: {len(dataset.problems)} problems, and a score would leave those files out:\n"
            f"  {shown}\nmend them, or name the files to skip"
        )
    if not dataset.samples:
        raise DataError(f"{root}: the split {split!r} is empty; nothing to score")
    return dataset, mapping


def places(data_classes: Collection[str], model_classes: tuple[str, ...]) -> NDArray[np.uint8]:
    """A table from the ids of a mask (255 void) to the model's ids of the same class names."""
    if not set(data_classes) <= set(model_classes):
        raise _unknown(data_classes, model_classes)
    table = np.full(256, VOID, np.uint8)
    table[: len(data_classes)] = [model_classes.index(name) for name in data_classes]
    return table


def _unknown(data_classes: Collection[str], model_classes: Collection[str]) -> DataError:
    unknown = [name for name in data_classes if name not in model_classes]
    return DataError(
        f"the model does not know {len(unknown)} of the data's classes: {', '.join(unknown)}.\n"
        f"  data:  {', '.join(data_classes)}\n"
        f"  model: {', '.join(model_classes)}\n"
        "Write a mapping file, one line for each class of the model, `dog = hound, puppy`; "
        "`background = *` takes the rest and `ignore = ...` counts as void. Then give it as mapping"
    )


def _protocol(dataset: Dataset, spec: Spec, confusion: Counts, mapping: Any) -> dict[str, Any]:
    """How the scores came about, in words that can stand beside them."""
    true, predicted = confusion.sum(axis=1), confusion.sum(axis=0)
    brought = f"; for the network, photos are brought to a long side of {spec.long_side} pixels"
    return {
        "data": str(dataset.root),
        "split": dataset.split,
        "layout": dataset.layout,
        "images": len(dataset),
        "resolution": "each photo whole, labels compared at its mask's own size"
        + (brought if spec.long_side else ""),
        "averaging": "one confusion matrix pooled over all images; means over classes",
        "void": "pixels of value 255 after the mapping count in nothing",
        "pixels": int(confusion.sum()),
        "mapping": mapping if mapping is None or isinstance(mapping, dict) else str(mapping),
        "classes_without_truth": [
            name for name, pixels in zip(spec.classes, true, strict=True) if not pixels
        ],
        "classes_left_out_of_the_mean": [
            name for name, pixels in zip(spec.classes, true + predicted, strict=True) if not pixels
        ],
        "boundary": "Cheng et al. 2021, 0.02 of the diagonal, void outside every class",
        "interval": "95 %, percentile bootstrap over images, 1000 draws, seed 0",
        "model": f"{spec.architecture}, {spec.encoder}, width {spec.width}",
        "versions": {"upscore": __version__, "torch": torch.__version__},
    }
