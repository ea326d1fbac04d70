"""How an image is cut up for a loss on the CPU: strips, blocks and chunks as plain arrays."""

from typing import Any, NamedTuple

import numpy as np
from numpy.typing import NDArray

from upscore.heads.grid import Grid, positions

ROWS = 4  # of a block, at most: the rounding of the ratio's powers grows with them
STRIP = 8  # source rows
COLUMNS = 256  # of a chunk, at most
LEAST_COLUMNS = 16  # a whole vector
CACHED_SCORES = 1 << 16  # classes times columns: beyond 256 classes chunks get narrower
# Weights grow in equal steps but for rounding, which is far smaller.
SAME_STEP = 1e-9


class Strips(NamedTuple):
    """Blocks `first` to `last` of output rows; the strip owns source rows `top` to `bottom`."""

    first: NDArray[np.int64]
    last: NDArray[np.int64]
    top: NDArray[np.int64]
    bottom: NDArray[np.int64]


class Blocks(NamedTuple):
    """`rows` output rows from `top` on, between the same two source rows, in equal steps."""

    top: NDArray[np.int64]
    rows: NDArray[np.int64]
    upper: NDArray[np.int64]
    lower: NDArray[np.int64]
    step: NDArray[Any]  # what the lower row's weight grows by from row to row


class Columns(NamedTuple):
    """Of each output column: the source columns left and right, and their weights."""

    low: NDArray[np.uint32]
    high: NDArray[np.uint32]
    left: NDArray[Any]
    right: NDArray[Any]
    copied: int  # whether each output column is the source column of the same number


class Plan(NamedTuple):
    """How an image of h x w scores and H x W labels is worked through."""

    strips: Strips
    blocks: Blocks
    up: NDArray[Any]  # of each output row: the weights of its upper and its lower source row
    down: NDArray[Any]
    columns: Columns


def plan_strips(
    source: tuple[int, int], size: tuple[int, int], grid: Grid, dtype: np.dtype[Any]
) -> Plan:
    """Return the plan for scores of `source` pixels and a target of `size`."""
    low, high, weight = _positions(grid, source[0], size[0])
    blocks = _blocks(low, high, weight)
    left, right, across = _positions(grid, source[1], size[1])
    return Plan(
        _strips(blocks, source[0]),
        blocks._replace(step=blocks.step.astype(dtype)),
        (1 - weight).astype(dtype),
        weight.astype(dtype),
        Columns(
            left.astype(np.uint32),
            right.astype(np.uint32),
            (1 - across).astype(dtype),
            across.astype(dtype),
            int(grid.copies(source[1], size[1])),
        ),
    )


def _positions(
    grid: Grid, size_in: int, size_out: int
) -> tuple[NDArray[np.int64], NDArray[np.int64], NDArray[np.float64]]:
    """Return positions where a pixel that is read alone is read with two halves.

    The kernels multiply with both weights, and zero times infinity is NaN.
    """
    low, high, weight = positions(grid, size_in, size_out)
    return low, high, weight + 0.5 if high is low else weight


def _blocks(low: NDArray[np.int64], high: NDArray[np.int64], weight: NDArray[Any]) -> Blocks:
    """Gather output rows to blocks."""
    step = np.diff(weight, append=0)
    tops: list[int] = []
    rows: list[int] = []
    y = 0
    while y < len(low):
        end = y + 1
        while (
            end < min(len(low), y + ROWS)
            and low[end] == low[y]
            and high[end] == high[y]
            and abs(step[end - 1] - step[y]) < SAME_STEP
        ):
            end += 1
        tops.append(y)
        rows.append(end - y)
        y = end
    top = np.array(tops)
    return Blocks(top, np.array(rows), low[top], high[top], step[top])


def _strips(blocks: Blocks, height: int) -> Strips:
    """Gather blocks to strips of source rows."""
    starts = [0]
    for b, upper in enumerate(blocks.upper):
        if upper >= blocks.upper[starts[-1]] + STRIP:
            starts.append(b)
    rows = np.array([0, *blocks.upper[starts[1:]], height])
    return Strips(np.array(starts), np.array([*starts[1:], len(blocks.top)]), rows[:-1], rows[1:])


def chunk_columns(classes: int) -> int:
    """The columns of a chunk, whole vectors: as many as stay in cache with so many classes."""
    fitting = CACHED_SCORES // classes // LEAST_COLUMNS * LEAST_COLUMNS
    return min(COLUMNS, max(LEAST_COLUMNS, fitting))
