"""Videos, from files to files."""

import math
import time
from collections.abc import Iterable, Iterator
from contextlib import closing
from itertools import repeat
from os import PathLike
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray
from rich.console import Console
from rich.progress import Progress

from upscore.errors import (
    ArgumentError,
    ImageError,
    MissingPackageError,
    UnsupportedError,
    message_of,
)
from upscore.inference.engines import EngineName, Precision
from upscore.inference.load import LongSide, Models, name_of, segmenter_of
from upscore.inference.segmenter import Segmenter
from upscore.inference.tta import Tta
from upscore.io.atomic import make_folder, write_json
from upscore.io.read_ahead import map_ahead
from upscore.prediction.batch import Summary
from upscore.prediction.listing import named_photos
from upscore.prediction.prediction import Prediction
from upscore.prediction.video import VIDEO_SUFFIXES
from upscore.prediction.video.clip import Broken, Clip, Frame, opened
from upscore.prediction.video.results import Labels, Results, results

_LISTED = 100  # broken frames that a record names one by one


def predict_video(
    clip: str | PathLike[str],
    out: str | PathLike[str],
    model: Models | Segmenter = "bundled",
    *,
    every: float | None = None,
    labels: Labels = None,
    engine: EngineName = "auto",
    device: str | None = None,
    precision: Precision = "float32",
    long_side: LongSide = "trained",
    tta: Tta = (),
    progress: bool = True,
    name: str | None = None,
) -> dict[str, Any]:
    """Label a video and write `out/overlays/NAME.mp4` and `out/areas/NAME.csv`.

    A frame that cannot be decoded is counted and named in the record, and the rest goes on. A few
    frames are in memory at any time, however long the clip is.

    Args:
        clip: the file.
        out: folder for the results; existing ones are replaced.
        model: as for `upscore.Predictor`.
        every: label only a frame each so many seconds; the overlay then has these alone, at their
            times. Not given: every frame.
        labels: "video" writes them to `out/labels/NAME.mkv` too, as grey values without loss,
            "png" as palette images in `out/labels/NAME/`, called by the frame's number.
        engine: as for `upscore.load`.
        device: as for `upscore.load`.
        precision: as for `upscore.load`.
        long_side: as for `upscore.Predictor`.
        tta: as for `upscore.Predictor`.
        progress: show a progress bar on standard error.
        name: what to call the results; the file's name if not given.

    Returns:
        A record: `file`, `size`, `frames`, `labelled`, `broken` (how many), `damage` (the time in
        seconds and the reason of the first of them), `areas` (means over frames), the files
        written, `seconds`, `sound` if that was left out, and `error` if anything could not be used.

    Raises:
        ArgumentError: `every` or `labels` is none of the above.
        ImageError: the file is no usable video.
        UnsupportedError: the model takes measurements, which no video holds.
        OutputError: `out` cannot be written.
    """
    _check(every, labels)
    segmenter = segmenter_of(
        model, engine=engine, device=device, precision=precision, long_side=long_side, tta=tta
    )
    spec = segmenter.spec
    if spec.bands is not None:
        raise UnsupportedError(
            f"this model takes {spec.bands} bands of measurements, and a video holds 8-bit colours "
            "that a camera has already processed: it needs a model of photos"
        )
    path, started = Path(clip), time.perf_counter()
    work = _Work(every, len(spec.class_names))
    with (
        opened(path) as source,
        results(Path(out), name or path.stem, source, spec, labels) as files,
    ):
        _run(work, source, segmenter, files, progress)
        if not work.labelled:
            where = f": {work.damage[0]['reason']}" if work.damage else ""
            raise ImageError(f"{path}: no frame of this video could be decoded{where}")
    shares = work.shares / work.labelled
    record = {
        "file": str(path),
        "size": list(work.size),
        "frames": work.frames,
        "labelled": work.labelled,
        "broken": work.broken,
        "damage": work.damage,
        "areas": {spec.class_names[i]: float(shares[i]) for i in np.argsort(-shares) if shares[i]},
        **files.files,
        **files.notes,
        "seconds": round(time.perf_counter() - started, 4),
    }
    if work.broken:
        first = work.damage[0]
        at = "" if first["seconds"] is None else f" at {first['seconds']:.2f} s"
        record["error"] = f"{path}: {work.broken} broken places, the first{at}: {first['reason']}"
    return record


