"""Write filters as outer products, where they are ones."""

import sys
from functools import lru_cache
from typing import Any

import numpy as np
from numpy.typing import NDArray

Array = NDArray[Any]


def numbers(array: Any) -> Array:
    """The numbers of an array, or of a tensor in main memory, half precision widened."""
    if not isinstance(array, np.ndarray):
        torch = sys.modules["torch"]
        halves = (torch.float16, torch.bfloat16)
        array = array.detach()
        return np.asarray((array.float() if array.dtype in halves else array).numpy())
    return array.astype(np.float32) if array.dtype == np.float16 else array


def split(filters: Array) -> tuple[Array, Array] | None:
    """Return columns (C, *k[:-1]) and rows (C, k[-1]) whose outer products the (C, *k) filters are.

    None where some filter is not one, to within the rounding of its numbers.

    >>> columns, rows = split(np.array([[[1.0, 2.0], [2.0, 4.0]]]))
    >>> columns.tolist(), rows.tolist()
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
    if (error > 4 * np.finfo(matrix.dtype).eps * peak).any():
        return None
    return columns.reshape(filters.shape[:-1]), rows


def factors(filters: Array) -> tuple[Array, Array] | None:
    """Return what `split` does, remembered for filters of the same numbers."""
    return _remembered(filters.tobytes(), filters.dtype.str, filters.shape)


@lru_cache(16)  # a layer's filters are asked for twice a call, and by every call
def _remembered(content: bytes, dtype: str, shape: tuple[int, ...]) -> tuple[Array, Array] | None:
    return split(np.frombuffer(content, dtype).reshape(shape))
