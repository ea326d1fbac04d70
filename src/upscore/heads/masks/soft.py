"""Scores that are pasted into boxes and stay scores: the launcher of the kernel."""

from typing import Any, NamedTuple

import numpy as np
from numpy.typing import NDArray

from upscore.heads.masks.pasting import FAR, filled
from upscore.heads.masks.sampling import Axis, Indices
from upscore.kernels.launch import Kernel
from upscore.kernels.threads import share

PASTE = Kernel("upscore.heads.masks.soft_kernels", "paste")


class Taps(NamedTuple):
    """What pixels of an axis are made of, mask after mask."""

    low: NDArray[np.int32]  # a score's number along the axis
    high: NDArray[np.int32]  # ... and that of the next one
    weight: NDArray[Any]  # of the next one
    less: NDArray[Any]  # 1 - weight


class Places(NamedTuple):
    """Where pixels go."""

    masks: NDArray[np.int32]  # of each row, the mask
    rows: NDArray[np.int32]  # of each row, its number in the picture
    first: Indices  # of each mask, the first column
    starts: Indices  # of each mask, where its columns begin among all; where the last ones end


def paste(scores: NDArray[Any], boxes: Indices, size: tuple[int, int]) -> NDArray[Any]:
    """Resize N x h x w scores to their boxes, N x H x W with zeros outside, as they are typed.

    Boxes are the pixels x0 to x1 and y0 to y1 of the picture, the last ones included. What is
    beyond it is cut off; nothing of boxes of no pixels is left.
    """
    out = np.zeros((len(scores), *size), scores.dtype)
    x0, y0, x1, y1 = boxes.clip(-int(FAR), int(FAR)).T
    rows = filled(y0, y1 + 1, scores.shape[1], size[0])
    columns = filled(x0, x1 + 1, scores.shape[2], size[1])
    heights = np.diff(rows.starts)
    masks = np.repeat(np.arange(len(scores)), heights)
    number = np.arange(len(masks)) + (rows.first - rows.starts[:-1])[masks]
    share(
        PASTE,
        len(masks),
        np.ascontiguousarray(scores).reshape(-1, scores.shape[2]),
        scores.shape[1],
        _taps(rows, scores.dtype),
        _taps(columns, scores.dtype),
        Places(masks.astype(np.int32), number.astype(np.int32), columns.first, columns.starts),
        out.reshape(len(scores) * size[0], size[1]),
        size[0],
        scratch=lambda: np.empty(scores.shape[2], scores.dtype),
        least=64,
        pieces=4,
    )
    return out


def _taps(axis: Axis, dtype: Any) -> Taps:
    low, high, weight = axis.outer
    return Taps(
        low.astype(np.int32),
        high.astype(np.int32),
        weight.astype(dtype),
        (1 - weight).astype(dtype),
    )
