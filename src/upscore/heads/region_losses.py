"""Losses of regions, each a line or two on `overlap`: Dice, Jaccard and Tversky."""

from collections.abc import Sequence
from typing import Any, Literal, get_args

from upscore.arrays import framework
from upscore.errors import ArgumentError
from upscore.geometry import whole
from upscore.heads.overlap import Activation, sums_of
from upscore.heads.reduction import check_reduction

Absent = Literal["count", "zero", "skip"]


def dice(
    scores: Any,
    target: Any,
    *,
    smooth: float = 1.0,
    classes: Sequence[int] | None = None,
    absent: Absent = "count",
    reduction: Literal["mean", "none"] = "mean",
    cross_entropy: float = 0.0,
    activation: Activation = "softmax",
    ignore_index: int = 255,
    weight: Any = None,
    per_image: bool = False,
    align_corners: bool = False,
    stride: int | None = None,
    backend: str = "auto",
) -> Any:
    """Return one minus the Dice overlap of probabilities and target, averaged over the classes.

    Equivalent to `1 - (2 * i + smooth) / (p + t + smooth)` with the sums `i, p, t` of
    `upscore.overlap`, 0 over 0 counting as 1. With these settings it equals

    | library | loss | settings here |
    |---|---|---|
    | segmentation-models-pytorch | `DiceLoss(smooth=s)` | `smooth=2 * s, absent="zero"` |
    | MONAI | `DiceLoss(softmax=True)` | `smooth=1e-5, per_image=True` |
    | nnU-Net | `SoftDiceLoss`, plus 1 | `smooth=1, per_image=True, classes=range(1, C)` |

    (`per_image=False` for MONAI's `batch=True` and nnU-Net's `batch_dice=True`).

    Args:
        scores: N x C x h x w or C x h x w torch tensor or NumPy array of floats, as of
            `upscore.overlap`; of volumes N x C x d x h x w.
        target: N x H x W or H x W class numbers of a whole-number type; with
            `activation="sigmoid"` also 0 or 1 for each class, N x C x H x W.
        smooth: 0 or more pixels, added above and below, so that tiny classes give no steep
            gradients.
        classes: which classes count, all by default.
        absent: what to do with classes that are not in the target: "count" them like others, count
            "zero" loss for them, or "skip" them in the mean.
        reduction: "mean", or "none" for the loss of each class (N x C with `per_image`; 0 where
            absent classes are "zero" or to "skip").
        cross_entropy: 0 or more, the weight of the mean cross-entropy of all pixels that is added:
            `dice(..., cross_entropy=1.0)` is `dice(...) + upscore.cross_entropy(...)`, under the
            sigmoid `upscore.binary_cross_entropy`, in little more time than the first alone. A
            pixel counts for its `weight` there too, but `classes` and `absent` do not apply to it;
            it needs reduction="mean".
        activation: "softmax" over the classes, or "sigmoid" of each.
        ignore_index: the label of pixels that count for nothing.
        weight: the weight of each pixel, of the shape of a target of class numbers; no gradient is
            computed for it.
        per_image: sum over the pixels of each image instead of the batch.
        align_corners: as in `F.interpolate`.
        stride: sample on the grid of the FCN instead, as in `upscore.argmax`. Not for volumes.
        backend: "eager", "cpu" (Numba), "gpu" (Triton) or "auto", as in `upscore.overlap`.

    Returns:
        The loss, float64 for float64 scores, else float32: a tensor without dimensions that can be
        differentiated once with respect to the scores, for arrays a float; the losses of each class
        for `reduction="none"`.

    Raises:
        ArgumentError: a shape or value does not fit; the message says which and why. For a label
            of no meaning it names the first and where it stands.
        ArgumentTypeError: a type does not fit, such as arrays of two frameworks.

    Source: Milletari et al. 2016, "V-Net".

    Examples:
        >>> import numpy as np
        >>> scores = np.array([[[4.0, 0.0]], [[0.0, 4.0]]])
        >>> target = np.array([[0, 0, 1, 1], [0, 0, 255, 1]], dtype=np.uint8)
        >>> round(dice(scores, target), 4)
        0.0544
    """
    return tversky(
        scores,
        target,
        alpha=0.5,
        beta=0.5,
        smooth=smooth / 2,
        classes=classes,
        absent=absent,
        reduction=reduction,
        cross_entropy=cross_entropy,
        activation=activation,
        ignore_index=ignore_index,
        weight=weight,
        per_image=per_image,
        align_corners=align_corners,
        stride=stride,
        backend=backend,
    )


