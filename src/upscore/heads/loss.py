"""Cross-entropy at full resolution: the public function, its checks and its choice of a backend."""

from typing import Any, Literal

from upscore.geometry import whole
from upscore.heads import eager

Reduction = Literal["mean", "sum", "none"]

_SCORES = ("float32", "float64", "bfloat16", "float16")
_LABELS = ("uint8", "int16", "int32", "int64")
_REDUCTIONS = ("mean", "sum", "none")


def cross_entropy(
    scores: Any,
    target: Any,
    *,
    ignore_index: int = 255,
    weight: Any = None,
    label_smoothing: float = 0.0,
    reduction: Reduction = "mean",
    align_corners: bool = False,
    stride: int | None = None,
    backend: str = "auto",
) -> Any:
    """Return the cross-entropy of coarse scores with a full-resolution target.

    Equivalent to `F.cross_entropy(F.interpolate(scores.float(), target.shape[-2:],
    mode="bilinear", align_corners=align_corners), target, ...)`.
    """
    _check(scores, target, ignore_index, weight, label_smoothing, reduction, align_corners, stride)
    batched = scores.ndim == 4
    losses, total = eager.cross_entropy(
        scores if batched else scores[None],
        target if batched else target[None],
        weight,
        ignore_index=ignore_index,
        label_smoothing=label_smoothing,
        per_pixel=reduction == "none",
        align_corners=align_corners,
        stride=stride,
    )
    if reduction == "none":
        return losses if batched else losses[0]
    return losses if reduction == "sum" else losses / (total + (total == 0))


def _check(
    scores: Any,
    target: Any,
    ignore_index: int,
    weight: Any,
    label_smoothing: float,
    reduction: str,
    align_corners: bool,
    stride: int | None,
) -> None:
    """Raise unless the arguments make a case that every backend can compute."""
    dtype = str(scores.dtype).removeprefix("torch.")
    if dtype not in _SCORES:
        raise TypeError(f"scores must be of {', '.join(_SCORES)}, not {dtype}: convert them first")
    dtype = str(target.dtype).removeprefix("torch.")
    if dtype not in _LABELS:
        raise TypeError(f"target must hold class numbers of {', '.join(_LABELS)}, not {dtype}")
    if scores.ndim not in (3, 4):
        raise ValueError(
            f"scores must be N x C x h x w or C x h x w, not of shape {tuple(scores.shape)}"
        )
    if 0 in scores.shape[-3:]:
        raise ValueError(f"scores of shape {tuple(scores.shape)} hold no classes or no pixels")
    batch = tuple(scores.shape[:-3])
    if target.ndim != len(batch) + 2 or tuple(target.shape[:-2]) != batch:
        expected = "N x H x W" if batch else "H x W"
        raise ValueError(
            f"target must be {expected} class numbers for scores of shape {tuple(scores.shape)}, "
            f"not of shape {tuple(target.shape)}"
        )
    if 0 in target.shape[-2:]:
        raise ValueError(f"target of shape {tuple(target.shape)} holds no pixels")
    if target.device != scores.device:
        raise ValueError(f"target is on {target.device}, scores on {scores.device}: move one")
    if weight is not None:
        if tuple(weight.shape) != (scores.shape[-3],):
            raise ValueError(
                f"weight must hold one number for each of the {scores.shape[-3]} classes, "
                f"not be of shape {tuple(weight.shape)}"
            )
        if weight.device != scores.device:
            raise ValueError(f"weight is on {weight.device}, scores on {scores.device}: move one")
    whole("ignore_index", ignore_index, -(2**63))
    if not 0 <= label_smoothing <= 1:
        raise ValueError(f"label_smoothing must be from 0 to 1, not {label_smoothing!r}")
    if reduction not in _REDUCTIONS:
        raise ValueError(f"reduction must be one of {', '.join(_REDUCTIONS)}, not {reduction!r}")
    if stride is not None:
        whole("stride", stride, 1)
        if align_corners:
            raise ValueError("stride and align_corners name two different grids: give one of them")
