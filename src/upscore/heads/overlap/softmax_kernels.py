"""The Numba kernels of the overlap under softmax: its sums, and the gradient of what follows.

With A, B and E the derivatives of a loss by the sums `predicted`, `hits` and `losses`, a pixel of
weight m and label y has the gradient `m * (p_c * (A_c - q - w) + w * (c == y))` by its score of
class c, where `q` is the sum of all `A_k * p_k` and `w` is `B_y * p_y - E_y`.

`scratch`, `case`, `plan` and `result` are the named tuples of `cpu` and `strips.plan`.
"""

# mypy: disable-error-code="no-untyped-def, untyped-decorator"

import math

import numpy as np

from upscore.heads.strips.kernels import (
    SPAN,
    exponentials,
    glue,
    loop,
    strips,
    summed,
    take_base,
    take_greatest,
    take_row_and_extremes,
)
from upscore.kernels.exp import log

LEAST = np.float32(math.exp(-SPAN) / 2)  # of columns that are not wide none is so small


@glue
def _block(scratch, case, plan, result, chunk, s, t, number):
    """Add a block to the sums, or to the gradients of its two source rows."""
    blocks = plan.blocks
    wide = take_base(scratch, chunk.width, s, t)
    top, rows = blocks.top[number], blocks.rows[number]
    group = 1 if wide else rows
    for y in range(top, top + rows, group):
        if wide:
            take_greatest(scratch, chunk.width, s, t, plan.up[y], plan.down[y])
        _rows(scratch, case, plan, result, chunk, s, t, y, group, blocks.step[number])


softmax_strips = strips(take_row_and_extremes, _block)


@glue
def _rows(scratch, case, plan, result, chunk, s, t, y0, rows, step):
    """Add rows that are as far from each other to the sums or to the gradients."""
    n, width = chunk.n, chunk.width
    here = slice(chunk.x0, chunk.x0 + width)
    those = slice(y0, y0 + rows)
    labels = case.target[n, those, here]
    weights = case.weight[n if case.weight.size else 0, those, here]
    a, b, to_a, to_b = scratch.dense[s], scratch.dense[t], scratch.to[s], scratch.to[t]
    e, ratio, sums = scratch.e, scratch.ratio, scratch.sums
    parts, less = scratch.parts, scratch.less
    base, run, mass = scratch.base[:width], scratch.run[:width], scratch.mass[:width]
    up, down = plan.up[y0 : y0 + rows], plan.down[y0 : y0 + rows]
    sums_of_strip = result.sums[chunk.task]
    exponentials(a, b, up[0], down[0], base, step, rows, e, ratio, run, parts, sums)
    for k in range(rows):
        faults = _weigh(
            labels[k], weights[k] if len(weights) else sums[0, :0], case.ignore_index, len(e), mass
        )
        sums_of_strip[5, 0] += faults
        total, part = sums[k], parts[k]
        for x in range(width):  # 0 where ignored, even of NaN: it says whether there is a label
            part[x] = mass[x] / total[x] if mass[x] != 0 else mass[x]
        if not result.gradient.size:
            _count(labels[k], mass, part, e, ratio, k, run, sums_of_strip)
            if case.losses:
                _sum_losses(
                    labels[k], mass, total, run, e, a, b, up[k], down[k], base, sums_of_strip[3]
                )
    if result.gradient.size:
        toward = case.toward[n]
        _mean_slope(toward[1], e, ratio, rows, run, less)
        for k in range(rows):
            _slopes(
                labels[k], toward[0], toward[3], parts[k], sums[k], e, ratio, k, up[k], down[k],
                less[k], to_a, to_b
            )  # fmt: skip
        _gather_slopes(toward[1], e, ratio, parts, less, rows, up, down, run, to_a, to_b, s == t)
    else:
        _sum_probabilities(e, ratio, parts, rows, run, less[0], sums_of_strip[1])


