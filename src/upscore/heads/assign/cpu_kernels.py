"""The assignment on the CPU: a Numba kernel that never holds the full-resolution scores.

The largest `weight * sigmoid(score)` is where `(1 + exp(-score)) / weight` is least. Output rows
between the same two rows form a *band*, in which every score is a straight line down a column: its
exponential is multiplied by one ratio from row to row, so that ROWS rows cost two exponentials a
query and column (`_compare`). `LANES` output columns are a *block*.

What is interpolated lies between its corners, and the sigmoid only grows. So a query whose largest
corner in a *cell* (two rows and the columns that a pixel mixes: two, or three where scores are
resized twice) is worth less than another's smallest cannot win there (`_candidates`). Where all
corners are in a query's own mask, or none is, its area is counted without a look at its pixels
(`_count`).

What float32 cannot tell apart, because all probabilities are next to nothing, is computed in
float64, pixel by pixel (`_compare_carefully`); so are scores of float64, infinities and NaN.

`scratch`, `case` and `result` are the named tuples of `cpu`, `plan` that of `masks.cpu_plan`.
"""

# mypy: disable-error-code="no-untyped-def, untyped-decorator"

import math

import numpy as np

from upscore.heads.assign.cpu import ROWS
from upscore.kernels import LANES
from upscore.kernels.compile import part
from upscore.kernels.exp import exp, exp_vector
from upscore.kernels.simd import bits, fma, greater, lesser, load, ones, splat, store, where

f32 = np.float32

ALL_LANES = (1 << LANES) - 1
WON, INSIDE, AREA = range(3)  # in `scratch.counts`
PAIR = 2 * LANES  # a query in `scratch.mixed`: a block of the upper row, then of the lower
LEAST = 80  # a score below the negative of it is worth no less to `_load_row` ...
WORTHLESS = 1e-30  # ... and what is worth so little rules nothing out
TAME = 60  # where scores and zero span less, exponentials neither overflow nor vanish on the way
MOST = f32(87)  # exp(87) is finite in float32
DEAR = f32(1e30)  # a least cost as high may be that of a score that was cut off
VAST = 8e37  # scores within it can be interpolated without overflow
SAME_STEP = f32(1e-6)  # weights grow in equal steps but for their rounding


@part(forceinline=True)
def assign_bands(first, last, scratch, case, plan, result):
    """Assign the pixels of tasks `first` to `last`: a task is a band of an image."""
    bands = plan.bands
    s = 0  # the upper row is in `scratch.rows` at 0 or in its second half
    for task in range(first, last):
        image, band = divmod(task, len(bands.top))
        # The lower row of the band before; equal weights of equal rows have the same next row.
        if (
            task > first
            and band > 0
            and bands.upper[band] == bands.lower[band - 1]
            and bands.upper_weight[band] == bands.lower_weight[band - 1]
        ):
            s = 1 - s
        else:
            row, following = bands.upper[band], bands.upper_next[band]
            _load_row(scratch, case, image, row, following, bands.upper_weight[band], s)
        row, following = bands.lower[band], bands.lower_next[band]
        _load_row(scratch, case, image, row, following, bands.lower_weight[band], 1 - s)
        _assign_band(scratch, case, plan, result, image, band, s)


@part()
def _load_row(scratch, case, image, row, following, weight, s):
    """Write a row of every query, or what lies between it and the following one, and its worth."""
    _, queries, _, width = case.scores.shape
    rows, values = scratch.rows, scratch.values
    pitch = len(rows) // (2 * queries)
    one = rows.dtype.type(1)
    most, vast = rows.dtype.type(LEAST), rows.dtype.type(VAST)
    finite = True
    for q in range(queries):
        at = (s * queries + q) * pitch
        source, to, value = case.scores[image, q, row], rows[at:], values[at:]
        relative = case.relative[image, q]
        for x in range(width):
            to[x] = source[x]
        if following >= 0:
            source = case.scores[image, q, following]
            for x in range(width):
                to[x] = to[x] * (one - weight) + source[x] * weight
        for x in range(width):
            finite &= abs(to[x]) < vast
        for x in range(width):
            value[x] = relative / (one + exp(min(-to[x], most)))
        for x in range(width, pitch):
            to[x], value[x] = to[width - 1], value[width - 1]
    scratch.finite[s] = finite


