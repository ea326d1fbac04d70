"""The loss and its gradient on the CPU: how an image is cut up, and the launcher of the kernels.

The image is cut into strips of source rows. A strip owns its source rows and is worked through by
one thread, chunk of columns by chunk of columns, from top to bottom; what it adds to the first row
of the next strip is kept aside and added at the end. No sum depends on the number of threads.
"""

from functools import lru_cache
from typing import Any, NamedTuple

import numpy as np
from numpy.typing import NDArray

from upscore.heads.cross_entropy.cpu_kernels import ROWS, work
from upscore.heads.cross_entropy.target import check_labels
from upscore.heads.grid import positions
from upscore.kernels.threads import share

_STRIP = 8  # source rows
_COLUMNS = 256  # of a chunk, at most
_LEAST_COLUMNS = 16
_CACHED = 1 << 16  # classes times columns of a chunk: its six arrays fit the second-level cache


class _Plan(NamedTuple):
    """How an image of h x w scores and H x W labels is cut up."""

    strips: NDArray[np.int64]  # first block, end, first source row, first of the next strip
    blocks: NDArray[np.int64]  # first output row, number of rows, upper and lower source row
    ups: NDArray[Any]  # of each output row: the weight of the upper source row
    downs: NDArray[Any]
    steps: NDArray[Any]  # of each block: what the lower weight grows by from row to row
    columns: tuple[
        NDArray[Any], ...
    ]  # of each output column: left and right source column, weights


@lru_cache(maxsize=64)
def _plan(
    source: tuple[int, int],
    size: tuple[int, int],
    align_corners: bool,
    stride: int | None,
    dtype: np.dtype[Any],
) -> _Plan:
    low, high, weight = positions(source[0], size[0], align_corners=align_corners, stride=stride)
    step = np.diff(weight, append=0)
    blocks: list[tuple[int, int, int, int]] = []
    steps: list[float] = []
    y = 0
    while y < size[0]:
        end = y + 1
        while (
            end < min(size[0], y + ROWS)
            and low[end] == low[y]
            and high[end] == high[y]
            and abs(step[end - 1] - step[y]) < 1e-9
        ):
            end += 1
        blocks.append((y, end - y, int(low[y]), int(high[y])))
        steps.append(float(step[y]))
        y = end
    starts = [0]
    for b, block in enumerate(blocks):
        if block[2] >= blocks[starts[-1]][2] + _STRIP:
            starts.append(b)
    rows = [0, *(blocks[b][2] for b in starts[1:]), source[0]]
    ends = [*starts[1:], len(blocks)]
    left, right, across = positions(source[1], size[1], align_corners=align_corners, stride=stride)
    return _Plan(
        np.array(list(zip(starts, ends, rows, rows[1:], strict=False))),
        np.array(blocks),
        (1 - weight).astype(dtype),
        weight.astype(dtype),
        np.array(steps, dtype),
        (
            left.astype(np.uint32),
            right.astype(np.uint32),
            (1 - across).astype(dtype),
            across.astype(dtype),
        ),
    )


def cross_entropy(
    scores: NDArray[Any],
    target: NDArray[Any],
    weight: NDArray[Any] | None,
    factor: NDArray[Any] | None = None,
    *,
    ignore_index: int,
    label_smoothing: float,
    align_corners: bool,
    stride: int | None,
    per_pixel: bool,
    with_gradient: bool,
) -> tuple[Any, float, NDArray[Any]]:
    """Return the pixels' losses (N x H x W) or their sum, the pixels' weight, and the gradient.

    The gradient is that of the sum of the losses times `factor`, to the scores (N x C x h x w).
    """
    N, C, h, w = scores.shape
    _, H, W = target.shape
    dtype = scores.dtype
    plan = _plan((h, w), (H, W), align_corners, stride, dtype)
    tasks = N * len(plan.strips)
    weight = np.ones(C, dtype) if weight is None else weight.astype(dtype)
    losses = np.empty((N, H, W) if per_pixel else (1, 0, 0), dtype)
    gradient = np.empty(scores.shape if with_gradient else (0, 0, 0, 0), dtype)
    spill = np.empty((tasks, C, w) if with_gradient else (tasks, 0, 0), dtype)
    results = np.empty((tasks, 3))
    share(
        work,
        tasks,
        min(_COLUMNS, max(_LEAST_COLUMNS, _CACHED // C // _LEAST_COLUMNS * _LEAST_COLUMNS)),
        np.ascontiguousarray(scores),
        np.ascontiguousarray(target),
        np.empty((1, 0, 0), dtype) if factor is None else np.ascontiguousarray(factor, dtype),
        ignore_index,
        weight,
        (1 - label_smoothing) * weight,
        label_smoothing / C * weight if label_smoothing else weight[:0],
        *plan,
        losses,
        gradient,
        spill,
        results,
    )
    if results[:, 2].any():
        check_labels(target, C, ignore_index)
    if with_gradient:
        inner = plan.strips[:-1, 3]
        parts = spill.reshape(N, len(plan.strips), C, w)[:, :-1]
        gradient[:, :, inner] += parts.transpose(0, 2, 1, 3)
    loss, count, _ = results.sum(0)
    return losses if per_pixel else loss, count, gradient
