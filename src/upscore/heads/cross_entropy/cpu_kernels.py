"""The Numba kernels of the cross-entropy: what is done with a block of rows.

`scratch`, `case`, `plan` and `result` are the named tuples of `cpu` and `strips.plan`.
"""

# mypy: disable-error-code="no-untyped-def, untyped-decorator"

import numpy as np

from upscore.heads.strips.kernels import (
    TOGETHER,
    exponentials,
    gather,
    glue,
    loop,
    strips,
    summed,
    take_base,
    take_greatest,
    take_row_and_extremes,
)
from upscore.kernels.exp import log


@glue
def _block(scratch, case, plan, result, chunk, s, t, number):
    """Add a block to the losses and to the gradients of its two source rows."""
    blocks = plan.blocks
    wide = take_base(scratch, chunk.width, s, t)
    top, rows = blocks.top[number], blocks.rows[number]
    group = 1 if wide else rows
    for y in range(top, top + rows, group):
        if wide:
            take_greatest(scratch, chunk.width, s, t, plan.up[y], plan.down[y])
        _rows(scratch, case, plan, result, chunk, s, t, y, group, blocks.step[number], wide)


strip_losses = strips(take_row_and_extremes, _block)


@glue
def _rows(scratch, case, plan, result, chunk, s, t, y0, rows, step, wide):
    """Add rows that are as far from each other to the losses and to the gradients."""
    n, width = chunk.n, chunk.width
    here = slice(chunk.x0, chunk.x0 + width)
    those = slice(y0, y0 + rows)
    labels = case.target[n, those, here]
    factors = case.factor[n if case.factor.size else 0, those, here]
    tilts = case.tilt[n if case.tilt.size else 0, those, here]
    losses = result.losses[n if result.losses.size else 0, those, here]
    log_sums = result.log_sums[n if result.log_sums.size else 0, those, here]
    a, b, to_a, to_b = scratch.dense[s], scratch.dense[t], scratch.to[s], scratch.to[t]
    e, ratio, sums, parts = scratch.e, scratch.ratio, scratch.sums, scratch.partial
    mass, valid, p, q = scratch.mass, scratch.valid, scratch.p, scratch.q
    base, run, loss = scratch.base[:width], scratch.run[:width], scratch.loss[:width]
    exponentials(a, b, plan.up[y0], plan.down[y0], base, step, rows, e, ratio, run, parts[0], sums)
    sums_of_strip = result.sums[chunk.task]
    for k in range(rows):
        up, down = plan.up[y0 + k], plan.down[y0 + k]
        found = _look_up(
            labels[k], factors[k] if len(factors) else sums[0, :0], case, up, down,
            a if wide else e, b if wide else ratio, to_a, to_b, mass, valid, p, q
        )  # fmt: skip
        sums_of_strip[1] += found[0]
        sums_of_strip[2] += found[1]
        if wide:
            _wide_losses(sums[k], mass, p, q, up, down, base, loss)
        else:
            _losses(sums[k], mass, k, p, q, run, loss)
        if len(case.spread):
            _smooth(case.spread, sums[k], valid, a, b, up, down, base, run, mass, loss, to_a, to_b)
        sums_of_strip[0] += summed(loss)
        if len(losses):
            for x in range(width):
                losses[k, x] = loss[x]
        if len(log_sums):
            for x in range(width):
                log_sum = base[x] + log(sums[k, x])
                log_sums[k, x] = log_sum if valid[x] != 0 else valid[x]
        if len(tilts):
            for x in range(width):
                mass[x] += tilts[k, x]
        part_a, part_b, total = parts[0, k], parts[1, k], sums[k]
        if s == t:  # one source row, by both weights
            up += down
        for x in range(width):
            part_a[x] = mass[x] / total[x] * up
            part_b[x] = mass[x] / total[x] * down
    if result.gradient.size:
        gather(e, ratio, parts[0], rows, run, to_a)
        if s != t:
            gather(e, ratio, parts[1], rows, run, to_b)


@loop
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


@loop
def _losses(sums, mass, k, e, ratio, run, out):
    """Write the losses of a block's row `k`, of which `e` and `ratio` are the labels' own.

    A certain label's loss is exact, as its exponential is that of `exponentials` to the bit.
    """
    for x in range(len(out)):
        run[x] = e[x]
    for _ in range(k):
        for x in range(len(out)):
            run[x] *= ratio[x]
    for x in range(len(out)):
        out[x] = mass[x] * log(sums[x] / run[x]) if mass[x] != 0 else mass[x]


@loop
def _wide_losses(sums, mass, a, b, up, down, base, out):
    """Write the losses of a row whose labels' exponentials may be 0, from the labels' scores."""
    for x in range(len(out)):
        loss = log(sums[x]) - (a[x] * up + b[x] * down - base[x])
        out[x] = mass[x] * loss if mass[x] != 0 else mass[x]


@loop
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
