"""Write a model for programs without upscore, if its labels are those of the model."""

import json
from collections.abc import Callable, Collection, Iterator, Mapping
from functools import partial
from pathlib import Path
from tempfile import TemporaryDirectory
from typing import Any

import numpy as np
from numpy.typing import NDArray
from PIL import Image

from upscore import data as datasets
from upscore import images
from upscore.data import Patterns
from upscore.errors import ArgumentError
from upscore.evaluation.confusion import class_table
from upscore.evaluation.evaluate import matched
from upscore.exporting.formats import Candidate, candidate_of
from upscore.exporting.options import Format, Head, Options, Precision, options_of
from upscore.exporting.parity import Parity, checked_names, compare
from upscore.heads.argmax import argmax
from upscore.inference.load import load
from upscore.inference.segmenter import Segmenter
from upscore.io.atomic import make_folder
from upscore.models.checkpoint import read_checkpoint
from upscore.models.spec import Spec
from upscore.version import __version__

Bytes = NDArray[np.uint8]
Photo = NDArray[Any]
Pairs = Callable[[], Iterator[tuple[Photo, Bytes | None]]]

# Ranges of activations settle within some tens of photos; more only take time.
CALIBRATION_PHOTOS = 64


def export(
    model: str | Path,
    file: str | Path,
    *,
    format: Format | None = None,
    precision: Precision = "float32",
    head: Head = "scores",
    size: str | tuple[int, int] = "dynamic",
    data: str | Path | None = None,
    split: str = "val",
    layout: str | Patterns | None = None,
    mapping: Any = None,
    skip: Collection[str | Path] = (),
    accept: Collection[str] = (),
) -> Parity:
    """Write a model as a file for other programs, if it labels photos as the model does.

    The file takes `photos`, uint8 of N x H x W x 3 (RGB), or float32 of N x H x W x B where the
    model was trained on measurements of B bands, and normalises them by itself. Before it
    is written, it runs in its own runtime and is compared with the model, in float32 with ONNX
    Runtime, on photos that are resized as for predictions, or to the size of the file.

    Args:
        model: "bundled", a folder with a model.json, or the folder of a training run.
        file: where to write: *.onnx, *.xml with *.bin beside it (OpenVINO), *.pt2 (torch.export),
            or a folder for a checkpoint of today's format.
        format: "onnx", "openvino", "pt2" or "checkpoint"; that of the file's name if not given.
        precision: "float32"; "float16" halves the file, computations stay in float32; "int8" has
            8-bit convolutions, calibrated on photos of the split "train", if there is one.
        head: "scores" gives float32 N x C x ⌈H/s⌉ x ⌈W/s⌉ as `Segmenter.scores` does; "labels"
            gives uint8 N x H x W.
        size: "dynamic", or photos of one size, "HxW" or (H, W).
        data: a folder of photos and masks to compare and calibrate on; if not given, the photos
            that come with the package.
        split: as for `upscore.evaluate`.
        layout: as for `upscore.evaluate`.
        mapping: as for `upscore.evaluate`.
        skip: as for `upscore.evaluate`.
        accept: names of measures that may be beyond their limit; see `Parity`.

    Returns:
        The comparison, which the file carries too.

    Raises:
        ParityError: a measure is beyond its limit and not accepted; nothing is written.
        ArgumentError, UnsupportedError: options that do not exist or do not go together.
        MissingPackageError: a package that the format needs is not installed.
        CheckpointError: the model cannot be loaded, or has no graph.
        DataError: the data cannot be used.
        OutputError: the file cannot be written.

    Examples:
        >>> import upscore
        >>> upscore.export("bundled", "model.onnx", head="labels")  # doctest: +SKIP
    """
    file = Path(file)
    options, accepted = options_of(file, format, precision, head, size), checked_names(accept)
    checkpoint = read_checkpoint(model)
    if options.format == "checkpoint" and (file / "best" / "model.json").is_file():
        raise ArgumentError(f"{file} is the folder of a run; its checkpoint is {file / 'best'}")
    original = load(checkpoint.folder, "onnxruntime" if checkpoint.graph else "torch", "cpu")
    reading = {"split": split, "layout": layout, "mapping": mapping, "skip": skip}
    source, pairs = _comparison(original, data, reading, options.size)
    make_folder(file.parent)
    with TemporaryDirectory() as folder:
        photos = _calibration(original, data, reading, options)
        candidate = candidate_of(checkpoint, options, Path(folder), photos)
        parity = compare(
            original,
            partial(_labels, candidate, options, original.spec.stride),
            pairs(),
            source=source,
            precision=options.precision,
            accepted=accepted,
        )
        parity.check()
        candidate.write(file, _metadata(original.spec, options, parity))
    return parity


