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
from upscore.compat.serving import Function, Make
from upscore.compat.targets import NEVER, whole_numbers
from upscore.errors import ArgumentError, UnsupportedError
from upscore.heads.binary_cross_entropy import binary_cross_entropy
from upscore.heads.cross_entropy import cross_entropy
from upscore.heads.overlap import overlap
from upscore.heads.target import counted

TESTED = "0.6"
THEIRS = "segmentation_models_pytorch.losses"
MODES = ("binary", "multiclass", "multilabel")
REDUCTIONS = ("mean", "sum", "none")
SERVED = {"from_logits": True, "dim": 1, "weight": None}  # settings that have one served value


def region_loss(
    loss: Any, scores: Tensor, target: Tensor, alpha: float, beta: float, align_corners: bool
) -> Tensor:
    """The loss of a `DiceLoss`, `JaccardLoss` or `TverskyLoss`, this module's or the library's."""
    hits, predicted, true = overlap(
        scores,
        _labels(loss, scores, target),
        activation="softmax" if loss.mode == "multiclass" else "sigmoid",
        ignore_index=_ignored(loss),
        align_corners=align_corners,
    )
    whole = hits + alpha * (predicted - hits) + beta * (true - hits)
    score = (hits + loss.smooth) / (whole + loss.smooth).clamp_min(loss.eps)
    losses = -score.clamp_min(loss.eps).log() if loss.log_loss else 1 - score
    losses = losses * (true > 0)  # a class without pixels costs nothing
    weights = loss.class_weights
    weights = torch.ones_like(losses) if weights is None else weights.to(losses)
    if loss.classes is not None:
        losses, weights = losses[loss.classes], weights[loss.classes]
    mean: Tensor = (losses * weights).sum() / weights.sum()
    return mean


def soft_cross_entropy(loss: Any, scores: Tensor, target: Tensor, align_corners: bool) -> Tensor:
    """The loss of a `SoftCrossEntropyLoss`, this module's or the library's."""
    found: Tensor = cross_entropy(
        scores,
        _squeezed(whole_numbers(target, _own(loss)), scores),
        ignore_index=_ignored(loss),
        label_smoothing=loss.smooth_factor or 0.0,
        reduction="none" if loss.reduction == "none" else "sum",
        align_corners=align_corners,
    )
    if loss.reduction == "none" and loss.ignore_index is not None:
        return found[:, None]  # as the library has it
    # The library's mean is over all pixels, those that are ignored too.
    return found / target.numel() if loss.reduction == "mean" else found


def soft_binary_cross_entropy(
    loss: Any, scores: Tensor, target: Tensor, align_corners: bool
) -> Tensor:
    """The loss of a `SoftBCEWithLogitsLoss`, this module's or the library's."""
    if target.shape[:2] != scores.shape[:2] or target.ndim != scores.ndim:
        raise ArgumentError(
            f"target must be of shape N x C x H x W for scores of shape {tuple(scores.shape)}, "
            f"not {tuple(target.shape)}"
        )
    labels = whole_numbers(target, _own(loss))
    options: dict[str, Any] = {
        "ignore_index": _ignored(loss),
        "pos_weight": _for_each_class(loss, scores),
        "reduction": "none" if loss.reduction == "none" else "sum",
        "align_corners": align_corners,
    }
    found: Tensor = binary_cross_entropy(scores, labels, **options)
    if loss.smooth_factor:  # the loss is linear in the target
        flipped = torch.where(counted(labels, options["ignore_index"]), 1 - labels, labels)
        other = binary_cross_entropy(scores, flipped, **options)
        found = (1 - loss.smooth_factor) * found + loss.smooth_factor * other
    return found / target.numel() if loss.reduction == "mean" else found


def _labels(loss: Any, scores: Tensor, target: Tensor) -> Tensor:
    if loss.mode == "binary" and scores.shape[1] != 1:
        raise ArgumentError(f"mode 'binary' is for one class, not scores of {tuple(scores.shape)}")
    labels = whole_numbers(target, _own(loss))
    if loss.mode != "multilabel":
        return _squeezed(labels, scores)
    if labels.ndim != scores.ndim:
        raise ArgumentError(
            "mode 'multilabel' needs a target of 0 and 1 for each class, N x C x H x W, not of "
            f"shape {tuple(target.shape)}"
        )
    return labels


