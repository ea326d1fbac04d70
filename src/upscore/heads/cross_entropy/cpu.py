"""The loss and its gradient on the CPU: the launcher of the kernel.

The image is cut into strips of source rows. A strip owns its source rows and is worked through by
one thread, chunk of columns by chunk of columns, from top to bottom; what it adds to the first row
of the next strip is kept aside and added at the end. No sum depends on the number of threads.
"""

from typing import Any, NamedTuple

import numpy as np
from numpy.typing import NDArray

from upscore.heads.cross_entropy.cpu_plan import ROWS, chunk_columns, plan_loss
from upscore.heads.cross_entropy.options import Options
from upscore.heads.cross_entropy.target import check_labels
from upscore.kernels.launch import Kernel
from upscore.kernels.threads import share

STRIPS = Kernel("upscore.heads.cross_entropy.cpu_kernels", "strip_losses")


class Case(NamedTuple):
    """Scores, target, and what a pixel's terms are multiplied with."""

    scores: NDArray[Any]  # N x C x h x w
    target: NDArray[Any]  # N x H x W
    factor: NDArray[Any]  # N x H x W, of each pixel's loss, or empty: all ones
    ignore_index: int
    weight: NDArray[Any]  # of each class
    own: NDArray[Any]  # ... times the part of the target that is the label's
    spread: NDArray[Any]  # ... times the part that is every class's, or empty


class Result(NamedTuple):
    """What the kernel writes; arrays that nobody asked for are empty."""

    losses: NDArray[Any]  # N x H x W
    gradient: NDArray[Any]  # N x C x h x w
    spill: NDArray[Any]  # strips x C x w: what a strip adds to the first row of the next
    sums: NDArray[np.float64]  # strips x 3: loss, weight, labels that are no class


class Scratch(NamedTuple):
    """What a thread works with: numbers of a chunk's columns, and of how many rows or classes."""

    dense: NDArray[Any]  # 2 x C: two source rows, interpolated horizontally
    to: NDArray[Any]  # 2 x C: their gradients
    e: NDArray[Any]  # C: exponentials of a block's first row
    ratio: NDArray[Any]  # C: ... and by what they are multiplied from row to row
    sums: NDArray[Any]  # rows: the sums of the exponentials
    partial: NDArray[Any]  # 2 x rows: parts of these sums; what each pixel sends to its source rows
    greatest: NDArray[Any]  # 2: the extreme scores of the two source rows
    least: NDArray[Any]
    base: NDArray[Any]  # what is subtracted from a column's scores
    mass: NDArray[Any]  # of a row's pixels: what each weighs
    valid: NDArray[Any]  # ... the factor of its loss, 0 if it is ignored
    p: NDArray[Any]  # ... its label's numbers, looked up in two arrays
    q: NDArray[Any]
    run: NDArray[Any]  # ... for passing use
    loss: NDArray[Any]
    added: NDArray[np.float64]  # the losses so far


def cross_entropy(
    scores: NDArray[Any],
    target: NDArray[Any],
    weight: NDArray[Any] | None,
    factor: NDArray[Any] | None = None,
    *,
    options: Options,
    with_gradient: bool = False,
) -> tuple[Any, float, NDArray[Any]]:
    """Return the pixels' losses (N x H x W) or their sum, the pixels' weight, and the gradient.

    The gradient is that of the sum of the losses times `factor`, to the scores (N x C x h x w).
    """
    N, C, h, w = scores.shape
    _, H, W = target.shape
    dtype, smoothing = scores.dtype, options.label_smoothing
    plan = plan_loss((h, w), (H, W), options.grid, dtype)
    tasks = N * len(plan.strips.top)
    weight = np.ones(C, dtype) if weight is None else weight.astype(dtype)
    case = Case(
        np.ascontiguousarray(scores),
        np.ascontiguousarray(target),
        np.empty((1, 0, 0), dtype) if factor is None else np.ascontiguousarray(factor, dtype),
        options.ignore_index,
        weight,
        (1 - smoothing) * weight,
        smoothing / C * weight if smoothing else weight[:0],
    )
    result = Result(
        np.empty((N, H, W) if options.per_pixel else (1, 0, 0), dtype),
        np.empty(scores.shape if with_gradient else (0, 0, 0, 0), dtype),
        np.empty((tasks, C, w) if with_gradient else (tasks, 0, 0), dtype),
        np.empty((tasks, 3)),
    )
    share(STRIPS, tasks, case, plan, result, scratch=lambda: _scratch(C, dtype))
    if result.sums[:, 2].any():
        check_labels(target, C, options.ignore_index)
    if with_gradient:
        inner = plan.strips.bottom[:-1]
        parts = result.spill.reshape(N, len(inner) + 1, C, w)[:, :-1]
        result.gradient[:, :, inner] += parts.transpose(0, 2, 1, 3)
    loss, count, _ = result.sums.sum(0)
    return result.losses if options.per_pixel else loss, count, result.gradient


def _scratch(classes: int, dtype: np.dtype[Any]) -> Scratch:
    chunk = chunk_columns(classes)

    def numbers(*count: int) -> NDArray[Any]:
        return np.empty((*count, chunk), dtype)

    mass, valid, p, q, run, loss = numbers(6)
    return Scratch(
        numbers(2, classes),
        numbers(2, classes),
        numbers(classes),
        numbers(classes),
        numbers(ROWS),
        numbers(2, ROWS),
        numbers(2),
        numbers(2),
        numbers(),
        mass,
        valid,
        p,
        q,
        run,
        loss,
        np.empty(chunk),
    )
