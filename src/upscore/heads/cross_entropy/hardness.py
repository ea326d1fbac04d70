"""Losses that look at each pixel's cross-entropy: focal, z-loss, and the hardest pixels alone."""

from typing import Any, NamedTuple

import numpy as np

from upscore.arrays import framework
from upscore.errors import ArgumentError
from upscore.heads.target import counted

LEAST = 1e-30


class Hardness(NamedTuple):
    """What is made of the pixels' losses; the defaults change nothing."""

    focal: float = 0.0  # gamma
    z_loss: float = 0.0  # what the squared log-sum counts for
    top_k: float = 1.0  # the share of pixels that counts
    reduction: str = "mean"


def check_hardness(
    focal: float, z_loss: float, top_k: float, label_smoothing: float, reduction: str
) -> Hardness | None:
    """Return what is asked for, or None if that is the plain loss."""
    if not 0 <= label_smoothing <= 1:
        raise ArgumentError(f"label_smoothing must be from 0 to 1, not {label_smoothing!r}")
    for name, value in (("focal", focal), ("z_loss", z_loss)):
        if not 0 <= value < np.inf:
            raise ArgumentError(f"{name} must be 0 or more, not {value!r}")
    if not 0 < top_k <= 1:
        raise ArgumentError(f"top_k must be a share above 0 and up to 1, not {top_k!r}")
    if focal and label_smoothing:
        raise ArgumentError("focal and label_smoothing do not go together: give one of them")
    if top_k < 1 and reduction == "none":
        raise ArgumentError('top_k chooses pixels to sum: it needs reduction="mean" or "sum"')
    plain = not focal and not z_loss and top_k == 1
    return None if plain else Hardness(focal, z_loss, top_k, reduction)


def harden(
    hardness: Hardness, found: tuple[Any, Any, Any], target: Any, weight: Any, ignore_index: int
) -> Any:
    """Return what is made of the plain losses of each pixel, reduced.

    `found` are the plain losses, their weight and the log-sums; where `focal`, without `weight`.
    """
    losses, total, log_sums = found
    xp = _module(losses)
    if hardness.focal:
        weights = _weights(losses, target, weight, ignore_index)
        # 1 - p; not quite 0, where its power below 1 would have an infinite slope
        rest = xp.clip(-xp.expm1(-losses), LEAST, None)
        losses, total = weights * rest**hardness.focal * losses, weights.sum()
    if hardness.z_loss:
        losses = losses + hardness.z_loss * log_sums**2
    if hardness.top_k < 1:
        flat = losses.reshape(-1)
        total = min(len(flat), max(1, int(hardness.top_k * len(flat))))
        losses = flat.topk(total).values if xp is not np else np.sort(flat)[-total:]
    if hardness.reduction == "none":
        return losses
    return losses.sum() / (total + (total == 0) if hardness.reduction == "mean" else 1)


def _weights(losses: Any, target: Any, weight: Any, ignore_index: int) -> Any:
    """What each pixel weighs: its label's weight, 0 where ignored."""
    xp = _module(losses)
    counts = counted(target, ignore_index)
    if weight is None:
        return counts * xp.ones_like(losses)
    labels = xp.asarray(xp.where(counts, target, 0), dtype=xp.int64)
    return xp.asarray(weight, dtype=losses.dtype)[labels] * counts


def _module(x: Any) -> Any:
    """NumPy or torch: the functions used here have the same names in both."""
    if framework(x).name == "numpy":
        return np
    import torch

    return torch
