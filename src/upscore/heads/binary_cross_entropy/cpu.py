"""The binary loss and its gradient on the CPU: the launcher of the kernel."""

from functools import partial
from typing import Any, NamedTuple

import numpy as np
from numpy.typing import NDArray

from upscore.heads.binary_cross_entropy.options import Options
from upscore.heads.pixels.launch import by_pixels
from upscore.heads.strips.launch import by_strips
from upscore.heads.strips.plan import COLUMNS
from upscore.heads.target import check_labels, counted, of_pixels
from upscore.kernels.launch import Kernel

STRIPS = Kernel("upscore.heads.binary_cross_entropy.kernels", "binary_strips")
PIXELS = Kernel("upscore.heads.binary_cross_entropy.kernels", "binary_pixels")


class Case(NamedTuple):
    """Scores, each class as an image of its own, and target.

    At the target's own size h x w and H x W are one line of pixels.
    """

    scores: NDArray[Any]  # N C x 1 x h x w
    target: NDArray[Any]  # N C x H x W of 0 and 1, or N x H x W
    factor: NDArray[Any]  # N C x H x W, of each loss, or empty: all ones
    pos_weight: NDArray[Any]  # of each class
    ignore_index: int
    planes: int  # the classes
    labelled: int  # whether the target is N x H x W class numbers
    scale: Any  # what the gradient is multiplied with, a number


class Result(NamedTuple):
    """What the kernel writes; arrays that nobody asked for are empty."""

    losses: NDArray[Any]  # N C x H x W
    gradient: NDArray[Any]  # like the scores
    spill: NDArray[Any]  # strips x 1 x w: what a strip adds to the first row of the next
    sums: NDArray[np.float64]  # tasks x 3: loss, labels of no meaning, losses that count


class Scratch(NamedTuple):
    """What a thread works with: numbers of a chunk's columns."""

    dense: NDArray[Any]  # 2 x 1: two source rows, interpolated horizontally
    to: NDArray[Any]  # 2 x 1: their gradients
    base: NDArray[Any]  # its length alone is used
    mass: NDArray[Any]  # of a row's pixels: what each weighs
    true: NDArray[Any]  # ... whether its class is true
    loss: NDArray[Any]
    slope: NDArray[Any]


class PixelScratch(NamedTuple):
    """The same at the target's own size: numbers of a block's pixels."""

    base: NDArray[Any]  # its length alone is used
    mass: NDArray[Any]
    true: NDArray[Any]
    loss: NDArray[Any]
    slope: NDArray[Any]


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
    same = all(map(options.grid.copies, (h, w), size))
    flat = (h * w,) if same else size
    case = Case(
        np.ascontiguousarray(scores).reshape(-1, 1, *(flat if same else (h, w))),
        np.ascontiguousarray(target).reshape(-1, *flat),
        of_pixels(factor, flat, dtype),
        np.ones(classes, dtype) if pos_weight is None else pos_weight.astype(dtype),
        options.ignore_index,
        classes,
        int(target.ndim == 3),
        dtype.type(1),
    )
    if same:
        result = _by_pixels(case, options, with_gradient)
    else:
        made = partial(_result, case, options, with_gradient)
        result = by_strips(STRIPS, case, size, options.grid, _scratch, made)
        if with_gradient and options.mean:
            result.gradient[...] /= dtype.type(result.sums[:, 2].sum() or 1)
    loss, wrong, count = result.sums.sum(0)
    if wrong:
        check_labels(target, classes if case.labelled else 2, options.ignore_index)
    gradient = result.gradient.reshape(scores.shape) if with_gradient else result.gradient
    if options.per_pixel:
        return result.losses.reshape(images, classes, *size), gradient
    return loss / (count or 1) if options.mean else loss, gradient


def _by_pixels(case: Case, options: Options, with_gradient: bool) -> Result:
    """Return the result; before a gradient of the mean is written, the losses are counted."""
    if with_gradient and options.mean:
        count = np.count_nonzero(counted(case.target, case.ignore_index))
        count *= case.planes if case.labelled else 1
        case = case._replace(scale=case.scale.dtype.type(1 / (count or 1)))
    made = partial(_result, case, options, with_gradient)
    result: Result = by_pixels(PIXELS, case, PixelScratch, made)
    return result


def _result(case: Case, options: Options, with_gradient: bool, tasks: int) -> Result:
    dtype, planes, flat = case.scores.dtype, len(case.scores), case.target.shape[1:]
    return Result(
        np.empty((planes, *flat) if options.per_pixel else (0,) * case.target.ndim, dtype),
        np.empty(case.scores.shape if with_gradient else (0,) * case.scores.ndim, dtype),
        np.empty((tasks, 0, 0), dtype),
        np.zeros((tasks, 3)),
    )


def _scratch(classes: int, dtype: np.dtype[Any]) -> Scratch:
    def numbers(*count: int) -> NDArray[Any]:
        return np.empty((*count, COLUMNS), dtype)

    return Scratch(
        *(numbers(2, classes), numbers(2, classes), numbers()),
        *(numbers(), numbers(), numbers(), numbers()),
    )
