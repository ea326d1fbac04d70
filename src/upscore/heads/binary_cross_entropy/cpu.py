"""The binary loss and its gradient on the CPU: the launcher of the kernel."""

from typing import Any, NamedTuple

import numpy as np
from numpy.typing import NDArray

from upscore.heads.binary_cross_entropy.options import Options
from upscore.heads.strips.launch import add_spill, prepare
from upscore.heads.strips.plan import COLUMNS
from upscore.heads.target import check_labels
from upscore.kernels.launch import Kernel
from upscore.kernels.threads import share

STRIPS = Kernel("upscore.heads.binary_cross_entropy.kernels", "binary_strips")


class Case(NamedTuple):
    """Scores, each class as an image of its own, and target."""

    scores: NDArray[Any]  # N C x 1 x h x w
    target: NDArray[Any]  # N C x H x W of 0 and 1, or N x H x W
    factor: NDArray[Any]  # N C x H x W, of each loss, or empty: all ones
    pos_weight: NDArray[Any]  # of each class
    ignore_index: int
    planes: int  # the classes
    labelled: int  # whether the target is N x H x W class numbers


class Result(NamedTuple):
    """What the kernel writes; arrays that nobody asked for are empty."""

    losses: NDArray[Any]  # N C x H x W
    gradient: NDArray[Any]  # like the scores
    spill: NDArray[Any]  # strips x 1 x w: what a strip adds to the first row of the next
    sums: NDArray[np.float64]  # strips x 3: loss, labels of no meaning, losses that count


class Scratch(NamedTuple):
    """What a thread works with: numbers of a chunk's columns."""

    dense: NDArray[Any]  # 2 x 1: two source rows, interpolated horizontally
    to: NDArray[Any]  # 2 x 1: their gradients
    greatest: NDArray[Any]  # 2: the extreme scores of the two source rows
    least: NDArray[Any]
    base: NDArray[Any]  # its length alone is used
    mass: NDArray[Any]  # of a row's pixels: what each weighs
    true: NDArray[Any]  # ... whether its class is true
    loss: NDArray[Any]
    slope: NDArray[Any]
    added: NDArray[np.float64]  # the losses so far


def binary_cross_entropy(
    scores: NDArray[Any],
    target: NDArray[Any],
    pos_weight: NDArray[Any] | None,
    factor: NDArray[Any] | None = None,
    *,
    options: Options,
    with_gradient: bool = False,
) -> tuple[Any, NDArray[Any]]:
    """Return the losses N x C x H x W or their sum or mean, and the gradient.

    The gradient is that of the mean, or of the sum of the losses times `factor`, to the scores.
    """
    images, classes, h, w = scores.shape
    size, dtype = target.shape[-2:], scores.dtype
    shape = (images * classes, 1, h, w)
    bottoms, plan, workspace = prepare((h, w), size, options.grid, 1, dtype, _scratch)
    tasks = len(bottoms) * shape[0]
    factors = np.empty((1, 0, 0), dtype) if factor is None else factor.reshape(-1, *size)
    case = Case(
        np.ascontiguousarray(scores).reshape(shape),
        np.ascontiguousarray(target).reshape(-1, *size),
        np.ascontiguousarray(factors, dtype),
        np.ones(classes, dtype) if pos_weight is None else pos_weight.astype(dtype),
        options.ignore_index,
        classes,
        int(target.ndim == 3),
    )
    result = Result(
        np.empty((shape[0], *size) if options.per_pixel else (0, 0, 0), dtype),
        np.empty(shape if with_gradient else (0, 0, 0, 0), dtype),
        np.empty((tasks, 1, w) if with_gradient else (tasks, 0, 0), dtype),
        np.zeros((tasks, 3)),
    )
    share(STRIPS, tasks, case, plan, result, scratch=workspace)
    if result.sums[:, 1].any():
        check_labels(target, classes if case.labelled else 2, options.ignore_index)
    if with_gradient:
        add_spill(bottoms, result.spill, result.gradient)
    gradient = result.gradient.reshape(scores.shape) if with_gradient else result.gradient
    if options.per_pixel:
        return result.losses.reshape(images, classes, *size), gradient
    loss, _, count = result.sums.sum(0)
    if options.mean:
        loss /= count or 1
        gradient /= dtype.type(count or 1)
    return loss, gradient


def _scratch(classes: int, dtype: np.dtype[Any]) -> Scratch:
    def numbers(*count: int) -> NDArray[Any]:
        return np.empty((*count, COLUMNS), dtype)

    return Scratch(
        *(numbers(2, classes), numbers(2, classes), numbers(2), numbers(2), numbers()),
        *(numbers(), numbers(), numbers(), numbers(), np.empty(COLUMNS)),
    )
