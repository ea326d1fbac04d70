"""The losses of training: cross-entropy on the fused head, and others added to it by name.

    "ce"            cross-entropy at full resolution
    "ce+dice"       and one minus the Dice overlap, the mean over the classes of the crops
    "focal"         cross-entropy that all but leaves out pixels that are clear already
    "ce+tversky"    as Dice, with missed pixels dearer than false ones: for rare things

Any of the four terms may be added: "focal+dice", "ce+focal+tversky".
"""

from collections.abc import Callable

import torch
from torch import Tensor
from torch.nn import functional as F

from upscore.data.classes import VOID
from upscore.heads.cross_entropy import cross_entropy
from upscore.heads.grid import choose_grid, interpolate_tensor

FOCUS = 2.0  # gamma of the focal loss (Lin et al. 2017)
FALSE, MISSED = 0.3, 0.7  # what pixels cost in the Tversky loss (Salehi et al. 2017)
SMOOTH = 1.0  # pixels added above and below, so that tiny classes give no steep gradients

Term = Callable[[Tensor, Tensor], Tensor]


def loss_of(
    terms: tuple[str, ...],
    scores: Tensor,
    target: Tensor,
    *,
    stride: int,
    weight: Tensor | None = None,
    label_smoothing: float = 0.0,
) -> Tensor:
    """The loss of a batch times its `weight_of`, so that parts of a batch add up.

    scores: N x C x h x w, of the grid of a stride; target: uint8 N x H x W, 255 is void.
    """
    loss = scores.new_zeros(())
    if "ce" in terms:
        loss = cross_entropy(
            scores,
            target,
            weight=weight,
            label_smoothing=label_smoothing,
            reduction="sum",
            stride=stride,
        )
    others = [_FULL[term] for term in terms if term != "ce"]
    if others:
        size = (target.shape[1], target.shape[2])
        full = interpolate_tensor(scores, size, choose_grid(False, stride))
        loss = loss + weight_of(target, weight) * sum(term(full, target) for term in others)
    return loss


def weight_of(target: Tensor, weight: Tensor | None = None) -> Tensor:
    """How many valid pixels a target has, or what the weights of their classes add up to."""
    valid = target[target != VOID].long()
    if weight is None:
        return torch.tensor(float(valid.numel()), device=target.device)
    return weight[valid].sum()


def focal(full: Tensor, target: Tensor) -> Tensor:
    """Focal loss, the mean over valid pixels: cross-entropy times (1 - p) ** 2."""
    surprise = F.cross_entropy(full, target.long(), ignore_index=VOID, reduction="none")
    losses = (1 - torch.exp(-surprise)) ** FOCUS * surprise
    return losses.sum() / (target != VOID).sum().clamp_min(1)


def dice(full: Tensor, target: Tensor) -> Tensor:
    """One minus the Dice overlap of probabilities with the target, over the classes it has."""
    return _overlap(full, target, 0.5, 0.5)


def tversky(full: Tensor, target: Tensor) -> Tensor:
    """Dice with false and missed pixels weighed apart."""
    return _overlap(full, target, FALSE, MISSED)


def _overlap(full: Tensor, target: Tensor, false: float, missed: float) -> Tensor:
    """One minus hits / (hits + false + missed), each a sum of probabilities over the batch."""
    valid = target != VOID
    labels = target.where(valid, 0).long()
    probabilities = full.softmax(1) * valid[:, None]
    truth = torch.zeros_like(probabilities).scatter_(1, labels[:, None], 1.0) * valid[:, None]
    hits = (probabilities * truth).sum((0, 2, 3))
    predicted, true = probabilities.sum((0, 2, 3)), truth.sum((0, 2, 3))
    wrong = false * (predicted - hits) + missed * (true - hits)
    overlap = (hits + SMOOTH) / (hits + wrong + SMOOTH)
    present = true > 0
    return ((1 - overlap) * present).sum() / present.sum().clamp_min(1)


_FULL: dict[str, Term] = {"focal": focal, "dice": dice, "tversky": tversky}
