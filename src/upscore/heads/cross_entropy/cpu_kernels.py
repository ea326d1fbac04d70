"""The Numba kernels of the loss on the CPU, from one source row to a strip of them.

Output rows between two source rows blend the same two, in equal steps. With both interpolated
horizontally (`_spread`), every class's score down a column is a straight line: its exponential
starts at `exp(start)` and is multiplied by one ratio from row to row. So a block of rows costs two
exponentials a class and column, however many rows it has (`_block`). Where the scores of a column
span so much that float32 could underflow on the way, the rows are taken one by one ("wide").

Loops run along a row of a chunk of columns, branch-free, so that LLVM vectorises them.
"""

# mypy: disable-error-code="no-untyped-def, untyped-decorator"

import math

import numpy as np

from upscore.kernels.compile import by_precision, kernel

ROWS = 4  # of a block, at most: the rounding of the ratio's powers grows with them
_TOGETHER = 32  # classes summed at a time: the rounding of a sum grows with its terms
_SPAN = np.float32(60)  # exp(-60) and its reciprocal, times any weight, are normal in float32

_LOG2E = np.float32(1.4426950408889634)
_LN2_HIGH = np.float32(0.693359375)  # exact in few bits: n * _LN2_HIGH has no rounding
_LN2_LOW = np.float32(-2.1219444005469057e-4)
_LEAST = np.float32(-88.0)
_SHIFT = np.float32(12582912.0)  # 1.5 * 2**23: adding it rounds to a whole number in the low bits


_kernel = kernel(fastmath={"contract"})


@_kernel
def _exp_single(x):
    """exp(x) for x < 88 in branch-free steps that LLVM vectorises; 0 below -88."""
    x = _LEAST if x < _LEAST else x
    z = x * _LOG2E + _SHIFT
    n = z - _SHIFT
    f = x - n * _LN2_HIGH
    f = f - n * _LN2_LOW
    p = np.float32(1.9875691500e-4)
    p = p * f + np.float32(1.3981999507e-3)
    p = p * f + np.float32(8.3334519073e-3)
    p = p * f + np.float32(4.1665795894e-2)
    p = p * f + np.float32(1.6666665459e-1)
    p = p * f + np.float32(5.0000001201e-1)
    p = p * (f * f) + f + np.float32(1)
    bits = np.int32(np.int32(np.float32(z).view(np.int32) << np.int32(23)) + np.int32(0x3F800000))
    return p * np.int32(bits).view(np.float32)


@_kernel
def _log_single(x):
    """log(x) of a normal x > 0, vectorisable; NaN for NaN and infinity."""
    bits = np.float32(x).view(np.int32)
    n = np.int32(np.int32(bits - np.int32(0x3F3504F3)) >> np.int32(23))
    m = np.int32(bits - np.int32(n << np.int32(23))).view(np.float32)
    f = m - np.float32(1)
    s = f / (m + np.float32(1))
    z = s * s
    p = np.float32(0.24279078841)
    p = p * z + np.float32(0.28498786688)
    p = p * z + np.float32(0.40000972152)
    p = p * z + np.float32(0.66666662693)
    half = np.float32(0.5) * f * f
    exponent = np.float32(n)
    return (
        exponent * _LN2_HIGH + (f - (half - (s * (half + z * p) + exponent * _LN2_LOW))) + (x - x)
    )


_exp = by_precision(_exp_single, math.exp)
_log = by_precision(_log_single, math.log)


@_kernel
def _spread(scores, n, i, columns, x0, out, greatest, least):
    """Interpolate source row `i` at a chunk of columns, and find each column's extreme scores."""
    width = len(greatest)
    low, high, left, right = columns
    low, high = low[x0 : x0 + width], high[x0 : x0 + width]
    left, right = left[x0 : x0 + width], right[x0 : x0 + width]
    greatest[:], least[:] = -np.inf, np.inf
    for c in range(len(out)):
        row, to = scores[n, c, i], out[c]
        for x in range(width):
            to[x] = row[low[x]] * left[x] + row[high[x]] * right[x]
        for x in range(width):
            greatest[x] = to[x] if to[x] > greatest[x] else greatest[x]
            least[x] = to[x] if to[x] < least[x] else least[x]


@_kernel
def _collect(dense, columns, x0, width, gradient, n, i, aside, others):
    """Add a chunk's gradient to source row `i`, or to `aside` if that row is another strip's."""
    if not gradient.size:
        return
    low, high, left, right = columns
    low, high = low[x0 : x0 + width], high[x0 : x0 + width]
    left, right = left[x0 : x0 + width], right[x0 : x0 + width]
    for c in range(len(dense)):
        to, row = (gradient[n, c, i] if i < others else aside[c]), dense[c]
        a = b = row[0] * 0
        cell, end = low[0], high[0]
        for x in range(width):
            if low[x] != cell:
                to[cell] += a
                to[end] += b
                a = b = row[0] * 0
                cell, end = low[x], high[x]
            a += row[x] * left[x]
            b += row[x] * right[x]
        to[cell] += a
        to[end] += b


