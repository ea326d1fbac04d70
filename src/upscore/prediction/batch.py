"""Many photos, from files to files."""

import time
from collections.abc import Iterable, Iterator
from dataclasses import dataclass
from os import PathLike
from pathlib import Path
from typing import Any

from rich.console import Console
from rich.progress import track

from upscore import images
from upscore.errors import ArgumentError
from upscore.inference.engines import EngineName, Precision
from upscore.inference.load import LongSide, Models, name_of
from upscore.inference.segmenter import Segmenter
from upscore.inference.tta import Tta
from upscore.io.atomic import make_folder, write_json
from upscore.kernels.threads import thread_count
from upscore.models.checkpoint import identity_of
from upscore.prediction.listing import named_photos
from upscore.prediction.manifest import NAME, Manifest, state
from upscore.prediction.predictor import Predictor
from upscore.prediction.steps import Steps
from upscore.prediction.workers import on_processes
from upscore.version import __version__


@dataclass(frozen=True)
class Summary:
    """What `predict_files` did: one record for each file, as in summary.json.

    Attributes:
        model: the model's name.
        class_names: its classes.
        files: a record of each file: its name, the files written, areas and seconds, or an error.
        seconds: how long all of it took.
    """

    model: str
    class_names: tuple[str, ...]
    files: tuple[dict[str, Any], ...]
    seconds: float

    @property
    def ok(self) -> tuple[dict[str, Any], ...]:
        """Records of the photos that were labelled."""
        return tuple(record for record in self.files if "error" not in record)

    @property
    def skipped(self) -> tuple[dict[str, Any], ...]:
        """Records of the photos among them that an earlier run had labelled."""
        return tuple(record for record in self.files if "skipped" in record)

    @property
    def failed(self) -> tuple[dict[str, Any], ...]:
        """Records of the files that could not be: their `file` and `error`."""
        return tuple(record for record in self.files if "error" in record)

    def to_dict(self) -> dict[str, Any]:
        """Return the summary as plain JSON values.

        Returns:
            What summary.json holds.
        """
        return {
            "model": self.model,
            "class_names": list(self.class_names),
            "ok": len(self.ok),
            "failed": len(self.failed),
            "skipped": len(self.skipped),
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
    jobs: int = 1,
    resume: bool = False,
    progress: bool = True,
) -> Summary:
    """Label photos and write `out/labels/*.png`, `out/overlays/*.jpg` and `out/summary.json`.

    `out/manifest.jsonl` says, while the run goes on, which files are done.

    Reading, the network and writing overlap; a handful of photos is in memory at any time. A file
    that cannot be used is recorded and the rest goes on.

    Args:
        paths: files, folders (searched all the way down) and glob patterns.
        out: folder for the results; existing ones are replaced.
        model: as for `upscore.Predictor`.
        engine: as for `upscore.load`.
        device: as for `upscore.load`.
        precision: as for `upscore.load`.
        long_side: as for `upscore.Predictor`.
        tta: as for `upscore.Predictor`.
        max_pixels: larger photos are recorded as failed.
        jobs: processes, which share the cores. With 2 or more, a photo whose process dies (a crash
            of a decoder, no memory) is tried twice and recorded as failed, and the rest goes on;
            scripts need `if __name__ == "__main__":`, as of all spawned processes.
        resume: leave out the photos that a run with the same model and options has finished there,
            unless they or their results have changed.
        progress: show a progress bar on standard error.

    Returns:
        A `Summary`.

    Raises:
        ArgumentError: no path was given, or `jobs` or `resume` with a `Segmenter`.
        RunError: a process could not start.
        CheckpointError: the model cannot be loaded.
        OutputError: `out` cannot be written.
    """
    out = Path(out)
    started = time.perf_counter()
    if jobs < 1:
        raise ArgumentError(f"jobs must be at least 1 process, not {jobs}")
    if isinstance(model, Segmenter) and (jobs > 1 or resume):
        raise ArgumentError("jobs and resume need a model's folder, not a Segmenter")
    options: dict[str, Any] = {
        "model": model,
        "engine": engine,
        "device": device,
        "precision": precision,
        "long_side": long_side,
        "tta": tta,
        "max_pixels": max_pixels,
    }
    predictor = Predictor(**options)
    named = list(named_photos(paths, out))
    if not named:
        raise ArgumentError("no photos were given: name files, folders or patterns such as *.jpg")
    make_folder(out)

    console = Console(stderr=True)
    manifest = None
    if isinstance(model, Segmenter):  # whose results are not those that an earlier run listed
        (out / NAME).unlink(missing_ok=True)
    else:
        manifest = Manifest(out, _made_with(model, predictor, device, long_side), resume=resume)
        if manifest.stale:
            console.print(f"{out}: made with another model or other options: starting over")
    found: dict[str, dict[str, Any]] = {}
    if resume and manifest is not None:
        done = ((name, manifest.finished(path, name)) for path, name in named)
        found = {name: record | {"skipped": True} for name, record in done if record is not None}
    todo = [(path, name) for path, name in named if name not in found]
    before = {name: state(path) for path, name in todo}

    def work() -> Iterator[tuple[str, dict[str, Any]]]:
        if jobs == 1:
            for job in Steps(predictor, out).overlapping(todo):
                yield job.name, job.result
        else:
            threads = max(1, thread_count() // jobs)
            for (_, name), record in on_processes(todo, out, options, jobs, threads):
                yield name, record

    for name, record in track(
        work(), "Predicting", len(todo), console=console, disable=not progress
    ):
        found[name] = record
        if manifest is not None:
            manifest.add(name, before[name], record)
    spec = predictor.segmenter.spec
    records = tuple(found[name] for _, name in named)
    summary = Summary(name_of(model), spec.class_names, records, time.perf_counter() - started)
    write_json(out / "summary.json", summary.to_dict())
    return summary


def _made_with(
    model: Models, predictor: Predictor, device: str | None, long_side: LongSide
) -> dict[str, Any]:
    """What results depend on besides the photo."""
    return {
        "upscore": __version__,
        "model": identity_of(model),
        "engine": predictor.segmenter.engine.name,
        "device": device,
        "long_side": long_side,
        "tta": predictor.segmenter.tta,
    }
