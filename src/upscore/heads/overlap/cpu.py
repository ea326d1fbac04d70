"""The overlap and its gradient on the CPU: the launcher of the kernels."""

from functools import partial
from typing import Any, NamedTuple

import numpy as np
from numpy.typing import NDArray

from upscore.heads.overlap.options import Options
from upscore.heads.pixels.launch import by_pixels
from upscore.heads.strips.launch import by_strips
from upscore.heads.strips.plan import ROWS, chunk_columns
from upscore.heads.target import check_labels, of_pixels
from upscore.kernels.launch import Kernel

SOFTMAX_STRIPS = Kernel("upscore.heads.overlap.softmax_kernels", "softmax_strips")
SIGMOID_STRIPS = Kernel("upscore.heads.overlap.sigmoid_kernels", "sigmoid_strips")
SOFTMAX_PIXELS = Kernel("upscore.heads.overlap.pixel_kernels", "softmax_pixels")
SIGMOID_PIXELS = Kernel("upscore.heads.overlap.pixel_kernels", "sigmoid_pixels")


class Case(NamedTuple):
    """Scores and target; under the sigmoid each class is an image of its own.

    At the target's own size h x w and H x W are one line of pixels.
    """

    scores: NDArray[Any]  # N x C x h x w, or N C x 1 x h x w
    target: NDArray[Any]  # N x H x W, or N C x H x W of 0 and 1
    weight: NDArray[Any]  # N x H x W, of each pixel, or empty: all ones
    toward: NDArray[Any]  # N x 5 x C, or N C x 5 x 1: a loss's derivatives by the sums
    ignore_index: int
    planes: int  # classes that are images of their own
    labelled: int  # whether the target is N x H x W class numbers
    losses: int  # whether the cross-entropies are summed


class Result(NamedTuple):
    """What the kernel writes: the sums, or the gradient."""

    gradient: NDArray[Any]  # like the scores, or empty
    spill: NDArray[Any]  # strips x C x w: what a strip adds to the first row of the next
    sums: NDArray[np.float64]  # tasks x 6 x C: those of `overlap`; labels of no meaning


class SoftmaxScratch(NamedTuple):
    """What a thread works with: numbers of a chunk's columns, and of how many rows or classes."""

    dense: NDArray[Any]  # 2 x C: two source rows, interpolated horizontally
    to: NDArray[Any]  # 2 x C: their gradients
    greatest: NDArray[Any]  # 2: the extreme scores of the two source rows
    least: NDArray[Any]
    base: NDArray[Any]  # what is subtracted from a column's scores
    mass: NDArray[Any]  # of a row's pixels: what each weighs
    e: NDArray[Any]  # C: exponentials of a block's first row
    ratio: NDArray[Any]  # C: ... and by what they are multiplied from row to row
    sums: NDArray[Any]  # rows: the sums of the exponentials
    parts: NDArray[Any]  # rows: what a pixel's exponentials are multiplied with
    less: NDArray[Any]  # rows: what is taken from every class's slope
    run: NDArray[Any]  # for passing use


class SigmoidScratch(NamedTuple):
    """The same under the sigmoid."""

    dense: NDArray[Any]  # 2 x 1
    to: NDArray[Any]
    base: NDArray[Any]  # its length alone is used
    mass: NDArray[Any]
    p: NDArray[Any]  # the probabilities of a row
    z: NDArray[Any]  # exponentials of the negative absolute scores
    true: NDArray[Any]  # whether each pixel is true


class PixelScratch(NamedTuple):
    """The same at the target's own size: numbers of a block's pixels."""

    e: NDArray[Any]  # C: exponentials
    base: NDArray[Any]  # what is subtracted from a pixel's scores
    total: NDArray[Any]  # the sums of the exponentials
    partial: NDArray[Any]  # parts of these sums
    label: NDArray[np.int32]  # -1 for none
    mass: NDArray[Any]  # what each pixel weighs
    part: NDArray[Any]  # what a pixel's exponentials are multiplied with
    own: NDArray[Any]  # what is of the label alone
    less: NDArray[Any]  # what is taken from every class's slope
    p: NDArray[Any]  # the probabilities of one class
    z: NDArray[Any]  # exponentials of its negative absolute scores
    true: NDArray[Any]  # whether each pixel is true


