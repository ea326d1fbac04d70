"""Counts of checked scores by a chosen backend."""

from typing import Any

import numpy as np

from upscore.arrays import framework
from upscore.heads.argmax.slices import slices
from upscore.heads.confusion import eager
from upscore.heads.grid import Grid


def make_counts(scores: Any, target: Any, ignore_index: int, grid: Grid, backend: str) -> Any:
    """Return the C x C counts of a batch of images, or of volumes, slice by slice."""
    if scores.ndim == 4:
        return _count(scores, target, ignore_index, grid, backend)
    classes = scores.shape[1]
    total = framework(scores).placed(scores, np.zeros((classes, classes), np.int64))
    for volume, truth in zip(scores, target, strict=True):
        for z, plane in enumerate(slices(volume, len(truth), grid)):
            total += _count(plane[None], truth[None, z], ignore_index, grid, backend)
    return total


def _count(scores: Any, target: Any, ignore_index: int, grid: Grid, backend: str) -> Any:
    if backend == "cpu":
        from upscore.heads.confusion import cpu

        counts = cpu.confusion(scores, target, ignore_index, grid)
        return framework(scores).placed(scores, counts)
    return eager.confusion(scores, target, ignore_index, grid, backend)
