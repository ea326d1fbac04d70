"""What is written of a picture whose windows are all there."""

from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from upscore import images
from upscore.images import overlay
from upscore.io.atomic import make_folder, replacing
from upscore.prediction.scenes.scene import Scene
from upscore.rasters.areas import Areas
from upscore.rasters.labels import write_confidence, write_labels
from upscore.rasters.polygons import write_polygons
from upscore.rasters.raster import Window

_OVERLAY_SIDE = 2048  # pixels, the longest


def write_results(scene: Scene) -> dict[str, Any]:
    """Write all that is wanted of a picture; its line in the summary."""
    task, raster, spec = scene.task, scene.raster, scene.task.segmenter.spec
    areas = Areas(spec.class_names, raster.georeference)

    def passing() -> Iterator[tuple[Window, NDArray[np.uint8]]]:
        for window, labels in scene.store.results(scene.tiles.windows(), "labels"):
            areas.add(labels)
            yield window, labels

    files = {"labels": scene.path("labels", task.format)}
    write_labels(
        files["labels"],
        raster.size,
        passing(),
        class_names=spec.class_names,
        palette=spec.palette,
        georeference=raster.georeference,
        scratch=scene.store.folder,
    )
    if task.confidence:
        files["confidence"] = _new(scene, "confidence", task.format)
        windows = scene.store.results(scene.tiles.windows(), "confidence")
        write_confidence(
            files["confidence"],
            raster.size,
            windows,
            georeference=raster.georeference,
            scratch=scene.store.folder,
        )
    for suffix in task.polygons:
        files[suffix] = _new(scene, "polygons", suffix)
        write_polygons(files["labels"], files[suffix], class_names=spec.class_names)
    files["table"] = _new(scene, "areas", "csv")
    areas.write(files["table"])
    shares = {row["class"]: row["share"] for row in areas.rows() if row["pixels"]}
    shares = dict(sorted(shares.items(), key=lambda item: -item[1]))
    files["overlay"] = _new(scene, "overlays", "jpg")
    _write_overlay(scene, files["overlay"], shares)
    return {
        "size": [raster.size[1], raster.size[0]],
        "areas": shares,
        "pixels": {row["class"]: row["pixels"] for row in areas.rows() if row["pixels"]},
        **{kind: path.relative_to(task.out).as_posix() for kind, path in files.items()},
    }


def _new(scene: Scene, kind: str, suffix: str) -> Path:
    """Where a result goes, in a folder that is there."""
    path = scene.path(kind, suffix)
    make_folder(path.parent)
    return path


def _write_overlay(scene: Scene, path: Path, shares: dict[str, float]) -> None:
    """Write a small picture of photo and labels to look at.

    All of the photo is read once more, so what is broken is known of windows, too, that an earlier
    run has finished.
    """
    spec = scene.task.segmenter.spec
    step = -(-max(scene.raster.size) // _OVERLAY_SIDE)

    def labels(window: Window) -> NDArray[np.uint8]:
        return scene.store.read(window, "labels")

    def photo(window: Window) -> NDArray[np.uint8]:
        valid = scene.photo.valid(window)
        if valid is not None and not valid.any():
            return np.full((window.height, window.width, 3), 255, np.uint8)
        return images.preview(scene.photo.read(window), spec.ranges)

    picture = overlay.blend(
        _thinned(scene, photo, step), _thinned(scene, labels, step), spec.palette
    )
    colours = dict(zip(spec.class_names, spec.palette, strict=True))
    with replacing(path) as temporary:
        overlay.with_legend(picture, shares, colours).save(temporary, quality=90, subsampling=0)


def _thinned(
    scene: Scene, read: Callable[[Window], NDArray[np.uint8]], step: int
) -> NDArray[np.uint8]:
    """Every `step`-th pixel of every `step`-th row of what is read window by window."""
    whole: Any = None
    for window in scene.tiles.windows():
        part = read(window)[-window.top % step :: step, -window.left % step :: step]
        if whole is None:
            sides = (-(-side // step) for side in scene.raster.size)
            whole = np.zeros((*sides, *part.shape[2:]), np.uint8)
        top, left = -(-window.top // step), -(-window.left // step)
        whole[top : top + part.shape[0], left : left + part.shape[1]] = part
    found: NDArray[np.uint8] = whole
    return found
