"""Labels on the CPU: a Numba kernel that never holds the full-resolution scores.

Output rows between the same two source rows form a *band*; `LANES` output columns a *block*; blocks
whose columns lie in the same `LANES` *cells* (gaps between two source columns) a *chunk*. For every
band the two source rows are copied into cache, widened. For every chunk the classes that cannot
win in any cell are ruled out by their corners. For every block the rest is interpolated
horizontally once and then, row by row, vertically, compared in registers: see
docs/explanation/fast.md.

Scores that are not finite (infinite, NaN or near overflow) take the same way without the shortcuts.

`scratch`, `source`, `plan` and `target` are the named tuples of `cpu` and `cpu_plan`. `upper` and
`lower` say where a band's two source rows begin in `scratch.rows`: column x of class c is at
`upper + c * plan.pitch + x`.

All parts are inlined, because a call would copy these tuples: by Numba where a part is met once,
which compiles fastest, else by LLVM.
"""

# mypy: disable-error-code="no-untyped-def, untyped-decorator"

import numpy as np

from upscore.heads.argmax.cpu_plan import TILE
from upscore.heads.argmax.result import MEASURES
from upscore.heads.argmax.row_kernels import load_rows
from upscore.kernels import LANES
from upscore.kernels.compile import part
from upscore.kernels.exp import LEAST_EXPONENT, exp_vector, log_single
from upscore.kernels.simd import (
    bits,
    fma,
    greater,
    lesser,
    load,
    narrow,
    splat,
    store,
    where,
)

TILE_WIDTH = TILE * LANES
PAIR = 2 * LANES  # a class in `scratch.mixed`: a block of the upper row, then of the lower
PROBABILITY, MARGIN, ENTROPY = (MEASURES.index(m) for m in ("probability", "margin", "entropy"))


@part(forceinline=True)
def label_bands(first, last, scratch, source, plan, target):
    """Write the labels of tasks `first` to `last`: a task is a band of a strip of an image."""
    strips = plan.strips
    scratch.cached[0] = scratch.cached[1] = -1
    for task in range(first, last):
        image, strip, band, upper, lower, finite = load_band(scratch, source, plan, task)
        for chunk in range(strips.first[strip], strips.last[strip]):
            label_chunk(scratch, plan, target, band, chunk, upper, lower, finite)
            _write_chunk(scratch, plan, target, image, band, chunk)


@part(inline="always")
def load_band(scratch, source, plan, task):
    """Load the source rows of a task: return its place, where they are, and if all is finite."""
    bands, strips = plan.bands, plan.strips
    image, rest = divmod(task, len(strips.left) * len(bands.low))
    strip, band = divmod(rest, len(bands.low))
    low, high = bands.low[band], bands.high[band]
    load_rows(scratch, source, plan, image, strip, low, high)
    at = plan.classes * plan.pitch
    upper = (low & 1) * at - strips.left[strip]
    lower = (high & 1) * at - strips.left[strip]
    finite = scratch.finite[low & 1] and scratch.finite[high & 1]
    return image, strip, band, upper, lower, finite


@part(inline="always")
def label_chunk(scratch, plan, target, band, chunk, upper, lower, finite):
    """Write the labels and the confidence of a chunk to the tiles."""
    first = plan.chunks.first[chunk]
    pruned = finite and plan.taps > 0
    count = plan.classes
    if pruned:
        column = plan.blocks.column[first]
        count = _candidates(
            scratch, plan, target, upper + column, lower + column, plan.chunks.cells[chunk]
        )
    for block in range(first, plan.chunks.last[chunk]):
        x = (block - first) * LANES
        if pruned:
            n = _choose(scratch, count, plan.blocks.cells[block])
            if n == 1:
                _fill_block(scratch, plan, target, band, x)
                continue
        else:
            n = _gather(scratch, plan, upper, lower, block)
        if finite and target.confidence is None:
            _compare(scratch, plan, band, block, upper, lower, n, x)
        else:
            if pruned:
                _mix(scratch, plan, block, upper, lower, n)
            _compare_any(scratch, plan, target, band, n, x, finite)


@part(forceinline=True)
def _candidates(scratch, plan, target, upper, lower, cells):
    """List the classes that matter somewhere in a chunk, each with the cells where it does.

    Interpolated scores lie between the four corners of their cell, so a class whose largest corner
    is below another's smallest cannot win there; nor be second, if it is below two others'; nor
    count in the softmax, if it is below by the cutoff.
    """
    rows, pitch, greatest = scratch.rows, plan.pitch, scratch.mixed
    floor = splat(-plan.limit)
    second = floor
    margin = target.confidence is not None and target.measure == MARGIN
    for c in range(plan.classes):
        a, b = upper + c * pitch, lower + c * pitch
        p, q, r, s = load(rows, a), load(rows, a + 1), load(rows, b), load(rows, b + 1)
        store(greatest, c * LANES, greater(greater(p, q), greater(r, s)))
        least = lesser(lesser(p, q), lesser(r, s))
        if margin:
            second = greater(second, lesser(floor, least))
        floor = greater(floor, least)
    floor = (second if margin else floor) - splat(target.cutoff)
    count = 0
    for c in range(plan.classes):
        here = bits(load(greatest, c * LANES) >= floor) & cells
        scratch.candidates[count] = c
        scratch.candidate_cells[count] = here
        count += here != 0
    return count


