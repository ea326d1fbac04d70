"""The windows of a picture, labelled."""

from collections.abc import Callable

import numpy as np
from numpy.typing import NDArray

from upscore.prediction.scenes.scene import Scene
from upscore.rasters.labels import percent
from upscore.rasters.layer import VOID
from upscore.rasters.raster import Window


def label_windows(scene: Scene, progress: Callable[[Window], None]) -> None:
    """Label the windows that are missing. `progress` is told of each that is there."""
    for window in scene.tiles.windows():
        if not scene.store.done(window):
            scene.store.put(window, **_results(scene, window))
        progress(window)


def _results(scene: Scene, window: Window) -> dict[str, NDArray[np.uint8]]:
    """The results of a window; where nothing was measured the network is not asked."""
    valid = scene.photo.valid(window)
    if valid is not None and not valid.any():
        void = np.full((window.height, window.width), VOID, np.uint8)
        return dict.fromkeys(scene.task.kinds, void)
    if scene.task.confidence:
        labels, probability = scene.tiles.labels(window, "probability")
        found = {"labels": labels, "confidence": percent(probability)}
    else:
        found = {"labels": scene.tiles.labels(window)}
    valid = scene.photo.valid(window)  # again: reading the pixels may have found broken ones
    if valid is not None:
        for values in found.values():
            values[~valid] = VOID
    return found
