"""The overlap and its gradient on the CPU: the launcher of the kernels."""

from typing import Any, NamedTuple

import numpy as np
from numpy.typing import NDArray

from upscore.heads.overlap.options import Options
from upscore.heads.strips.launch import add_spill, prepare
from upscore.heads.strips.plan import ROWS, chunk_columns
from upscore.heads.target import check_labels
from upscore.kernels.launch import Kernel
from upscore.kernels.threads import share

SOFTMAX = Kernel("upscore.heads.overlap.softmax_kernels", "softmax_strips")
SIGMOID = Kernel("upscore.heads.overlap.sigmoid_kernels", "sigmoid_strips")


class Case(NamedTuple):
    """Scores and target; under the sigmoid each class is an image of its own."""

    scores: NDArray[Any]  # N x C x h x w, or N C x 1 x h x w
    target: NDArray[Any]  # N x H x W, or N C x H x W of 0 and 1
    weight: NDArray[Any]  # N x H x W, of each pixel, or empty: all ones
    toward: NDArray[Any]  # N x 2 x C, or N C x 2 x 1: a loss's derivatives by hits and predicted
    ignore_index: int
    planes: int  # classes that are images of their own
    labelled: int  # whether the target is N x H x W class numbers


class Result(NamedTuple):
    """What the kernel writes: the sums, or the gradient."""

    gradient: NDArray[Any]  # like the scores, or empty
    spill: NDArray[Any]  # strips x C x w: what a strip adds to the first row of the next
    sums: NDArray[np.float64]  # strips x 4 x C: hits, predicted, true; labels that are no class


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
    predicted: NDArray[np.float64]  # C: the probabilities so far
    sums: NDArray[Any]  # rows: the sums of the exponentials
    parts: NDArray[Any]  # rows: what a pixel's exponentials are multiplied with
    less: NDArray[Any]  # rows: what is taken from every class's slope
    run: NDArray[Any]  # for passing use


class SigmoidScratch(NamedTuple):
    """The same under the sigmoid."""

    dense: NDArray[Any]  # 2 x 1
    to: NDArray[Any]
    greatest: NDArray[Any]  # 2
    least: NDArray[Any]
    base: NDArray[Any]  # its length alone is used
    mass: NDArray[Any]
    p: NDArray[Any]  # the probabilities of a row
    true: NDArray[Any]  # whether each pixel is true
    sums: NDArray[np.float64]  # 3: hits, predicted and true so far


def overlap(
    scores: NDArray[Any],
    target: NDArray[Any],
    weight: NDArray[Any] | None,
    toward: NDArray[Any] | None = None,
    *,
    options: Options,
) -> NDArray[Any]:
    """Return the sums N x 3 x C, or, given the derivatives N x 2 x C of a loss, its gradient.

    The derivatives are those by hits and predicted; the gradient is that by the scores.
    """
    images, classes, h, w = scores.shape
    dtype = scores.dtype
    planes = classes if options.sigmoid else 1
    shape = (images * planes, classes // planes, h, w)
    kernel, scratch = (SIGMOID, _sigmoid) if options.sigmoid else (SOFTMAX, _softmax)
    size = target.shape[-2:]
    bottoms, plan, workspace = prepare((h, w), size, options.grid, shape[1], dtype, scratch)
    tasks = len(bottoms) * shape[0]
    with_gradient = toward is not None
    slopes = np.zeros((0, 2, 0)) if toward is None else toward
    if options.sigmoid and toward is not None:
        slopes = toward.swapaxes(1, 2).reshape(-1, 2, 1)
    case = Case(
        np.ascontiguousarray(scores).reshape(shape),
        np.ascontiguousarray(target).reshape(-1, *size),
        np.empty((1, 0, 0), dtype) if weight is None else np.ascontiguousarray(weight, dtype),
        np.ascontiguousarray(slopes, dtype),
        options.ignore_index,
        planes,
        int(target.ndim == 3),
    )
    result = Result(
        np.empty(shape if with_gradient else (0, 0, 0, 0), dtype),
        np.empty((tasks, shape[1], w) if with_gradient else (tasks, 0, 0), dtype),
        np.zeros((tasks, 4, shape[1])),
    )
    share(kernel, tasks, case, plan, result, scratch=workspace)
    if result.sums[:, 3].any():
        check_labels(target, classes if case.labelled else 2, options.ignore_index)
    if with_gradient:
        add_spill(bottoms, result.spill, result.gradient)
        return result.gradient.reshape(scores.shape)
    sums = (
        result.sums[:, :3].reshape(images, planes, len(bottoms), 3, shape[1]).sum(2).swapaxes(1, 2)
    )
    return np.ascontiguousarray(sums).reshape(images, 3, classes)


def _softmax(classes: int, dtype: np.dtype[Any]) -> SoftmaxScratch:
    chunk = chunk_columns(classes)

    def numbers(*count: int) -> NDArray[Any]:
        return np.empty((*count, chunk), dtype)

    return SoftmaxScratch(
        *(numbers(2, classes), numbers(2, classes)),
        *(numbers(2), numbers(2), numbers(), numbers()),
        *(numbers(classes), numbers(classes), np.empty((classes, chunk))),
        *(numbers(ROWS), numbers(ROWS), numbers(ROWS), numbers()),
    )


def _sigmoid(classes: int, dtype: np.dtype[Any]) -> SigmoidScratch:
    chunk = chunk_columns(classes)

    def numbers(*count: int) -> NDArray[Any]:
        return np.empty((*count, chunk), dtype)

    return SigmoidScratch(
        *(numbers(2, classes), numbers(2, classes)),
        *(numbers(2), numbers(2), numbers(), numbers()),
        *(numbers(), numbers(), np.empty((3, chunk))),
    )
