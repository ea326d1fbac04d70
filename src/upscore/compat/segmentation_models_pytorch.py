"""Losses of segmentation-models-pytorch, of coarse scores, and for
`upscore.compat.patch("segmentation_models_pytorch")`.

As in version 0.6: the same names, arguments and results, but `loss(scores, target)` takes scores of
any size. Where the target's is another it is

    library_loss(F.interpolate(scores, target.shape[-2:], mode="bilinear"), target)

(`mode="trilinear"` for volumes), without the full-resolution scores, computed in float32 or, for
float64 scores, in float64.
"""

from collections.abc import Sequence
from functools import wraps
from typing import Any

import torch
from torch import Tensor

from upscore.compat.losses import check_served, loss_in_place
from upscore.compat.segmentation_models_pytorch_losses import (
    THEIRS,
    own_name,
    region_loss,
    soft_binary_cross_entropy,
    soft_cross_entropy,
)
from upscore.compat.serving import Function, Make
from upscore.errors import ArgumentError, UnsupportedError

TESTED = "0.6"
MODES = ("binary", "multiclass", "multilabel")
REDUCTIONS = ("mean", "sum", "none")
SERVED = {"from_logits": True, "dim": 1, "weight": None}  # settings that have one served value


def _one_of(name: str, value: Any, values: Sequence[str]) -> Any:
    if value not in values:
        raise ArgumentError(f"{name} must be one of {', '.join(values)}, not {value!r}")
    return value


def _tensor(values: Any, dtype: torch.dtype) -> Tensor | None:
    return None if values is None else torch.as_tensor(values, dtype=dtype)


class DiceLoss(torch.nn.Module):
    """`segmentation_models_pytorch.losses.DiceLoss` of coarse scores.

    Equivalent to the library's `DiceLoss(...)(F.interpolate(y_pred, y_true.shape[-2:],
    mode="bilinear", align_corners=...), y_true)`.

    Args:
        mode: "binary", "multiclass" or "multilabel"; see `forward`.
        classes: as in the library.
        log_loss: as in the library.
        from_logits: True alone.
        smooth: as in the library.
        ignore_index: as in the library.
        eps: as in the library.
        class_weights: as in the library.
        align_corners: as in `F.interpolate`; True for the models of the library, whose upsampling
            aligns the corners.

    Raises:
        UnsupportedError: soft labels, or `from_logits=False`; the message names the library's
            class, which takes them.
        ArgumentError: a shape or value does not fit; the message says which and why.
        ArgumentTypeError: a type does not fit.

    Examples:
        >>> scores = torch.tensor([[[[4.0, 0.0]], [[0.0, 4.0]]]])
        >>> target = torch.tensor([[[0, 0, 1, 1], [0, 0, 0, 1]]])
        >>> DiceLoss("multiclass")(scores, target)
        tensor(0.1664)
    """

    alpha = beta = 0.5
    gamma = 1.0

    def __init__(
        self,
        mode: str,
        classes: Sequence[int] | None = None,
        log_loss: bool = False,
        from_logits: bool = True,
        smooth: float = 0.0,
        ignore_index: int | None = None,
        eps: float = 1e-7,
        class_weights: Sequence[float] | None = None,
        *,
        align_corners: bool = False,
    ) -> None:
        super().__init__()
        self.mode = _one_of("mode", mode, MODES)
        if mode == "binary" and (classes is not None or class_weights is not None):
            raise ArgumentError("classes and class_weights are not for mode 'binary'")
        self.classes = _tensor(classes, torch.long)
        self.log_loss, self.from_logits = log_loss, from_logits
        self.smooth, self.ignore_index, self.eps = smooth, ignore_index, eps
        self.class_weights = _tensor(class_weights, torch.float)
        self.align_corners = align_corners
        check_served(self, SERVED, own_name(self))

    def forward(self, y_pred: Tensor, y_true: Tensor) -> Tensor:
        """Return the loss.

        Args:
            y_pred: N x C x h x w scores, of one class for mode "binary".
            y_true: whole numbers of any number type: for "binary" N x H x W or N x 1 x H x W of 0
                and 1, for "multiclass" N x H x W class numbers, for "multilabel" N x C x H x W of 0
                and 1.

        Returns:
            A tensor without dimensions.
        """
        loss = region_loss(self, y_pred, y_true, self.alpha, self.beta, self.align_corners)
        return loss**self.gamma


