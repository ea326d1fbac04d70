"""Labels on the CPU: a Numba kernel that never holds the full-resolution scores.

Output rows between the same two source rows form a *band*; `LANES` output columns a *block*; blocks
whose columns lie in the same `LANES` *cells* (gaps between two source columns) a *chunk*. For every
band the two source rows are copied into cache, widened. For every chunk the classes that cannot
win in any cell are ruled out by their corners. For every block the rest is interpolated
horizontally once and then, row by row, vertically, compared in registers. See docs/heads.md.

Scores that are not `calm` (infinite, NaN or near overflow) take the same way without the shortcuts.
"""

# mypy: disable-error-code="no-untyped-def, untyped-decorator"

import math

import numpy as np

from upscore.heads.argmax.cpu_plan import TILE
from upscore.kernels.compile import kernel, part
from upscore.kernels.simd import (
    LANES,
    bits,
    exponent,
    fma,
    load,
    narrow,
    prefetch,
    splat,
    store,
    where,
    widen,
)

_EVERY = (1 << LANES) - 1
_WIDTH = TILE * LANES  # of a tile, in labels
KINDS = {None: 0, "probability": 1, "margin": 2, "entropy": 3}


@part()
def _load_row(
    scores, at, class_step, row_step, column_step, width, work, to, pitch, classes, limit
):
    """Copy one row of every class to `work[to:]`; tell whether it is calm: all below `limit`."""
    packed = column_step == 1 and width >= LANES
    if not packed:
        for x in range(width):
            for c in range(classes):
                work[to + c * pitch + x] = widen(scores[at + c * class_step + x * column_step])
    high, low = splat(limit), splat(-limit)
    calm = low < high
    for c in range(classes):
        source, target = at + c * class_step, to + c * pitch
        if packed:
            for x in range(0, width - LANES, LANES):
                prefetch(scores, source + row_step + x)  # the next row, on its way to be needed
                v = widen(load(scores, source + x))
                calm = calm & (v < high) & (low < v)
                store(work, target + x, v)
            v = widen(load(scores, source + width - LANES))
            calm = calm & (v < high) & (low < v)
            store(work, target + width - LANES, v)
        # Beyond the last column it is repeated; at least LANES + 1 columns are spare.
        last = splat(work[target + width - 1])
        for x in range(width, pitch - LANES, LANES):
            store(work, target + x, last)
        store(work, target + pitch - LANES, last)
        if not packed:
            for x in range(target, target + pitch, LANES):
                v = load(work, x)
                calm = calm & (v < high) & (low < v)
    return bits(calm) == _EVERY


@part(forceinline=True)
def _lesser(a, b):
    return where(a < b, a, b)


@part(forceinline=True)
def _greater(a, b):
    return where(a > b, a, b)


@part()
def _candidates(work, upper, lower, pitch, classes, mask, lists, spare, limit, kind, reach):
    """List the classes that matter somewhere in a chunk, each with the cells where it does.

    Interpolated scores lie between the four corners of their cell, so a class whose largest corner
    is below another's smallest cannot win there; nor be second, if it is below two others'; nor
    count in the softmax, if it is below by `reach`.
    """
    floor = splat(-limit)
    second = floor
    for c in range(classes):
        a, b = upper + c * pitch, lower + c * pitch
        p, q, r, s = load(work, a), load(work, a + 1), load(work, b), load(work, b + 1)
        store(work, spare + c * LANES, _greater(_greater(p, q), _greater(r, s)))
        least = _lesser(_lesser(p, q), _lesser(r, s))
        if kind == 2:
            second = _greater(second, _lesser(floor, least))
        floor = _greater(floor, least)
    floor = (second if kind == 2 else floor) - splat(reach)
    count = 0
    for c in range(classes):
        here = bits(load(work, spare + c * LANES) >= floor) & mask
        lists[classes + count] = c
        lists[2 * classes + count] = here
        count += here != 0
    return count