def overlap(
    scores: NDArray[Any],
    target: NDArray[Any],
    weight: NDArray[Any] | None,
    toward: NDArray[Any] | None = None,
    *,
    options: Options,
) -> NDArray[Any]:
    """Return the sums N x K x C, or, given a loss's derivatives `toward` them, its gradient.

    They are hits, predicted and true, and with `options.losses` the cross-entropies and what the
    pixels weigh that have them; the gradient is that by the scores.
    """
    images, classes, h, w = scores.shape
    dtype, size = scores.dtype, target.shape[-2:]
    planes = classes if options.sigmoid else 1
    same = all(map(options.grid.copies, (h, w), size))
    lead = images * planes, classes // planes
    slopes = np.zeros((images, 5, classes), dtype)
    if toward is not None:
        slopes[:, : toward.shape[1]] = toward
    if options.sigmoid:
        slopes = slopes.swapaxes(1, 2).reshape(-1, 5, 1)
    flat = (h * w,) if same else size
    case = Case(
        np.ascontiguousarray(scores).reshape(*lead, *(flat if same else (h, w))),
        np.ascontiguousarray(target).reshape(-1, *flat),
        of_pixels(weight, flat, dtype),
        np.ascontiguousarray(slopes),
        options.ignore_index,
        planes,
        int(target.ndim == 3),
        int(options.losses),
    )
    made = partial(_result, case, toward is not None)
    result: Result
    if same:
        kernel = SIGMOID_PIXELS if options.sigmoid else SOFTMAX_PIXELS
        result = by_pixels(kernel, case, PixelScratch, made)
    else:
        kernel, scratch = (
            (SIGMOID_STRIPS, _sigmoid) if options.sigmoid else (SOFTMAX_STRIPS, _softmax)
        )
        result = by_strips(kernel, case, size, options.grid, scratch, made)
    if result.sums[:, 5].any():
        check_labels(target, classes if case.labelled else 2, options.ignore_index)
    if toward is not None:
        return result.gradient.reshape(scores.shape)
    if not options.sigmoid:  # a class's losses are those of the pixels where it is true
        result.sums[:, 4] = result.sums[:, 2]
    count, tasks = 5 if options.losses else 3, len(result.sums) // max(1, lead[0])
    sums = result.sums[:, :count].reshape(images, planes, tasks, count, lead[1]).sum(2)
    return np.ascontiguousarray(sums.swapaxes(1, 2)).reshape(images, count, classes)


def _result(case: Case, with_gradient: bool, tasks: int) -> Result:
    dtype = case.scores.dtype
    return Result(
        np.empty(case.scores.shape if with_gradient else (0,) * case.scores.ndim, dtype),
        np.empty((tasks, 0, 0), dtype),
        np.zeros((tasks, 6, case.scores.shape[1])),
    )


def _softmax(classes: int, dtype: np.dtype[Any]) -> SoftmaxScratch:
    chunk = chunk_columns(classes)

    def numbers(*count: int) -> NDArray[Any]:
        return np.empty((*count, chunk), dtype)

    return SoftmaxScratch(
        *(numbers(2, classes), numbers(2, classes)),
        *(numbers(2), numbers(2), numbers(), numbers()),
        *(numbers(classes), numbers(classes)),
        *(numbers(ROWS), numbers(ROWS), numbers(ROWS), numbers()),
    )


def _sigmoid(classes: int, dtype: np.dtype[Any]) -> SigmoidScratch:
    chunk = chunk_columns(classes)

    def numbers(*count: int) -> NDArray[Any]:
        return np.empty((*count, chunk), dtype)

    return SigmoidScratch(
        *(numbers(2, classes), numbers(2, classes), numbers(), numbers()),
        *(numbers(), numbers(), numbers()),
    )
