"""Losses of MONAI, of coarse scores, and for `upscore.compat.patch("monai")`.

As in version 1.5: the same names, arguments and results, but `loss(scores, target)` takes scores of
any size. Where the target's is another it is

    library_loss(F.interpolate(scores, target.shape[2:], mode="bilinear"), target)

(`mode="trilinear"` for volumes), without the full-resolution scores, computed in float32 or, for
float64 scores, in float64. A `MetaTensor` gives the loss as a plain tensor.
"""

from collections.abc import Callable, Sequence
from functools import wraps
from typing import Any

import torch
from torch import Tensor

from upscore.compat.losses import check_served, loss_in_place
from upscore.compat.serving import Function, Make
from upscore.compat.targets import NEVER, numbers_of_one_hot, whole_numbers
from upscore.errors import ArgumentError, UnsupportedError
from upscore.heads.binary_cross_entropy import binary_cross_entropy
from upscore.heads.cross_entropy import cross_entropy
from upscore.heads.overlap import sums_of

TESTED = "1.5"
# Settings that have one served value.
SERVED = {"other_act": None, "squared_pred": False, "soft_label": False, "ignore_index": None}


def dice_loss(loss: Any, scores: Tensor, target: Tensor, align_corners: bool) -> Tensor:
    """The loss of a `DiceLoss`, this module's or the library's."""
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
    """The loss of a `TverskyLoss`, this module's or the library's."""
    hits, false, missed = _hits_false_missed(loss, _sums(loss, scores, target, align_corners))
    whole = hits + loss.alpha * false + loss.beta * missed
    return _reduced(1 - (hits + loss.smooth_nr) / (whole + loss.smooth_dr), loss.reduction)


def dice_ce_loss(loss: Any, scores: Tensor, target: Tensor, align_corners: bool) -> Tensor:
    """The loss of a `DiceCELoss`, this module's or the library's."""
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
    theirs = _own(loss)
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
            "the softmax of one class is not taken: probabilities are left to " + _own(loss)
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
        return whole_numbers(target[:, 0], _own(loss))
    return (numbers_of_one_hot if loss.softmax else whole_numbers)(target, _own(loss))


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


def _own(loss: Any) -> str:
    return f"monai.losses.{type(loss).__name__}"


def _plain(x: Any) -> Any:
    """A tensor without the metadata of a `MetaTensor`."""
    return x.as_tensor() if hasattr(x, "as_tensor") else x


class _RegionLoss(torch.nn.Module):
    """What `DiceLoss` and `TverskyLoss` share."""

    def __init__(
        self,
        *,
        include_background: bool,
        to_onehot_y: bool,
        sigmoid: bool,
        softmax: bool,
        other_act: Callable[..., Any] | None,
        squared_pred: bool,
        soft_label: bool,
        reduction: str,
        smooth_nr: float,
        smooth_dr: float,
        batch: bool,
        align_corners: bool,
    ) -> None:
        super().__init__()
        self.other_act, self.squared_pred, self.soft_label = other_act, squared_pred, soft_label
        check_served(self, SERVED, _own(self))
        if sigmoid and softmax:
            raise ArgumentError("sigmoid and softmax cannot both be taken")
        if not (sigmoid or softmax):
            raise UnsupportedError(
                f"sigmoid=True or softmax=True is needed: probabilities are left to {_own(self)}"
            )
        self.reduction = str(getattr(reduction, "value", reduction))  # also of MONAI's enum
        if self.reduction not in ("mean", "sum", "none"):
            raise ArgumentError(f"reduction must be mean, sum or none, not {self.reduction!r}")
        self.include_background, self.to_onehot_y = include_background, to_onehot_y
        self.sigmoid, self.softmax, self.batch = sigmoid, softmax, batch
        self.smooth_nr, self.smooth_dr = float(smooth_nr), float(smooth_dr)
        self.align_corners = align_corners