class JaccardLoss(DiceLoss):
    """`segmentation_models_pytorch.losses.JaccardLoss` of coarse scores.

    Equivalent to the library's class of scores interpolated as in `DiceLoss`.

    Args:
        mode: "binary", "multiclass" or "multilabel", as for `DiceLoss`.
        classes: as in the library.
        log_loss: as in the library.
        from_logits: True alone.
        smooth: as in the library.
        ignore_index: as for `DiceLoss`.
        eps: as in the library.
        class_weights: as for `DiceLoss`.
        align_corners: as for `DiceLoss`.

    Examples:
        >>> scores = torch.tensor([[[[4.0, 0.0]], [[0.0, 4.0]]]])
        >>> target = torch.tensor([[[0, 0, 1, 1], [0, 0, 0, 1]]])
        >>> JaccardLoss("multiclass")(scores, target)
        tensor(0.2848)
    """

    alpha = beta = 1.0


class TverskyLoss(DiceLoss):
    """`segmentation_models_pytorch.losses.TverskyLoss` of coarse scores.

    Equivalent to the library's class of scores interpolated as in `DiceLoss`.

    Args:
        mode: "binary", "multiclass" or "multilabel", as for `DiceLoss`.
        classes: as in the library.
        log_loss: as in the library.
        from_logits: True alone.
        smooth: as in the library.
        ignore_index: as for `DiceLoss`.
        eps: as in the library.
        alpha: what false pixels cost.
        beta: what missed pixels cost.
        gamma: the power of the loss.
        class_weights: as for `DiceLoss`.
        align_corners: as for `DiceLoss`.

    Examples:
        >>> scores = torch.tensor([[[[4.0, 0.0]], [[0.0, 4.0]]]])
        >>> target = torch.tensor([[[0, 0, 1, 1], [0, 0, 0, 1]]])
        >>> TverskyLoss("multiclass", alpha=0.3, beta=0.7)(scores, target)
        tensor(0.1599)
    """

    def __init__(
        self,
        mode: str,
        classes: Sequence[int] | None = None,
        log_loss: bool = False,
        from_logits: bool = True,
        smooth: float = 0.0,
        ignore_index: int | None = None,
        eps: float = 1e-7,
        alpha: float = 0.5,
        beta: float = 0.5,
        gamma: float = 1.0,
        class_weights: Sequence[float] | None = None,
        *,
        align_corners: bool = False,
    ) -> None:
        own = mode, classes, log_loss, from_logits, smooth, ignore_index, eps, class_weights
        super().__init__(*own, align_corners=align_corners)
        self.alpha, self.beta, self.gamma = alpha, beta, gamma


class SoftCrossEntropyLoss(torch.nn.Module):
    """`segmentation_models_pytorch.losses.SoftCrossEntropyLoss` of coarse scores.

    Equivalent to the library's class of scores interpolated as in `DiceLoss`. As there, "mean" is
    over all pixels, also those that are ignored: `upscore.cross_entropy` has the mean of the rest.

    Args:
        reduction: "mean", "sum" or "none".
        smooth_factor: as in the library, where None is an error; here it is 0.
        ignore_index: the label of pixels that count for nothing, or None.
        dim: 1 alone.
        align_corners: as in `F.interpolate`.

    Raises:
        UnsupportedError: as of `DiceLoss`.
        ArgumentError: as of `DiceLoss`.
        ArgumentTypeError: as of `DiceLoss`.

    Examples:
        >>> scores = torch.tensor([[[[4.0, 0.0]], [[0.0, 4.0]]]])
        >>> target = torch.tensor([[[0, 0, 1, 1], [0, 0, -100, 1]]])
        >>> SoftCrossEntropyLoss(smooth_factor=0.1)(scores, target)
        tensor(0.1942)
    """

    def __init__(
        self,
        reduction: str = "mean",
        smooth_factor: float | None = None,
        ignore_index: int | None = -100,
        dim: int = 1,
        *,
        align_corners: bool = False,
    ) -> None:
        super().__init__()
        self.reduction = _one_of("reduction", reduction, REDUCTIONS)
        self.smooth_factor, self.ignore_index, self.dim = smooth_factor, ignore_index, dim
        self.align_corners = align_corners
        check_served(self, SERVED, own_name(self))

    def forward(self, y_pred: Tensor, y_true: Tensor) -> Tensor:
        """Return the loss.

        Args:
            y_pred: N x C x h x w scores.
            y_true: N x H x W class numbers.

        Returns:
            A tensor without dimensions; for `reduction="none"` as the library's.
        """
        return soft_cross_entropy(self, y_pred, y_true, self.align_corners)


