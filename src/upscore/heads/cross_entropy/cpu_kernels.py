"""The Numba kernels of the loss on the CPU, from one source row to a strip of them.

Output rows between two source rows blend the same two, in equal steps. With both interpolated
horizontally (`_spread`), every class's score down a column is a straight line: its exponential
starts at `exp(start)` and is multiplied by one ratio from row to row. So a block of rows costs two
exponentials a class and column, however many rows it has (`_block`). Where the scores of a column
span so much that float32 could underflow on the way, the rows are taken one by one ("wide").

Loops run along a row of a chunk of columns, branch-free, so that LLVM vectorises them.

`scratch`, `case`, `plan` and `result` are the named tuples of `cpu` and `cpu_plan`.
"""

# mypy: disable-error-code="no-untyped-def, untyped-decorator"

from typing import NamedTuple

import numpy as np

from upscore.kernels.compile import part
from upscore.kernels.exp import exp, log

TOGETHER = 32  # classes summed at a time: the rounding of a sum grows with its terms
SPAN = np.float32(60)  # exp(-60) and its reciprocal, times any weight, are normal in float32

_part = part(fastmath={"contract"})
# What leads from the kernel to the loops is inlined by Numba, which compiles a third faster.
_glue = part(fastmath={"contract"}, inline="always")


class Chunk(NamedTuple):
    """`width` output columns from `x0` on, in strip `task` of the batch, of image `n`."""

    task: int
    n: int
    x0: int
    width: int
    bottom: int  # source rows from here on are the next strip's


@_part
def strip_losses(first, last, scratch, case, plan, result):
    """Work through the strips `first` to `last` of the whole batch."""
    strips, added = plan.strips, scratch.added
    W, most = case.target.shape[2], len(added)
    for task in range(first, last):
        n, strip = divmod(task, len(strips.top))
        top, bottom = strips.top[strip], strips.bottom[strip]
        added[:] = 0
        if result.gradient.size:
            result.gradient[n, :, top:bottom] = 0
            result.spill[task] = 0
        count, faults = 0.0, 0
        for x0 in range(0, W, most):
            chunk = Chunk(task, n, x0, min(most, W - x0), bottom)
            found = _chunk(
                scratch, case, plan, result, chunk, strips.first[strip], strips.last[strip]
            )
            count, faults = count + found[0], faults + found[1]
        loss = 0.0
        for x in range(most):
            loss += added[x]
        result.sums[task, 0], result.sums[task, 1], result.sums[task, 2] = loss, count, faults


@_glue
def _chunk(scratch, case, plan, result, chunk, first, last):
    """Work through the blocks `first` to `last` of a chunk of columns."""
    blocks = plan.blocks
    count, faults = 0.0, 0
    s, i, j = 0, -1, -1  # source row i is in dense[s], j in the other
    for block in range(first, last):
        upper, lower = blocks.upper[block], blocks.lower[block]
        if i != upper or j != lower:
            s = _change_rows(scratch, case, plan, result, chunk, s, i, j, upper, lower)
            i, j = upper, lower
        wide = _base(scratch, chunk.width)
        y0, rows = blocks.top[block], blocks.rows[block]
        group = 1 if wide else rows
        for y in range(y0, y0 + rows, group):
            if wide:
                _greatest(scratch, chunk.width, s, plan.up[y], plan.down[y])
            found = _block(
                scratch, case, plan, result, chunk, s, y, group, blocks.step[block], wide
            )
            count, faults = count + found[0], faults + found[1]
    _change_rows(scratch, case, plan, result, chunk, s, i, j, -1, -1)
    return count, faults


@_glue
def _change_rows(scratch, case, plan, result, chunk, s, i, j, upper, lower):
    """Take source rows `upper` and `lower` in place of i and j; return where the upper one is."""
    keep = j == upper
    if i >= 0:
        _collect(scratch.to[s], plan.columns, result, chunk, i)
    if j >= 0 and not keep:
        _collect(scratch.to[1 - s], plan.columns, result, chunk, j)
    if keep:
        s = 1 - s
    elif upper >= 0:
        _spread(scratch, case, plan.columns, chunk, upper, s)
    if lower >= 0:
        _spread(scratch, case, plan.columns, chunk, lower, 1 - s)
    return s


