"""The steps from a photo's file to its results: read, label, write."""

import time
from collections.abc import Callable, Iterable, Iterator
from functools import partial
from itertools import starmap
from pathlib import Path
from typing import Any

from numpy.typing import NDArray

from upscore.errors import ImageError, MissingPackageError, message_of
from upscore.io.read_ahead import map_ahead
from upscore.prediction.prediction import Prediction
from upscore.prediction.predictor import Predictor


class Job:
    """A photo on its way through the steps, and what becomes its line in the summary."""

    photo: NDArray[Any]
    prediction: Prediction

    def __init__(self, path: Path, name: str) -> None:
        self.path, self.name = path, name
        self.record: dict[str, Any] = {"file": str(path)}
        self.seconds: dict[str, float] = {}

    @property
    def result(self) -> dict[str, Any]:
        """Its line in the summary, when it is through."""
        return self.record | {"seconds": self.seconds}


class Steps:
    """The three steps, with one model and into one folder."""

    def __init__(self, predictor: Predictor, out: Path) -> None:
        self.predictor, self.out = predictor, out

    def one(self, path: Path, name: str) -> dict[str, Any]:
        """Take one photo through all steps, and return its line in the summary."""
        job = Job(path, name)
        for step in (self.read, self.label, self.write):
            job = _timed(step, job)
        return job.result

    def overlapping(self, named: Iterable[tuple[Path, str]]) -> Iterator[Job]:
        """Take photos through the steps, reading and writing beside the network, in order."""
        work = map_ahead(partial(_timed, self.read), starmap(Job, named))
        return map_ahead(partial(_timed, self.write), map(partial(_timed, self.label), work))

    def read(self, job: Job) -> None:
        """Decode."""
        if job.path.is_dir():
            raise ImageError(f"{job.path}: there is no photo in this folder")
        job.photo = self.predictor.read(job.path)

    def label(self, job: Job) -> None:
        """Run the network and the head."""
        job.prediction = self.predictor(job.photo)

    def write(self, job: Job) -> None:
        """Write labels and overlay, and say what is in them."""
        labels, picture = job.prediction.save(self.out, job.name)
        job.record |= _areas(job.prediction)
        job.record["labels"] = labels.relative_to(self.out).as_posix()
        job.record["overlay"] = picture.relative_to(self.out).as_posix()


def _timed(step: Callable[[Job], None], job: Job) -> Job:
    """Run and time one step of a job that has not failed; what a photo causes stays its own."""
    if "error" in job.record:
        return job
    start = time.perf_counter()
    try:
        step(job)
    except (ImageError, MissingPackageError, MemoryError) as error:
        job.record["error"] = message_of(error, job.path)
    job.seconds[step.__name__] = round(time.perf_counter() - start, 4)
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
