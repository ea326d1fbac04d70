"""Several coarse scores of the same photos made one, in NumPy.

Each view votes with its probabilities: the result is the logarithm of the mean of the softmaxes.
A constant added to all classes of a score changes nothing, and a view that is sure by nature of its
scores' size has no more than one vote; the mean of the scores themselves would give it more. The
heads interpolate logarithms as they do scores: for a single view the labels are the same.
"""

from collections.abc import Iterable
from fractions import Fraction
from typing import Any, NamedTuple

import numpy as np
from numpy.typing import NDArray

from upscore.arrays import as_numpy
from upscore.geometry import linear_positions

Floats = NDArray[np.float32]


class Coarse(NamedTuple):
    """Coarse scores of photos, and where they lie on them.

    scores: N x C x h x w, an array or a tensor.
    size: height and width of the photos, in pixels.
    stride: score (i, j) is centred on ((i + 0.5) stride, (j + 0.5) stride); None: h x w equal cells
        cover the photos exactly. It is the `stride` that `upscore.argmax` takes.
    """

    scores: Any
    size: tuple[int, int]
    stride: int | None

    @property
    def cells(self) -> tuple[int, int]:
        """How many rows and columns of scores there are."""
        height, width = self.scores.shape[-2:]
        return height, width

    @property
    def steps(self) -> tuple[Fraction, Fraction]:
        """Height and width of a cell, in pixels of the photos."""
        if self.stride is not None:
            return Fraction(self.stride), Fraction(self.stride)
        return Fraction(self.size[0], self.cells[0]), Fraction(self.size[1], self.cells[1])


def resampled(
    coarse: Coarse, cells: tuple[int, int], steps: tuple[Fraction, Fraction]
) -> NDArray[np.float32]:
    """Interpolate scores linearly at the centres of other cells: `cells` of them, `steps` large."""
    scores: Floats = as_numpy(coarse.scores)
    if (coarse.cells, coarse.steps) == (cells, steps):
        return scores
    for axis, count, step, onto in zip((2, 3), cells, coarse.steps, steps, strict=True):
        low, high, weight = linear_positions(scores.shape[axis], count, stride=step / onto)
        w = weight.astype(np.float32).reshape((-1, 1) if axis == 2 else -1)
        with np.errstate(invalid="ignore"):  # scores may be infinite
            scores = scores.take(low, axis) * (1 - w) + scores.take(high, axis) * w
    return scores


def fused(views: Iterable[Coarse]) -> Coarse:
    """Return the mean of the views' probabilities as scores, on the grid of the first of them.

    One view alone comes back as it is. Of more, one is in memory at a time.
    """
    views = iter(views)
    first = next(views)
    total, count = None, 1
    for view in views:
        if total is None:
            total = _log_softmax(resampled(first, first.cells, first.steps))
        np.logaddexp(total, _log_softmax(resampled(view, first.cells, first.steps)), out=total)
        count += 1
    return first if total is None else first._replace(scores=total - np.float32(np.log(count)))


def _log_softmax(scores: Floats) -> Floats:
    """The logarithm of the softmax over the classes."""
    scores = scores - scores.max(axis=1, keepdims=True)
    scores -= np.log(np.exp(scores).sum(axis=1, keepdims=True))
    return scores
