"""One picture being labelled: how it is cut, at what scale, and the windows that are finished."""

from pathlib import Path

from upscore.errors import ImageError
from upscore.inference.tiles import tiles
from upscore.prediction.scenes.photo import RasterPhoto
from upscore.prediction.scenes.scale import choose_scale
from upscore.prediction.scenes.task import Task
from upscore.rasters.labels import check_output
from upscore.rasters.raster import Raster
from upscore.rasters.windows import WindowStore
from upscore.version import __version__


class Scene:
    """A picture and all that is chosen for it.

    Its finished windows lie beside the label map until that is written. They are taken up again by
    a later run only if picture, model and options are the same. The tile size, which "auto" takes
    from the memory that is free, is then theirs, if labels do not depend on it.
    """

    def __init__(self, raster: Raster, name: str, task: Task) -> None:
        spec = task.segmenter.spec
        self.raster, self.name, self.task = raster, name, task
        for kind in task.kinds:
            check_output(self.path(kind, task.format), raster.size)
        labels = self.path("labels", task.format)
        self.photo = RasterPhoto(raster, spec.ranges)
        self.scale, self.reason = choose_scale(
            spec, raster.georeference, task.scale, task.resolution
        )
        self.tiles = tiles(task.segmenter, self.photo, ratio=self.scale, tile=task.tile)
        plan = {
            "picture": str(raster.path.resolve()),
            "changed": _changed(raster.path),
            "upscore": __version__,
            "model": task.model,
            "engine": task.segmenter.engine.name,
            "tta": task.segmenter.tta,
            "tile": self.tiles.tile,
            "scale": self.scale,
            "kinds": task.kinds,
        }
        self.store = WindowStore(
            labels.with_name(f".{labels.name}.part"),
            plan,
            task.kinds,
            free=("tile",) if task.tile is None and self.tiles.exact else (),
        )
        self.tiles.tile = self.store.plan["tile"]

    def path(self, kind: str, suffix: str) -> Path:
        """Where a result goes."""
        return self.task.out / kind / f"{self.name}.{suffix}"


def _changed(path: Path) -> list[int]:
    """What tells a file, or the files of a folder such as a .zarr, from what it was before."""
    try:
        files = [file for file in path.rglob("*") if file.is_file()] if path.is_dir() else [path]
        states = [file.stat() for file in files]
    except OSError as error:
        raise ImageError(f"{path}: it cannot be read any more ({error})") from error
    latest = max((state.st_mtime_ns for state in states), default=0)
    return [len(states), sum(state.st_size for state in states), latest]