@_part
def _spread(scratch, case, columns, chunk, i, s):
    """Interpolate source row `i` at a chunk of columns, and find each column's extreme scores."""
    x0, width = chunk.x0, chunk.width
    low, high = columns.low[x0 : x0 + width], columns.high[x0 : x0 + width]
    left, right = columns.left[x0 : x0 + width], columns.right[x0 : x0 + width]
    out, greatest, least = scratch.dense[s], scratch.greatest[s, :width], scratch.least[s, :width]
    greatest[:] = -np.inf
    least[:] = np.inf
    for c in range(len(out)):
        row, to = case.scores[chunk.n, c, i], out[c]
        for x in range(width):
            to[x] = row[low[x]] * left[x] + row[high[x]] * right[x]
        for x in range(width):
            greatest[x] = to[x] if to[x] > greatest[x] else greatest[x]
            least[x] = to[x] if to[x] < least[x] else least[x]
    scratch.to[s] = 0


@_part
def _collect(dense, columns, result, chunk, i):
    """Add a chunk's gradient to source row `i`, or to the spill if that row is the next strip's."""
    if not result.gradient.size:
        return
    x0, width = chunk.x0, chunk.width
    low, high = columns.low[x0 : x0 + width], columns.high[x0 : x0 + width]
    left, right = columns.left[x0 : x0 + width], columns.right[x0 : x0 + width]
    own = i < chunk.bottom
    for c in range(len(dense)):
        to = result.gradient[chunk.n, c, i] if own else result.spill[chunk.task, c]
        row = dense[c]
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


@_glue
def _base(scratch, width):
    """Take each column's greatest score for its base; tell whether any column is wide."""
    greatest, least, base = scratch.greatest, scratch.least, scratch.base
    wide = 0
    for x in range(width):
        base[x] = max(greatest[0, x], greatest[1, x])
        wide += not base[x] - min(least[0, x], least[1, x]) < SPAN
    return wide > 0


@_glue
def _greatest(scratch, width, s, up, down):
    """Take each column's greatest score in one row for its base."""
    a, b, out = scratch.dense[s], scratch.dense[1 - s], scratch.base[:width]
    out[:] = -np.inf
    for c in range(len(a)):
        ac, bc = a[c], b[c]
        for x in range(width):
            score = ac[x] * up + bc[x] * down
            out[x] = score if score > out[x] else out[x]


@_glue
def _block(scratch, case, plan, result, chunk, s, y0, rows, step, wide):
    """Add a block of rows to the losses and to the gradients of the two source rows.

    Return the weight of its pixels, and how many of their labels are no class.
    """
    n, width = chunk.n, chunk.width
    here = slice(chunk.x0, chunk.x0 + width)
    those = slice(y0, y0 + rows)
    labels = case.target[n, those, here]
    factors = case.factor[n if case.factor.size else 0, those, here]
    losses = result.losses[n if result.losses.size else 0, those, here]
    a, b, to_a, to_b = scratch.dense[s], scratch.dense[1 - s], scratch.to[s], scratch.to[1 - s]
    e, ratio, sums, parts = scratch.e, scratch.ratio, scratch.sums, scratch.partial
    mass, valid, p, q = scratch.mass, scratch.valid, scratch.p, scratch.q
    base, run, loss = scratch.base[:width], scratch.run[:width], scratch.loss[:width]
    _exponentials(a, b, plan.up[y0], plan.down[y0], base, step, rows, e, ratio, run, parts[0], sums)
    count, faults = 0.0, 0
    for k in range(rows):
        up, down = plan.up[y0 + k], plan.down[y0 + k]
        found = _look_up(
            labels[k], factors[k] if len(factors) else sums[0, :0], case, up, down,
            a if wide else e, b if wide else ratio, to_a, to_b, mass, valid, p, q
        )  # fmt: skip
        count, faults = count + found[0], faults + found[1]
        if wide:
            _wide_losses(sums[k], mass, p, q, up, down, base, loss)
        else:
            _losses(sums[k], mass, k, p, q, run, loss)
        if len(case.spread):
            _smooth(case.spread, sums[k], valid, a, b, up, down, base, run, mass, loss, to_a, to_b)
        for x in range(width):
            scratch.added[x] += loss[x]
        if len(losses):
            for x in range(width):
                losses[k, x] = loss[x]
        part_a, part_b, total = parts[0, k], parts[1, k], sums[k]
        for x in range(width):
            part_a[x] = mass[x] / total[x] * up
            part_b[x] = mass[x] / total[x] * down
    if result.gradient.size:
        _gather(e, ratio, parts[0], rows, run, to_a)
        _gather(e, ratio, parts[1], rows, run, to_b)
    return count, faults