@part(inline="always")
def _choose(scratch, count, cells):
    """List those of a chunk's candidates that matter in the cells of a block."""
    n = 0
    for k in range(count):
        scratch.chosen[n] = scratch.candidates[k]
        n += (scratch.candidate_cells[k] & cells) != 0
    return n


@part(forceinline=True)
def _mix(scratch, plan, block, upper, lower, n):
    """Interpolate the chosen classes of a block horizontally, in both rows."""
    rows, mixing, taps = scratch.rows, plan.mixing, plan.taps
    upper += plan.blocks.column[block]
    lower += plan.blocks.column[block]
    at = block * taps * LANES
    w0, w1 = load(mixing, at), load(mixing, at + LANES)
    w2, w3 = load(mixing, at + 2 * LANES), load(mixing, at + 3 * LANES)
    for k in range(n):
        a, b = upper + scratch.chosen[k] * plan.pitch, lower + scratch.chosen[k] * plan.pitch
        p, q = splat(rows[a]) * w0, splat(rows[b]) * w0
        p, q = fma(splat(rows[a + 1]), w1, p), fma(splat(rows[b + 1]), w1, q)
        p, q = fma(splat(rows[a + 2]), w2, p), fma(splat(rows[b + 2]), w2, q)
        p, q = fma(splat(rows[a + 3]), w3, p), fma(splat(rows[b + 3]), w3, q)
        for t in range(4, taps):
            w = load(mixing, at + t * LANES)
            p, q = fma(splat(rows[a + t]), w, p), fma(splat(rows[b + t]), w, q)
        store(scratch.mixed, PAIR * k, p)
        store(scratch.mixed, PAIR * k + LANES, q)


@part(forceinline=True)
def _gather(scratch, plan, upper, lower, block):
    """Choose and mix all classes: for columns far apart and for scores that are not finite."""
    rows, mixed, columns = scratch.rows, scratch.mixed, plan.columns
    one = rows.dtype.type(1)
    for c in range(plan.classes):
        scratch.chosen[c] = c
        a, b = upper + c * plan.pitch, lower + c * plan.pitch
        for i in range(LANES):
            x, m = block * LANES + i, PAIR * c + i
            p, q, w = columns.low[x], columns.high[x], columns.weight[x]
            mixed[m] = rows[a + p] * (one - w) + rows[a + q] * w
            mixed[m + LANES] = rows[b + p] * (one - w) + rows[b + q] * w
    return plan.classes


@part(forceinline=True)
def _refine(mixed, chosen, n):
    """Rule out classes once more, column by column; leave lower - upper in place of lower."""
    floor = lesser(load(mixed, 0), load(mixed, LANES))
    for k in range(1, n):
        m = PAIR * k
        floor = greater(floor, lesser(load(mixed, m), load(mixed, m + LANES)))
    kept = 0
    for k in range(n):
        a, b = load(mixed, PAIR * k), load(mixed, PAIR * k + LANES)
        store(mixed, PAIR * kept, a)
        store(mixed, PAIR * kept + LANES, b - a)
        chosen[kept] = chosen[k]
        kept += bits(greater(a, b) >= floor) != 0
    return kept


@part(forceinline=True)
def _fill(tile, x, rows, value):
    """Write one value to a block of the tile."""
    for y in range(rows):
        store(tile, y * TILE_WIDTH + x, value)


@part(inline="always")
def _fill_block(scratch, plan, target, band, x):
    """Write the one class that is left in a block."""
    rows = plan.bands.bottom[band] - plan.bands.top[band]
    _fill(scratch.labels, x, rows, splat(scratch.chosen[0]))
    if target.confidence is not None:
        alone = np.float32(np.inf)
        if target.measure == PROBABILITY:
            alone = np.float32(1)
        elif target.measure == ENTROPY:
            alone = np.float32(0)
        _fill(scratch.confidence, x, rows, splat(alone))


