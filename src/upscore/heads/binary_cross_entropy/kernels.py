"""The Numba kernels of the binary loss: every class is a picture of its own.

A pixel of score s costs `log(1 + exp(s))`, or `pos_weight * log(1 + exp(-s))` where the class is
true; its slope is `p`, or `pos_weight * (p - 1)`, with p the sigmoid of s.

`scratch`, `case`, `plan` and `result` are the named tuples of `cpu` and `strips.plan`.
"""

# mypy: disable-error-code="no-untyped-def, untyped-decorator"

from upscore.heads.pixels.kernels import HALF, pixels
from upscore.heads.strips.kernels import glue, loop, plane_of, strips, summed, take_row, weigh
from upscore.kernels.exp import exp, log1p


@glue
def _block(scratch, case, plan, result, chunk, s, t, number):
    """Add a block to the losses and to the gradients of its two source rows."""
    n, width = chunk.n, chunk.width
    here = slice(chunk.x0, chunk.x0 + width)
    _, plane, at, positive, limit = plane_of(case, n)
    a, b, to_a, to_b = (
        scratch.dense[s, 0, :width],
        scratch.dense[t, 0, :width],
        scratch.to[s, 0],
        scratch.to[t, 0],
    )
    mass, true, loss, slope = scratch.mass, scratch.true, scratch.loss, scratch.slope
    top = plan.blocks.top[number]
    for y in range(top, top + plan.blocks.rows[number]):
        up, down = plan.up[y], plan.down[y]
        labels = case.target[at, y, here]
        factors = case.factor[n if case.factor.size else 0, y : y + 1, here]
        found = weigh(
            labels,
            factors[0] if len(factors) else loss[:0],
            case.ignore_index,
            positive,
            limit,
            mass,
            true,
        )
        _losses(a, b, up, down, mass, true, case.pos_weight[plane], case.scale, loss, slope)
        result.sums[chunk.task, 0] += summed(loss[:width])
        result.sums[chunk.task, 1] += found[0]
        result.sums[chunk.task, 2] += found[1]
        if result.losses.size:
            losses = result.losses[n, y, here]
            for x in range(width):
                losses[x] = loss[x]
        if result.gradient.size:
            for x in range(width):
                to_a[x] += slope[x] * up
                to_b[x] += slope[x] * down


binary_strips = strips(take_row, _block)


@glue
def _pixel_block(scratch, case, result, task, n, here):
    """Add a block at the target's own size to the losses, and write its gradient."""
    width = here.stop - here.start
    _, plane, at, positive, limit = plane_of(case, n)
    mass, true = scratch.mass[:width], scratch.true[:width]
    loss = result.losses[n, here] if result.losses.size else scratch.loss[:width]
    slope = result.gradient[n, 0, here] if result.gradient.size else scratch.slope[:width]
    found = weigh(
        case.target[at, here],
        case.factor[n if case.factor.size else 0, here],
        case.ignore_index,
        positive,
        limit,
        mass,
        true,
    )
    result.sums[task, 1] += found[0]
    result.sums[task, 2] += found[1]
    row = case.scores[n, 0, here]
    _losses(row, row, HALF, HALF, mass, true, case.pos_weight[plane], case.scale, loss, slope)
    result.sums[task, 0] += summed(loss)


binary_pixels = pixels(_pixel_block)


@loop
def _losses(a, b, up, down, mass, true, pos_weight, scale, loss, slope):
    """Write the losses of a row, times the pixels' `mass`, and `scale` times their slopes."""
    one, zero = mass.dtype.type(1), mass.dtype.type(0)
    for x in range(len(a)):
        score = a[x] * up + b[x] * down
        far = -score if score > 0 else score
        z = exp(far)  # exp(-|score|)
        near = one / (one + z)
        rest = log1p(z)
        p = near if score > 0 else z * near
        q = z * near if score > 0 else near  # 1 - p
        wrong = -score if true[x] != 0 else score
        rest += wrong if wrong > 0 else zero
        found = pos_weight * rest if true[x] != 0 else rest
        m = mass[x]
        loss[x] = m * found if m != 0 else m
        slope[x] = m * scale * (-pos_weight * q if true[x] != 0 else p)
