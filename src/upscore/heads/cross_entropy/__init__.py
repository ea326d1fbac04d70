"""Cross-entropy at full resolution: the public function and its checks."""

from typing import Any, Literal

import numpy as np

from upscore.errors import ArgumentError, ArgumentTypeError
from upscore.geometry import whole
from upscore.heads.backend import check_scores, choose_backend, is_tensor
from upscore.heads.cross_entropy import eager
from upscore.heads.cross_entropy.target import check_target, check_weight

_REDUCTIONS = ("mean", "sum", "none")


def cross_entropy(
    scores: Any,
    target: Any,
    *,
    ignore_index: int = 255,
    weight: Any = None,
    label_smoothing: float = 0.0,
    reduction: Literal["mean", "sum", "none"] = "mean",
    align_corners: bool = False,
    stride: int | None = None,
    backend: str = "auto",
) -> Any:
    """Return the cross-entropy of coarse scores with a full-resolution target.

    Equivalent to `F.cross_entropy(F.interpolate(scores, target.shape[-2:], mode="bilinear",
    align_corners=...), target.long(), weight=..., ignore_index=..., label_smoothing=...,
    reduction=...)`, with `scores` converted to float32 first where they are of half precision, and
    without building the full-resolution scores or their gradient. Where every pixel is ignored the
    mean is 0 and so is its gradient, not NaN.

    Args:
        scores: N x C x h x w or C x h x w torch tensor or NumPy array, float32, float16, bfloat16
            or float64 (computed in float64), of any strides.
        target: N x H x W or H x W class numbers, uint8, int16, int32 or int64, of the kind and on
            the device of the scores; any size, larger or smaller than the scores.
        ignore_index: the label of pixels that count for nothing.
        weight: C numbers, what a pixel of each class counts for; not differentiated.
        label_smoothing: 0 to 1, the part of the target that is spread over all classes.
        reduction: "mean" divides the sum by the summed weight of the pixels' labels; "none" gives
            every pixel's loss, 0 where ignored.
        align_corners: as in `F.interpolate`.
        stride: sample on the grid of the FCN instead, as in `upscore.argmax`.
        backend: "eager" (the expression above), "cpu" (Numba), "gpu" (Triton), or "auto", as in
            `upscore.argmax`.

    Returns:
        The loss, float64 for float64 scores, else float32, autocast or not: a tensor without
        dimensions that can be differentiated once with respect to the scores, for arrays a float;
        N x H x W or H x W losses for `reduction="none"`.

    Raises:
        ValueError, TypeError: an argument does not fit; the message says which and why. For a label
            that is neither a class nor `ignore_index` it names the first and where it stands.

    >>> import numpy as np
    >>> scores = np.array([[[4.0, 0.0]], [[0.0, 4.0]]])
    >>> target = np.array([[0, 0, 1, 1], [0, 0, 255, 1]], dtype=np.uint8)
    >>> round(cross_entropy(scores, target), 4)
    0.0648
    """
    batch = check_scores(scores)
    target = check_target(scores, target)
    whole("ignore_index", ignore_index, -(2**63))
    if not 0 <= label_smoothing <= 1:
        raise ArgumentError(f"label_smoothing must be from 0 to 1, not {label_smoothing!r}")
    if reduction not in _REDUCTIONS:
        raise ArgumentError(f"reduction must be one of {_REDUCTIONS}, not {reduction!r}")
    if stride is not None:
        whole("stride", stride, 1)
        if align_corners:
            raise ArgumentError(
                "stride and align_corners name two different grids: give one of them"
            )
    weight = check_weight(batch, weight)
    losses, total = _sums(
        choose_backend(batch, backend),
        batch,
        target if target.ndim == 3 else target[None],
        weight,
        ignore_index=ignore_index,
        label_smoothing=label_smoothing,
        align_corners=align_corners,
        stride=stride,
        per_pixel=reduction == "none",
    )
    if reduction == "none":
        return losses if scores.ndim == 4 else losses[0]
    loss = losses if reduction == "sum" else losses / (total + (total == 0))
    return loss if is_tensor(loss) else float(loss)


def _sums(
    backend: str, scores: Any, target: Any, weight: Any, *, per_pixel: bool, **options: Any
) -> tuple[Any, Any]:
    """Return the pixels' losses or their sum, and their weight."""
    if backend == "eager":
        losses, total = eager.cross_entropy(scores, target, weight, per_pixel=per_pixel, **options)
        return losses, total
    if isinstance(scores, np.ndarray):
        from upscore.heads.cross_entropy import cpu

        scores = scores.astype(np.promote_types(scores.dtype, np.float32), copy=False)
        losses, total, _ = cpu.cross_entropy(
            scores, target, weight, per_pixel=per_pixel, with_gradient=False, **options
        )
        return losses, total
    import torch

    from upscore.heads.cross_entropy import torch_op

    differentiated = scores.requires_grad and torch.is_grad_enabled() and not per_pixel
    losses, total, _ = torch_op.cross_entropy(
        scores,
        target,
        None if weight is None else weight.detach(),
        None,
        per_pixel=per_pixel,
        with_gradient=differentiated,
        backend=backend,
        **options,
    )
    return losses, total