@part(forceinline=True)
def _compare(scratch, plan, band, block, upper, lower, n, x):
    """Write the best of the chosen classes of a block to the tile, four rows at a time."""
    mixed, chosen, tile, weight = scratch.mixed, scratch.chosen, scratch.labels, plan.row_weight
    top, bottom = plan.bands.top[band], plan.bands.bottom[band]
    if plan.taps:
        _mix(scratch, plan, block, upper, lower, n)
    n = _refine(mixed, chosen, n)
    first = splat(chosen[0])
    if n == 1:
        _fill(tile, x, bottom - top, first)
        return
    a0, d0 = load(mixed, 0), load(mixed, LANES)
    for y in range(top, bottom, 4):
        w0, w1 = splat(weight[y]), splat(weight[y + 1])
        w2, w3 = splat(weight[y + 2]), splat(weight[y + 3])
        b0, b1, b2, b3 = fma(w0, d0, a0), fma(w1, d0, a0), fma(w2, d0, a0), fma(w3, d0, a0)
        c0, c1, c2, c3 = first, first, first, first
        for k in range(1, n):
            a, d, c = load(mixed, PAIR * k), load(mixed, PAIR * k + LANES), splat(chosen[k])
            v0, v1, v2, v3 = fma(w0, d, a), fma(w1, d, a), fma(w2, d, a), fma(w3, d, a)
            m0, m1, m2, m3 = v0 > b0, v1 > b1, v2 > b2, v3 > b3
            b0, b1 = where(m0, v0, b0), where(m1, v1, b1)
            b2, b3 = where(m2, v2, b2), where(m3, v3, b3)
            c0, c1, c2, c3 = where(m0, c, c0), where(m1, c, c1), where(m2, c, c2), where(m3, c, c3)
        at = (y - top) * TILE_WIDTH + x
        store(tile, at, c0)
        store(tile, at + TILE_WIDTH, c1)
        store(tile, at + 2 * TILE_WIDTH, c2)
        store(tile, at + 3 * TILE_WIDTH, c3)


@part(forceinline=True)
def _between(mixed, k, w, finite):
    """The scores of chosen class `k` in a row that takes `w` of the lower source row.

    Finite ones are upper + w (lower - upper), as in `_compare`; others are not subtracted.
    """
    a, b = load(mixed, PAIR * k), load(mixed, PAIR * k + LANES)
    one = mixed.dtype.type(1)
    zero = one - one
    steps = splat(zero) < splat(one if finite else zero)
    return fma(where(steps, b - a, b), splat(w), a * splat(one if finite else one - w))


@part(forceinline=True)
def _compare_any(scratch, plan, target, band, n, x, finite):
    """Do as `_compare` for any scores, one row at a time, with the confidence if asked for."""
    mixed, top = scratch.mixed, plan.bands.top[band]
    lowest = splat(mixed.dtype.type(-np.inf))
    margin = target.confidence is not None and target.measure == MARGIN
    for y in range(top, plan.bands.bottom[band]):
        w = plan.row_weight[y]
        best = _between(mixed, 0, w, finite)
        label, second = splat(scratch.chosen[0]), lowest
        for k in range(1, n):
            v = _between(mixed, k, w, finite)
            wins = (best == best) & ((v > best) | (v != v))  # the first NaN wins
            if margin:
                second = where(wins, best, greater(second, v))
            best, label = where(wins, v, best), where(wins, splat(scratch.chosen[k]), label)
        at = (y - top) * TILE_WIDTH + x
        store(scratch.labels, at, label)
        if target.confidence is not None:
            if margin:
                store(scratch.confidence, at, narrow(best - second))
            else:
                _softmax(scratch, target, at, n, w, best, finite)


@part(forceinline=True)
def _softmax(scratch, target, at, n, w, best, finite):
    """Write the winner's probability, or the entropy, to the tile of confidence."""
    tile = scratch.confidence
    total = splat(np.float32(0))
    moment = total
    for k in range(n):
        d = narrow(_between(scratch.mixed, k, w, finite) - best)
        e = exp_vector(d)
        total = total + e
        moment = fma(e, greater(d, splat(LEAST_EXPONENT)), moment)
    if target.measure == PROBABILITY:
        store(tile, at, splat(np.float32(1)) / total)
    else:
        store(tile, at, total)
        for i in range(LANES):
            tile[at + i] = log_single(tile[at + i])
        store(tile, at, load(tile, at) - moment / total)


@part(inline="always")
def _write_chunk(scratch, plan, target, image, band, chunk):
    """Copy the tiles of a chunk to where they belong."""
    top, x = plan.bands.top[band], plan.chunks.first[chunk] * LANES
    rows = plan.bands.bottom[band] - top
    width = min(plan.chunks.last[chunk] * LANES, plan.width) - x
    image_step, row_step, column_step = target.steps
    to = target.offset + image * image_step + top * row_step + x * column_step
    _write(scratch.labels, target.labels, to, row_step, column_step, rows, width)
    to = (image * plan.height + top) * plan.width + x
    _write(scratch.confidence, target.confidence, to, plan.width, 1, rows, width)


@part(forceinline=True)
def _write(tile, out, to, row_step, column_step, rows, width):
    if out is not None:
        whole = width - width % LANES if column_step == 1 else 0
        for y in range(rows):
            for x in range(0, whole, LANES):
                store(out, to + y * row_step + x, load(tile, y * TILE_WIDTH + x))
            for x in range(whole, width):
                out[to + y * row_step + x * column_step] = tile[y * TILE_WIDTH + x]
