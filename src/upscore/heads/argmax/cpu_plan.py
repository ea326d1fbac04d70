"""Where the labels of the CPU kernel sample: bands, strips, chunks and blocks as plain arrays."""

from functools import lru_cache
from typing import Any

import numpy as np
from numpy.typing import NDArray

from upscore.heads.grid import positions
from upscore.kernels.simd import LANES

TILE = 16  # a tile of labels is written out at once: 16 rows of 16 blocks
_CACHED = 1 << 16  # scores of one source row that a thread keeps: two rows of float32 are 512 kB


@lru_cache(maxsize=8)
def plan_labels(
    source: tuple[int, int],
    target: tuple[int, int],
    align_corners: bool,
    stride: int | None,
    classes: int,
    dtype: str,
) -> tuple[tuple[NDArray[Any], ...], int, int]:
    """Return the arrays of the kernel, the tasks of an image, and the row pitch of its buffer.

    The arrays: bands (low row, high row, first and last output row), the weights of the
    high rows, strips (first and last chunk, first and last source column), chunks (first and last
    block, cells as bits), blocks (first source column, cells as bits), the weights that mix a
    block's source columns (blocks x taps x lanes, empty where a block spans too many), the columns
    (low, high), and the weight of the high one.
    """
    low, high, weight = positions(source[0], target[0], align_corners=align_corners, stride=stride)
    row_weight = np.pad(weight, (0, 3), "edge").astype(dtype)
    starts = np.flatnonzero(np.diff(low, prepend=-1))
    sizes = np.diff(starts, append=len(low))
    starts = np.concatenate([np.arange(s, s + n, TILE) for s, n in zip(starts, sizes, strict=True)])
    bands = np.stack((low[starts], high[starts], starts, np.append(starts[1:], len(low))), 1)

    # The columns, padded to whole blocks by repeating the last one.
    pad = (0, -target[1] % LANES)
    low, high, weight = positions(source[1], target[1], align_corners=align_corners, stride=stride)
    low, high = np.pad(low, pad, "edge"), np.pad(high, pad, "edge")
    weight = np.pad(weight, pad, "edge")
    base, last, end = low[::LANES], low[LANES - 1 :: LANES], high[LANES - 1 :: LANES]
    taps = max(4, int((end - base).max()) + 1)
    pruned = taps <= LANES + 1  # the cells of a block fit one chunk
    mixing = np.zeros((len(base), taps, LANES) if pruned else (0, 0, LANES), dtype)
    if pruned:
        block, lane = np.divmod(np.arange(len(low)), LANES)
        np.add.at(mixing, (block, low - base[block], lane), 1 - weight)
        np.add.at(mixing, (block, high - base[block], lane), weight)

    # Chunks, and strips of as many chunks as have their source columns in cache at once.
    widest = max(_CACHED // classes - 2 * LANES, LANES)
    chunks: list[list[int]] = []  # first block, last block, cells
    strips: list[list[int]] = []  # first chunk, last chunk, first column, last column
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
    strip = np.array(strips)
    pitch = -(-int((strip[:, 3] - strip[:, 2]).max() + LANES + 1) // LANES) | 1  # odd: see docs
    arrays = (
        bands,
        row_weight,
        strip,
        np.array(chunks),
        np.stack((base, cells), 1),
        mixing.reshape(-1),
        np.stack((low, high), 1),
        weight.astype(dtype),
    )
    return arrays, len(bands) * len(strips), pitch * LANES