def jaccard(
    scores: Any,
    target: Any,
    *,
    smooth: float = 1.0,
    classes: Sequence[int] | None = None,
    absent: Absent = "count",
    reduction: Literal["mean", "none"] = "mean",
    cross_entropy: float = 0.0,
    activation: Activation = "softmax",
    ignore_index: int = 255,
    weight: Any = None,
    per_image: bool = False,
    align_corners: bool = False,
    stride: int | None = None,
    backend: str = "auto",
) -> Any:
    """Return one minus the Jaccard overlap (IoU), averaged over the classes.

    Equivalent to `1 - (i + smooth) / (p + t - i + smooth)` with the sums of `upscore.overlap`. It
    equals JaccardLoss of segmentation-models-pytorch with `smooth=0, absent="zero"`, and MONAI's
    `DiceLoss(jaccard=True, softmax=True)` with `smooth=0.5e-5, per_image=True`.

    Args:
        scores: as of `upscore.dice`.
        target: as of `upscore.dice`.
        smooth: 0 or more pixels, added above and below.
        classes: which classes count, all by default.
        absent: what to do with classes that are not in the target: "count", "zero" or "skip", as
            for `upscore.dice`.
        reduction: "mean", or "none" for the loss of each class.
        cross_entropy: 0 or more, the weight of the mean cross-entropy that is added, as for
            `upscore.dice`.
        activation: "softmax" over the classes, or "sigmoid" of each.
        ignore_index: the label of pixels that count for nothing.
        weight: the weight of each pixel, of the shape of a target of class numbers; no gradient is
            computed for it.
        per_image: sum over the pixels of each image instead of the batch.
        align_corners: as in `F.interpolate`.
        stride: sample on the grid of the FCN instead, as in `upscore.argmax`. Not for volumes.
        backend: "eager", "cpu" (Numba), "gpu" (Triton) or "auto", as in `upscore.overlap`.

    Returns:
        The loss, as of `upscore.dice`.

    Raises:
        ArgumentError: a shape or value does not fit; the message says which and why. For a label
            of no meaning it names the first and where it stands.
        ArgumentTypeError: a type does not fit, such as arrays of two frameworks.

    Source: Rahman and Wang 2016, "Optimizing intersection-over-union in deep neural networks for
    image segmentation".

    Examples:
        >>> import numpy as np
        >>> scores = np.array([[[4.0, 0.0]], [[0.0, 4.0]]])
        >>> target = np.array([[0, 0, 1, 1], [0, 0, 255, 1]], dtype=np.uint8)
        >>> round(jaccard(scores, target), 4)
        0.0919
    """
    return tversky(
        scores,
        target,
        alpha=1.0,
        beta=1.0,
        smooth=smooth,
        classes=classes,
        absent=absent,
        reduction=reduction,
        cross_entropy=cross_entropy,
        activation=activation,
        ignore_index=ignore_index,
        weight=weight,
        per_image=per_image,
        align_corners=align_corners,
        stride=stride,
        backend=backend,
    )


