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
from upscore.compat.monai_losses import dice_ce_loss, dice_loss, own_name, tversky_loss
from upscore.compat.serving import Function, Make
from upscore.errors import ArgumentError, UnsupportedError

TESTED = "1.5"
# Other values of these settings are left to the library.
SERVED = {"other_act": None, "squared_pred": False, "soft_label": False, "ignore_index": None}


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
        check_served(self, SERVED, own_name(self))
        if sigmoid and softmax:
            raise ArgumentError("sigmoid and softmax cannot both be taken")
        if not (sigmoid or softmax):
            raise UnsupportedError(
                "sigmoid=True or softmax=True is needed: probabilities are left to "
                + own_name(self)
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
        include_background: as in the library; says nothing for one class.
        to_onehot_y: as in the library; says nothing for one class.
        sigmoid: as in the library; this or `softmax` must be True.
        softmax: as in the library; this or `sigmoid` must be True.
        other_act: None alone.
        squared_pred: False alone.
        jaccard: as in the library.
        reduction: "mean", "sum" or "none", as in the library.
        smooth_nr: as in the library.
        smooth_dr: as in the library.
        batch: as in the library.
        weight: as in the library.
        soft_label: False alone.
        align_corners: as in `F.interpolate`.

    Raises:
        UnsupportedError: probabilities instead of scores, soft labels, or other things that are
            not served; the message names the library's class, which takes them.
        ArgumentError: a shape or value does not fit; the message says which and why.
        ArgumentTypeError: a type does not fit.

    Examples:
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
        """Return the loss.

        Args:
            input: N x C x h x w scores, or N x C x d x h x w.
            target: of any number type: N x 1 x H x W class numbers for `to_onehot_y`, else N x C x
                H x W of 0 and 1, with one 1 for each pixel under `softmax`. Class numbers are the
                faster ones.

        Returns:
            A tensor without dimensions; for `reduction="none"` as the library's.
        """
        return dice_loss(self, _plain(input), _plain(target), self.align_corners)


class TverskyLoss(_RegionLoss):
    """`monai.losses.TverskyLoss` of coarse scores.

    Equivalent to the library's `TverskyLoss(...)(F.interpolate(input, target.shape[2:],
    mode="bilinear", align_corners=...), target)`.

    Args:
        include_background: as for `DiceLoss`.
        to_onehot_y: as for `DiceLoss`.
        sigmoid: as for `DiceLoss`.
        softmax: as for `DiceLoss`.
        other_act: None alone.
        alpha: what false pixels cost.
        beta: what missed pixels cost.
        reduction: "mean", "sum" or "none", as in the library.
        smooth_nr: as in the library.
        smooth_dr: as in the library.
        batch: as in the library.
        soft_label: False alone.
        align_corners: as in `F.interpolate`.

    Raises:
        UnsupportedError: as of `DiceLoss`.
        ArgumentError: as of `DiceLoss`.

    Examples:
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
        """Return the loss.

        Args:
            input: as of `DiceLoss.forward`.
            target: as of `DiceLoss.forward`.

        Returns:
            A tensor without dimensions; for `reduction="none"` as the library's.
        """
        return tversky_loss(self, _plain(input), _plain(target), self.align_corners)


class DiceCELoss(torch.nn.Module):
    """`monai.losses.DiceCELoss` of coarse scores.

    Equivalent to the library's `DiceCELoss(...)(F.interpolate(input, target.shape[2:],
    mode="bilinear", align_corners=...), target)`.

    Args:
        include_background: as for `DiceLoss`.
        to_onehot_y: as for `DiceLoss`.
        sigmoid: as for `DiceLoss`.
        softmax: as for `DiceLoss`.
        other_act: None alone.
        squared_pred: False alone.
        jaccard: as in the library.
        reduction: "mean" or "sum".
        smooth_nr: as in the library.
        smooth_dr: as in the library.
        batch: as in the library.
        weight: as in the library.
        lambda_dice: as in the library: what the Dice loss counts for.
        lambda_ce: as in the library: what the cross-entropy counts for.
        label_smoothing: as in the library.
        align_corners: as in `F.interpolate`.

    Raises:
        UnsupportedError: as of `DiceLoss`.
        ArgumentError: as of `DiceLoss`.

    Examples:
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
        """Return the loss.

        Args:
            input: as of `DiceLoss.forward`.
            target: N x 1 x H x W class numbers, or N x C x H x W of 0 and 1.

        Returns:
            A tensor without dimensions.
        """
        return dice_ce_loss(self, _plain(input), _plain(target), self.align_corners)


def _serve(loss: Any, scores: Tensor, target: Tensor) -> Tensor:
    """The loss of the library's own instance; UnsupportedError if it is one of another class."""
    own = loss.dice if hasattr(loss, "dice") else loss
    check_served(own, SERVED, own_name(loss))
    if not (own.sigmoid or own.softmax):
        raise UnsupportedError(f"probabilities are left to {own_name(loss)}")
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
