"""What launchers of strips share: a plan and a thread's arrays, kept for more calls."""

from collections.abc import Callable
from functools import lru_cache
from typing import Any, NamedTuple

import numpy as np
from numpy.typing import NDArray

from upscore.heads.grid import Grid
from upscore.heads.strips.plan import plan_strips
from upscore.kernels.launch import Packed, Workspace, packed


class Prepared(NamedTuple):
    """What calls of the same sizes share."""

    bottoms: NDArray[np.int64]  # of the strips of an image
    plan: Packed
    workspace: Workspace


@lru_cache(maxsize=64)
def prepare(
    source: tuple[int, int],
    size: tuple[int, int],
    grid: Grid,
    classes: int,
    dtype: np.dtype[Any],
    scratch: Callable[[int, np.dtype[Any]], tuple[Any, ...]],
) -> Prepared:
    """Plan a loss of scores of `source` pixels; `scratch(classes, dtype)` is a thread's arrays."""
    plan = plan_strips(source, size, grid, dtype)
    return Prepared(plan.strips.bottom, packed(plan), Workspace(scratch(classes, dtype)))


def add_spill(bottoms: NDArray[np.int64], spill: NDArray[Any], gradient: NDArray[Any]) -> None:
    """Add to the gradient, N x C x h x w, what strips left for the first row of the next."""
    inner = bottoms[:-1]
    images, classes, _, width = gradient.shape
    parts = spill.reshape(images, len(bottoms), classes, width)[:, :-1]
    gradient[:, :, inner] += parts.transpose(0, 2, 1, 3)
