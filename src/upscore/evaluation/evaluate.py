"""Score a model on a data set, at the masks' own size, from one pooled confusion matrix."""

from collections.abc import Collection
from dataclasses import replace
from pathlib import Path
from typing import Any

from rich.console import Console
from rich.progress import track

from upscore import data as datasets
from upscore.data import Dataset, Patterns
from upscore.data.dataset import joined
from upscore.errors import DataError
from upscore.evaluation import metrics
from upscore.evaluation.confusion import class_table, confusion_of, unknown_classes
from upscore.evaluation.metrics import Counts
from upscore.evaluation.result import FEW, Evaluation
from upscore.evaluation.scored import Scored, scored
from upscore.images import kind_of
from upscore.inference.engines import EngineName, Precision
from upscore.inference.load import LongSide, Models, name_of, segmenter_of
from upscore.inference.segmenter import Segmenter
from upscore.inference.tta import Tta
from upscore.io.atomic import make_folder, write_json
from upscore.models.spec import Spec
from upscore.version import __version__


def evaluate(
    data: str | Path,
    model: Models | Segmenter = "bundled",
    *,
    split: str | None = None,
    layout: str | Patterns | None = None,
    mapping: Any = None,
    skip: Collection[str | Path] = (),
    engine: EngineName = "auto",
    device: str | None = None,
    precision: Precision = "float32",
    long_side: LongSide = "trained",
    tta: Tta = (),
    json_file: str | Path | None = None,
    report: str | Path | None = None,
    progress: bool = True,
) -> Evaluation:
    """Score a model on a folder of photos and masks.

    Args:
        data: the folder; see `upscore.data.find` for layouts.
        model: "bundled", a folder with a model.json, the folder of a training run, a list of these
            (an ensemble), or a `Segmenter`.
        split: which part of the data. If not given, it is "val": what training held out, where the
            data have no val of their own or the model is of a fold of train and val; and all of an
            undivided folder that the model was not trained on.
        layout: as for `upscore.data.find`.
        mapping: as for `upscore.data.find`. Where the data have classes that the model does not
            know, and no mapping is given, the one it was trained with is used.
        skip: as for `upscore.data.find`.
        engine: as for `upscore.load`.
        device: as for `upscore.load`.
        precision: as for `upscore.load`.
        long_side: as for `upscore.Predictor`.
        tta: as for `upscore.Predictor`.
        json_file: where to write `Evaluation.to_dict()`.
        report: a folder for report.html, which needs no network, and its pictures.
        progress: show a progress bar on standard error.

    Returns:
        An `Evaluation`: scores, the confusion matrix, and counts of each photo.

    Raises:
        DataError: the data cannot be found or used, their classes are not the model's, or the model
            learned from all of these photos and no split is named.
        ImageError: a photo or mask is broken; every one counts, so the evaluation stops.
        CheckpointError: the model cannot be loaded.

    Examples:
        >>> import upscore
        >>> result = upscore.evaluate("photos", "runs/mine")  # doctest: +SKIP
        >>> result.scores.mean_iou  # doctest: +SKIP
    """
    for folder in (json_file and Path(json_file).parent, report):
        if folder:  # now, not after the work
            make_folder(folder)
    segmenter = segmenter_of(
        model,
        engine=engine,
        device=device,
        precision=precision,
        long_side=long_side,
        tta=tta,
    )
    spec = segmenter.spec
    chosen = scored(Path(data), [member.spec for member in segmenter.members], split, layout)
    dataset, used = matched(Path(data), spec, chosen, layout, mapping, skip)
    indices = track(
        range(len(dataset)), "Evaluating", console=Console(stderr=True), disable=not progress
    )
    confusion, images = confusion_of(segmenter, dataset, indices, boundary=True)
    result = Evaluation(
        name_of(model),
        spec.class_names,
        tuple(sample.name for sample in dataset.samples),
        confusion,
        images,
        metrics.bootstrap(images[..., :3]),
        _protocol(dataset, chosen.about, segmenter, confusion, used),
    )
    if json_file is not None:
        write_json(json_file, result.to_dict())
    if report is not None:
        from upscore.evaluation.report import write_report

        write_report(Path(report), result, segmenter, dataset)
    return result


