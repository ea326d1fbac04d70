"""Masks the usual way: interpolate one mask's scores to full resolution, then compare.

What the fused head is compared with, and what serves where it cannot.
"""

from typing import Any

import numpy as np

from upscore.arrays import framework
from upscore.heads.grid import widened
from upscore.heads.masks.sampling import Indices, Sampling, lerp


def find_runs(
    scores: Any, sampling: Sampling, size: tuple[int, int], threshold: float
) -> tuple[Indices, Indices]:
    """Return the runs of N x h x w scores above the threshold, and where each mask's begin."""
    runs = [np.zeros((0, 2), np.int64)]
    for mask, (left, top, right, bottom) in enumerate(sampling.windows.tolist()):
        full = widened(scores[mask])
        sides = (sampling.rows, top, bottom), (sampling.columns, left, right)
        with np.errstate(invalid="ignore"):  # scores may be infinite
            for i, (axis, first, last) in enumerate(sides):
                if axis.inner is not None:
                    full = lerp(full, axis.inner, i)
                full = lerp(full, axis.of(mask, first, last), i)
        columns = np.zeros((right - left, size[0]), bool)
        columns[:, top:bottom] = framework(full).numpy(full > threshold).T
        flips = np.flatnonzero(np.diff(columns.reshape(-1), prepend=False, append=False))
        runs.append(flips.reshape(-1, 2) + left * size[0])
    return np.concatenate(runs), np.cumsum([len(one) for one in runs], dtype=np.int64)
