"""What the losses of segmentation-models-pytorch compute, from the settings that one holds."""

from typing import Any

import torch
from torch import Tensor

from upscore.compat.targets import NEVER, whole_numbers
from upscore.errors import ArgumentError, UnsupportedError
from upscore.heads.binary_cross_entropy import binary_cross_entropy
from upscore.heads.cross_entropy import cross_entropy
from upscore.heads.overlap import overlap
from upscore.heads.target import counted

THEIRS = "segmentation_models_pytorch.losses"


def region_loss(
    loss: Any, scores: Tensor, target: Tensor, alpha: float, beta: float, align_corners: bool
) -> Tensor:
    """The loss of a `DiceLoss`, `JaccardLoss` or `TverskyLoss`, ours or the library's."""
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
    """The loss of a `SoftCrossEntropyLoss`, ours or the library's."""
    found: Tensor = cross_entropy(
        scores,
        _squeezed(whole_numbers(target, own_name(loss)), scores),
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
    """The loss of a `SoftBCEWithLogitsLoss`, ours or the library's."""
    if target.shape[:2] != scores.shape[:2] or target.ndim != scores.ndim:
        raise ArgumentError(
            f"target must be of shape N x C x H x W for scores of shape {tuple(scores.shape)}, "
            f"not {tuple(target.shape)}"
        )
    labels = whole_numbers(target, own_name(loss))
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
    labels = whole_numbers(target, own_name(loss))
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
        f"not {shape}: others are left to {own_name(loss)}"
    )


def own_name(loss: Any) -> str:
    """The library's class of a loss, to name in an error."""
    return f"{THEIRS}.{type(loss).__name__}"