def _squeezed(labels: Tensor, scores: Tensor) -> Tensor:
    """Labels without their one channel, if they have it."""
    return labels[:, 0] if labels.ndim == scores.ndim and labels.shape[1] == 1 else labels


def _ignored(loss: Any) -> int:
    return NEVER if loss.ignore_index is None else int(loss.ignore_index)


def _for_each_class(loss: Any, scores: Tensor) -> Tensor | None:
    """The weights of true pixels, which the library broadcasts to N x C x H x W."""
    weight = loss.pos_weight
    if weight is None:
        return None
    classes, shape = scores.shape[1], tuple(weight.shape)
    # Aligned at the end, a class has a number only if one follows for each side.
    ones = (1,) * (scores.ndim - 2)
    if weight.numel() == 1 or shape in ((classes, *ones), (1, classes, *ones)):
        return weight.reshape(-1).expand(classes)  # type: ignore[no-any-return]
    raise UnsupportedError(
        f"pos_weight must be one number or, for each class, of shape {(classes, *ones)}, "
        f"not {shape}: others are left to {_own(loss)}"
    )


def _own(loss: Any) -> str:
    return f"{THEIRS}.{type(loss).__name__}"


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
        mode: "binary" (scores N x 1 x h x w, target N x H x W or N x 1 x H x W of 0 and 1),
            "multiclass" (N x C x h x w, N x H x W of class numbers), or "multilabel" (N x C x h x
            w, N x C x H x W of 0 and 1). Targets of any number type that hold whole numbers.
        classes, log_loss, smooth, ignore_index, eps, class_weights: as in the library.
        from_logits: True alone.
        align_corners: as in `F.interpolate`; True for the models of the library, which end in an
            `nn.UpsamplingBilinear2d`.

    Raises:
        NotImplementedError: soft labels, or `from_logits=False`; the message names the library's
            class, which takes them.
        ValueError, TypeError: an argument does not fit; the message says which and why.

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
        check_served(self, SERVED, _own(self))

    def forward(self, y_pred: Tensor, y_true: Tensor) -> Tensor:
        loss = region_loss(self, y_pred, y_true, self.alpha, self.beta, self.align_corners)
        return loss**self.gamma


class JaccardLoss(DiceLoss):
    """`segmentation_models_pytorch.losses.JaccardLoss` of coarse scores; see `DiceLoss`.

    >>> scores = torch.tensor([[[[4.0, 0.0]], [[0.0, 4.0]]]])
    >>> target = torch.tensor([[[0, 0, 1, 1], [0, 0, 0, 1]]])
    >>> JaccardLoss("multiclass")(scores, target)
    tensor(0.2848)
    """

    alpha = beta = 1.0


class TverskyLoss(DiceLoss):
    """`segmentation_models_pytorch.losses.TverskyLoss` of coarse scores; see `DiceLoss`.

    Args:
        alpha, beta: what false and missed pixels cost.
        gamma: the power of the loss.

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
        NotImplementedError, ValueError, TypeError: as in `DiceLoss`.

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
        check_served(self, SERVED, _own(self))

    def forward(self, y_pred: Tensor, y_true: Tensor) -> Tensor:
        return soft_cross_entropy(self, y_pred, y_true, self.align_corners)


class SoftBCEWithLogitsLoss(torch.nn.Module):
    """`segmentation_models_pytorch.losses.SoftBCEWithLogitsLoss` of coarse scores.

    Equivalent to the library's class of scores interpolated as in `DiceLoss`. The target is 0 or 1
    for each class, N x C x H x W. As there, "mean" is over all, also what is ignored.

    Args:
        weight: None alone.
        ignore_index: the value in the target that counts for nothing, or None.
        reduction: "mean", "sum" or "none".
        smooth_factor: as in the library.
        pos_weight: one number, or C x 1 x 1 of them, what true pixels count for.
        align_corners: as in `F.interpolate`.

    Raises:
        NotImplementedError, ValueError, TypeError: as in `DiceLoss`.

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
        check_served(self, SERVED, _own(self))

    def forward(self, y_pred: Tensor, y_true: Tensor) -> Tensor:
        return soft_binary_cross_entropy(self, y_pred, y_true, self.align_corners)


def _serve(loss: Any, scores: Tensor, target: Tensor) -> Tensor:
    """The loss of the library's own instance; UnsupportedError if it is one of another class."""
    check_served(loss, SERVED, _own(loss))
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
