"""Where the masks of the CPU kernel sample, as plain arrays: bands of rows, taps of columns."""

from typing import Any, NamedTuple

import numpy as np
from numpy.typing import NDArray

from upscore.heads.masks.sampling import Axis, Indices, Linear, Sampling
from upscore.kernels import LANES

# Few masks are cut into so many tasks, that all threads have work.
TASKS = 16
LEAST_COLUMNS = 64  # of such a task


class Bands(NamedTuple):
    """Output rows `top` to `bottom` blend an upper and a lower row, each of two source rows.

    Where rows are not resized twice, each is one source row, and the next is -1.
    """

    top: Indices
    bottom: Indices
    upper: Indices
    upper_next: Indices
    upper_weight: NDArray[Any]  # of `upper_next`
    lower: Indices
    lower_next: Indices
    lower_weight: NDArray[Any]


class Rows(NamedTuple):
    """Output rows as blends of an upper and a lower row, these as in `Bands`."""

    band: Indices  # rows of one band have the same number
    upper: Linear
    lower: Linear
    weight: NDArray[np.float64]  # of the lower row


class Places(NamedTuple):
    """Each mask's window of output pixels, and where its part of the lists begins."""

    left: Indices
    top: Indices
    right: Indices
    bottom: Indices
    band: Indices
    band_end: Indices
    pair: Indices  # add a source row for its place in `pair_first` and `pair_last`
    row: Indices  # add an output row for its place in `row_weight`
    column: Indices  # the output column where the first block begins
    block: Indices


class Blocks(NamedTuple):
    """`LANES` output columns that mix `taps` source columns, from `column` on."""

    column: Indices
    taps: Indices
    weight: Indices  # where the vectors of weights for these source columns begin


class Plan(NamedTuple):
    """How masks of `height` rows are found in scores of `rows` x `columns`."""

    height: int
    shares: int  # into which the columns of a mask are divided
    rows: int
    columns: int
    words: int  # of 64 rows, in a column of signs
    places: Places
    bands: Bands
    row_weight: NDArray[Any]  # of the lower row
    # The bands that depend on source row r and the next, counted from the mask's first one. Where
    # there are none, because rows are skipped, the bands before and after.
    pair_first: Indices
    pair_last: Indices
    blocks: Blocks
    block_weight: NDArray[Any]  # vectors, in a line
    # Output columns, whole blocks of them, x taps, in a line: for scores that are not finite, where
    # a weight of zero matters.
    taps: int
    tap_column: Indices
    tap_weight: NDArray[Any]