@_kernel
def _exponentials(a, b, up, down, base, step, rows, e, ratio, run, partial, sums):
    """Sum the exponentials of all classes at every row of a block.

    A class's score is `a * up + b * down` at the first row and grows by `(b - a) * step` a row. `e`
    keeps the exponential of the first, `ratio` that of the second.
    """
    width = len(base)
    sums[:rows, :width] = 0
    for first in range(0, len(a), _TOGETHER):
        partial[:rows, :width] = 0
        for c in range(first, min(first + _TOGETHER, len(a))):
            ac, bc, ec, rc, total = a[c], b[c], e[c], ratio[c], partial[0]
            for x in range(width):
                ec[x] = _exp(ac[x] * up + bc[x] * down - base[x])
                total[x] += ec[x]
            if rows > 1:
                total = partial[1]
                for x in range(width):
                    rc[x] = _exp((bc[x] - ac[x]) * step)
                    run[x] = ec[x] * rc[x]
                    total[x] += run[x]
            for k in range(2, rows):
                total = partial[k]
                for x in range(width):
                    run[x] *= rc[x]
                    total[x] += run[x]
        for k in range(rows):
            total, more = sums[k], partial[k]
            for x in range(width):
                total[x] += more[x]


@_kernel
def _gather(e, ratio, parts, rows, run, gradient):
    """Add every class's exponentials times `parts`, summed over the block's rows, to `gradient`.

    The exponentials are made as in `_exponentials`, so that the rounding of both cancels.
    """
    width = len(run)
    for c in range(len(e)):
        ec, rc, to, part = e[c], ratio[c], gradient[c], parts[0]
        for x in range(width):
            to[x] += ec[x] * part[x]
        if rows > 1:
            part = parts[1]
            for x in range(width):
                run[x] = ec[x] * rc[x]
                to[x] += run[x] * part[x]
            for k in range(2, rows):
                part = parts[k]
                for x in range(width):
                    run[x] *= rc[x]
                    to[x] += run[x] * part[x]


@_kernel
def _look_up(
    labels, factors, ignore, weight, own, up, down, p, q, to_a, to_b, mass, valid, p_label, q_label
):
    """Read a row of the target, subtract it from the gradient and look the labels up in p and q.

    `mass` receives what the label of each pixel weighs, `valid` the factor of its loss, 0 if it is
    ignored. Return the weight of all, and how many are neither a class nor to be ignored.
    """
    one = weight.dtype.type(1)
    count, faults = 0.0, 0
    for x in range(len(labels)):
        label = np.int64(labels[x])
        w = factor = one * 0
        p_label[x] = q_label[x] = one
        if label != ignore:
            if 0 <= label < len(weight):
                y = np.uint64(label)
                count += weight[y]
                factor = factors[x] if len(factors) else one
                w = own[y] * factor
                p_label[x], q_label[x] = p[y, x], q[y, x]
                to_a[y, x] -= w * up
                to_b[y, x] -= w * down
            else:
                faults += 1
        mass[x], valid[x] = w, factor
    return count, faults


@_kernel
def _losses(sums, mass, k, e, ratio, run, out):
    """Write the losses of a block's row `k`, of which `e` and `ratio` are the labels' own.

    A certain label's loss is exact, as its exponential is that of `_exponentials` to the bit.
    """
    for x in range(len(out)):
        run[x] = e[x]
    for _ in range(k):
        for x in range(len(out)):
            run[x] *= ratio[x]
    for x in range(len(out)):
        out[x] = mass[x] * _log(sums[x] / run[x]) if mass[x] != 0 else mass[x]


@_kernel
def _wide_losses(sums, mass, a, b, up, down, base, out):
    """Write the losses of a row whose labels' exponentials may be 0, from the labels' scores."""
    for x in range(len(out)):
        loss = _log(sums[x]) - (a[x] * up + b[x] * down - base[x])
        out[x] = mass[x] * loss if mass[x] != 0 else mass[x]


@_kernel
def _smooth(spread, sums, valid, a, b, up, down, base, mean, mass, out, to_a, to_b):
    """Let every class be the target of a row's valid pixels too, with the weights `spread`."""
    whole = spread.dtype.type(spread.astype(np.float64).sum())
    for first in range(0, len(spread), _TOGETHER):
        for x in range(len(out)):
            mean[x] = 0
        for c in range(first, min(first + _TOGETHER, len(spread))):
            w, ac, bc, upper, lower = spread[c], a[c], b[c], to_a[c], to_b[c]
            for x in range(len(out)):
                mean[x] += w * (ac[x] * up + bc[x] * down - base[x])
            for x in range(len(out)):
                upper[x] -= w * valid[x] * up
                lower[x] -= w * valid[x] * down
        for x in range(len(out)):
            out[x] -= valid[x] * mean[x] if valid[x] != 0 else valid[x]
    for x in range(len(out)):
        out[x] += valid[x] * whole * _log(sums[x]) if valid[x] != 0 else valid[x]
        mass[x] += valid[x] * whole


