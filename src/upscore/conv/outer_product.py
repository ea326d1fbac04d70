"""Write filters as outer products of a column and a row, where they are such products."""

from dataclasses import dataclass
from functools import lru_cache
from typing import Any

import numpy as np
from numpy.typing import NDArray

from upscore.arrays import framework

Array = NDArray[Any]

# Rounding of the column, of the row, of their product, and of the filter itself.
ROUNDINGS = 4


@dataclass(frozen=True, eq=False)  # `factors` returns one object for filters of the same numbers
class Factors:
    """Filters (C, *k) as columns (C, *k[:-1]) times rows (C, k[-1])."""

    columns: Array
    rows: Array


def split(filters: Array) -> Factors | None:
    """Return the columns and rows whose outer products the filters (C, *k) are.

    None where some filter is not an outer product, to within the rounding of its numbers.

    >>> found = split(np.array([[[1.0, 2.0], [2.0, 4.0]]]))
    >>> found.columns.tolist(), found.rows.tolist()
    ([[2.0, 4.0]], [[0.5, 1.0]])
    >>> split(np.array([[[1.0, 2.0], [2.0, 3.0]]])) is None
    True
    """
    channels = np.arange(len(filters))
    matrix = filters.reshape(len(filters), -1, filters.shape[-1])
    size = np.abs(matrix).reshape(len(filters), -1)
    peak = size.max(axis=1)
    if not np.isfinite(peak).all():
        return None
    i, j = np.divmod(size.argmax(axis=1), matrix.shape[2])
    pivot = np.where(peak > 0, matrix[channels, i, j], 1)
    columns, rows = matrix[channels, :, j], matrix[channels, i] / pivot[:, None]
    error = np.abs(columns[:, :, None] * rows[:, None] - matrix).max(axis=(1, 2))
    if (error > ROUNDINGS * np.finfo(matrix.dtype).eps * peak).any():
        return None
    return Factors(columns.reshape(filters.shape[:-1]), rows)


def factors(weight: Any) -> Factors | None:
    """Return `split` of a depthwise weight (C, 1, *k), remembered by the weight's numbers."""
    array = framework(weight, "weight").numpy(weight)
    if array.dtype == np.float16:
        array = array.astype(np.float32)
    filters = array[:, 0]
    return _remembered(filters.tobytes(), filters.dtype.str, filters.shape)


@lru_cache(16)  # every call of a layer asks for its filters
def _remembered(content: bytes, dtype: str, shape: tuple[int, ...]) -> Factors | None:
    return split(np.frombuffer(content, dtype).reshape(shape))
