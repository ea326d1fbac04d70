"""One picture being labelled: how it is cut, at what scale, and the windows that are finished."""

from pathlib import Path

from upscore.inference.tiles import tiles
from upscore.prediction.scenes.photo import RasterPhoto
from upscore.prediction.scenes.scale import choose_scale
from upscore.prediction.scenes.task import Task
from upscore.rasters.raster import Raster
from upscore.rasters.windows import WindowStore


class Scene:
    """A picture and all that is chosen for it.

    Its finished windows lie beside the label map until that is written. They are taken up again by
    a later run only if picture, model and options are the same.
    """

    def __init__(self, raster: Raster, name: str, task: Task) -> None:
        spec = task.segmenter.spec
        self.raster, self.name, self.task = raster, name, task
        self.photo = RasterPhoto(raster, spec.ranges)
        self.scale, self.reason = choose_scale(
            spec, raster.georeference, task.scale, task.resolution
        )
        self.tiles = tiles(task.segmenter, self.photo, ratio=self.scale, tile=task.tile)
        labels = self.path("labels", task.format)
        plan = {
            "picture": str(raster.path.resolve()),
            "changed": _changed(raster.path),
            "model": task.model,
            "engine": task.segmenter.engine.name,
            "tta": task.segmenter.tta,
            "tile": self.tiles.tile,
            "scale": self.scale,
            "kinds": task.kinds,
        }
        self.store = WindowStore(labels.with_name(f".{labels.name}.part"), plan, task.kinds)

    def path(self, kind: str, suffix: str) -> Path:
        """Where a result goes."""
        return self.task.out / kind / f"{self.name}.{suffix}"


def _changed(path: Path) -> list[int]:
    """What tells a file, or the files of a folder such as a .zarr, from what it was before."""
    state = path.stat()
    return [state.st_size, state.st_mtime_ns]
