"""The Numba kernel of the binary loss: every class is a picture of its own.

A pixel of score s costs `log(1 + exp(s))`, or `pos_weight * log(1 + exp(-s))` where the class is
true; its slope is `p`, or `pos_weight * (p - 1)`, with p the sigmoid of s.

`scratch`, `case`, `plan` and `result` are the named tuples of `cpu` and `strips.plan`.
"""

# mypy: disable-error-code="no-untyped-def, untyped-decorator"

from upscore.heads.overlap.sigmoid_kernels import weigh
from upscore.heads.strips.kernels import glue, loop, strips
from upscore.kernels.exp import exp, log


@glue
def _block(scratch, case, plan, result, chunk, s, t, number):
    """Add a block to the losses and to the gradients of its two source rows."""
    n, width = chunk.n, chunk.width
    here = slice(chunk.x0, chunk.x0 + width)
    image, plane = divmod(n, case.planes)
    a, b, to_a, to_b = (
        scratch.dense[s, 0, :width],
        scratch.dense[t, 0, :width],
        scratch.to[s, 0],
        scratch.to[t, 0],
    )
    mass, true, loss, slope = scratch.mass, scratch.true, scratch.loss, scratch.slope
    positive = plane if case.labelled else 1
    limit = case.planes if case.labelled else 2
    top = plan.blocks.top[number]
    for y in range(top, top + plan.blocks.rows[number]):
        up, down = plan.up[y], plan.down[y]
        labels = case.target[image if case.labelled else n, y, here]
        factors = case.factor[n if case.factor.size else 0, y : y + 1, here]
        result.sums[chunk.task, 1] += weigh(
            labels, factors, case.ignore_index, positive, limit, mass, true
        )
        _losses(a, b, up, down, mass, true, case.pos_weight[plane], loss, slope)
        counted = 0
        for x in range(width):
            scratch.added[x] += loss[x]
            counted += mass[x] != 0
        result.sums[chunk.task, 2] += counted
        if result.losses.size:
            losses = result.losses[n, y, here]
            for x in range(width):
                losses[x] = loss[x]
        if result.gradient.size:
            for x in range(width):
                to_a[x] += slope[x] * up
                to_b[x] += slope[x] * down


@glue
def _begin(scratch):
    scratch.added[:] = 0


@glue
def _finish(scratch, result, task):
    """Sum the losses of a strip."""
    loss = 0.0
    for x in range(len(scratch.added)):
        loss += scratch.added[x]
    result.sums[task, 0] = loss


binary_strips = strips(_begin, _block, _finish)


@loop
def _losses(a, b, up, down, mass, true, pos_weight, loss, slope):
    """Write the losses of a row and their slopes by the scores, times the pixels' `mass`."""
    one = mass.dtype.type(1)
    for x in range(len(a)):
        score = a[x] * up + b[x] * down
        far = -score if score > 0 else score
        z = exp(far)  # exp(-|score|), and log(1 + z) as exact as z (Kahan)
        u = one + z
        rest = log(u) * (z / (u - one))
        rest = rest if u != one else z
        p = (one if score > 0 else z) / u
        q = (z if score > 0 else one) / u  # 1 - p
        wrong = -score if true[x] != 0 else score
        rest += wrong if wrong > 0 else one * 0
        found = pos_weight * rest if true[x] != 0 else rest
        m = mass[x]
        loss[x] = m * found if m != 0 else m
        slope[x] = m * (-pos_weight * q if true[x] != 0 else p)