def tversky(
    scores: Any,
    target: Any,
    *,
    alpha: float = 0.5,
    beta: float = 0.5,
    smooth: float = 1.0,
    classes: Sequence[int] | None = None,
    absent: Absent = "count",
    reduction: Literal["mean", "none"] = "mean",
    cross_entropy: float = 0.0,
    activation: Activation = "softmax",
    ignore_index: int = 255,
    weight: Any = None,
    per_image: bool = False,
    align_corners: bool = False,
    stride: int | None = None,
    backend: str = "auto",
) -> Any:
    """Return one minus the Tversky overlap, averaged over the classes.

    Equivalent to `1 - (i + smooth) / (i + alpha * (p - i) + beta * (t - i) + smooth)` with the sums
    of `upscore.overlap`. It equals TverskyLoss of segmentation-models-pytorch with
    `smooth=0, absent="zero"`, its `gamma` being `upscore.tversky(...) ** gamma`, and MONAI's with
    `smooth=1e-5, per_image=True`.

    Args:
        scores: as of `upscore.dice`.
        target: as of `upscore.dice`.
        alpha: 0 or more, what a false pixel costs.
        beta: 0 or more, what a missed pixel costs: more than `alpha` for rare things.
        smooth: 0 or more pixels, added above and below.
        classes: which classes count, all by default.
        absent: what to do with classes that are not in the target: "count", "zero" or "skip", as
            for `upscore.dice`.
        reduction: "mean", or "none" for the loss of each class.
        cross_entropy: 0 or more, the weight of the mean cross-entropy that is added, as for
            `upscore.dice`.
        activation: "softmax" over the classes, or "sigmoid" of each.
        ignore_index: the label of pixels that count for nothing.
        weight: the weight of each pixel, of the shape of a target of class numbers; no gradient is
            computed for it.
        per_image: sum over the pixels of each image instead of the batch.
        align_corners: as in `F.interpolate`.
        stride: sample on the grid of the FCN instead, as in `upscore.argmax`. Not for volumes.
        backend: "eager", "cpu" (Numba), "gpu" (Triton) or "auto", as in `upscore.overlap`.

    Returns:
        The loss, as of `upscore.dice`.

    Raises:
        ArgumentError: a shape or value does not fit; the message says which and why. For a label
            of no meaning it names the first and where it stands.
        ArgumentTypeError: a type does not fit, such as arrays of two frameworks.

    Source: Salehi et al. 2017, "Tversky loss function for image segmentation".

    Examples:
        >>> import numpy as np
        >>> scores = np.array([[[4.0, 0.0]], [[0.0, 4.0]]])
        >>> target = np.array([[0, 0, 1, 1], [0, 0, 255, 1]], dtype=np.uint8)
        >>> round(tversky(scores, target, alpha=0.3, beta=0.7), 4)
        0.0477
    """
    numbers = {"alpha": alpha, "beta": beta, "smooth": smooth, "cross_entropy": cross_entropy}
    _check(numbers, absent, reduction)
    sums = sums_of(
        scores,
        target,
        losses=cross_entropy > 0,
        activation=activation,
        ignore_index=ignore_index,
        weight=weight,
        per_image=per_image,
        align_corners=align_corners,
        stride=stride,
        backend=backend,
    )
    hits, predicted, true = _chosen(sums[:3], classes)
    wrong = alpha * (predicted - hits) + beta * (true - hits)
    wrong = wrong.clip(0, None)  # a rounding below 0 would make NaN of a power of the loss
    region = hits + wrong + smooth
    losses = wrong / (region + (region == 0))  # of no pixels, none predicted, nothing is wrong
    present = true > 0
    if absent != "count":
        losses = losses * present
    if reduction == "none":
        return losses
    count = present.sum() if absent == "skip" else framework(losses).count(losses)
    loss = losses.sum() / (count + (count == 0))
    if cross_entropy:
        total = sums[4].sum()
        loss = loss + cross_entropy * sums[3].sum() / (total + (total == 0))
    return float(loss) if framework(losses).name == "numpy" else loss


def _check(numbers: dict[str, float], absent: str, reduction: str) -> None:
    """Raise ArgumentError for settings that do not fit."""
    for name, value in numbers.items():
        if not 0 <= value < float("inf"):
            raise ArgumentError(f"{name} must be 0 or more, not {value!r}")
    if absent not in get_args(Absent):
        raise ArgumentError(f"absent must be one of {get_args(Absent)}, not {absent!r}")
    check_reduction(reduction, ("mean", "none"))
    if numbers["cross_entropy"] and reduction != "mean":
        raise ArgumentError('cross_entropy is added to the mean: it needs reduction="mean"')


def _chosen(sums: tuple[Any, ...], classes: Sequence[int] | None) -> tuple[Any, ...]:
    """The sums of the classes that count."""
    if classes is None:
        return sums
    most = sums[0].shape[-1]
    chosen = [whole("a class of classes", c, 0) for c in classes]
    if not chosen or max(chosen) >= most:
        raise ArgumentError(f"classes must be some of 0 to {most - 1}, not {classes!r}")
    return tuple(part[..., chosen] for part in sums)