def _comparison(
    model: Segmenter,
    data: str | Path | None,
    reading: Mapping[str, Any],
    size: tuple[int, int] | None,
    most: int | None = None,
) -> tuple[str, Pairs]:
    """What to compare on: its name, and a function that reads its photos and masks.

    At most so many of them, spread over the split.
    """
    if data is None and model.spec.bands is not None:
        raise ArgumentError(
            f"the model takes photos of {model.spec.bands} bands of measurements: give a folder of "
            "such photos and their masks as data, to compare on"
        )
    if data is None:
        files = list(images.samples().values())

        def photos() -> Iterator[tuple[Photo, Bytes | None]]:
            return (_fitted(model, images.read(file), None, size) for file in files)

        return "photos that come with upscore", photos
    dataset, _ = matched(Path(data), model.spec, **reading)
    table = class_table(dataset.class_names, model.spec.class_names)
    step = 1 if most is None else -(-len(dataset) // most)

    def pairs() -> Iterator[tuple[Photo, Bytes | None]]:
        for index in range(0, len(dataset), step):
            photo, mask = dataset.read(index)
            yield _fitted(model, photo, table[mask], size)

    return f"{dataset.root}, {reading['split']}", pairs


def _calibration(
    model: Segmenter, data: str | Path | None, reading: Mapping[str, Any], options: Options
) -> Iterator[Photo]:
    """Photos that show which ranges activations reach: not those of the comparison, if possible."""
    if options.precision != "int8":
        return
    if data is not None and "train" in datasets.splits(data, layout=reading["layout"]):
        reading = {**reading, "split": "train"}
    _, pairs = _comparison(model, data, reading, options.size, CALIBRATION_PHOTOS)
    for photo, _ in pairs():
        yield photo


def _fitted(
    model: Segmenter, photo: Photo, mask: Bytes | None, size: tuple[int, int] | None
) -> tuple[Photo, Bytes | None]:
    """A photo and its mask as a user of the file resizes them: as for predictions, or to `size`."""
    photo = model.resized(photo[None])[0] if size is None else images.resized(photo, size)
    if mask is not None and mask.shape != photo.shape[:2]:
        to = photo.shape[1], photo.shape[0]
        mask = np.array(Image.fromarray(mask).resize(to, Image.Resampling.NEAREST))
    return photo, mask


def _labels(candidate: Candidate, options: Options, stride: int, photo: Photo) -> Bytes:
    """The labels of an export, whichever head it has."""
    found = np.asarray(candidate.run(photo[None]))
    if options.head == "labels":
        return np.asarray(found[0], np.uint8)
    height, width = photo.shape[:2]
    labels = argmax(found.astype(np.float32), size=(height, width), stride=stride)
    first: Bytes = labels[0]
    return first


def _metadata(spec: Spec, options: Options, parity: Parity) -> dict[str, str]:
    """What a program has to know to use the file, and how it was checked, as JSON values."""
    values = {
        "class_names": spec.class_names,
        "palette": spec.palette,
        "long_side": spec.long_side,
        "zoom": spec.zoom,
        "stride": spec.stride,
        "ranges": spec.ranges,
        "head": options.head,
        "precision": options.precision,
        "upscore": __version__,
        "parity": parity.to_dict(),
    }
    return {key: json.dumps(value, allow_nan=False) for key, value in values.items()}
