"""The loss and its gradient on the CPU: the launcher of the kernel."""

from functools import partial
from typing import Any, NamedTuple

import numpy as np
from numpy.typing import NDArray

from upscore.heads.cross_entropy.options import Options
from upscore.heads.pixels.launch import by_pixels
from upscore.heads.strips.launch import by_strips
from upscore.heads.strips.plan import ROWS, chunk_columns
from upscore.heads.target import check_labels, of_pixels
from upscore.kernels.launch import Kernel

STRIPS = Kernel("upscore.heads.cross_entropy.cpu_kernels", "strip_losses")
PIXELS = Kernel("upscore.heads.cross_entropy.pixel_kernels", "pixel_losses")


class Case(NamedTuple):
    """Scores, target, and what a pixel's terms are multiplied with.

    At the target's own size h x w and H x W are one line of pixels.
    """

    scores: NDArray[Any]  # N x C x h x w
    target: NDArray[Any]  # N x H x W
    factor: NDArray[Any]  # N x H x W, of each pixel's loss, or empty: all ones
    tilt: NDArray[Any]  # N x H x W, of each pixel's logarithm of summed exponentials, or empty
    ignore_index: int
    weight: NDArray[Any]  # of each class
    own: NDArray[Any]  # ... times the part of the target that is the label's
    spread: NDArray[Any]  # ... times the part that is every class's, or empty
    scale: Any  # what the gradient is multiplied with, a number, of lines of pixels
    weighing: int = 0  # whether the pixels' weight alone is wanted, of lines of pixels


class Result(NamedTuple):
    """What the kernel writes; arrays that nobody asked for are empty."""

    losses: NDArray[Any]  # N x H x W
    log_sums: NDArray[Any]  # N x H x W
    gradient: NDArray[Any]  # N x C x h x w
    spill: NDArray[Any]  # strips x C x w: what a strip adds to the first row of the next
    sums: NDArray[np.float64]  # tasks x 3: loss, weight, labels that are no class


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


class PixelScratch(NamedTuple):
    """The same at the target's own size: numbers of a block's pixels."""

    e: NDArray[Any]  # C: exponentials
    base: NDArray[Any]  # what is subtracted from a pixel's scores
    total: NDArray[Any]  # the sums of the exponentials
    partial: NDArray[Any]  # parts of these sums
    label: NDArray[np.int32]  # -1 for none
    own: NDArray[Any]  # what each pixel weighs
    valid: NDArray[Any]  # ... the factor of its loss, 0 if it is ignored
    mass: NDArray[Any]  # ... what its probabilities weigh
    log_sum: NDArray[Any]  # the logarithms of `total`
    loss: NDArray[Any]


def cross_entropy(
    scores: NDArray[Any],
    target: NDArray[Any],
    weight: NDArray[Any] | None,
    factor: NDArray[Any] | None = None,
    tilt: NDArray[Any] | None = None,
    *,
    options: Options,
    with_gradient: bool = False,
) -> tuple[Any, float, NDArray[Any], NDArray[Any]]:
    """Return the losses, the pixels' weight, log-sums and the gradient, as `torch_op` does."""
    images, classes, h, w = scores.shape
    dtype, size, smoothing = scores.dtype, target.shape[-2:], options.label_smoothing
    same = all(map(options.grid.copies, (h, w), size))
    flat = (h * w,) if same else size
    weight = np.ones(classes, dtype) if weight is None else weight.astype(dtype)
    case = Case(
        np.ascontiguousarray(scores).reshape(images, classes, *(flat if same else (h, w))),
        np.ascontiguousarray(target).reshape(images, *flat),
        of_pixels(factor, flat, dtype),
        of_pixels(tilt, flat, dtype),
        options.ignore_index,
        weight,
        (1 - smoothing) * weight,
        smoothing / classes * weight if smoothing else weight[:0],
        dtype.type(1),
    )
    if same:
        result = _by_pixels(case, options, with_gradient)
    else:
        made = partial(_result, case, options, with_gradient)
        result = by_strips(STRIPS, case, size, options.grid, _scratch, made)
        if with_gradient and options.mean:
            result.gradient[...] /= dtype.type(result.sums[:, 1].sum() or 1)
    loss, count, wrong = result.sums.sum(0)
    if wrong:
        check_labels(target, classes, options.ignore_index)
    if options.mean:
        loss /= count or 1
    losses = result.losses.reshape(target.shape) if options.per_pixel else loss
    gradient = result.gradient.reshape(scores.shape) if with_gradient else result.gradient
    log_sums = result.log_sums.reshape(target.shape) if options.log_sums else result.log_sums
    return losses, count, log_sums, gradient


def _result(case: Case, options: Options, with_gradient: bool, tasks: int) -> Result:
    dtype, full = case.scores.dtype, case.target.shape
    nothing = (1, *[0] * (len(full) - 1))
    return Result(
        np.empty(full if options.per_pixel else nothing, dtype),
        np.empty(full if options.log_sums else nothing, dtype),
        np.empty(case.scores.shape if with_gradient else (0,) * case.scores.ndim, dtype),
        np.empty((tasks, 0, 0), dtype),
        np.zeros((tasks, 3)),
    )


def _by_pixels(case: Case, options: Options, with_gradient: bool) -> Result:
    """Return the result; before a gradient of the mean is written, the target is weighed."""
    made = partial(_result, case, options)
    if with_gradient and options.mean:
        weighed = by_pixels(PIXELS, case._replace(weighing=1), PixelScratch, partial(made, False))
        count = weighed.sums[:, 1].sum() or 1
        case = case._replace(scale=case.scale.dtype.type(1 / count))
    result: Result = by_pixels(PIXELS, case, PixelScratch, partial(made, with_gradient))
    return result


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
    )
