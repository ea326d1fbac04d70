"""The Numba kernels of the overlap under the sigmoid: its sums, and the gradient of what follows.

Every class is a picture of its own. With A, B and E the derivatives of a loss by the sums
`predicted`, `hits` and `losses`, a pixel of weight m has the gradient
`m * (p * (1 - p) * (A + B * true) + E * (p - true))` by its score.

`scratch`, `case`, `plan` and `result` are the named tuples of `cpu` and `strips.plan`.
"""

# mypy: disable-error-code="no-untyped-def, untyped-decorator"

from upscore.heads.strips.kernels import glue, loop, plane_of, strips, summing, take_row, weigh
from upscore.kernels.exp import exp, log1p


@glue
def _block(scratch, case, plan, result, chunk, s, t, number):
    """Add a block to the sums, or to the gradients of its two source rows."""
    n, width = chunk.n, chunk.width
    here = slice(chunk.x0, chunk.x0 + width)
    image, _, at, positive, limit = plane_of(case, n)
    a, b, to_a, to_b = (
        scratch.dense[s, 0, :width],
        scratch.dense[t, 0, :width],
        scratch.to[s, 0],
        scratch.to[t, 0],
    )
    p, z = scratch.p[:width], scratch.z[:width]
    mass, true = scratch.mass[:width], scratch.true[:width]
    top = plan.blocks.top[number]
    for y in range(top, top + plan.blocks.rows[number]):
        up, down = plan.up[y], plan.down[y]
        labels = case.target[at, y, here]
        weights = case.weight[image if case.weight.size else 0, y : y + 1, here]
        found = weigh(
            labels,
            weights[0] if len(weights) else p[:0],
            case.ignore_index,
            positive,
            limit,
            mass,
            true,
        )
        sums = result.sums[chunk.task]
        sums[5, 0] += found[0]
        probabilities(a, b, up, down, p, z)
        if result.gradient.size:
            _slopes(p, mass, true, case.toward[n], up, down, to_a, to_b)
        else:
            count(p, mass, true, sums)
            if case.losses:
                count_losses(a, b, up, down, z, mass, true, sums)


sigmoid_strips = strips(take_row, _block)


@loop
def probabilities(a, b, up, down, p, z):
    """Write the sigmoid of a row's scores, and `exp(-abs(score))`."""
    one = p.dtype.type(1)
    for x in range(len(a)):
        score = a[x] * up + b[x] * down
        z[x] = exp(-score if score > 0 else score)
        near = one / (one + z[x])
        p[x] = near if score > 0 else z[x] * near


@summing
def count(p, mass, true, sums):
    """Add a row of pixels to the three sums of its class."""
    zero = p.dtype.type(0)
    hits = predicted = trues = zero
    for x in range(len(p)):
        found = mass[x] * p[x]
        hits += found if true[x] != 0 else zero
        predicted += found
        trues += mass[x] * true[x]
    sums[0, 0] += hits
    sums[1, 0] += predicted
    sums[2, 0] += trues


@summing
def count_losses(a, b, up, down, z, mass, true, sums):
    """Add the binary cross-entropies of a row of pixels, and their weight, to the sums."""
    zero = mass.dtype.type(0)
    losses = weight = zero
    for x in range(len(a)):
        score = a[x] * up + b[x] * down
        wrong = -score if true[x] != 0 else score
        loss = log1p(z[x]) + (wrong if wrong > 0 else zero)
        losses += mass[x] * loss if mass[x] != 0 else zero
        weight += mass[x]
    sums[3, 0] += losses
    sums[4, 0] += weight


@loop
def _slopes(p, mass, true, toward, up, down, to_a, to_b):
    """Add a row's gradient to both source rows."""
    by_hits, by_predicted, by_losses = toward[0, 0], toward[1, 0], toward[3, 0]
    one = p.dtype.type(1)
    for x in range(len(p)):
        slope = p[x] * (one - p[x]) * (by_predicted + by_hits * true[x])
        g = mass[x] * (slope + by_losses * (p[x] - true[x]))
        to_a[x] += g * up
        to_b[x] += g * down