@part()
def _assign_band(scratch, case, plan, result, image, band, s):
    """Assign a band, one group of blocks after another whose cells lie within `LANES`."""
    columns, taps = plan.blocks.column, plan.blocks.taps
    finite = scratch.finite[0] and scratch.finite[1]
    first = 0
    while first < len(columns):
        start, last = columns[first], first
        while last < len(columns) and _end(case, columns[last], taps[last]) <= start + LANES:
            last += 1
        pruned = finite and last > first and case.span <= LANES
        last = max(last, first + 1)
        count = _candidates(scratch, case, start, pruned, s)
        edges = _edges(scratch, case, start, pruned, s)
        for block in range(first, last):
            column = columns[block]
            cells = (1 << (_end(case, column, taps[block]) - start)) - (1 << (column - start))
            n = _choose(scratch, count, cells)
            _assign_block(scratch, case, plan, result, image, band, block, n, s, finite)
            for k in range(edges):
                _count(scratch, case, plan, image, band, block, k, cells, s, finite)
        first = last


@part(inline="always")
def _end(case, column, taps):
    """Where the cells end of a block that mixes `taps` source columns from `column` on."""
    return column + max(taps - case.span, 1)


@part(forceinline=True)
def _candidates(scratch, case, start, pruned, s):
    """List the queries that may win somewhere in a group of cells, each with the cells where."""
    if not pruned:
        for q in range(case.scores.shape[1]):
            scratch.candidates[q], scratch.candidate_cells[q] = q, -1
        return case.scores.shape[1]
    values, greatest = scratch.values, scratch.greatest
    zero = splat(values.dtype.type(0))
    floor = zero
    for q in range(case.scores.shape[1]):
        least, most = _corners(values, case, q, start, s)
        store(greatest, q * LANES, most)
        floor = greater(floor, least)
    floor = where(floor > splat(values.dtype.type(WORTHLESS)), floor, zero)
    count = 0
    for q in range(case.scores.shape[1]):
        here = bits(load(greatest, q * LANES) >= floor)
        scratch.candidates[count], scratch.candidate_cells[count] = q, here
        count += here != 0
    return count


@part(forceinline=True)
def _edges(scratch, case, start, pruned, s):
    """List the queries whose own masks reach into a group of cells: where some, where all of it."""
    limit = splat(scratch.rows.dtype.type(case.limit))
    count = 0
    for q in range(case.scores.shape[1]):
        some, every = -1, 0
        if pruned:
            least, most = _corners(scratch.rows, case, q, start, s)
            some, every = bits(most >= limit), bits(least >= limit)
        scratch.edges[count] = q
        scratch.some[count], scratch.every[count] = some, every
        count += some != 0
    return count


@part(forceinline=True)
def _corners(rows, case, q, start, s):
    """The least and the greatest of a query in each of the cells from column `start` on."""
    queries = case.scores.shape[1]
    pitch = len(rows) // (2 * queries)
    upper, lower = (s * queries + q) * pitch + start, ((1 - s) * queries + q) * pitch + start
    a, b = load(rows, upper), load(rows, lower)
    least, most = lesser(a, b), greater(a, b)
    for x in range(1, case.span + 1):
        a, b = load(rows, upper + x), load(rows, lower + x)
        least, most = lesser(least, lesser(a, b)), greater(most, greater(a, b))
    return least, most


@part(forceinline=True)
def _count(scratch, case, plan, image, band, block, k, cells, s, finite):
    """Add a block of a band to the area of a query that is listed."""
    query = scratch.edges[k]
    if scratch.some[k] & cells == 0:
        return
    lanes = min(LANES, case.width - block * LANES)
    top, bottom = plan.bands.top[band], plan.bands.bottom[band]
    if scratch.every[k] & cells == cells:
        scratch.counts[image, query, AREA] += lanes * (bottom - top)
    elif finite:
        rows, queries = scratch.rows, case.scores.shape[1]
        pitch = len(rows) // (2 * queries)
        a = _mix(rows, plan, block, (s * queries + query) * pitch)
        b = _mix(rows, plan, block, ((1 - s) * queries + query) * pitch)
        limit = splat(rows.dtype.type(case.limit))
        used = (1 << lanes) - 1
        for y in range(top, bottom):
            own = bits(fma(splat(plan.row_weight[y]), b - a, a) >= limit)
            scratch.counts[image, query, AREA] += ones(own & used)
    else:  # all queries are chosen and listed
        for i in range(lanes):
            for y in range(top, bottom):
                own = _score(scratch.mixed, PAIR * k + i, plan.row_weight[y]) >= case.limit
                scratch.counts[image, query, AREA] += own


