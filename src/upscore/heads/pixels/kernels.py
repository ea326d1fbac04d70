"""What the Numba kernels of losses at the target's own size share: the walk, and softmax.

`scratch`, `case` and `result` are named tuples of the launchers. Here are used, of `scratch`: `e`
(C: exponentials), `base` and `total` (of a block's pixels: what is subtracted from their scores,
and the sums of their exponentials), `partial`; of `case`: `scores` (N x C x pixels).
"""

# mypy: disable-error-code="no-untyped-def, untyped-decorator"

from typing import Any

import numpy as np

from upscore.heads.pixels import RUN
from upscore.heads.strips.kernels import TOGETHER, loop
from upscore.kernels import CACHE_LINE
from upscore.kernels.exp import exp
from upscore.kernels.simd import prefetch

# Loops over rows between two source rows are given one row twice here, with these weights: with 1
# and 0 they would make NaN of infinities.
HALF = np.float32(0.5)


def pixels(block: Any) -> Any:
    """Return the kernel that walks through pixels, `block(scratch, case, result, task, n, here)`.

    `here` is the slice of the block's pixels in image `n`.
    """

    @loop
    def work(first, last, scratch, case, result):
        """Work through the runs `first` to `last` of the whole batch."""
        count, most = case.scores.shape[2], len(scratch.base)
        runs = -(-count // RUN)
        for task in range(first, last):
            n, run = divmod(task, runs)
            end = min(count, (run + 1) * RUN)
            for x in range(run * RUN, end, most):
                block(scratch, case, result, task, n, slice(x, min(x + most, end)))

    return work


@loop
def exponentials(scores, here, scratch):
    """Write the exponentials of a block of C x pixels, below each pixel's greatest, and their sums.

    Meanwhile the next block is asked for: the processor does not foresee so many rows at once.
    """
    width = here.stop - here.start
    e, base, total = scratch.e, scratch.base[:width], scratch.total[:width]
    partial = scratch.partial[:width]
    base[:] = -np.inf
    for c in range(len(e)):
        row, to = scores[c, here], e[c]
        for x in range(width):
            to[x] = row[x]
            base[x] = row[x] if row[x] > base[x] else base[x]
    total[:] = 0
    for first in range(0, len(e), TOGETHER):
        partial[:] = 0
        for c in range(first, min(first + TOGETHER, len(e))):
            row = e[c]
            for x in range(width):
                row[x] = exp(row[x] - base[x])
                partial[x] += row[x]
            ahead = scores[c, here]
            for x in range(width, 2 * width, CACHE_LINE // ahead.itemsize):
                prefetch(ahead, x)
        for x in range(width):
            total[x] += partial[x]
