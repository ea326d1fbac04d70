"""Labels the usual way: interpolate the scores to full resolution, then compare.

What the fused head is compared with, and what serves where it cannot.
"""

from typing import TYPE_CHECKING, Any

import numpy as np
from numpy.typing import NDArray

from upscore.heads.grid import interpolate_array, interpolate_tensor

if TYPE_CHECKING:
    from torch import Tensor


def argmax(
    scores: Any,
    labels: Any,
    confidence: Any = None,
    *,
    kind: str | None = None,
    align_corners: bool = False,
    stride: int | None = None,
) -> None:
    """Write the labels of N x C x h x w scores (arrays or tensors) and, if asked, confidence."""
    size = labels.shape[-2:]
    if isinstance(scores, np.ndarray):
        for n, image in enumerate(scores):
            dense = interpolate_array(image, size, align_corners=align_corners, stride=stride)
            labels[n] = dense.argmax(0)
            if kind is not None:
                confidence[n] = _confidence_array(dense, kind)
        return
    import torch

    with torch.no_grad():
        wide = scores if scores.dtype == torch.float64 else scores.float()
        full = interpolate_tensor(wide, size, align_corners=align_corners, stride=stride)
        labels.copy_(full.argmax(1))
        if kind is not None:
            confidence.copy_(_confidence(full, kind))


def _confidence(full: "Tensor", kind: str) -> "Tensor":
    """Return the winner's probability, its margin to the runner-up, or the entropy over axis 1."""
    import torch

    if kind == "margin":
        if full.shape[1] == 1:
            return full[:, 0] + torch.inf  # infinite, except that NaN and -inf give NaN
        best = full.topk(2, 1).values
        return best[:, 0] - best[:, 1]
    log = full.log_softmax(1)
    return log.amax(1).exp() if kind == "probability" else torch.special.entr(log.exp()).sum(1)


def _confidence_array(full: NDArray[Any], kind: str) -> NDArray[Any]:
    """Do as `_confidence` for a C x H x W array."""
    with np.errstate(invalid="ignore"):
        if kind == "margin":
            if len(full) == 1:
                return np.asarray(full[0] + np.inf)
            best = np.partition(full, -2, axis=0)
            return np.asarray(best[-1] - best[-2])
        below = full - full.max(0)
        e = np.exp(below)
        total = e.sum(0)
        if kind == "probability":
            return np.asarray(1 / total)
        return np.asarray(np.log(total) - np.where(e > 0, e * below, 0).sum(0) / total)