@part(inline="always")
def _choose(scratch, count, cells):
    """List those of a group's candidates that may win in the cells of a block."""
    n = 0
    for k in range(count):
        scratch.chosen[n] = scratch.candidates[k]
        n += (scratch.candidate_cells[k] & cells) != 0
    return n


@part()
def _assign_block(scratch, case, plan, result, image, band, block, n, s, finite):
    """Assign a block in the rows of a band to one of its `n` chosen queries."""
    queries = case.scores.shape[1]
    tame = False
    if finite:
        tame = _mix_chosen(scratch, plan, queries, block, n, s)
    else:
        _gather(scratch, plan, queries, block, n, s)
    bottom = plan.bands.bottom[band]
    if n == 1 and finite:
        _fill(scratch, case, plan, result, image, band, block * LANES)
        return
    for y in range(plan.bands.top[band], bottom, ROWS):
        rows = min(ROWS, bottom - y)
        if not (finite and _compare(case.inverse, scratch, plan, image, y, rows, n, tame)):
            for k in range(rows):
                _compare_carefully(scratch, case, plan, image, y + k, k * LANES, n)
        for k in range(rows):
            _write(scratch, case, plan, result, image, y + k, block * LANES, k * LANES)


@part(forceinline=True)
def _mix_chosen(scratch, plan, queries, block, n, s):
    """Interpolate the chosen queries of a block horizontally; tell whether all scores are tame."""
    rows, mixed = scratch.rows, scratch.mixed
    pitch = len(rows) // (2 * queries)
    most = splat(rows.dtype.type(0))
    least = most
    for k in range(n):
        p = _mix(rows, plan, block, (s * queries + scratch.chosen[k]) * pitch)
        q = _mix(rows, plan, block, ((1 - s) * queries + scratch.chosen[k]) * pitch)
        store(mixed, PAIR * k, p)
        store(mixed, PAIR * k + LANES, q)
        most, least = greater(most, greater(p, q)), lesser(least, lesser(p, q))
    return bits(most - least < splat(rows.dtype.type(TAME))) == ALL_LANES


@part(forceinline=True)
def _mix(rows, plan, block, at):
    """A block of the row that begins in `rows` at `at`, interpolated horizontally."""
    at += plan.blocks.column[block]
    w = plan.blocks.weight[block] * LANES
    total = splat(rows[at]) * load(plan.block_weight, w)
    for t in range(1, plan.blocks.taps[block]):
        total = fma(splat(rows[at + t]), load(plan.block_weight, w + t * LANES), total)
    return total


@part(forceinline=True)
def _gather(scratch, plan, queries, block, n, s):
    """Do as `_mix_chosen` where a weight of zero matters, since zero times infinity is NaN."""
    rows, mixed = scratch.rows, scratch.mixed
    pitch = len(rows) // (2 * queries)
    for k in range(n):
        a = (s * queries + scratch.chosen[k]) * pitch
        b = ((1 - s) * queries + scratch.chosen[k]) * pitch
        for i in range(LANES):
            p = q = rows.dtype.type(0)
            tap = (block * LANES + i) * plan.taps
            for t in range(tap, tap + plan.taps):
                p += rows[a + plan.tap_column[t]] * plan.tap_weight[t]
                q += rows[b + plan.tap_column[t]] * plan.tap_weight[t]
            mixed[PAIR * k + i], mixed[PAIR * k + LANES + i] = p, q


