"""Many photos, from files to files."""

import time
from collections.abc import Callable, Iterable
from dataclasses import dataclass
from functools import partial
from itertools import starmap
from os import PathLike
from pathlib import Path
from typing import Any

from numpy.typing import NDArray
from rich.console import Console
from rich.progress import track

from upscore import images
from upscore.errors import ArgumentError, ImageError, MissingPackageError
from upscore.inference.engines import EngineName, Precision
from upscore.inference.load import LongSide, Models, name_of
from upscore.inference.segmenter import Segmenter
from upscore.inference.tta import Tta
from upscore.io.atomic import make_folder, write_json
from upscore.io.read_ahead import map_ahead
from upscore.prediction.listing import named_photos
from upscore.prediction.prediction import Prediction
from upscore.prediction.predictor import Predictor


@dataclass(frozen=True)
class Summary:
    """What `predict_files` did: one record a file, as in summary.json."""

    model: str
    class_names: tuple[str, ...]
    files: tuple[dict[str, Any], ...]
    seconds: float

    @property
    def ok(self) -> tuple[dict[str, Any], ...]:
        """Records of the photos that were labelled."""
        return tuple(record for record in self.files if "error" not in record)

    @property
    def failed(self) -> tuple[dict[str, Any], ...]:
        """Records of the files that could not be: their `file` and `error`."""
        return tuple(record for record in self.files if "error" in record)

    def to_dict(self) -> dict[str, Any]:
        """Plain JSON values."""
        return {
            "model": self.model,
            "class_names": list(self.class_names),
            "ok": len(self.ok),
            "failed": len(self.failed),
            "seconds": self.seconds,
            "files": list(self.files),
        }


def predict_files(
    paths: Iterable[str | PathLike[str]],
    out: str | PathLike[str],
    model: Models | Segmenter = "bundled",
    *,
    engine: EngineName = "auto",
    device: str | None = None,
    precision: Precision = "float32",
    long_side: LongSide = "trained",
    tta: Tta = (),
    max_pixels: int = images.MAX_PIXELS,
    progress: bool = True,
) -> Summary:
    """Label photos and write `out/labels/*.png`, `out/overlays/*.jpg` and `out/summary.json`.

    Reading, the network and writing overlap; a handful of photos is in memory at any time. A file
    that cannot be used is recorded and the rest goes on.

    Args:
        paths: files, folders (searched all the way down) and glob patterns.
        out: folder for the results; existing ones are replaced.
        model, engine, device, precision, long_side, tta, max_pixels: as for `Predictor`.
        progress: show a progress bar on standard error.

    Raises:
        ArgumentError: no path was given.
        CheckpointError: the model cannot be loaded.
        OutputError: `out` cannot be written.
    """
    out = Path(out)
    started = time.perf_counter()
    predictor = Predictor(
        model,
        engine=engine,
        device=device,
        precision=precision,
        long_side=long_side,
        tta=tta,
        max_pixels=max_pixels,
    )
    named = list(named_photos(paths, out))
    if not named:
        raise ArgumentError("no photos were given: name files, folders or patterns such as *.jpg")
    make_folder(out)

    def read(job: _Job) -> None:
        if job.path.is_dir():
            raise ImageError(f"{job.path}: there is no photo in this folder")
        job.photo = predictor.read(job.path)

    def label(job: _Job) -> None:
        job.prediction = predictor(job.photo)

    def write(job: _Job) -> None:
        labels, picture = job.prediction.save(out, job.name)
        job.record |= _areas(job.prediction)
        job.record["labels"] = labels.relative_to(out).as_posix()
        job.record["overlay"] = picture.relative_to(out).as_posix()

    work = map_ahead(partial(_step, read), starmap(_Job, named))
    work = map_ahead(partial(_step, write), map(partial(_step, label), work))
    console = Console(stderr=True)
    shown = track(work, "Predicting", len(named), console=console, disable=not progress)
    records = tuple(job.record | {"seconds": job.seconds} for job in shown)
    spec = predictor.segmenter.spec
    summary = Summary(name_of(model), spec.class_names, records, time.perf_counter() - started)
    write_json(out / "summary.json", summary.to_dict())
    return summary


class _Job:
    """A photo on its way through the stages, and what becomes its line in the summary."""

    photo: NDArray[Any]
    prediction: Prediction

    def __init__(self, path: Path, name: str) -> None:
        self.path, self.name = path, name
        self.record: dict[str, Any] = {"file": str(path)}
        self.seconds: dict[str, float] = {}


def _step(stage: Callable[[_Job], None], job: _Job) -> _Job:
    """Run and time one stage of a job that has not failed; what a photo causes stays its own."""
    if "error" in job.record:
        return job
    start = time.perf_counter()
    try:
        stage(job)
    except (ImageError, MissingPackageError, MemoryError) as error:
        reason = str(error) or type(error).__name__
        job.record["error"] = reason if str(job.path) in reason else f"{job.path}: {reason}"
    job.seconds[stage.__name__] = round(time.perf_counter() - start, 4)
    return job


def _areas(prediction: Prediction) -> dict[str, Any]:
    """Size and area per class, as shares and in pixels, for the summary."""
    height, width = prediction.labels.shape
    areas = prediction.areas
    return {
        "size": [width, height],
        "areas": areas,
        "pixels": {name: round(share * width * height) for name, share in areas.items()},
    }
