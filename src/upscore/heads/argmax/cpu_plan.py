"""Where the labels of the CPU kernel sample: bands, strips, chunks and blocks as plain arrays."""

from typing import Any, NamedTuple

import numpy as np
from numpy.typing import NDArray

from upscore.heads.grid import Grid, positions
from upscore.kernels import LANES

TILE = 16  # a tile of labels is written out at once: 16 rows of 16 blocks
ROWS_AT_A_TIME = 4  # output rows whose best scores are held in registers together
# Scores of one source row that a thread keeps in the second-level cache: two rows of float32 are
# 512 kB of the 1 MB or more that a core has.
CACHED_SCORES = 1 << 16
LEAST_TAPS = 4  # the kernel mixes this many source columns without a loop

Indices = NDArray[np.int64]


class Bands(NamedTuple):
    """Output rows `top` to `bottom`, at most `TILE`, blend the source rows `low` and `high`."""

    low: Indices
    high: Indices
    top: Indices
    bottom: Indices


class Strips(NamedTuple):
    """Chunks `first` to `last`, whose source columns `left` to `right` are in cache at once."""

    first: Indices
    last: Indices
    left: Indices
    right: Indices


class Chunks(NamedTuple):
    """Blocks `first` to `last`, at most `TILE`, whose cells lie within `LANES`.

    `cells` has a bit for each of these, from the first block's first source column on.
    """

    first: Indices
    last: Indices
    cells: Indices


class Blocks(NamedTuple):
    """`LANES` output columns: their first source column, and their cells as bits of the chunk's."""

    column: Indices
    cells: Indices


class Columns(NamedTuple):
    """The source columns that an output column blends, and the weight of the high one."""

    low: Indices
    high: Indices
    weight: NDArray[Any]


class Plan(NamedTuple):
    """How an image of h x w scores and H x W labels is worked through."""

    classes: int
    height: int
    width: int
    limit: Any  # scores within +-limit can be interpolated without overflow
    bands: Bands
    row_weight: NDArray[Any]  # of the high source row, the last repeated ROWS_AT_A_TIME - 1 times
    strips: Strips
    chunks: Chunks
    blocks: Blocks
    columns: Columns
    taps: int  # source columns that a block mixes; 0 if it spans too many for its `mixing`
    mixing: NDArray[Any]  # blocks x taps x lanes, in a line: the weights of those columns
    pitch: int  # from class to class in the buffer of a source row

    @property
    def tasks(self) -> int:
        """The tasks of an image: a band of a strip each."""
        return len(self.bands.low) * len(self.strips.left)


def plan_labels(
    source: tuple[int, int], target: tuple[int, int], grid: Grid, classes: int, dtype: str
) -> Plan:
    """Return the plan for scores of `source` pixels and labels of `target`."""
    low, high, weight = positions(grid.along(-2), source[0], target[0])
    bands = _bands(low, high)
    row_weight = np.pad(weight, (0, ROWS_AT_A_TIME - 1), "edge").astype(dtype)

    # The columns, padded to whole blocks by repeating the last one.
    pad = (0, -target[1] % LANES)
    low, high, weight = positions(grid.along(-1), source[1], target[1])
    columns = Columns(
        np.pad(low, pad, "edge"), np.pad(high, pad, "edge"), np.pad(weight, pad, "edge")
    )
    taps, mixing = _mixing(columns)
    blocks, chunks, strips = _divide(columns, classes, pruned=taps > 0)
    widest = int((strips.right - strips.left).max()) + LANES + 1
    return Plan(
        classes,
        *target,
        np.dtype(dtype).type(np.finfo(dtype).max / 4),
        bands,
        row_weight,
        strips,
        chunks,
        blocks,
        columns._replace(weight=columns.weight.astype(dtype)),
        taps,
        mixing.astype(dtype).reshape(-1),
        # An odd number of cache lines: see docs/explanation/fast.md, "Threads and memory".
        (-(-widest // LANES) | 1) * LANES,
    )


def _bands(low: Indices, high: Indices) -> Bands:
    starts = np.flatnonzero(np.diff(low, prepend=-1))
    sizes = np.diff(starts, append=len(low))
    starts = np.concatenate([np.arange(s, s + n, TILE) for s, n in zip(starts, sizes, strict=True)])
    return Bands(low[starts], high[starts], starts, np.append(starts[1:], len(low)))


def _mixing(columns: Columns) -> tuple[int, NDArray[np.float64]]:
    """The weights by which a block's source columns are mixed, and how many columns these are."""
    low, high, weight = columns
    base = low[::LANES]
    taps = max(LEAST_TAPS, int((high[LANES - 1 :: LANES] - base).max()) + 1)
    if taps > LANES + 1:  # the cells of a block do not fit one chunk
        return 0, np.zeros((0, 0, LANES))
    mixing = np.zeros((len(base), taps, LANES))
    block, lane = np.divmod(np.arange(len(low)), LANES)
    np.add.at(mixing, (block, low - base[block], lane), 1 - weight)
    np.add.at(mixing, (block, high - base[block], lane), weight)
    return taps, mixing


def _divide(columns: Columns, classes: int, pruned: bool) -> tuple[Blocks, Chunks, Strips]:
    """Gather blocks to chunks, and these to strips of which a source row fits the cache."""
    base, last = columns.low[::LANES], columns.low[LANES - 1 :: LANES]
    end = columns.high[LANES - 1 :: LANES]
    widest = max(CACHED_SCORES // classes - 2 * LANES, LANES)
    chunks: list[list[int]] = []  # as the fields of Chunks
    strips: list[list[int]] = []  # as the fields of Strips
    cells = np.zeros(len(base), np.int64)
    for b, (first, final, right) in enumerate(zip(base, last, end, strict=True)):
        start = chunks[-1][0] if chunks else 0
        if not (chunks and pruned and final < base[start] + LANES and b < start + TILE):
            if not strips or right - strips[-1][2] >= widest:
                strips.append([len(chunks), 0, first, 0])
            chunks.append([b, 0, 0])
        if pruned:
            origin = base[chunks[-1][0]]
            cells[b] = (2 << (final - origin)) - (1 << (first - origin))
        chunks[-1][1:] = b + 1, chunks[-1][2] | cells[b]
        strips[-1][1], strips[-1][3] = len(chunks), right + 1
    return (
        Blocks(base.copy(), cells),
        Chunks(*np.array(chunks).T.copy()),
        Strips(*np.array(strips).T.copy()),
    )