class SoftBCEWithLogitsLoss(torch.nn.Module):
    """`segmentation_models_pytorch.losses.SoftBCEWithLogitsLoss` of coarse scores.

    Equivalent to the library's class of scores interpolated as in `DiceLoss`. As there, "mean" is
    over all, also what is ignored.

    Args:
        weight: None alone.
        ignore_index: the value in the target that counts for nothing, or None.
        reduction: "mean", "sum" or "none".
        smooth_factor: as in the library.
        pos_weight: one number, or C x 1 x 1 of them, what true pixels count for.
        align_corners: as in `F.interpolate`.

    Raises:
        UnsupportedError: as of `DiceLoss`.
        ArgumentError: as of `DiceLoss`.
        ArgumentTypeError: as of `DiceLoss`.

    Examples:
        >>> scores = torch.tensor([[[[4.0, 0.0]], [[0.0, 4.0]]]])
        >>> target = torch.tensor([[[[1.0, 1.0, 0.0, 0.0]], [[0.0, 0.0, 1.0, 1.0]]]])
        >>> SoftBCEWithLogitsLoss(smooth_factor=0.1)(scores, target)
        tensor(0.6683)
    """

    weight: Tensor | None
    pos_weight: Tensor | None

    def __init__(
        self,
        weight: Tensor | None = None,
        ignore_index: int | None = -100,
        reduction: str = "mean",
        smooth_factor: float | None = None,
        pos_weight: Tensor | None = None,
        *,
        align_corners: bool = False,
    ) -> None:
        super().__init__()
        self.ignore_index, self.smooth_factor = ignore_index, smooth_factor
        self.reduction = _one_of("reduction", reduction, REDUCTIONS)
        self.register_buffer("weight", weight)
        self.register_buffer("pos_weight", pos_weight)
        self.align_corners = align_corners
        check_served(self, SERVED, own_name(self))

    def forward(self, y_pred: Tensor, y_true: Tensor) -> Tensor:
        """Return the loss.

        Args:
            y_pred: N x C x h x w scores.
            y_true: N x C x H x W of 0 and 1.

        Returns:
            A tensor without dimensions; N x C x H x W for `reduction="none"`.
        """
        return soft_binary_cross_entropy(self, y_pred, y_true, self.align_corners)


def _serve(loss: Any, scores: Tensor, target: Tensor) -> Tensor:
    """The loss of the library's own instance; UnsupportedError if it is one of another class."""
    check_served(loss, SERVED, own_name(loss))
    kind = f"{type(loss).__module__}.{type(loss).__name__}".removeprefix(f"{THEIRS}.")
    if kind == "soft_ce.SoftCrossEntropyLoss":
        return soft_cross_entropy(loss, scores, target, False)
    if kind == "soft_bce.SoftBCEWithLogitsLoss":
        return soft_binary_cross_entropy(loss, scores, target, False)
    if kind == "dice.DiceLoss":
        return region_loss(loss, scores, target, 0.5, 0.5, False)
    if kind == "jaccard.JaccardLoss":
        return region_loss(loss, scores, target, 1.0, 1.0, False)
    if kind == "tversky.TverskyLoss":
        found = region_loss(loss, scores, target, loss.alpha, loss.beta, False)
        return found**loss.gamma  # type: ignore[no-any-return]
    raise UnsupportedError(f"{kind} is not served")


def in_place(own: Function, verify: bool) -> Function:
    """The `forward` of a loss."""

    @wraps(own)
    def stand_in(self: Any, y_pred: Any, y_true: Any) -> Any:
        return loss_in_place(own, verify, _serve, self, y_pred, y_true)

    return stand_in


# TverskyLoss has that of DiceLoss.
REPLACEMENTS: dict[str, Make] = {
    "losses.dice:DiceLoss.forward": in_place,
    "losses.jaccard:JaccardLoss.forward": in_place,
    "losses.soft_bce:SoftBCEWithLogitsLoss.forward": in_place,
    "losses.soft_ce:SoftCrossEntropyLoss.forward": in_place,
}
