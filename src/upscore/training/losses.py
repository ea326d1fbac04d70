"""The losses of training, on the fused heads: cross-entropy, and others added to it by name.

    "ce"            cross-entropy at full resolution
    "ce+dice"       and one minus the Dice overlap, the mean over the classes of the crops
    "focal"         cross-entropy that all but leaves out pixels that are clear already
    "ce+tversky"    as Dice, with missed pixels dearer than false ones: for rare things

Any of the four terms may be added: "focal+dice", "ce+focal+tversky".
"""

import torch
from torch import Tensor

from upscore.data.classes import VOID
from upscore.heads.cross_entropy import cross_entropy
from upscore.heads.region_losses import tversky

FOCUS = 2.0  # gamma of the focal loss (Lin et al. 2017)
FALSE, MISSED = 0.3, 0.7  # what pixels cost in the Tversky loss (Salehi et al. 2017)


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

    `weight` of the classes and `label_smoothing` are of the cross-entropy alone.

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
    others = {
        "focal": lambda: cross_entropy(scores, target, focal=FOCUS, stride=stride),
        "dice": lambda: tversky(scores, target, absent="skip", stride=stride),
        "tversky": lambda: tversky(
            scores, target, alpha=FALSE, beta=MISSED, absent="skip", stride=stride
        ),
    }
    found = [others[term]() for term in terms if term != "ce"]
    return loss + weight_of(target, weight) * sum(found) if found else loss


def weight_of(target: Tensor, weight: Tensor | None = None) -> Tensor:
    """How many valid pixels a target has, or what the weights of their classes add up to."""
    valid = target[target != VOID].long()
    if weight is None:
        return torch.tensor(float(valid.numel()), device=target.device)
    return weight[valid].sum()