def plan_masks(
    sampling: Sampling, source: tuple[int, int], size: tuple[int, int], dtype: str
) -> Plan:
    """Return the plan for scores of `source` pixels and masks of `size`, at least one."""
    rows, columns = sampling.rows, sampling.columns
    number = len(sampling.windows)
    bands, band_starts, row_weight = _bands(rows, dtype)
    block_starts, tap_column, tap_weight = _taps(columns)
    blocks, vectors = _blocks(tap_column, tap_weight)
    part = np.arange(number) if len(rows.first) > 1 else np.zeros(number, np.int64)
    left, top, right, bottom = sampling.windows.T.copy()
    places = Places(
        *(left, top, right, bottom),
        band_starts[:-1][part],
        band_starts[1:][part],
        part * source[0],
        (rows.starts[:-1] - rows.first)[part],
        columns.first[part],
        block_starts[part],
    )
    return Plan(
        size[0],
        max(1, min(TASKS // number, size[1] // LEAST_COLUMNS)),
        *source,
        -(-source[0] // 64),
        places,
        bands,
        row_weight.astype(dtype),
        *_pairs(bands, band_starts, source[0]),
        blocks,
        vectors.astype(dtype),
        tap_column.shape[1],
        tap_column.reshape(-1),
        tap_weight.astype(dtype).reshape(-1),
    )


def _bands(axis: Axis, dtype: str) -> tuple[Bands, Indices, NDArray[np.float64]]:
    """Gather the output rows that blend the same two rows.

    Also tell where each part's bands begin, and how much each output row takes of its lower row.
    """
    rows = _straightened(axis)
    begin = axis.bands(rows.band)
    starts = np.searchsorted(begin, axis.starts)
    # From places in the list to rows of the mask.
    shift = np.repeat(axis.first - axis.starts[:-1], np.diff(starts))
    top, bottom = begin + shift, np.append(begin, len(rows.band))[1:] + shift
    upper, lower = rows.upper.at(begin), rows.lower.at(begin)
    bands = Bands(
        *(top, bottom, upper.low, upper.high, upper.weight.astype(dtype)),
        *(lower.low, lower.high, lower.weight.astype(dtype)),
    )
    return bands, starts, rows.weight


def _straightened(axis: Axis) -> Rows:
    """Write each output row as a blend of two rows, of the source itself wherever that can be.

    Rows of a first resize that lie between the same two source rows are on one straight line with
    them: what blends two of them blends those two. Not so where a weight is zero, since zero times
    infinity is NaN.
    """
    low, high, weight = axis.outer
    if axis.inner is None:
        none, zero = np.full(len(low), -1), np.zeros(len(low))
        return Rows(low, Linear(low, none, zero), Linear(high, none, zero), weight)
    inner = axis.inner
    upper, lower = inner.at(low), inner.at(high)
    straight = (upper.low == lower.low) & (upper.high == lower.high)
    for share in (upper.weight, lower.weight, weight):
        straight &= (share > 0) & (share < 1)
    whole = upper.weight + (lower.weight - upper.weight) * weight
    beyond = inner.low.max() + 1  # so that no two bands have one number
    return Rows(
        np.where(straight, upper.low, beyond + low),
        Linear(upper.low, np.where(straight, -1, upper.high), np.where(straight, 0, upper.weight)),
        Linear(
            np.where(straight, upper.high, lower.low),
            np.where(straight, -1, lower.high),
            np.where(straight, 0, lower.weight),
        ),
        np.where(straight, whole, weight),
    )


def _pairs(bands: Bands, starts: Indices, rows: int) -> tuple[Indices, Indices]:
    """The first and the last band that depend on each source row and the next one, part by part."""
    parts = len(starts) - 1
    part = np.repeat(np.arange(parts), np.diff(starts)) * rows  # parts apart: one search for all
    row = np.arange(parts * rows)
    last_row = np.maximum(bands.lower, bands.lower_next)
    first = np.searchsorted(part + np.maximum(bands.upper, last_row - 1), row)
    last = np.searchsorted(part + bands.upper, row, side="right") - 1
    begin, most = np.repeat(starts[:-1], rows), np.repeat(np.diff(starts) - 1, rows)
    first, last = first - begin, last - begin
    return np.minimum(first, last).clip(0, most), np.maximum(first, last).clip(0, most)


def _taps(axis: Axis) -> tuple[Indices, Indices, NDArray[np.float64]]:
    """Where each part's blocks begin; the source columns of their output columns, and the weights.

    Parts are filled up to whole blocks with their last column.
    """
    lengths = np.diff(axis.starts)
    counts = -(-lengths // LANES)
    starts = np.append(0, np.cumsum(counts))
    column = np.arange(starts[-1] * LANES) - np.repeat(starts[:-1] * LANES, counts * LANES)
    column = np.minimum(column, np.repeat(lengths - 1, counts * LANES))
    column += np.repeat(axis.starts[:-1], counts * LANES)
    low, high, weight = (values[column] for values in axis.outer)
    columns, weights = [low, high], [1 - weight, weight]
    if axis.inner is not None:
        inner = axis.inner
        columns = [inner.low[low], inner.high[low], inner.low[high], inner.high[high]]
        near, far = inner.weight[low], inner.weight[high]
        weights = [(1 - weight) * (1 - near), (1 - weight) * near]
        weights += [weight * (1 - far), weight * far]
    return starts[:-1], np.stack(columns, 1), np.stack(weights, 1)


def _blocks(columns: Indices, weights: NDArray[np.float64]) -> tuple[Blocks, NDArray[np.float64]]:
    """Gather output columns to blocks, with a vector of weights for each source column."""
    grouped = columns.reshape(-1, LANES * columns.shape[1])
    first = grouped.min(1)
    count = grouped.max(1) - first + 1
    starts = np.append(0, np.cumsum(count))
    block, lane = np.divmod(np.arange(len(columns)), LANES)
    at = ((starts[block] - first[block])[:, None] + columns) * LANES + lane[:, None]
    vectors = np.bincount(at.reshape(-1), weights.reshape(-1), int(starts[-1]) * LANES)
    return Blocks(first, count, starts[:-1]), vectors.astype(np.float64, copy=False)