@part(forceinline=True)
def _mix(work, upper, lower, pitch, lists, n, mixing, at, taps, to):
    """Interpolate the chosen classes of a block horizontally, in both rows."""
    w0, w1 = load(mixing, at), load(mixing, at + LANES)
    w2, w3 = load(mixing, at + 2 * LANES), load(mixing, at + 3 * LANES)
    for k in range(n):
        a, b = upper + lists[k] * pitch, lower + lists[k] * pitch
        p, q = splat(work[a]) * w0, splat(work[b]) * w0
        p, q = fma(splat(work[a + 1]), w1, p), fma(splat(work[b + 1]), w1, q)
        p, q = fma(splat(work[a + 2]), w2, p), fma(splat(work[b + 2]), w2, q)
        p, q = fma(splat(work[a + 3]), w3, p), fma(splat(work[b + 3]), w3, q)
        for t in range(4, taps):
            w = load(mixing, at + t * LANES)
            p, q = fma(splat(work[a + t]), w, p), fma(splat(work[b + t]), w, q)
        store(work, to + 2 * LANES * k, p)
        store(work, to + 2 * LANES * k + LANES, q)


@part()
def _gather(work, upper, lower, pitch, n, columns, weights, x0, to):
    """Do as `_mix` for all classes, for columns far apart and for scores that are not calm."""
    one = work.dtype.type(1)
    for k in range(n):
        a, b, m = upper + k * pitch, lower + k * pitch, to + 2 * LANES * k
        for x in range(LANES):
            p, q, w = columns[x0 + x, 0], columns[x0 + x, 1], weights[x0 + x]
            work[m + x] = work[a + p] * (one - w) + work[a + q] * w
            work[m + LANES + x] = work[b + p] * (one - w) + work[b + q] * w


@part(forceinline=True)
def _refine(work, at, lists, n):
    """Rule out classes once more, column by column; leave lower - upper in place of lower."""
    floor = _lesser(load(work, at), load(work, at + LANES))
    for k in range(1, n):
        m = at + 2 * LANES * k
        floor = _greater(floor, _lesser(load(work, m), load(work, m + LANES)))
    kept = 0
    for k in range(n):
        m = at + 2 * LANES * k
        a, b = load(work, m), load(work, m + LANES)
        m = at + 2 * LANES * kept
        store(work, m, a)
        store(work, m + LANES, b - a)
        lists[kept] = lists[k]
        kept += bits(_greater(a, b) >= floor) != 0
    return kept


@part(forceinline=True)
def _fill(tile, x, rows, value):
    """Write one value to a block of the tile."""
    for y in range(rows):
        store(tile, y * _WIDTH + x, value)


@part()
def _compare(
    work, upper, lower, pitch, lists, n, mixing, at, taps, to, weights, top, bottom, tile, x
):
    """Write the best of the chosen classes of a block to the tile, four rows at a time."""
    if taps:
        _mix(work, upper, lower, pitch, lists, n, mixing, at, taps, to)
    n = _refine(work, to, lists, n)
    first = splat(lists[0])
    if n == 1:
        _fill(tile, x, bottom - top, first)
        return
    a0, d0 = load(work, to), load(work, to + LANES)
    for y in range(top, bottom, 4):
        w0, w1, w2, w3 = (
            splat(weights[y]),
            splat(weights[y + 1]),
            splat(weights[y + 2]),
            splat(weights[y + 3]),
        )
        b0, b1, b2, b3 = fma(w0, d0, a0), fma(w1, d0, a0), fma(w2, d0, a0), fma(w3, d0, a0)
        c0, c1, c2, c3 = first, first, first, first
        for k in range(1, n):
            m = to + 2 * LANES * k
            a, d, c = load(work, m), load(work, m + LANES), splat(lists[k])
            v0, v1, v2, v3 = fma(w0, d, a), fma(w1, d, a), fma(w2, d, a), fma(w3, d, a)
            m0, m1, m2, m3 = v0 > b0, v1 > b1, v2 > b2, v3 > b3
            b0, b1 = where(m0, v0, b0), where(m1, v1, b1)
            b2, b3 = where(m2, v2, b2), where(m3, v3, b3)
            c0, c1, c2, c3 = where(m0, c, c0), where(m1, c, c1), where(m2, c, c2), where(m3, c, c3)
        m = (y - top) * _WIDTH + x
        store(tile, m, c0)
        store(tile, m + _WIDTH, c1)
        store(tile, m + 2 * _WIDTH, c2)
        store(tile, m + 3 * _WIDTH, c3)


