"""The Numba kernels of the overlap under the sigmoid: its sums, and the gradient of what follows.

Every class is a picture of its own. With A and B the derivatives of a loss by the sums `predicted`
and `hits`, a pixel of weight m has the gradient `m * p * (1 - p) * (A + B * true)` by its score.

`scratch`, `case`, `plan` and `result` are the named tuples of `cpu` and `strips.plan`.
"""

# mypy: disable-error-code="no-untyped-def, untyped-decorator"

import numpy as np

from upscore.heads.strips.kernels import glue, loop, strips
from upscore.kernels.exp import exp

MOST = np.float32(80)  # exp(80) is far from overflow in float32, and 1 / (1 + exp(80)) nearly 0


@glue
def _block(scratch, case, plan, result, chunk, s, t, number):
    """Add a block to the sums, or to the gradients of its two source rows."""
    n, width = chunk.n, chunk.width
    here = slice(chunk.x0, chunk.x0 + width)
    image = n // case.planes
    a, b, to_a, to_b = (
        scratch.dense[s, 0, :width],
        scratch.dense[t, 0, :width],
        scratch.to[s, 0],
        scratch.to[t, 0],
    )
    p, mass, true = scratch.p, scratch.mass, scratch.true
    positive = n % case.planes if case.labelled else 1
    limit = case.planes if case.labelled else 2
    top = plan.blocks.top[number]
    for y in range(top, top + plan.blocks.rows[number]):
        up, down = plan.up[y], plan.down[y]
        labels = case.target[image if case.labelled else n, y, here]
        weights = case.weight[image if case.weight.size else 0, y : y + 1, here]
        result.sums[chunk.task, 3, 0] += weigh(
            labels, weights, case.ignore_index, positive, limit, mass, true
        )
        _probabilities(a, b, up, down, p)
        if result.gradient.size:
            _slopes(p, mass, true, case.toward[n], up, down, width, to_a, to_b)
        else:
            _count(p, mass, true, width, scratch.sums)


@glue
def _begin(scratch):
    scratch.sums[:] = 0


@glue
def _finish(scratch, result, task):
    """Sum up a strip."""
    if result.gradient.size:
        return
    for i in range(3):
        total = 0.0
        for x in range(len(scratch.base)):
            total += scratch.sums[i, x]
        result.sums[task, i, 0] = total


sigmoid_strips = strips(_begin, _block, _finish)


@loop
def weigh(labels, weights, ignore_index, positive, limit, mass, true):
    """Write what each pixel of a row weighs and whether it is true; count labels of no meaning."""
    faults = 0
    one = mass.dtype.type(1)
    for x in range(len(labels)):
        label = np.int64(labels[x])
        m = weights[0, x] if len(weights) else one
        mass[x] = m if label != ignore_index else one * 0
        true[x] = one if label == positive else one * 0
        faults += label != ignore_index and not 0 <= label < limit
    return faults


@loop
def _probabilities(a, b, up, down, p):
    """Write the sigmoid of a row's scores."""
    one = p.dtype.type(1)
    most = p.dtype.type(MOST)
    for x in range(len(a)):
        below = -(a[x] * up + b[x] * down)
        p[x] = one / (one + exp(most if below > most else below))


@loop
def _count(p, mass, true, width, sums):
    """Add a row to each column's sums."""
    hits, predicted, trues = sums[0], sums[1], sums[2]
    for x in range(width):
        m = mass[x]
        found = m * p[x]
        hits[x] += found if true[x] != 0 else m * 0
        predicted[x] += found
        trues[x] += m * true[x]


@loop
def _slopes(p, mass, true, toward, up, down, width, to_a, to_b):
    """Add a row's gradient to both source rows."""
    by_hits, by_predicted = toward[0, 0], toward[1, 0]
    one = p.dtype.type(1)
    for x in range(width):
        g = mass[x] * p[x] * (one - p[x]) * (by_predicted + by_hits * true[x])
        to_a[x] += g * up
        to_b[x] += g * down
