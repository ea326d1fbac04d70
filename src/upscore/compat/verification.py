"""Comparisons of upscore's results with those of the functions that it stands in for."""

from collections.abc import Sequence
from typing import Any

import torch
from torch import Tensor
from torch.nn import functional as F

from upscore.errors import MismatchError

Listed = list[dict[str, Any]]  # the segments of a photo, as transformers describes them


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


def verify_volume(
    scores: Tensor,
    ours: Tensor,
    theirs: Tensor,
    *,
    nearest: Sequence[int] = (),
    regions: Sequence[int] | None = None,
) -> None:
    """Raise MismatchError where labels of C x d x h x w scores differ by more than a tie."""
    differ = ours != theirs
    if not differ.any():
        return
    sides = list(ours.shape)
    linear = [scores.shape[1 + axis] if axis in nearest else sides[axis] for axis in range(3)]
    chosen = []
    for one in scores:  # class by class, so that few are there at once
        full = F.interpolate(one[None, None].double(), linear, mode="trilinear")
        chosen.append(F.interpolate(full, sides, mode="nearest-exact")[0, 0][differ])
    full = torch.stack(chosen)
    if regions is None:
        own, other = (full.gather(0, labels[differ][None])[0] for labels in (ours, theirs))
    else:  # the later one of two regions is above 0 for one of them, and not for the other
        order = torch.full((max(regions) + 1,), -1)
        order[list(regions)] = torch.arange(len(regions))
        later = torch.maximum(order[ours[differ]], order[theirs[differ]])
        own = full.gather(0, later[None])[0]
        other = torch.zeros_like(own)
    _check(own, other, differ, rounding_of(scores), "labels")


def verify_masks(
    full: Tensor, threshold: float, scores: Tensor, ours: Tensor, theirs: Tensor
) -> None:
    """Raise MismatchError where masks differ and the full scores, in float64, are not near."""
    differ = ours != theirs
    if differ.any():
        own = full[differ]
        _check(own, torch.full_like(own, threshold), differ, rounding_of(scores), "masks")


def verify_scores(coarse: Tensor, ours: Tensor, theirs: Tensor) -> None:
    """Raise MismatchError where scores at full resolution differ by more than rounding."""
    differ = (ours != theirs) & ~(ours.isnan() & theirs.isnan())
    if differ.any():
        _check(ours[differ], theirs[differ], differ, rounding_of(coarse), "scores")


def verify_segments(
    values: Tensor, edge: Tensor | None, rounding: float, ours: Any, theirs: Any
) -> None:
    """Raise MismatchError where segments differ and no two queries are near each other.

    The lists must be the same but for the sixth digit of scores, and but for segments all of whose
    pixels differ.

    Args:
        values: Q x H x W, what the queries compete with, in float64.
        edge: H x W, how far the winners are from the threshold, where that matters.
        rounding: how near is near.
        ours, theirs: the segmentation (H x W) and the list of segments.
    """
    (one, listed), (other, other_listed) = ours, theirs
    differ = one != other
    if differ.any():
        best = values[:, differ].topk(min(len(values), 2), 0).values
        gap = best[0] - best[1] if len(best) > 1 else torch.full_like(best[0], torch.inf)
        if edge is not None:
            gap = gap.minimum(edge[differ])
        _check(gap, torch.zeros_like(gap), differ, rounding, "segments")
    if not _alike(_agreed(listed, one, differ), _agreed(other_listed, other, differ)):
        raise MismatchError(f"segments differ: {listed} and {other_listed}")


def _agreed(listed: Listed, segmentation: Tensor, differ: Tensor) -> Listed:
    """The segments of a list without those all of whose pixels differ."""
    without = set(torch.unique(segmentation[differ]).tolist())
    without -= set(torch.unique(segmentation[~differ]).tolist())
    return [segment for segment in listed if segment["id"] not in without]


def _alike(listed: Listed, others: Listed) -> bool:
    """Whether lists of segments are the same but for the sixth digit of scores."""
    return len(listed) == len(others) and all(
        {**one, "score": 0} == {**other, "score": 0} and abs(one["score"] - other["score"]) < 1.5e-6
        for one, other in zip(listed, others, strict=True)
    )


def verify_instances(ours: Any, theirs: Any) -> None:
    """Raise MismatchError unless instances are the same, pixel by pixel.

    Each has a segmentation, binary maps or lists of run lengths, and the list of segments. Scores
    may differ in the sixth digit; nothing else may, not even by rounding. So an instance that only
    one of the two has is a mismatch, even where its score is within rounding of the threshold.
    """
    (one, listed), (other, other_listed) = ours.values(), theirs.values()
    if not _alike(listed, other_listed):
        raise MismatchError(f"instances differ: {listed} and {other_listed}")
    if not isinstance(one, Tensor):
        if one != other:
            raise MismatchError("the run lengths of instances differ")
        return
    places = (one != other).nonzero().tolist()
    if places:
        raise MismatchError(
            f"the instances differ at {tuple(places[0])}; {len(places):,} pixels differ in all"
        )


def verify_loss(ours: Tensor, theirs: Tensor) -> None:
    """Raise MismatchError where losses differ from the library's, computed in float64."""
    ours = ours.detach().double()
    if not torch.allclose(ours, theirs, rtol=1e-4, atol=1e-4, equal_nan=True):
        gap = (ours - theirs).abs().amax()
        raise MismatchError(
            f"the loss differs by {float(gap):.3g} from the library's in float64, and rounding "
            "explains no more than 0.0001 of it"
        )


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
