"""The Numba kernels of the cross-entropy at the target's own size.

`scratch`, `case` and `result` are the named tuples of `cpu`.
"""

# mypy: disable-error-code="no-untyped-def, untyped-decorator"

import numpy as np

from upscore.heads.pixels.kernels import exponentials, pixels
from upscore.heads.strips.kernels import TOGETHER, glue, loop, summed
from upscore.kernels.exp import log


@glue
def _block(scratch, case, result, task, n, here):
    """Add a block to the losses, and write its gradient; or add its weight alone."""
    width = here.stop - here.start
    labels, scores = case.target[n, here], case.scores[n]
    factors = case.factor[n if case.factor.size else 0, here]
    tilts = case.tilt[n if case.tilt.size else 0, here]
    losses = result.losses[n if result.losses.size else 0, here]
    log_sums = result.log_sums[n if result.log_sums.size else 0, here]
    label, own, valid = scratch.label[:width], scratch.own[:width], scratch.valid[:width]
    base, total, loss = scratch.base[:width], scratch.total[:width], scratch.loss[:width]
    mass, log_sum, sums = scratch.mass[:width], scratch.log_sum[:width], result.sums[task]
    found = _look_up(labels, factors, case, label, own, valid)
    sums[1] += found[0]
    sums[2] += found[1]
    if case.weighing:
        return
    exponentials(scores, here, scratch)
    for x in range(width):
        mass[x] = own[x]
        log_sum[x] = log(total[x])
    _losses(label, scores, here, base, log_sum, own, loss)
    if len(case.spread):
        _smooth(case.spread, scores, here, base, log_sum, valid, scratch.partial, mass, loss)
    sums[0] += summed(loss)
    if len(losses):
        for x in range(width):
            losses[x] = loss[x]
    if len(log_sums):
        for x in range(width):
            log_sums[x] = base[x] + log_sum[x] if valid[x] != 0 else valid[x]
    if len(tilts):
        for x in range(width):
            mass[x] += tilts[x]
    if result.gradient.size:
        for x in range(width):
            mass[x] *= case.scale / total[x]
            own[x] *= case.scale
            valid[x] *= case.scale
        _write_slopes(label, scratch.e, mass, own, case.spread, valid, result.gradient[n], here)


pixel_losses = pixels(_block)


@loop
def _look_up(labels, factors, case, label, own, valid):
    """Write each pixel's class, -1 for none, what it weighs, and the factor of its loss.

    Return the weight of all, and how many are neither a class nor to be ignored.
    """
    weight = case.weight
    one, zero = weight.dtype.type(1), weight.dtype.type(0)
    count, faults = 0.0, 0
    for x in range(len(labels)):
        found = np.int64(labels[x])
        label[x] = -1
        own[x] = valid[x] = zero
        if found != case.ignore_index:
            if 0 <= found < len(weight):
                y = np.uint64(found)
                count += weight[y]
                label[x] = found
                valid[x] = factors[x] if len(factors) else one
                own[x] = case.own[y] * valid[x]
            else:
                faults += 1
    return count, faults


@loop
def _losses(label, scores, here, base, log_sum, own, out):
    """Write the losses of a block, a certain label's as exact as its score is the greatest."""
    for x in range(len(out)):
        out[x] = 0
        if own[x] != 0:
            y = np.uint64(label[x])
            out[x] = own[x] * (log_sum[x] + (base[x] - scores[y, here.start + x]))


@loop
def _smooth(spread, scores, here, base, log_sum, valid, mean, mass, out):
    """Let every class be the target of a block's valid pixels too, with the weights `spread`."""
    total = 0.0
    for c in range(len(spread)):
        total += spread[c]
    whole = spread.dtype.type(total)
    for first in range(0, len(spread), TOGETHER):
        for x in range(len(out)):
            mean[x] = 0
        for c in range(first, min(first + TOGETHER, len(spread))):
            w, row = spread[c], scores[c, here]
            for x in range(len(out)):
                mean[x] += w * (row[x] - base[x])
        for x in range(len(out)):
            out[x] -= valid[x] * mean[x] if valid[x] != 0 else valid[x]
    for x in range(len(out)):
        out[x] += valid[x] * whole * log_sum[x] if valid[x] != 0 else valid[x]
        mass[x] += valid[x] * whole


@loop
def _write_slopes(label, e, mass, own, spread, valid, gradient, here):
    """Write the gradient of a block."""
    zero = own.dtype.type(0)
    for c in range(len(e)):
        row, to = e[c], gradient[c, here]
        for x in range(len(label)):
            to[x] = row[x] * mass[x] - (own[x] if label[x] == c else zero)
        if len(spread):
            for x in range(len(label)):
                to[x] -= spread[c] * valid[x]
