"""What the Numba kernels of losses share: the walk through a strip, and softmax down its columns.

Output rows between two source rows blend the same two, in equal steps. With both interpolated
horizontally (`take_row`), every class's score down a column is a straight line: its exponential
starts at `exp(start)` and is multiplied by one ratio from row to row. So a block of rows costs two
exponentials a class and column, however many rows it has (`exponentials`). Where the scores of a
column span so much that float32 could underflow on the way, the rows are taken one by one ("wide").

Loops run along a row of a chunk of columns, branch-free, so that LLVM vectorises them.

`scratch`, `case` and `result` are named tuples of the launchers. Here are used, of `scratch`:
`dense` and `to` (2 x C: two source rows interpolated horizontally, and their gradients), `base`,
under softmax `greatest` and `least` (2: the rows' extreme scores); of `case`: `scores`, `target`;
of `result`: `gradient` (N x C x h x w or empty) and `spill` (strips x C x w).
"""

# mypy: disable-error-code="no-untyped-def, untyped-decorator"

from typing import Any, NamedTuple

import numpy as np

from upscore.kernels.compile import part
from upscore.kernels.exp import exp

TOGETHER = 32  # classes summed at a time: the rounding of a sum grows with its terms
SPAN = np.float32(60)  # exp(-60) and its reciprocal, times any weight, are normal in float32

loop = part(fastmath={"contract"})
# Sums of a row in vectors: in any order, but always in the same one.
summing = part(fastmath={"contract", "reassoc"})
# What leads from the kernel to the loops is inlined by Numba, which compiles a third faster.
glue = part(fastmath={"contract"}, inline="always")


class Chunk(NamedTuple):
    """`width` output columns from `x0` on, in strip `task` of the batch, of image `n`."""

    task: int
    n: int
    x0: int
    width: int
    bottom: int  # source rows from here on are the next strip's


def strips(take: Any, block: Any) -> Any:
    """Return the kernel that works through strips: `block` for each block.

    It is called as `block(scratch, case, plan, result, chunk, s, t, number)`, where the block's
    upper source row is in `dense[s]` and its lower one in `dense[t]`; there `take` puts them:
    `take_row`, or `take_row_and_extremes` for softmax.
    """

    @loop
    def work(first, last, scratch, case, plan, result):
        """Work through the strips `first` to `last` of the whole batch."""
        cut = plan.strips
        W, most = case.target.shape[-1], len(scratch.base)
        for task in range(first, last):
            n, strip = divmod(task, len(cut.top))
            top, bottom = cut.top[strip], cut.bottom[strip]
            if result.gradient.size:
                result.gradient[n, :, top:bottom] = 0
                result.spill[task] = 0
            for x0 in range(0, W, most):
                chunk = Chunk(task, n, x0, min(most, W - x0), bottom)
                walk(scratch, case, plan, result, chunk, cut.first[strip], cut.last[strip])

    @glue
    def walk(scratch, case, plan, result, chunk, first, last):
        """Work through the blocks `first` to `last` of a chunk of columns."""
        blocks = plan.blocks
        s, i, j = 0, -1, -1  # source row i is in dense[s], j in the other, if there are two
        for number in range(first, last):
            upper, lower = blocks.upper[number], blocks.lower[number]
            if lower == upper:
                lower = -1
            if i != upper or j != lower:
                s = change_rows(scratch, case, plan, result, chunk, s, i, j, upper, lower)
                i, j = upper, lower
            block(scratch, case, plan, result, chunk, s, s if j < 0 else 1 - s, number)
        change_rows(scratch, case, plan, result, chunk, s, i, j, -1, -1)

    @glue
    def change_rows(scratch, case, plan, result, chunk, s, i, j, upper, lower):
        """Take source rows `upper` and `lower` in place of i and j; return where the first is."""
        keep = j >= 0 and j == upper
        if i >= 0:
            _collect(scratch.to[s], plan.columns, result, chunk, i)
        if j >= 0 and not keep:
            _collect(scratch.to[1 - s], plan.columns, result, chunk, j)
        if keep:
            s = 1 - s
        elif upper >= 0:
            take(scratch, case, plan.columns, chunk, upper, s)
        if lower >= 0:
            take(scratch, case, plan.columns, chunk, lower, 1 - s)
        return s

    return work