@loop
def _weigh(labels, weights, ignore_index, classes, mass):
    """Write what each pixel of a row weighs; return how many labels are no class."""
    faults = 0
    one, zero = mass.dtype.type(1), mass.dtype.type(0)
    for x in range(len(labels)):
        label = np.int64(labels[x])
        known = 0 <= label < classes
        faults += label != ignore_index and not known
        m = weights[x] if len(weights) else one
        mass[x] = m if known and label != ignore_index else zero
    return faults


@loop
def _count(labels, mass, part, e, ratio, k, own, sums):
    """Add the probabilities of a row's labels, and what the pixels weigh, to the sums.

    `own` receives the labels' exponentials.
    """
    for x in range(len(labels)):
        own[x] = 1
        if mass[x] != 0:
            y = np.uint64(labels[x])
            own[x] = e[y, x]
            for _ in range(k):
                own[x] *= ratio[y, x]
            sums[0, y] += own[x] * part[x]
            sums[2, y] += mass[x]


@loop
def _sum_losses(labels, mass, total, own, e, a, b, up, down, base, sums):
    """Add the cross-entropies of a row's pixels to the sums of their labels.

    A certain label's loss is exact, as its exponential is that of `exponentials` to the bit. Where
    it may be 0, which is in single rows ("wide"), the score itself is taken.
    """
    for x in range(len(labels)):
        own[x] = log(total[x] / own[x] if own[x] > LEAST else total[x])
    for x in range(len(labels)):
        if mass[x] != 0:
            y = np.uint64(labels[x])
            loss = own[x]
            if e[y, x] <= LEAST:
                loss -= a[y, x] * up + b[y, x] * down - base[x]
            sums[y] += mass[x] * loss


@loop
def _sum_probabilities(e, ratio, parts, rows, run, some, sums):
    """Add every class's exponentials times `parts`, over the block's rows, to the sums."""
    width = len(run)
    for c in range(len(e)):
        ec, rc, part = e[c], ratio[c], parts[0]
        for x in range(width):
            run[x] = ec[x]
            some[x] = run[x] * part[x]
        for k in range(1, rows):
            part = parts[k]
            for x in range(width):
                run[x] *= rc[x]
                some[x] += run[x] * part[x]
        sums[c] += summed(some[:width])


@loop
def _mean_slope(slope, e, ratio, rows, run, out):
    """Write the sum of all classes' exponentials times their slopes, for each row of a block."""
    width = len(run)
    out[:rows, :width] = 0
    for c in range(len(e)):
        ec, rc, a = e[c], ratio[c], slope[c]
        for x in range(width):
            run[x] = ec[x] * a
            out[0, x] += run[x]
        for k in range(1, rows):
            total = out[k]
            for x in range(width):
                run[x] *= rc[x]
                total[x] += run[x]


@loop
def _slopes(labels, by_hits, by_losses, part, sums, e, ratio, k, up, down, less, to_a, to_b):
    """Turn the row's mean slope into what is taken from every class's; add the labels' own."""
    for x in range(len(labels)):
        own = part[x] * 0
        if part[x] != 0:
            y = np.uint64(labels[x])
            p = e[y, x] / sums[x]
            for _ in range(k):
                p *= ratio[y, x]
            own = by_hits[y] * p - by_losses[y]
            to_a[y, x] += own * part[x] * sums[x] * up
            to_b[y, x] += own * part[x] * sums[x] * down
        less[x] = part[x] * (less[x] / sums[x] + own)


@loop
def _gather_slopes(slope, e, ratio, parts, less, rows, up, down, run, to_a, to_b, one_row):
    """Add every class's exponentials times `slope * parts - less` to both source rows.

    Where they are one row, its two weights are one together.
    """
    width = len(run)
    for c in range(len(e)):
        ec, rc, a, upper, lower = e[c], ratio[c], slope[c], to_a[c], to_b[c]
        for x in range(width):
            run[x] = ec[x]
        for k in range(rows):
            part, minus, u, d = parts[k], less[k], up[k], down[k]
            if k:
                for x in range(width):
                    run[x] *= rc[x]
            if one_row:
                for x in range(width):
                    upper[x] += run[x] * (a * part[x] - minus[x])
                continue
            for x in range(width):
                g = run[x] * (a * part[x] - minus[x])
                upper[x] += g * u
                lower[x] += g * d