@part(forceinline=True)
def _exp(x):
    """The exponential of float32 numbers up to zero, to 2 units in the last place; NaN stays."""
    f32 = np.float32
    t = x * splat(f32(math.log2(math.e)))
    t = where(t < splat(f32(-126)), splat(f32(-126)), t)
    shifted = t + splat(f32(1.5 * 2**23))
    f = t - (shifted - splat(f32(1.5 * 2**23)))
    p = fma(splat(f32(1.535336188e-4)), f, splat(f32(1.339887440e-3)))
    p = fma(p, f, splat(f32(9.618437357e-3)))
    p = fma(p, f, splat(f32(5.550332471e-2)))
    p = fma(p, f, splat(f32(2.402264791e-1)))
    p = fma(p, f, splat(f32(6.931472028e-1)))
    return fma(p, f, splat(f32(1))) * exponent(shifted)


@part()
def _compare_any(work, at, lists, n, row_weight, top, bottom, calm, tile, sure, sure_tile, kind, x):
    """Do as `_compare` for any scores, one row at a time, with the confidence if asked for."""
    one = work.dtype.type(1)
    zero = one - one
    steps = splat(zero) < splat(one if calm else zero)
    for y in range(top, bottom):
        # Calm scores are upper + w (lower - upper), as in `_compare`; infinite ones take no step.
        w, u = splat(row_weight[y]), splat(one if calm else one - row_weight[y])
        a, b = load(work, at), load(work, at + LANES)
        best = fma(where(steps, b - a, b), w, a * u)
        label, second = splat(lists[0]), splat(-one / zero)
        for k in range(1, n):
            m = at + 2 * LANES * k
            a, b = load(work, m), load(work, m + LANES)
            v = fma(where(steps, b - a, b), w, a * u)
            wins = (best == best) & ((v > best) | (v != v))  # the first NaN wins
            if kind == 2:
                second = where(wins, best, _greater(second, v))
            best, label = where(wins, v, best), where(wins, splat(lists[k]), label)
        to = (y - top) * _WIDTH + x
        store(tile, to, label)
        if sure is not None:
            if kind == 2:
                store(sure_tile, to, narrow(best - second))
            else:
                total = splat(np.float32(0))
                below = total
                for k in range(n):
                    m = at + 2 * LANES * k
                    a, b = load(work, m), load(work, m + LANES)
                    d = narrow(fma(where(steps, b - a, b), w, a * u) - best)
                    e = _exp(d)
                    total = total + e
                    below = fma(e, _greater(d, splat(np.float32(-126))), below)
                if kind == 1:
                    store(sure_tile, to, splat(np.float32(1)) / total)
                else:
                    store(sure_tile, to, total)
                    mean = below / total
                    for i in range(LANES):
                        sure_tile[to + i] = math.log(sure_tile[to + i])
                    store(sure_tile, to, load(sure_tile, to) - mean)


@part(forceinline=True)
def _write(tile, out, to, row_step, column_step, rows, width):
    """Copy a tile to where it belongs."""
    for y in range(rows):
        whole = width - width % LANES if column_step == 1 else 0
        for x in range(0, whole, LANES):
            store(out, to + y * row_step + x, load(tile, y * _WIDTH + x))
        for x in range(whole, width):
            out[to + y * row_step + x * column_step] = tile[y * _WIDTH + x]


