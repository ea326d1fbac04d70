"""How a launcher lets a kernel work through pixels."""

from collections.abc import Callable
from functools import lru_cache
from typing import Any

import numpy as np

from upscore.heads.pixels import RUN
from upscore.heads.strips.plan import chunk_columns
from upscore.kernels.launch import Kernel, Workspace
from upscore.kernels.threads import share


def by_pixels(kernel: Kernel, case: Any, scratch: Any, result: Callable[[int], Any]) -> Any:
    """Return `result(runs)` with what the kernel writes for a case of N x C x pixels.

    scratch: the named tuple of a thread's arrays, as `_workspace` makes them.
    """
    images, classes, pixels = case.scores.shape
    found = result(images * -(-pixels // RUN))
    arrays = _workspace(classes, case.scores.dtype, scratch)
    share(kernel, len(found.sums), case, found, scratch=arrays)
    return found


@lru_cache(maxsize=64)
def _workspace(classes: int, dtype: np.dtype[Any], scratch: Any) -> Workspace:
    """Numbers of a block's pixels: whole ones for `label`, for `e` of each class."""
    block = chunk_columns(classes)
    sizes = {"e": (classes, block)}
    types = {"label": np.int32}
    return Workspace(
        scratch(*(np.empty(sizes.get(f, block), types.get(f, dtype)) for f in scratch._fields))
    )