@_kernel
def _greatest(a, b, up, down, out):
    """Find each column's greatest score in a row."""
    out[:] = -np.inf
    for c in range(len(a)):
        ac, bc = a[c], b[c]
        for x in range(len(out)):
            score = ac[x] * up + bc[x] * down
            out[x] = score if score > out[x] else out[x]


@_kernel
def _block(
    labels, factors, ignore, weight, own, spread, a, b, ups, downs, step, base, wide, e, ratio,
    sums, parts, lanes, losses, to_a, to_b, added, with_gradient
):  # fmt: skip
    """Add a block of rows to `added` and to the gradients of the two source rows."""
    rows, width = labels.shape
    mass, valid, p, q, run, loss = (
        lanes[0],
        lanes[1],
        lanes[2],
        lanes[3],
        lanes[4],
        lanes[5, :width],
    )
    _exponentials(a, b, ups[0], downs[0], base, step, rows, e, ratio, run, parts[0], sums)
    count, faults = 0.0, 0
    for k in range(rows):
        up, down = ups[k], downs[k]
        found = _look_up(
            labels[k], factors[k] if len(factors) else sums[0, :0], ignore, weight, own, up, down,
            a if wide else e, b if wide else ratio, to_a, to_b, mass, valid, p, q
        )  # fmt: skip
        count, faults = count + found[0], faults + found[1]
        if wide:
            _wide_losses(sums[k], mass, p, q, up, down, base, loss)
        else:
            _losses(sums[k], mass, k, p, q, run, loss)
        if len(spread):
            _smooth(spread, sums[k], valid, a, b, up, down, base, run, mass, loss, to_a, to_b)
        for x in range(width):
            added[x] += loss[x]
        if len(losses):
            losses[k] = loss
        part_a, part_b, total = parts[0, k], parts[1, k], sums[k]
        for x in range(width):
            part_a[x] = mass[x] / total[x] * up
            part_b[x] = mass[x] / total[x] * down
    if with_gradient:
        _gather(e, ratio, parts[0], rows, run[:width], to_a)
        _gather(e, ratio, parts[1], rows, run[:width], to_b)
    return count, faults


@_kernel
def work(
    first, last, chunk, scores, target, factor, ignore, weight, own, spread, strips, blocks, ups,
    downs, steps, columns, losses, gradient, spill, results
):  # fmt: skip
    """Work through the strips `first` to `last` of the whole batch."""
    classes, W = scores.shape[1], target.shape[2]
    buffers = np.empty((6, classes, chunk), scores.dtype)
    dense, to, e, ratio = buffers[:2], buffers[2:4], buffers[4], buffers[5]
    sums = np.empty((ROWS, chunk), scores.dtype)
    parts = np.empty((2, ROWS, chunk), scores.dtype)
    lanes = np.empty((6, chunk), scores.dtype)
    extremes = np.empty((5, chunk), scores.dtype)
    added = np.empty(chunk)
    nothing = np.full(4, -1)
    for task in range(first, last):
        n = task // len(strips)
        begin, end, first_row, others = strips[task % len(strips)]
        aside = spill[task]
        added[:] = 0
        count, faults = 0.0, 0
        if gradient.size:
            gradient[n, :, first_row:others] = 0
            aside[:] = 0
        for x0 in range(0, W, chunk):
            width = min(chunk, W - x0)
            here = slice(x0, x0 + width)
            greatest, least, base = extremes[:2, :width], extremes[2:4, :width], extremes[4, :width]
            s, i, j = 0, -1, -1  # source row i is held in dense[s], j in the other
            for block in range(begin, end + 1):
                y0, rows, upper, lower = blocks[block] if block < end else nothing
                if i != upper or j != lower:
                    keep = j == upper
                    for row, of in ((i, s), (j, 1 - s)):
                        if row >= 0 and not (keep and of != s):
                            _collect(to[of], columns, x0, width, gradient, n, row, aside, others)
                    if keep:
                        s = 1 - s
                    for row, of in ((upper, s), (lower, 1 - s)):
                        if row >= 0 and not (keep and of == s):
                            _spread(scores, n, row, columns, x0, dense[of], greatest[of], least[of])
                            to[of] = 0
                    i, j = upper, lower
                if block == end:
                    break
                a, b = dense[s], dense[1 - s]
                wide = 0
                for x in range(width):
                    base[x] = max(greatest[0, x], greatest[1, x])
                    wide += not base[x] - min(least[0, x], least[1, x]) < _SPAN
                group = 1 if wide else rows
                for y in range(y0, y0 + rows, group):
                    if wide:
                        _greatest(a, b, ups[y], downs[y], base)
                    those = slice(y, y + group)
                    found = _block(
                        target[n, those, here],
                        factor[n, those, here] if factor.size else factor[0, :0],
                        ignore, weight, own, spread, a, b, ups[those], downs[those], steps[block],
                        base, wide > 0, e, ratio, sums, parts, lanes,
                        losses[n, those, here] if losses.size else losses[0, :0],
                        to[s], to[1 - s], added, gradient.size > 0
                    )  # fmt: skip
                    count, faults = count + found[0], faults + found[1]
        results[task, 0], results[task, 1], results[task, 2] = added.sum(), count, faults