@_part
def _exponentials(a, b, up, down, base, step, rows, e, ratio, run, partial, sums):
    """Sum the exponentials of all classes at every row of a block.

    A class's score is `a * up + b * down` at the first row and grows by `(b - a) * step` a row. `e`
    keeps the exponential of the first, `ratio` that of the second.
    """
    width = len(base)
    sums[:rows, :width] = 0
    for first in range(0, len(a), TOGETHER):
        partial[:rows, :width] = 0
        for c in range(first, min(first + TOGETHER, len(a))):
            ac, bc, ec, rc, total = a[c], b[c], e[c], ratio[c], partial[0]
            for x in range(width):
                ec[x] = exp(ac[x] * up + bc[x] * down - base[x])
                total[x] += ec[x]
            if rows > 1:
                total = partial[1]
                for x in range(width):
                    rc[x] = exp((bc[x] - ac[x]) * step)
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


@_part
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


@_part
def _look_up(labels, factors, case, up, down, p, q, to_a, to_b, mass, valid, p_label, q_label):
    """Read a row of the target, subtract it from the gradient and look the labels up in p and q.

    `mass` receives what the label of each pixel weighs, `valid` the factor of its loss, 0 if it is
    ignored. Return the weight of all, and how many are neither a class nor to be ignored.
    """
    weight, own = case.weight, case.own
    one = weight.dtype.type(1)
    count, faults = 0.0, 0
    for x in range(len(labels)):
        label = np.int64(labels[x])
        w = factor = one * 0
        p_label[x] = q_label[x] = one
        if label != case.ignore_index:
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


@_part
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
        out[x] = mass[x] * log(sums[x] / run[x]) if mass[x] != 0 else mass[x]


@_part
def _wide_losses(sums, mass, a, b, up, down, base, out):
    """Write the losses of a row whose labels' exponentials may be 0, from the labels' scores."""
    for x in range(len(out)):
        loss = log(sums[x]) - (a[x] * up + b[x] * down - base[x])
        out[x] = mass[x] * loss if mass[x] != 0 else mass[x]


@_part
def _smooth(spread, sums, valid, a, b, up, down, base, mean, mass, out, to_a, to_b):
    """Let every class be the target of a row's valid pixels too, with the weights `spread`."""
    total = 0.0
    for c in range(len(spread)):
        total += spread[c]
    whole = spread.dtype.type(total)
    for first in range(0, len(spread), TOGETHER):
        for x in range(len(out)):
            mean[x] = 0
        for c in range(first, min(first + TOGETHER, len(spread))):
            w, ac, bc, upper, lower = spread[c], a[c], b[c], to_a[c], to_b[c]
            for x in range(len(out)):
                mean[x] += w * (ac[x] * up + bc[x] * down - base[x])
            for x in range(len(out)):
                upper[x] -= w * valid[x] * up
                lower[x] -= w * valid[x] * down
        for x in range(len(out)):
            out[x] -= valid[x] * mean[x] if valid[x] != 0 else valid[x]
    for x in range(len(out)):
        out[x] += valid[x] * whole * log(sums[x]) if valid[x] != 0 else valid[x]
        mass[x] += valid[x] * whole
