"""Masks on a GPU: Triton kernels that find their runs and paint them, and the launchers.

As on the CPU, no pixel is written to find the runs. A program goes down 128 columns of a mask.
Between two rows of scores a column is a straight line, which crosses the threshold at most once:
where its first and its last pixel are on two sides, the crossing is looked for by halves. One
launch counts where the columns turn, from unset to set or back; the sums of the counts tell each
program of the second launch where to write its turns. Both must find the same, so sums and products
are rounded one by one (`enable_fp_fusion=False`).
"""

# mypy: disable-error-code="no-untyped-def, untyped-decorator"

from functools import lru_cache
from typing import NamedTuple

import numpy as np
import torch
import triton
import triton.language as tl

from upscore.heads.gpu import COLUMNS, compute_dtype, launching, lerp, read
from upscore.heads.masks.sampling import Axis, Indices, Sampling

PROGRAMS = 2048  # few masks are cut into shares of their rows, that there are so many
MOST_SHARES = 16
PAINTED_ROWS = 64  # and columns of a painted tile
PAINTED_COLUMNS = 512


class Table(NamedTuple):
    """One axis of all masks, on the device: what `lines` and `columns_at` read.

    Pixel `i` lies between two rows (or columns), each of which is one of the source, or lies
    between two where they are resized twice.
    """

    taps: torch.Tensor  # n x 4 int32: the source's, two and two
    weights: torch.Tensor  # n x 3: of the second and the fourth of these, and of the second two
    ends: torch.Tensor  # n int32: the pixel after the last one between the same two


class Tables(NamedTuple):
    """Where the masks sample."""

    rows: Table
    columns: Table
    places: torch.Tensor  # N x 6 int64: windows; what to add to rows and columns for the tables'


