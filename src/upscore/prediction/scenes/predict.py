"""Pictures larger than memory, from files to files."""

import secrets
import sys
import time
from collections.abc import Callable, Iterable, Iterator, Sequence
from contextlib import contextmanager
from os import PathLike
from pathlib import Path
from typing import Any

from upscore.errors import (
    ArgumentError,
    ImageError,
    MissingPackageError,
    RunError,
    UnsupportedError,
    message_of,
)
from upscore.inference.engines import EngineName, Precision
from upscore.inference.load import Models, name_of, segmenter_of
from upscore.inference.segmenter import Segmenter
from upscore.inference.tta import Tta
from upscore.io.atomic import make_folder, write_json
from upscore.models.checkpoint import identity_of
from upscore.prediction.batch import Summary
from upscore.prediction.listing import named_photos
from upscore.prediction.scenes.label import label_windows
from upscore.prediction.scenes.results import write_results
from upscore.prediction.scenes.scene import Scene
from upscore.prediction.scenes.task import Format, Polygons, Task
from upscore.rasters.open import SUFFIXES, open_raster
from upscore.rasters.raster import Window

# What one picture causes, and the others go on without.
_ITS_OWN = (ImageError, MissingPackageError, UnsupportedError, RunError, MemoryError)


def predict_scenes(
    paths: Iterable[str | PathLike[str]],
    out: str | PathLike[str],
    model: Models | Segmenter = "bundled",
    *,
    tile: int | None = None,
    scale: float | None = None,
    resolution: str | float | None = None,
    confidence: bool = False,
    format: Format = "tif",
    polygons: Sequence[Polygons] = (),
    engine: EngineName = "auto",
    device: str | None = None,
    precision: Precision = "float32",
    tta: Tta = (),
    progress: bool = True,
) -> Summary:
    """Label pictures of any size window by window, each into one raster of its own size.

    Writes `out/labels/NAME.tif`, `out/overlays/NAME.jpg` (a small picture to look at),
    `out/areas/NAME.csv`, what else is asked for, and `out/summary.json`. Memory is bounded by a
    window, not by the picture. Killed and started again, it goes on with the windows that are
    missing: they are kept in `out/labels/.NAME.tif.part` until all are there. A Segmenter does not
    tell which model it is, so with one all windows are done again. What cannot be read becomes
    void, block by block, and an error in the picture's record.

    Args:
        paths: files, folders (searched all the way down) and glob patterns.
        out: folder for the results; existing ones are replaced.
        model: as for `upscore.Predictor`.
        tile: the side of the windows in pixels, a multiple of 512; None takes what suits memory.
        scale: how many pixels the network is shown for one of the picture.
        resolution: instead, how long these pixels shall be on the ground: 0.5, "50cm".
        confidence: also write `out/confidence/NAME.tif`, the winner's probability in per cent.
        format: of the rasters: "tif" (a cloud-optimised GeoTIFF), "zarr" or "png".
        polygons: also write `out/polygons/NAME` as "geojson", "gpkg" or "coco.json"; of tif alone.
        engine: as for `upscore.load`.
        device: as for `upscore.load`.
        precision: as for `upscore.load`.
        tta: as for `upscore.Predictor`.
        progress: show a progress bar on standard error.

    Returns:
        A `Summary`, with a record of each picture.

    Raises:
        ArgumentError: no path was given, or an argument does not fit.
        CheckpointError: the model cannot be loaded.
        OutputError: `out` cannot be written.
    """
    started = time.perf_counter()
    segmenter = segmenter_of(model, engine=engine, device=device, precision=precision, tta=tta)
    task = Task(
        segmenter,
        secrets.token_hex(16) if isinstance(model, Segmenter) else identity_of(model),
        Path(out),
        tile=tile,
        scale=scale,
        resolution=resolution,
        confidence=confidence,
        format=format,
        polygons=tuple(polygons),
        progress=progress,
    )
    named = list(named_photos(paths, task.out, SUFFIXES))
    if not named:
        raise ArgumentError("no pictures were given: name files, folders or patterns such as *.tif")
    make_folder(task.out / "labels")
    records = tuple(_record(path, name, task) for path, name in named)
    names = segmenter.spec.class_names
    summary = Summary(name_of(model), names, records, time.perf_counter() - started)
    write_json(task.out / "summary.json", summary.to_dict())
    return summary


def _record(path: Path, name: str, task: Task) -> dict[str, Any]:
    """Label one picture; what it causes is in its record, and the rest goes on."""
    start = time.perf_counter()
    record: dict[str, Any] = {"file": str(path)}
    try:
        with open_raster(path) as raster:
            record |= _labelled(Scene(raster, name, task))
    except _ITS_OWN as error:
        record["error"] = message_of(error, path)
    return record | {"seconds": round(time.perf_counter() - start, 3)}


def _labelled(scene: Scene) -> dict[str, Any]:
    """Label a picture and write what is wanted of it; its record."""
    if scene.store.discarded:
        print(
            f"{scene.raster.path}: the windows that were finished are of another state of the "
            "picture, with another model or other options, and all are done again",
            file=sys.stderr,
        )
    with _progress_bar(scene) as advance:
        label_windows(scene, advance)
    record = write_results(scene) | {
        "scale": scene.scale,
        "scale_reason": scene.reason,
        "tile": scene.tiles.tile,
        "exact": scene.tiles.exact,
        "discarded": scene.store.discarded,
    }
    if broken := sorted(scene.photo.broken.items()):
        record["error"] = (
            f"{scene.raster.path}: {len(broken)} blocks of 256 pixels could not be read and are "
            f"void in {record['labels']}; the first: {broken[0][1]}"
        )
    scene.store.remove()
    return record


@contextmanager
def _progress_bar(scene: Scene) -> Iterator[Callable[[Window], None]]:
    """Draw a bar in millions of pixels, with the time left, on standard error."""
    from rich.console import Console
    from rich.progress import BarColumn, Progress, TextColumn, TimeRemainingColumn

    height, width = scene.raster.size
    shown = TextColumn("{task.completed:.0f} of {task.total:.0f} MP")
    columns = (TextColumn("{task.description}"), BarColumn(), shown, TimeRemainingColumn())
    console = Console(stderr=True)
    with Progress(*columns, console=console, disable=not scene.task.progress) as bar:
        task = bar.add_task(scene.name, total=height * width / 1e6)
        yield lambda window: bar.advance(task, window.height * window.width / 1e6)
