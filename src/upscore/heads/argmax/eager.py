"""Labels the usual way: interpolate the scores to full resolution, then compare.

What the fused head is compared with, and what serves where it cannot.
"""

from typing import TYPE_CHECKING, Any

import numpy as np
from numpy.typing import NDArray

from upscore.arrays import framework
from upscore.heads.grid import HALF_PIXEL, Grid, interpolate_array, interpolate_tensor, widened

if TYPE_CHECKING:
    from torch import Tensor


def argmax(
    scores: Any,
    labels: Any,
    confidence: Any = None,
    *,
    measure: str | None = None,
    grid: Grid = HALF_PIXEL,
) -> None:
    """Write the labels of N x C x h x w scores (arrays or tensors) and, if asked, confidence."""
    if framework(scores).name == "numpy":
        _argmax_arrays(scores, labels, confidence, measure, grid)
    else:
        _argmax_tensors(scores, labels, confidence, measure, grid)


def _argmax_arrays(
    scores: NDArray[Any],
    labels: NDArray[Any],
    confidence: NDArray[Any] | None,
    measure: str | None,
    grid: Grid,
) -> None:
    for n, image in enumerate(scores):
        full = interpolate_array(image, labels.shape[-2:], grid)
        labels[n] = full.argmax(0)
        if confidence is not None and measure is not None:
            confidence[n] = _confidence_of_array(full, measure)


def _argmax_tensors(
    scores: "Tensor",
    labels: "Tensor",
    confidence: "Tensor | None",
    measure: str | None,
    grid: Grid,
) -> None:
    import torch

    with torch.no_grad():
        full = interpolate_tensor(widened(scores), tuple(labels.shape[1:]), grid)
        labels.copy_(full.argmax(1))
        if confidence is not None and measure is not None:
            confidence.copy_(_confidence_of_tensor(full, measure))


def _confidence_of_tensor(full: "Tensor", measure: str) -> "Tensor":
    """Return the winner's probability, its margin to the runner-up, or the entropy over axis 1."""
    import torch

    if measure == "margin":
        if full.shape[1] == 1:
            return full[:, 0] + torch.inf  # infinite, except that NaN and -inf give NaN
        best = full.topk(2, 1).values
        return best[:, 0] - best[:, 1]
    log = full.log_softmax(1)
    return log.amax(1).exp() if measure == "probability" else torch.special.entr(log.exp()).sum(1)


def _confidence_of_array(full: NDArray[Any], measure: str) -> NDArray[Any]:
    """Do as `_confidence_of_tensor` for a C x H x W array."""
    with np.errstate(invalid="ignore"):
        if measure == "margin":
            if len(full) == 1:
                return np.asarray(full[0] + np.inf)
            best = np.partition(full, -2, axis=0)
            return np.asarray(best[-1] - best[-2])
        below = full - full.max(0)
        e = np.exp(below)
        total = e.sum(0)
        if measure == "probability":
            return np.asarray(1 / total)
        return np.asarray(np.log(total) - np.where(e > 0, e * below, 0).sum(0) / total)