class DiceLoss(_RegionLoss):
    """`monai.losses.DiceLoss` of coarse scores.

    Equivalent to the library's `DiceLoss(...)(F.interpolate(input, target.shape[2:],
    mode="bilinear", align_corners=...), target)`.

    Args:
        include_background, to_onehot_y, sigmoid, softmax, jaccard, reduction, smooth_nr, smooth_dr,
            batch, weight: as in the library, with one of `sigmoid` and `softmax`. For one class
            `to_onehot_y` and `include_background` say nothing, as there.
        other_act, squared_pred, soft_label: None, False, False alone.
        align_corners: as in `F.interpolate`.

    The scores are N x C x h x w, or N x C x d x h x w; the target, of any number type, N x 1 x H x
    W class numbers for `to_onehot_y`, else N x C x H x W of 0 and 1, with one 1 for each pixel
    under `softmax`. Class numbers are the faster ones.

    Raises:
        NotImplementedError: probabilities instead of scores, soft labels, or other things that are
            not served; the message names the library's class, which takes them.
        ValueError, TypeError: an argument does not fit; the message says which and why.

    >>> scores = torch.tensor([[[[4.0, 0.0]], [[0.0, 4.0]]]])
    >>> target = torch.tensor([[[[0, 0, 1, 1], [0, 0, 0, 1]]]])
    >>> DiceLoss(softmax=True, to_onehot_y=True)(scores, target)
    tensor(0.1664)
    """

    class_weight: Tensor | None

    def __init__(
        self,
        include_background: bool = True,
        to_onehot_y: bool = False,
        sigmoid: bool = False,
        softmax: bool = False,
        other_act: Callable[..., Any] | None = None,
        squared_pred: bool = False,
        jaccard: bool = False,
        reduction: str = "mean",
        smooth_nr: float = 1e-5,
        smooth_dr: float = 1e-5,
        batch: bool = False,
        weight: Sequence[float] | float | Tensor | None = None,
        soft_label: bool = False,
        *,
        align_corners: bool = False,
    ) -> None:
        super().__init__(
            include_background=include_background,
            to_onehot_y=to_onehot_y,
            sigmoid=sigmoid,
            softmax=softmax,
            other_act=other_act,
            squared_pred=squared_pred,
            soft_label=soft_label,
            reduction=reduction,
            smooth_nr=smooth_nr,
            smooth_dr=smooth_dr,
            batch=batch,
            align_corners=align_corners,
        )
        self.jaccard = jaccard
        self.register_buffer("class_weight", None if weight is None else torch.as_tensor(weight))

    def forward(self, input: Tensor, target: Tensor) -> Tensor:
        return dice_loss(self, _plain(input), _plain(target), self.align_corners)


class TverskyLoss(_RegionLoss):
    """`monai.losses.TverskyLoss` of coarse scores; see `DiceLoss`.

    Args:
        alpha, beta: what false and missed pixels cost.

    >>> scores = torch.tensor([[[[4.0, 0.0]], [[0.0, 4.0]]]])
    >>> target = torch.tensor([[[[0, 0, 1, 1], [0, 0, 0, 1]]]])
    >>> TverskyLoss(softmax=True, to_onehot_y=True, alpha=0.3, beta=0.7)(scores, target)
    tensor(0.1599)
    """

    def __init__(
        self,
        include_background: bool = True,
        to_onehot_y: bool = False,
        sigmoid: bool = False,
        softmax: bool = False,
        other_act: Callable[..., Any] | None = None,
        alpha: float = 0.5,
        beta: float = 0.5,
        reduction: str = "mean",
        smooth_nr: float = 1e-5,
        smooth_dr: float = 1e-5,
        batch: bool = False,
        soft_label: bool = False,
        *,
        align_corners: bool = False,
    ) -> None:
        super().__init__(
            include_background=include_background,
            to_onehot_y=to_onehot_y,
            sigmoid=sigmoid,
            softmax=softmax,
            other_act=other_act,
            squared_pred=False,
            soft_label=soft_label,
            reduction=reduction,
            smooth_nr=smooth_nr,
            smooth_dr=smooth_dr,
            batch=batch,
            align_corners=align_corners,
        )
        self.alpha, self.beta = alpha, beta

    def forward(self, input: Tensor, target: Tensor) -> Tensor:
        return tversky_loss(self, _plain(input), _plain(target), self.align_corners)


