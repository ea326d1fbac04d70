"""The confusion matrix the usual way: labels at full resolution, then counts.

What the fused head is compared with, and what serves where it cannot: on a GPU with its labels.
"""

from typing import Any

import numpy as np

from upscore.arrays import framework
from upscore.heads.argmax.labels import make_labels
from upscore.heads.grid import Grid
from upscore.heads.target import check_labels, counted


def confusion(
    scores: Any, target: Any, ignore_index: int, grid: Grid, backend: str = "eager"
) -> Any:
    """Return the C x C counts of N x C x h x w scores and an N x H x W target."""
    classes = scores.shape[1]
    check_labels(target, classes, ignore_index)
    labels, _ = make_labels(scores, tuple(target.shape[1:]), grid, None, backend)
    valid = counted(target, ignore_index)
    if framework(scores).name == "numpy":
        pairs = classes * target[valid].astype(np.int64) + labels[valid]
        return np.bincount(pairs, minlength=classes**2).reshape(classes, classes)
    pairs = classes * target[valid].long() + labels[valid]
    return pairs.bincount(minlength=classes**2).reshape(classes, classes)
