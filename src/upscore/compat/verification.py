"""Comparisons of upscore's results with those of the functions that it stands in for."""

import torch
from torch import Tensor
from torch.nn import functional as F

from upscore.errors import MismatchError


def rounding_of(scores: Tensor) -> float:
    """What two ways of resizing scores in their own type may differ by.

    PyTorch rounds positions too, the more so the larger they are.
    """
    finite = scores[scores.isfinite()]
    largest = float(finite.abs().amax()) if finite.numel() else 0.0
    return torch.finfo(scores.dtype).eps * (8 + 4 * max(scores.shape[-2:])) * largest


def verify_labels(scores: Tensor, ours: Tensor, theirs: Tensor) -> None:
    """Raise MismatchError where labels of C x h x w scores differ by more than a tie."""
    differ = ours != theirs
    if not differ.any():
        return
    size = (ours.shape[0], ours.shape[1])
    full = F.interpolate(scores[None].double(), size, mode="bilinear")[0][:, differ]
    own, other = (full.gather(0, labels[differ][None])[0] for labels in (ours, theirs))
    _check(own, other, differ, rounding_of(scores), "labels")


def verify_masks(
    full: Tensor, threshold: float, scores: Tensor, ours: Tensor, theirs: Tensor
) -> None:
    """Raise MismatchError where masks differ and the full scores, in float64, are not near."""
    differ = ours != theirs
    if differ.any():
        own = full[differ]
        _check(own, torch.full_like(own, threshold), differ, rounding_of(scores), "masks")


def _check(one: Tensor, other: Tensor, differ: Tensor, rounding: float, what: str) -> None:
    """Raise MismatchError unless all pairs of scores are near, or equal, or both no numbers."""
    gap = (one - other).abs().nan_to_num(nan=torch.inf)
    gap[(one == other) | (one.isnan() & other.isnan())] = 0
    worst = int(gap.argmax())
    if gap[worst] > rounding:
        place = tuple(differ.nonzero()[worst].tolist())
        raise MismatchError(
            f"the {what} differ at {place} by scores {float(gap[worst]):.3g} apart, and rounding "
            f"explains no more than {rounding:.3g}; {int(differ.sum()):,} pixels differ in all"
        )
