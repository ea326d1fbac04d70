"""The loss and its gradient on the CPU: the launcher of the kernel."""

from typing import Any, NamedTuple

import numpy as np
from numpy.typing import NDArray

from upscore.heads.cross_entropy.options import Options
from upscore.heads.strips.launch import add_spill, prepare
from upscore.heads.strips.plan import ROWS, chunk_columns
from upscore.heads.target import check_labels
from upscore.kernels.launch import Kernel
from upscore.kernels.threads import share

STRIPS = Kernel("upscore.heads.cross_entropy.cpu_kernels", "strip_losses")


class Case(NamedTuple):
    """Scores, target, and what a pixel's terms are multiplied with."""

    scores: NDArray[Any]  # N x C x h x w
    target: NDArray[Any]  # N x H x W
    factor: NDArray[Any]  # N x H x W, of each pixel's loss, or empty: all ones
    tilt: NDArray[Any]  # N x H x W, of each pixel's logarithm of summed exponentials, or empty
    ignore_index: int
    weight: NDArray[Any]  # of each class
    own: NDArray[Any]  # ... times the part of the target that is the label's
    spread: NDArray[Any]  # ... times the part that is every class's, or empty


class Result(NamedTuple):
    """What the kernel writes; arrays that nobody asked for are empty."""

    losses: NDArray[Any]  # N x H x W
    log_sums: NDArray[Any]  # N x H x W
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
    tilt: NDArray[Any] | None = None,
    *,
    options: Options,
    with_gradient: bool = False,
) -> tuple[Any, float, NDArray[Any], NDArray[Any]]:
    """Return the losses, the pixels' weight, log-sums and the gradient, as `torch_op` does."""
    N, C, h, w = scores.shape
    _, H, W = target.shape
    dtype, smoothing = scores.dtype, options.label_smoothing
    bottoms, plan, workspace = prepare((h, w), (H, W), options.grid, C, dtype, _scratch)
    tasks = N * len(bottoms)
    weight = np.ones(C, dtype) if weight is None else weight.astype(dtype)
    case = Case(
        np.ascontiguousarray(scores),
        np.ascontiguousarray(target),
        _or_empty(factor, dtype),
        _or_empty(tilt, dtype),
        options.ignore_index,
        weight,
        (1 - smoothing) * weight,
        smoothing / C * weight if smoothing else weight[:0],
    )
    result = Result(
        np.empty((N, H, W) if options.per_pixel else (1, 0, 0), dtype),
        np.empty((N, H, W) if options.log_sums else (1, 0, 0), dtype),
        np.empty(scores.shape if with_gradient else (0, 0, 0, 0), dtype),
        np.empty((tasks, C, w) if with_gradient else (tasks, 0, 0), dtype),
        np.zeros((tasks, 3)),
    )
    share(STRIPS, tasks, case, plan, result, scratch=workspace)
    loss, count, wrong = result.sums.sum(0)
    if wrong:
        check_labels(target, C, options.ignore_index)
    if with_gradient:
        add_spill(bottoms, result.spill, result.gradient)
    if options.mean:
        loss /= count or 1
        result.gradient[...] /= dtype.type(count or 1)
    losses = result.losses if options.per_pixel else loss
    return losses, count, result.log_sums, result.gradient


def _or_empty(numbers: NDArray[Any] | None, dtype: np.dtype[Any]) -> NDArray[Any]:
    return np.empty((1, 0, 0), dtype) if numbers is None else np.ascontiguousarray(numbers, dtype)


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
