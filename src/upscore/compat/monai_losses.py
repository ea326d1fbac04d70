"""What MONAI's losses compute, from the settings that an instance of one holds."""

from typing import Any

from torch import Tensor

from upscore.compat.targets import NEVER, numbers_of_one_hot, whole_numbers
from upscore.errors import ArgumentError, UnsupportedError
from upscore.heads.binary_cross_entropy import binary_cross_entropy
from upscore.heads.cross_entropy import cross_entropy
from upscore.heads.overlap import sums_of


def dice_loss(loss: Any, scores: Tensor, target: Tensor, align_corners: bool) -> Tensor:
    """The loss of a `DiceLoss`, ours or the library's."""
    found = _dice(loss, _sums(loss, scores, target, align_corners))
    if loss.reduction == "none":  # as the library has it, to be multiplied with N x C x H x W
        return found.reshape(*found.shape, *[1] * (scores.ndim - 2))
    return found


def _dice(loss: Any, sums: tuple[Tensor, ...]) -> Tensor:
    hits, false, missed = _hits_false_missed(loss, sums)
    wrong = false + missed if loss.jaccard else 0.5 * (false + missed)
    losses = 1 - (2 * hits + loss.smooth_nr) / (2 * (hits + wrong) + loss.smooth_dr)
    classes = losses.shape[-1]
    if loss.class_weight is not None and classes > 1:
        losses = losses * _class_weight(loss.class_weight, classes).to(losses)
    return _reduced(losses, loss.reduction)


def tversky_loss(loss: Any, scores: Tensor, target: Tensor, align_corners: bool) -> Tensor:
    """The loss of a `TverskyLoss`, ours or the library's."""
    hits, false, missed = _hits_false_missed(loss, _sums(loss, scores, target, align_corners))
    whole = hits + loss.alpha * false + loss.beta * missed
    return _reduced(1 - (hits + loss.smooth_nr) / (whole + loss.smooth_dr), loss.reduction)


def dice_ce_loss(loss: Any, scores: Tensor, target: Tensor, align_corners: bool) -> Tensor:
    """The loss of a `DiceCELoss`, ours or the library's."""
    if target.ndim != scores.ndim or target.shape[1] not in (1, scores.shape[1]):
        raise ArgumentError(
            f"target must be of shape N x 1 x H x W or N x C x H x W for scores of shape "
            f"{tuple(scores.shape)}, not {tuple(target.shape)}"
        )
    single = scores.shape[1] == 1
    own = loss.binary_cross_entropy if single else loss.cross_entropy
    plain = own.pos_weight is None if single else own.label_smoothing == 0
    if plain and loss.dice.sigmoid == single:  # both losses are of the same probabilities
        sums = _sums(loss.dice, scores, target, align_corners, losses=True)
        dice, ce = _dice(loss.dice, sums), _cross_entropy_of(sums, own, target)
    else:
        dice = dice_loss(loss.dice, scores, target, align_corners)
        ce = _cross_entropy(loss, scores, target, align_corners)
    return loss.lambda_dice * dice + loss.lambda_ce * ce  # type: ignore[no-any-return]


def _cross_entropy_of(sums: tuple[Tensor, ...], own: Any, target: Tensor) -> Tensor:
    """The cross-entropy with the settings `own`, as it was summed with the overlap."""
    losses, weights = (x if own.weight is None else x * own.weight.to(x) for x in sums[3:])
    if own.reduction == "sum":
        return losses.sum()
    # The mean over a one-hot target is that over its pixels, whatever they weigh.
    total = weights.sum() if target.shape[1] == 1 else target[:, 0].numel()
    return losses.sum() / (total + (total == 0))


def _cross_entropy(loss: Any, scores: Tensor, target: Tensor, align_corners: bool) -> Tensor:
    """The cross-entropy of a `DiceCELoss` by itself."""
    theirs = own_name(loss)
    if scores.shape[1] == 1:
        labels, weight = whole_numbers(target, theirs), loss.binary_cross_entropy.pos_weight
        options = {"reduction": loss.dice.reduction, "align_corners": align_corners}
        single: Tensor = binary_cross_entropy(
            scores, labels, ignore_index=NEVER, pos_weight=weight, **options
        )
        return single
    one_hot, own = target.shape[1] > 1, loss.cross_entropy
    labels = numbers_of_one_hot(target, theirs) if one_hot else whole_numbers(target[:, 0], theirs)
    by_pixels = one_hot and own.reduction == "mean"
    ce: Tensor = cross_entropy(
        scores,
        labels,
        ignore_index=NEVER,
        weight=own.weight,
        label_smoothing=own.label_smoothing,
        reduction="sum" if by_pixels else own.reduction,
        align_corners=align_corners,
    )
    return ce / labels.numel() if by_pixels else ce


def _sums(
    loss: Any, scores: Tensor, target: Tensor, align_corners: bool, losses: bool = False
) -> tuple[Tensor, ...]:
    """Sums over the pixels, N x C, or C for `batch`."""
    if loss.softmax and scores.shape[1] == 1:
        raise UnsupportedError(
            "the softmax of one class is not taken: probabilities are left to " + own_name(loss)
        )
    return sums_of(
        scores,
        _labels(loss, scores, target),
        losses=losses,
        activation="softmax" if loss.softmax else "sigmoid",
        ignore_index=NEVER,
        per_image=not loss.batch,
        align_corners=align_corners,
    )


def _hits_false_missed(loss: Any, sums: tuple[Tensor, ...]) -> tuple[Tensor, Tensor, Tensor]:
    first = 0 if loss.include_background or sums[0].shape[-1] == 1 else 1
    hits, predicted, true = (part[..., first:] for part in sums[:3])
    return hits, predicted - hits, true - hits


def _labels(loss: Any, scores: Tensor, target: Tensor) -> Tensor:
    """The target as class numbers N x H x W, or as 0 and 1 of classes that may overlap."""
    classes = scores.shape[1]
    numbers = loss.to_onehot_y and classes > 1
    if target.ndim != scores.ndim or target.shape[1] != (1 if numbers else classes):
        raise ArgumentError(
            f"target must be of shape N x {1 if numbers else classes} x H x W for scores of shape "
            f"{tuple(scores.shape)} and to_onehot_y={loss.to_onehot_y}, not {tuple(target.shape)}"
        )
    if numbers:
        return whole_numbers(target[:, 0], own_name(loss))
    return (numbers_of_one_hot if loss.softmax else whole_numbers)(target, own_name(loss))


def _class_weight(weight: Tensor, classes: int) -> Tensor:
    if weight.ndim > 0 and len(weight) != classes:
        raise ArgumentError(
            f"weight must hold a number for each of the {classes} classes (without the background "
            f"for include_background=False), not {len(weight)}"
        )
    if weight.min() < 0:
        raise ArgumentError(f"weight must be 0 or more, not {float(weight.min()):g}")
    return weight


def _reduced(losses: Tensor, reduction: str) -> Tensor:
    return {"none": losses, "mean": losses.mean(), "sum": losses.sum()}[reduction]


def own_name(loss: Any) -> str:
    """The library's class of a loss, to name in an error."""
    return f"monai.losses.{type(loss).__name__}"