@kernel()
def label_bands(
    first,
    last,
    scores,
    place,
    plan,
    pitch,
    classes,
    limit,
    out,
    out_place,
    width,
    sure,
    kind,
    reach,
):
    """Write the labels of tasks `first` to `last`: a task is a band of a strip of an image."""
    bands, row_weight, strips, chunks, blocks, mixing, columns, column_weight = plan
    offset, image_step, class_step, row_step, column_step = place
    out_offset, out_image, out_row, out_column = out_place
    taps = len(mixing) // (LANES * len(blocks))
    mixed = 2 * classes * pitch
    work = np.empty(mixed + 2 * LANES * classes, column_weight.dtype)
    lists = np.empty(3 * classes, np.int32)  # chosen classes; candidates; their cells
    tile = np.empty(TILE * _WIDTH, out.dtype)
    sure_tile = np.empty(TILE * _WIDTH, np.float32)
    held = np.full(2, -1)  # the source rows in cache, even and odd
    calm_row = np.zeros(2, np.bool_)

    for task in range(first, last):
        image, rest = divmod(task, len(strips) * len(bands))
        strip, band = divmod(rest, len(bands))
        low, high, top, bottom = bands[band, 0], bands[band, 1], bands[band, 2], bands[band, 3]
        left, right = strips[strip, 2], strips[strip, 3]
        for row in range(low, high + 1):
            name = (image * len(strips) + strip) << 32 | row
            if held[row & 1] != name:
                held[row & 1] = name
                at = offset + image * image_step + row * row_step + left * column_step
                to = (row & 1) * classes * pitch
                calm_row[row & 1] = _load_row(
                    scores,
                    at,
                    class_step,
                    row_step,
                    column_step,
                    right - left,
                    work,
                    to,
                    pitch,
                    classes,
                    limit,
                )
        upper = (low & 1) * classes * pitch - left
        lower = (high & 1) * classes * pitch - left
        calm = calm_row[low & 1] and calm_row[high & 1]
        pruned = calm and taps > 0

        for chunk in range(strips[strip, 0], strips[strip, 1]):
            block_first, block_last, mask = chunks[chunk, 0], chunks[chunk, 1], chunks[chunk, 2]
            count = classes
            if pruned:
                cell = blocks[block_first, 0]
                count = _candidates(
                    work,
                    upper + cell,
                    lower + cell,
                    pitch,
                    classes,
                    mask,
                    lists,
                    mixed,
                    limit,
                    kind,
                    reach,
                )
            for block in range(block_first, block_last):
                base, mask, x = blocks[block, 0], blocks[block, 1], (block - block_first) * LANES
                n = 0
                if pruned:
                    for k in range(count):
                        lists[n] = lists[classes + k]
                        n += (lists[2 * classes + k] & mask) != 0
                else:
                    for n in range(classes):
                        lists[n] = n
                    n = classes
                    _gather(
                        work, upper, lower, pitch, n, columns, column_weight, block * LANES, mixed
                    )
                at = block * taps * LANES
                if pruned and n == 1:
                    _fill(tile, x, bottom - top, splat(lists[0]))
                    if sure is not None:
                        alone = np.float32(1 if kind == 1 else 0 if kind == 3 else np.inf)
                        _fill(sure_tile, x, bottom - top, splat(alone))
                elif calm and sure is None:
                    _compare(
                        work,
                        upper + base,
                        lower + base,
                        pitch,
                        lists,
                        n,
                        mixing,
                        at,
                        taps,
                        mixed,
                        row_weight,
                        top,
                        bottom,
                        tile,
                        x,
                    )
                else:
                    if pruned:
                        _mix(
                            work,
                            upper + base,
                            lower + base,
                            pitch,
                            lists,
                            n,
                            mixing,
                            at,
                            taps,
                            mixed,
                        )
                    _compare_any(
                        work,
                        mixed,
                        lists,
                        n,
                        row_weight,
                        top,
                        bottom,
                        calm,
                        tile,
                        sure,
                        sure_tile,
                        kind,
                        x,
                    )
            x0 = block_first * LANES
            wide = min(block_last * LANES, width) - x0
            to = out_offset + image * out_image + top * out_row + x0 * out_column
            _write(tile, out, to, out_row, out_column, bottom - top, wide)
            if sure is not None:
                height = row_weight.size - 3
                to = (image * height + top) * width + x0
                _write(sure_tile, sure, to, width, 1, bottom - top, wide)