@loop
def take_row(scratch, case, columns, chunk, i, s):
    """Interpolate source row `i` at a chunk of columns."""
    x0, width = chunk.x0, chunk.width
    low, high = columns.low[x0 : x0 + width], columns.high[x0 : x0 + width]
    left, right = columns.left[x0 : x0 + width], columns.right[x0 : x0 + width]
    out = scratch.dense[s]
    for c in range(len(out)):
        row, to = case.scores[chunk.n, c, i], out[c]
        if columns.copied:
            for x in range(width):
                to[x] = row[x0 + x]
        else:
            for x in range(width):
                to[x] = row[low[x]] * left[x] + row[high[x]] * right[x]
    scratch.to[s] = 0


@loop
def take_row_and_extremes(scratch, case, columns, chunk, i, s):
    """Interpolate source row `i` at a chunk of columns, and find each column's extreme scores."""
    take_row(scratch, case, columns, chunk, i, s)
    width = chunk.width
    greatest, least = scratch.greatest[s, :width], scratch.least[s, :width]
    greatest[:] = -np.inf
    least[:] = np.inf
    for c in range(len(scratch.dense[s])):
        row = scratch.dense[s, c]
        for x in range(width):
            greatest[x] = row[x] if row[x] > greatest[x] else greatest[x]
            least[x] = row[x] if row[x] < least[x] else least[x]


@loop
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
        if columns.copied:
            for x in range(width):
                to[x0 + x] += row[x]
            continue
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


@loop
def weigh(labels, weights, ignore_index, positive, limit, mass, true):
    """Write what each pixel of a row weighs and whether it is true.

    Return how many labels have no meaning, and how many are not to be ignored.
    """
    faults = counted = 0
    one, zero = mass.dtype.type(1), mass.dtype.type(0)
    for x in range(len(labels)):
        label = np.int64(labels[x])
        m = weights[x] if len(weights) else one
        counts = label != ignore_index
        mass[x] = m if counts else zero
        true[x] = one if label == positive else zero
        faults += counts and not 0 <= label < limit
        counted += counts
    return faults, counted


@glue
def plane_of(case, n):
    """The image and the class of picture `n`, where every class is a picture of its own.

    And where its target is, the label that is true there, and the first that has no meaning.
    """
    image, plane = divmod(n, case.planes)
    at = image if case.labelled else n
    return image, plane, at, plane if case.labelled else 1, case.planes if case.labelled else 2


@glue
def take_base(scratch, width, s, t):
    """Take each column's greatest score for its base; tell whether any column is wide."""
    greatest, least, base = scratch.greatest, scratch.least, scratch.base
    wide = 0
    for x in range(width):
        base[x] = max(greatest[s, x], greatest[t, x])
        wide += not base[x] - min(least[s, x], least[t, x]) < SPAN
    return wide > 0


@glue
def take_greatest(scratch, width, s, t, up, down):
    """Take each column's greatest score in one row for its base."""
    a, b, out = scratch.dense[s], scratch.dense[t], scratch.base[:width]
    out[:] = -np.inf
    for c in range(len(a)):
        ac, bc = a[c], b[c]
        for x in range(width):
            score = ac[x] * up + bc[x] * down
            out[x] = score if score > out[x] else out[x]


@loop
def exponentials(a, b, up, down, base, step, rows, e, ratio, run, partial, sums):
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


@summing
def summed(row):
    """The sum of a row of a chunk."""
    total = row.dtype.type(0)
    for x in range(len(row)):
        total += row[x]
    return total


@loop
def gather(e, ratio, parts, rows, run, gradient):
    """Add every class's exponentials times `parts`, summed over the block's rows, to `gradient`.

    The exponentials are made as in `exponentials`, so that the rounding of both cancels.
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