@part(forceinline=True)
def _compare(inverse, scratch, plan, image, y, rows, n, tame):
    """Find the winners of a block in up to ROWS rows; tell whether float32 could."""
    if inverse is None:
        return False
    weight, mixed, chosen = plan.row_weight, scratch.mixed, scratch.chosen
    last = y + rows - 1
    f0, f1, f2, f3 = weight[y], weight[min(y + 1, last)], weight[min(y + 2, last)], weight[last]
    step = f1 - f0
    even = tame and (rows < 3 or abs(f2 - f1 - step) < SAME_STEP)
    even = even and (rows < 4 or abs(f3 - f2 - step) < SAME_STEP)
    w0, w1, w2, w3, by = splat(f0), splat(f1), splat(f2), splat(f3), splat(-step)
    zero, most = splat(f32(0)), splat(MOST)
    b0 = b1 = b2 = b3 = splat(f32(np.inf))
    c0 = c1 = c2 = c3 = splat(np.int32(0))
    for k in range(n):
        a, b = load(mixed, PAIR * k), load(mixed, PAIR * k + LANES)
        c, i = splat(np.int32(k)), splat(inverse[image, chosen[k]])
        if even:
            d = b - a
            ratio = exp_vector(by * d)
            e0 = exp_vector(zero - fma(w0, d, a))
            e1 = e0 * ratio
            e2 = e1 * ratio
            e3 = e2 * ratio
        else:
            e0 = exp_vector(lesser(fma(w0, a - b, zero - a), most))
            e1 = exp_vector(lesser(fma(w1, a - b, zero - a), most))
            e2 = exp_vector(lesser(fma(w2, a - b, zero - a), most))
            e3 = exp_vector(lesser(fma(w3, a - b, zero - a), most))
        v0, v1, v2, v3 = fma(e0, i, i), fma(e1, i, i), fma(e2, i, i), fma(e3, i, i)
        m0, m1, m2, m3 = v0 < b0, v1 < b1, v2 < b2, v3 < b3
        b0, b1, b2, b3 = where(m0, v0, b0), where(m1, v1, b1), where(m2, v2, b2), where(m3, v3, b3)
        c0, c1, c2, c3 = where(m0, c, c0), where(m1, c, c1), where(m2, c, c2), where(m3, c, c3)
    store(scratch.places, 0, c0)
    store(scratch.places, LANES, c1)
    store(scratch.places, 2 * LANES, c2)
    store(scratch.places, 3 * LANES, c3)
    # Rows beyond the last go on with the line: they may cost anything.
    cheap = _cheap(b0) and (rows < 2 or _cheap(b1))
    return cheap and (rows < 3 or _cheap(b2)) and (rows < 4 or _cheap(b3))


@part(forceinline=True)
def _cheap(cost):
    return bits(cost < splat(DEAR)) == ALL_LANES


@part()
def _compare_carefully(scratch, case, plan, image, y, at, n):
    """Find the winners of a block in a row, in float64; the first NaN wins."""
    for i in range(LANES):
        best, place = 0.0, 0
        for k in range(n):
            score = _score(scratch.mixed, PAIR * k + i, plan.row_weight[y])
            value = case.weights[image, scratch.chosen[k]] / (1 + math.exp(-score))
            if k == 0 or (best == best and (value > best or value != value)):
                best, place = value, k
        scratch.places[at + i] = place


@part()
def _score(mixed, at, weight):
    """A score in float64, to which Numba makes `1 - weight`."""
    return mixed[at] * (1 - weight) + mixed[at + LANES] * np.float64(weight)


@part(forceinline=True)
def _fill(scratch, case, plan, result, image, band, x0):
    """Write and count a block that has one chosen query."""
    query = scratch.chosen[0]
    counts = scratch.counts[image, query]
    a, b = load(scratch.mixed, 0), load(scratch.mixed, LANES)
    limit = splat(scratch.mixed.dtype.type(case.limit))
    width = min(LANES, case.width - x0)
    for y in range(plan.bands.top[band], plan.bands.bottom[band]):
        labels, inside = result.labels[image, y], result.inside[image, y]
        own = bits(fma(splat(plan.row_weight[y]), b - a, a) >= limit) & ((1 << width) - 1)
        for x in range(x0, x0 + width):
            labels[x] = query
            inside[x] = (own >> (x - x0)) & 1
        counts[WON] += width
        counts[INSIDE] += ones(own)


@part()
def _write(scratch, case, plan, result, image, y, x0, at):
    """Write and count a row of a block."""
    labels, inside = result.labels[image, y], result.inside[image, y]
    for i in range(min(LANES, len(labels) - x0)):
        place = scratch.places[at + i]
        query = scratch.chosen[place]
        own = _score(scratch.mixed, PAIR * place + i, plan.row_weight[y]) >= case.limit
        labels[x0 + i], inside[x0 + i] = query, own
        scratch.counts[image, query, WON] += 1
        scratch.counts[image, query, INSIDE] += own
