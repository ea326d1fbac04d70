"""How a launcher lets a kernel work through strips: by a plan, kept for more calls."""

from collections.abc import Callable
from functools import lru_cache
from typing import Any, NamedTuple

import numpy as np
from numpy.typing import NDArray

from upscore.heads.grid import Grid
from upscore.heads.strips.plan import plan_strips
from upscore.kernels.launch import Kernel, Packed, Workspace, packed
from upscore.kernels.threads import share

Scratch = Callable[[int, np.dtype[Any]], tuple[Any, ...]]


class Prepared(NamedTuple):
    """What calls of the same sizes share."""

    bottoms: NDArray[np.int64]  # of the strips of an image
    plan: Packed
    workspace: Workspace


def by_strips(
    kernel: Kernel,
    case: Any,
    size: tuple[int, int],
    grid: Grid,
    scratch: Scratch,
    result: Callable[[int], Any],
) -> Any:
    """Return `result(strips)` with what the kernel writes for a case of N x C x h x w scores.

    size: of the target; scratch: makes a thread's arrays, of so many classes and a dtype. What the
    result has for a spill is made here, where it has a gradient.
    """
    images, classes, h, w = case.scores.shape
    dtype = case.scores.dtype
    bottoms, plan, workspace = _prepare((h, w), size, grid, classes, dtype, scratch)
    found = result(images * len(bottoms))
    if found.gradient.size:
        found = found._replace(spill=np.empty((len(found.sums), classes, w), dtype))
    share(kernel, len(found.sums), case, plan, found, scratch=workspace)
    if found.gradient.size:
        _add_spill(bottoms, found.spill, found.gradient)
    return found


@lru_cache(maxsize=64)
def _prepare(
    source: tuple[int, int],
    size: tuple[int, int],
    grid: Grid,
    classes: int,
    dtype: np.dtype[Any],
    scratch: Scratch,
) -> Prepared:
    plan = plan_strips(source, size, grid, dtype)
    return Prepared(plan.strips.bottom, packed(plan), Workspace(scratch(classes, dtype)))


def _add_spill(bottoms: NDArray[np.int64], spill: NDArray[Any], gradient: NDArray[Any]) -> None:
    """Add to the gradient, N x C x h x w, what strips left for the first row of the next."""
    inner = bottoms[:-1]
    images, classes, _, width = gradient.shape
    parts = spill.reshape(images, len(bottoms), classes, width)[:, :-1]
    gradient[:, :, inner] += parts.transpose(0, 2, 1, 3)