def matched(
    root: Path,
    spec: Spec,
    split: str | Scored | None,
    layout: str | Patterns | None,
    mapping: Any,
    skip: Collection[str | Path],
) -> tuple[Dataset, Any]:
    """Return the data set in classes the model knows, and the mapping that brought it there."""
    chosen = split if isinstance(split, Scored) else scored(root, [spec], split, layout)

    def found(mapping: Any) -> Dataset:
        options: dict[str, Any] = {"layout": layout, "mapping": mapping, "skip": skip}
        return joined(*(datasets.find(root, name, **options) for name in chosen.splits))

    dataset = found(mapping)
    if mapping is None and not set(dataset.class_names) <= set(spec.class_names):
        mapping = spec.card.get("mapping")
        if mapping is not None:
            try:
                dataset = found(mapping)
            except DataError as error:  # the model's own mapping is for other data
                raise unknown_classes(dataset.class_names, spec.class_names) from error
    class_table(dataset.class_names, spec.class_names)
    if chosen.names:
        samples = tuple(sample for sample in dataset.samples if sample.name in chosen.names)
        name = f"held out in training, of {dataset.split}"
        dataset = replace(dataset, samples=samples, split=name)
    if dataset.samples and dataset.bands != spec.bands and (spec.bands, dataset.bands) != (None, 1):
        raise DataError(
            f"{root}: the model takes {kind_of(spec.bands)}, and these are {kind_of(dataset.bands)}"
        )
    dataset = replace(dataset, bands=spec.bands)  # deep grey is a picture too, if asked to be
    problems = [p for p in dataset.problems if p.kind not in spec.card.get("allow", ())]
    if problems:
        raise DataError(
            f"{root}: {datasets.report(problems, 5)}\n"
            "a score would leave these out: mend them, or name the files to skip"
        )
    if not dataset.samples:
        raise DataError(f"{root}: the split {dataset.split!r} is empty; nothing to score")
    return dataset, mapping


def _protocol(
    dataset: Dataset, about: str, segmenter: Segmenter, confusion: Counts, mapping: Any
) -> dict[str, Any]:
    """How the scores came about, in words that can stand beside them."""
    spec = segmenter.spec
    true, predicted = confusion.sum(axis=1), confusion.sum(axis=0)
    sizes = dict.fromkeys(_resizing(member.spec) for member in segmenter.members)
    return {
        "data": str(dataset.root),
        "split": dataset.split,
        "scored": about,
        "layout": dataset.layout,
        "images": len(dataset),
        "resolution": "each photo whole, labels compared at its mask's own size; for the network, "
        f"photos are {' or '.join(sizes)}",
        "averaging": "one confusion matrix pooled over all images; means over classes",
        "void": "pixels of value 255 after the mapping count in nothing",
        "pixels": int(confusion.sum()),
        "mapping": mapping if mapping is None or isinstance(mapping, dict) else str(mapping),
        "classes_without_truth": [
            name for name, pixels in zip(spec.class_names, true, strict=True) if not pixels
        ],
        "classes_left_out_of_the_mean": [
            name
            for name, pixels in zip(spec.class_names, true + predicted, strict=True)
            if not pixels
        ],
        "boundary": "Cheng et al. 2021, 0.02 of the diagonal, void outside every class",
        "interval": "95 %, percentile bootstrap over images, 1000 draws, seed 0; with fewer than "
        f"{FEW} images too narrow to trust",
        "accepted": list(spec.card.get("allow", ())),
        "selection": "training chooses its weights, what rare classes count, and the size at which "
        "photos are shown, by its val or the photos it holds out: the honest score is that of a "
        "test split",
        "model": " + ".join(map(_network, segmenter.members)),
        "test_time_augmentation": segmenter.tta,
        "engine": segmenter.engine.name,
        "versions": {"upscore": __version__},
    }


def _network(segmenter: Segmenter) -> str:
    """The network of a model in words."""
    spec = segmenter.spec
    return f"{spec.architecture}, {spec.encoder}, width {spec.width}"


def _resizing(spec: Spec) -> str:
    """How photos are resized for a network, in words."""
    if spec.long_side is not None:
        return f"resized to a long side of {spec.long_side} pixels"
    return "left as they are" if spec.zoom == 1 else f"resized by {spec.zoom:g}"