def find_runs(
    scores: torch.Tensor, sampling: Sampling, size: tuple[int, int], threshold: float
) -> tuple[torch.Tensor, Indices]:
    """Return the runs of N x h x w scores, N at least 1, on their device, and each mask's first.

    The host waits for the device once, to know how many runs there are.
    """
    number, (height, width) = len(scores), size
    with launching(scores):
        dtype, device = compute_dtype(scores), scores.device
        prepare = _prepare if sampling.kept else _prepare.__wrapped__
        tables = prepare(sampling, dtype, device)
        columns = min(COLUMNS, triton.next_power_of_2(width))
        tiles = triton.cdiv(width, columns)
        shares = min(max(PROGRAMS // (number * tiles), 1), MOST_SHARES)
        counts = torch.zeros(number * width * shares, dtype=torch.int32, device=device)
        limit = torch.full((1,), threshold, dtype=dtype, device=device)

        def launch(starts: torch.Tensor, turns: torch.Tensor, listing: bool) -> None:
            _turns[(number * tiles * shares,)](
                *(scores, limit, *tables.rows, *tables.columns[:2], tables.places),
                *(counts, starts, turns, height, width, tiles, shares, *scores.stride()),
                THROUGH=sampling.rows.inner is not None,
                LISTING=listing,
                COLUMNS=columns,
                num_warps=4,
                enable_fp_fusion=False,
            )

        launch(counts, counts, False)
        ends = counts.cumsum(0)
        offsets = np.append(0, ends[width * shares - 1 :: width * shares].cpu().numpy())
        turns = torch.empty(int(offsets[-1]), dtype=torch.int64, device=device)
        launch(ends - counts, turns, True)
        return turns.view(-1, 2), offsets // 2


@lru_cache(maxsize=8)
def _prepare(sampling: Sampling, dtype: torch.dtype, device: torch.device) -> Tables:
    """Return where masks sample, on the device: kept for more calls."""
    rows, columns = sampling.rows, sampling.columns
    shifts = [
        np.broadcast_to(axis.starts[:-1] - axis.first, len(sampling.windows))
        for axis in (rows, columns)
    ]
    places = np.concatenate((sampling.windows, np.stack(shifts, 1)), 1)
    return Tables(
        _table(rows, dtype, device),
        _table(columns, dtype, device),
        torch.from_numpy(places).to(device),
    )


def _table(axis: Axis, dtype: torch.dtype, device: torch.device) -> Table:
    low, high, weight = axis.outer
    taps, weights = [low, low, high, high], [weight, weight, weight]
    if axis.inner is not None:
        inner = axis.inner
        taps = [inner.low[low], inner.high[low], inner.low[high], inner.high[high]]
        weights = [inner.weight[low], inner.weight[high], weight]
    bands = np.append(axis.bands(low), len(low))
    return Table(
        torch.from_numpy(np.stack(taps, 1)).to(device, torch.int32),
        torch.from_numpy(np.stack(weights, 1)).to(device, dtype),
        torch.from_numpy(bands[1:].repeat(np.diff(bands))).to(device, torch.int32),
    )


def paint(runs: torch.Tensor, offsets: torch.Tensor, canvas: torch.Tensor) -> None:
    """Write masks to N x H x W pixels, bool or uint8."""
    order = torch.arange(len(canvas), device=runs.device)
    _launch_painting(runs, offsets, order, canvas.view(torch.uint8), labelling=False)


def label(
    runs: torch.Tensor, offsets: torch.Tensor, order: torch.Tensor, labels: torch.Tensor
) -> None:
    """Write the numbers of masks over their pixels in H x W int32, one mask after another."""
    _launch_painting(runs, offsets, order, labels[None], labelling=True)


def _launch_painting(
    runs: torch.Tensor,
    offsets: torch.Tensor,
    order: torch.Tensor,
    canvas: torch.Tensor,
    labelling: bool,
) -> None:
    height, width = canvas.shape[1:]
    with launching(runs):
        columns = min(PAINTED_COLUMNS, triton.next_power_of_2(width))
        tiles, strips = triton.cdiv(width, columns), triton.cdiv(height, PAINTED_ROWS)
        _paint[(len(canvas) * strips * tiles,)](
            *(runs, offsets, order, canvas, len(order) if labelling else 1),
            *(height, width, strips, tiles, *canvas.stride()),
            LABELLING=labelling,
            ROWS=PAINTED_ROWS,
            COLUMNS=columns,
            num_warps=4,
        )


@triton.jit
def _turns(
    scores,
    limit,
    row_taps,
    row_weights,
    row_ends,
    column_taps,
    column_weights,
    places,
    counts,
    starts,
    turns,
    H,
    W,
    tiles,
    shares,
    scores_n,
    scores_y,
    scores_x,
    THROUGH: tl.constexpr,
    LISTING: tl.constexpr,
    COLUMNS: tl.constexpr,
):
    """One program: a share of the rows of `COLUMNS` columns of a mask.

    Pixels are numbered down the columns, one column after another. A pixel is a turn if it is not
    as the pixel of the number before, and those outside of the window are unset.
    """
    dtype: tl.constexpr = row_weights.dtype.element_ty
    program = tl.program_id(0)
    share = program // tiles % shares
    mask = (program // tiles // shares).to(tl.int64)
    left, top = tl.load(places + mask * 6), tl.load(places + mask * 6 + 1)
    right, bottom = tl.load(places + mask * 6 + 2), tl.load(places + mask * 6 + 3)
    row, column = tl.load(places + mask * 6 + 4), tl.load(places + mask * 6 + 5)
    begin = (program % tiles).to(tl.int64) * COLUMNS
    if (tl.minimum(begin + COLUMNS, right) <= tl.maximum(begin, left)) | (top >= bottom):
        return  # the counts are zero
    x = begin + tl.arange(0, COLUMNS)
    used = (x >= left) & (x < right)
    nearest = tl.minimum(tl.maximum(x, left), right - 1)
    image = scores + mask * scores_n
    threshold = tl.load(limit)
    at = (mask * W + x) * shares + share
    to = tl.load(starts + at, mask=used, other=0) if LISTING else tl.zeros((COLUMNS,), tl.int64)

    # The pixel before is in the row above or, of the first row, at the bottom of the last column.
    rows = bottom - top
    y = top + rows * share // shares
    last = top + rows * (share + 1) // shares
    wraps = y == top
    before = tl.where(wraps, bottom - 1, y - 1) + row
    taps = columns_at(
        column_taps, column_weights, tl.maximum(nearest - wraps, left) + column, scores_x
    )
    upper, lower = lines(image, row_taps, row_weights, before, scores_y, taps, THROUGH, dtype)
    inside = lerp(upper, lower, tl.load(row_weights + 3 * before + 2)) > threshold
    # In the first row it counts where the masks have no gap between columns, and not for the first.
    inside = inside & (x > tl.where(wraps, tl.where(rows == H, left, right), left - 1))

    taps = columns_at(column_taps, column_weights, nearest + column, scores_x)
    while y < last:
        # Rows of the mask between the same two rows; w: the first one's weight.
        end = tl.minimum(tl.load(row_ends + row + y) - row, last)
        w = row_weights + 3 * (row + y) + 2
        upper, lower = lines(image, row_taps, row_weights, row + y, scores_y, taps, THROUGH, dtype)
        above = lerp(upper, lower, tl.load(w)) > threshold
        to = listed(turns, to, x * H + y, used & (above != inside), LISTING)
        inside = above
        rest = end - 1 - y
        infinite = upper - upper + (lower - lower) != 0  # or NaN
        if tl.max((used & infinite).to(tl.int32)) > 0:
            for i in range(1, rest + 1):
                above = lerp(upper, lower, tl.load(w + 3 * i)) > threshold
                to = listed(turns, to, x * H + y + i, used & (above != inside), LISTING)
                inside = above
        else:
            above = lerp(upper, lower, tl.load(w + 3 * rest)) > threshold
            crossing = used & (above != inside)
            near, far = tl.zeros((COLUMNS,), tl.int64), tl.zeros((COLUMNS,), tl.int64) + rest
            if LISTING:
                span = tl.where(tl.max(crossing.to(tl.int32)) > 0, rest, 0)
                while span > 1:
                    middle = (near + far) // 2
                    value = lerp(upper, lower, tl.load(w + 3 * middle))
                    same = (value > threshold) == inside
                    near = tl.where(same, middle, near)
                    far = tl.where(same, far, middle)
                    span = (span + 1) // 2
            to = listed(turns, to, x * H + y + far, crossing, LISTING)
            inside = above
        y = end

    if share == shares - 1:  # after the window's last row, unless the next column goes on
        ends = used & inside & (x >= tl.where(rows == H, right - 1, left))
        to = listed(turns, to, x * H + bottom, ends, LISTING)
    if not LISTING:
        tl.store(counts + at, to.to(tl.int32), mask=used)


@triton.jit
def listed(turns, to, pixel, where, LISTING: tl.constexpr):
    """Write turns, or only count them; return where the next ones go."""
    if LISTING:
        tl.store(turns + to, pixel, mask=where)
    return to + where.to(tl.int64)


@triton.jit
def columns_at(column_taps, column_weights, at, step):
    """What `mix` needs of these columns of the table: four places in a row and three weights."""
    taps, weights = column_taps + 4 * at, column_weights + 3 * at
    a, b = tl.load(taps).to(tl.int64) * step, tl.load(taps + 1).to(tl.int64) * step
    c, d = tl.load(taps + 2).to(tl.int64) * step, tl.load(taps + 3).to(tl.int64) * step
    return a, b, c, d, tl.load(weights), tl.load(weights + 1), tl.load(weights + 2)


@triton.jit
def lines(image, row_taps, row_weights, at, step, taps, THROUGH: tl.constexpr, dtype: tl.constexpr):
    """The scores of columns in the two rows that a row of the table lies between."""
    rows, weights = row_taps + 4 * at, row_weights + 3 * at
    upper = mix(image + tl.load(rows).to(tl.int64) * step, taps, THROUGH, dtype)
    lower = mix(image + tl.load(rows + 2).to(tl.int64) * step, taps, THROUGH, dtype)
    if THROUGH:
        following = mix(image + tl.load(rows + 1).to(tl.int64) * step, taps, THROUGH, dtype)
        upper = lerp(upper, following, tl.load(weights))
        following = mix(image + tl.load(rows + 3).to(tl.int64) * step, taps, THROUGH, dtype)
        lower = lerp(lower, following, tl.load(weights + 1))
    return upper, lower


@triton.jit
def mix(row, taps, THROUGH: tl.constexpr, dtype: tl.constexpr):
    """The scores of columns in a row of the source."""
    a, b, c, d, near, far, weight = taps
    left, right = read(row + a, dtype), read(row + c, dtype)
    if THROUGH:
        left = lerp(left, read(row + b, dtype), near)
        right = lerp(right, read(row + d, dtype), far)
    return lerp(left, right, weight)


@triton.jit
def _paint(
    turns,
    offsets,
    order,
    canvas,
    masks,
    H,
    W,
    strips,
    tiles,
    canvas_n,
    canvas_y,
    canvas_x,
    LABELLING: tl.constexpr,
    ROWS: tl.constexpr,
    COLUMNS: tl.constexpr,
):
    """One program: a tile of one of the masks in `order`, or of all of these, one over another."""
    program = tl.program_id(0)
    x = (program % tiles).to(tl.int64) * COLUMNS + tl.arange(0, COLUMNS)
    top = (program // tiles % strips).to(tl.int64) * ROWS
    bottom = tl.minimum(top + ROWS, H)
    number = (program // tiles // strips).to(tl.int64)
    for i in range(number, number + masks):
        mask = tl.load(order + i)
        first, last = 2 * tl.load(offsets + mask), 2 * tl.load(offsets + mask + 1)
        # How many turns come before the tile, column by column; an odd number: it is inside.
        at = tl.zeros((COLUMNS,), tl.int64) + first
        end = tl.zeros((COLUMNS,), tl.int64) + last
        span = last - first
        while span > 0:
            middle = (at + end) // 2
            turn = tl.load(turns + middle, mask=at < end, other=0)
            passed = (at < end) & (turn < x * H + top)
            at = tl.where(passed, middle + 1, at)
            end = tl.where(passed, end, middle)
            span = span // 2
        inside = ((at - first) & 1) != 0
        turn = tl.load(turns + at, mask=at < last, other=-1)
        row = canvas + number * canvas_n + x * canvas_x
        met = inside | ((turn >= 0) & (turn < x * H + bottom))
        if (not LABELLING) or (tl.max((met & (x < W)).to(tl.int32)) > 0):
            for y in range(top, bottom):
                turns_here = turn == x * H + y
                inside = inside != turns_here
                at += turns_here.to(tl.int64)
                turn = tl.where(
                    turns_here, tl.load(turns + at, mask=turns_here & (at < last), other=-1), turn
                )
                to = row + tl.cast(y, tl.int64) * canvas_y
                if LABELLING:
                    tl.store(to, mask.to(tl.int32), mask=inside & (x < W))
                else:
                    tl.store(to, inside.to(tl.uint8), mask=x < W)