def predict_videos(
    paths: Iterable[str | PathLike[str]],
    out: str | PathLike[str],
    model: Models | Segmenter = "bundled",
    *,
    every: float | None = None,
    labels: Labels = None,
    engine: EngineName = "auto",
    device: str | None = None,
    precision: Precision = "float32",
    long_side: LongSide = "trained",
    tta: Tta = (),
    progress: bool = True,
) -> Summary:
    """Label videos, one after the other, as `predict_video` does, and write `out/videos.json`.

    A file that cannot be used is recorded and the rest goes on.
    """
    out, started = Path(out), time.perf_counter()
    _check(every, labels)
    segmenter = segmenter_of(
        model, engine=engine, device=device, precision=precision, long_side=long_side, tta=tta
    )
    make_folder(out)
    records = []
    for path, name in named_photos(paths, out, VIDEO_SUFFIXES):
        try:
            record = predict_video(
                path, out, segmenter, every=every, labels=labels, progress=progress, name=name
            )
        except (ImageError, MissingPackageError, MemoryError) as error:
            record = {"file": str(path), "error": message_of(error, path)}
        records.append(record)
    seconds = time.perf_counter() - started
    summary = Summary(name_of(model), segmenter.spec.class_names, tuple(records), seconds)
    write_json(out / "videos.json", summary.to_dict())
    return summary


def _check(every: float | None, labels: Labels) -> None:
    if every is not None and not (every > 0 and math.isfinite(every)):
        raise ArgumentError(f"every must be seconds above 0 or None, not {every}")
    if labels not in (None, "video", "png"):
        raise ArgumentError(f"labels must be None, 'video' or 'png', not {labels!r}")


class _Work:
    """What is chosen of a clip's parts, and the counts that become its record."""

    def __init__(self, every: float | None, classes: int) -> None:
        self._every, self._next = every, -math.inf
        self.frames = self.labelled = self.broken = 0
        self.damage: list[dict[str, Any]] = []
        self.shares = np.zeros(classes)
        self.size = (0, 0)
        self.reached = 0.0

    def chosen(self, clip: Clip) -> Iterator[tuple[Any, NDArray[np.uint8] | None]]:
        """The parts to go on with, and the pixels of frames; the others are only counted."""
        for part in clip.parts():
            if isinstance(part, Broken):
                self.broken += 1
                if len(self.damage) < _LISTED:
                    self.damage.append({"seconds": part.seconds, "reason": part.reason})
            elif not isinstance(part, Frame):
                yield part, None
            else:
                self.frames += 1
                if part.seconds >= self._next:
                    self._next = self._after(part.seconds)
                    yield part, part.pixels(clip.size)

    def count(self, frame: Frame, prediction: Prediction, names: tuple[str, ...]) -> None:
        """Add a labelled frame."""
        self.labelled += 1
        self.shares += [prediction.areas.get(name, 0.0) for name in names]
        height, width = prediction.labels.shape
        self.size, self.reached = (width, height), frame.seconds

    def _after(self, seconds: float) -> float:
        """The next multiple of `every`, a thousandth early for time stamps that are rounded."""
        if self._every is None:
            return -math.inf
        return (math.floor(seconds / self._every + 1e-3) + 1 - 1e-3) * self._every


def _run(work: _Work, clip: Clip, segmenter: Segmenter, files: Results, progress: bool) -> None:
    """Decoding, the network and encoding overlap, each in order on a thread of its own."""
    spec = segmenter.spec
    parts = work.chosen(clip)

    def label(read: tuple[Any, Any]) -> tuple[Any, Prediction | None]:
        part, pixels = read
        if pixels is None:
            return part, None
        labels = segmenter.labels(pixels)
        return part, Prediction(pixels, labels, spec.class_names, spec.palette)

    def write(labelled: tuple[Any, Prediction | None]) -> tuple[Any, Prediction | None]:
        part, prediction = labelled
        if prediction is None:
            files.sound(part)
        else:
            files.write(part, prediction)
        return labelled

    reading = map_ahead(lambda _: next(parts, None), repeat(None), threads=1)
    shown = Progress(console=Console(stderr=True), disable=not progress)
    with closing(reading), shown:
        bar = shown.add_task(f"Predicting {clip.path.name}", total=clip.seconds)
        ahead = map(label, iter(lambda: next(reading), None))
        with closing(map_ahead(write, ahead, threads=1)) as written:
            for part, prediction in written:
                if prediction is not None:
                    work.count(part, prediction, spec.class_names)
                    shown.update(bar, completed=work.reached)