class DiceCELoss(torch.nn.Module):
    """`monai.losses.DiceCELoss` of coarse scores; see `DiceLoss`.

    Args:
        reduction: "mean" or "sum".
        weight, lambda_dice, lambda_ce, label_smoothing: as in the library.

    >>> scores = torch.tensor([[[[4.0, 0.0]], [[0.0, 4.0]]]])
    >>> target = torch.tensor([[[[0, 0, 1, 1], [0, 0, 0, 1]]]])
    >>> DiceCELoss(softmax=True, to_onehot_y=True)(scores, target)
    tensor(0.4889)
    """

    def __init__(
        self,
        include_background: bool = True,
        to_onehot_y: bool = False,
        sigmoid: bool = False,
        softmax: bool = False,
        other_act: Callable[..., Any] | None = None,
        squared_pred: bool = False,
        jaccard: bool = False,
        reduction: str = "mean",
        smooth_nr: float = 1e-5,
        smooth_dr: float = 1e-5,
        batch: bool = False,
        weight: Tensor | None = None,
        lambda_dice: float = 1.0,
        lambda_ce: float = 1.0,
        label_smoothing: float = 0.0,
        *,
        align_corners: bool = False,
    ) -> None:
        super().__init__()
        self.dice = DiceLoss(
            include_background=include_background,
            to_onehot_y=to_onehot_y,
            sigmoid=sigmoid,
            softmax=softmax,
            other_act=other_act,
            squared_pred=squared_pred,
            jaccard=jaccard,
            reduction=reduction,
            smooth_nr=smooth_nr,
            smooth_dr=smooth_dr,
            batch=batch,
            weight=weight if weight is None or include_background else weight[1:],
        )
        if (reduction := self.dice.reduction) == "none":
            raise ArgumentError("reduction must be mean or sum, not 'none'")
        if not min(lambda_dice, lambda_ce) >= 0:
            raise ArgumentError("lambda_dice and lambda_ce must be 0 or more")
        # They hold the settings, under the library's names; they are not called.
        self.cross_entropy = torch.nn.CrossEntropyLoss(
            weight, reduction=reduction, label_smoothing=label_smoothing
        )
        self.binary_cross_entropy = torch.nn.BCEWithLogitsLoss(
            pos_weight=weight, reduction=reduction
        )
        self.lambda_dice, self.lambda_ce = lambda_dice, lambda_ce
        self.align_corners = align_corners

    def forward(self, input: Tensor, target: Tensor) -> Tensor:
        return dice_ce_loss(self, _plain(input), _plain(target), self.align_corners)


def _serve(loss: Any, scores: Tensor, target: Tensor) -> Tensor:
    """The loss of the library's own instance; UnsupportedError if it is one of another class."""
    own = loss.dice if hasattr(loss, "dice") else loss
    check_served(own, SERVED, _own(loss))
    if not (own.sigmoid or own.softmax):
        raise UnsupportedError(f"probabilities are left to {_own(loss)}")
    kind = f"{type(loss).__module__}.{type(loss).__name__}"
    if kind == "monai.losses.dice.DiceCELoss":
        return dice_ce_loss(loss, scores, target, False)
    if scores.shape[1] == 1:
        raise UnsupportedError("of one class at full resolution, the library is as fast")
    if kind == "monai.losses.dice.DiceLoss":
        return dice_loss(loss, scores, target, False)
    if kind == "monai.losses.tversky.TverskyLoss":
        return tversky_loss(loss, scores, target, False)
    raise UnsupportedError(f"{kind} is not served")


def in_place(own: Function, verify: bool) -> Function:
    """The `forward` of a loss."""

    @wraps(own)
    def stand_in(self: Any, input: Any, target: Any) -> Any:
        if isinstance(input, Tensor) and isinstance(target, Tensor):
            input, target = _plain(input), _plain(target)
        return loss_in_place(own, verify, _serve, self, input, target)

    return stand_in


REPLACEMENTS: dict[str, Make] = {
    "losses.dice:DiceLoss.forward": in_place,
    "losses.dice:DiceCELoss.forward": in_place,
    "losses.tversky:TverskyLoss.forward": in_place,
}
