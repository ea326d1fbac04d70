"""The Numba kernels of the overlap at the target's own size: its sums, and the gradient.

The gradients are those of `softmax_kernels` and `sigmoid_kernels`. `scratch`, `case` and `result`
are the named tuples of `cpu`.
"""

# mypy: disable-error-code="no-untyped-def, untyped-decorator"

import numpy as np

from upscore.heads.overlap.sigmoid_kernels import count, count_losses, probabilities
from upscore.heads.pixels.kernels import HALF, exponentials, pixels
from upscore.heads.strips.kernels import glue, loop, plane_of, summing, weigh
from upscore.kernels.exp import log


@glue
def _softmax_block(scratch, case, result, task, n, here):
    """Add a block to the sums, or write its gradient."""
    width = here.stop - here.start
    scores, labels = case.scores[n], case.target[n, here]
    weights = case.weight[n if case.weight.size else 0, here]
    label, mass, part_ = scratch.label[:width], scratch.mass[:width], scratch.part[:width]
    e, total, own, less = (
        scratch.e,
        scratch.total[:width],
        scratch.own[:width],
        scratch.less[:width],
    )
    exponentials(scores, here, scratch)
    faults = _weigh(labels, weights, case.ignore_index, len(e), label, mass)
    result.sums[task, 5, 0] += faults
    for x in range(width):
        part_[x] = mass[x] / total[x]
    if result.gradient.size:
        toward = case.toward[n]
        _mean_slope(toward[1], e, less)
        _slopes(label, toward, e, total, mass, part_, less, own)
        _write_slopes(toward[1], label, e, part_, less, own, result.gradient[n], here)
        return
    sums = result.sums[task]
    _count(label, e, mass, part_, sums)
    _sum_probabilities(e, part_, sums[1])
    if case.losses:
        _sum_losses(label, scores, here, scratch.base, total, mass, own, sums[3])


softmax_pixels = pixels(_softmax_block)


@loop
def _weigh(labels, weights, ignore_index, classes, label, mass):
    """Write each pixel's class, -1 for none, and what it weighs; count labels of no meaning."""
    faults = 0
    one, zero = mass.dtype.type(1), mass.dtype.type(0)
    for x in range(len(labels)):
        found = np.int64(labels[x])
        known = 0 <= found < classes
        counts = known and found != ignore_index
        faults += found != ignore_index and not known
        m = weights[x] if len(weights) else one
        mass[x] = m if counts else zero
        label[x] = found if counts and m != 0 else -1
    return faults


@loop
def _count(label, e, mass, part_, sums):
    """Add the probabilities of the labels, and what the pixels weigh, to the sums."""
    for x in range(len(label)):
        if label[x] >= 0:
            y = np.uint64(label[x])
            sums[0, y] += e[y, x] * part_[x]
            sums[2, y] += mass[x]


@summing
def _sum_probabilities(e, part_, sums):
    """Add every class's exponentials times `part_` to the sums."""
    for c in range(len(e)):
        row, total = e[c], part_.dtype.type(0)
        for x in range(len(part_)):
            total += row[x] * part_[x]
        sums[c] += total


@loop
def _sum_losses(label, scores, here, base, total, mass, loss, sums):
    """Add the cross-entropies to the sums of the labels."""
    for x in range(len(label)):
        loss[x] = log(total[x])
    for x in range(len(label)):
        if label[x] >= 0:
            y = np.uint64(label[x])
            sums[y] += mass[x] * (loss[x] + (base[x] - scores[y, here.start + x]))


@loop
def _mean_slope(slope, e, out):
    """Write the sum of all classes' exponentials times their slopes."""
    out[:] = 0
    for c in range(len(e)):
        row, a = e[c], slope[c]
        for x in range(len(out)):
            out[x] += row[x] * a


@loop
def _slopes(label, toward, e, total, mass, part_, less, own):
    """Turn the mean slope into what is taken from every class's; write the labels' own."""
    for x in range(len(label)):
        slope = mass.dtype.type(0)
        if label[x] >= 0:
            y = np.uint64(label[x])
            slope = toward[0, y] * (e[y, x] / total[x]) - toward[3, y]
        own[x] = slope * mass[x]
        less[x] = part_[x] * (less[x] / total[x] + slope)


@loop
def _write_slopes(slope, label, e, part_, less, own, gradient, here):
    """Write the gradient of a block."""
    zero = less.dtype.type(0)
    for c in range(len(e)):
        row, a, to = e[c], slope[c], gradient[c, here]
        for x in range(len(label)):
            to[x] = row[x] * (a * part_[x] - less[x]) + (own[x] if label[x] == c else zero)


@glue
def _sigmoid_block(scratch, case, result, task, n, here):
    """Add a block of one class to its sums, or write its gradient."""
    width = here.stop - here.start
    image, _, at, positive, limit = plane_of(case, n)
    labels = case.target[at, here]
    weights = case.weight[image if case.weight.size else 0, here]
    p, z = scratch.p[:width], scratch.z[:width]
    mass, true = scratch.mass[:width], scratch.true[:width]
    found = weigh(
        labels,
        weights,
        case.ignore_index,
        positive,
        limit,
        mass,
        true,
    )
    sums = result.sums[task]
    sums[5, 0] += found[0]
    row = case.scores[n, 0, here]
    probabilities(row, row, HALF, HALF, p, z)
    if result.gradient.size:
        _write_slope(p, mass, true, case.toward[n], result.gradient[n, 0, here])
    else:
        count(p, mass, true, sums)
        if case.losses:
            count_losses(row, row, HALF, HALF, z, mass, true, sums)


sigmoid_pixels = pixels(_sigmoid_block)


@loop
def _write_slope(p, mass, true, toward, to):
    """Write the gradient of a block of one class."""
    by_hits, by_predicted, by_losses = toward[0, 0], toward[1, 0], toward[3, 0]
    one = p.dtype.type(1)
    for x in range(len(p)):
        slope = p[x] * (one - p[x]) * (by_predicted + by_hits * true[x])
        to[x] = mass[x] * (slope + by_losses * (p[x] - true[x]))
