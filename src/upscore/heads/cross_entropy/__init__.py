"""Cross-entropy at full resolution: the public function and its checks."""

from typing import Any, Literal, get_args

import numpy as np

from upscore.arrays import framework
from upscore.errors import ArgumentError
from upscore.geometry import whole
from upscore.heads.backend import check_scores, choose_backend
from upscore.heads.cross_entropy import eager
from upscore.heads.cross_entropy.options import Options
from upscore.heads.cross_entropy.target import check_target, check_weight
from upscore.heads.grid import choose_grid

Reduction = Literal["mean", "sum", "none"]
REDUCTIONS: tuple[str, ...] = get_args(Reduction)


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

    Equivalent to `F.cross_entropy(F.interpolate(scores, target.shape[-2:], mode="bilinear",
    align_corners=...), target.long(), weight=..., ignore_index=..., label_smoothing=...,
    reduction=...)`, with `scores` converted to float32 first where they are of half precision, and
    without building the full-resolution scores or their gradient. Where every pixel is ignored the
    mean is 0 and so is its gradient, not NaN.

    Args:
        scores: N x C x h x w or C x h x w torch tensor or NumPy array, float32, float16, bfloat16
            or float64 (computed in float64), of any strides.
        target: N x H x W or H x W class numbers, uint8, int16, int32 or int64, a tensor or array
            like the scores and on their device; any size, larger or smaller than the scores.
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
    if reduction not in REDUCTIONS:
        raise ArgumentError(f"reduction must be one of {REDUCTIONS}, not {reduction!r}")
    grid = choose_grid(align_corners, stride)
    options = Options(ignore_index, label_smoothing, grid, reduction == "none")
    losses, total = _sums(
        choose_backend(batch, backend),
        batch,
        target if target.ndim == 3 else target[None],
        check_weight(batch, weight),
        options,
    )
    if reduction == "none":
        return losses if scores.ndim == 4 else losses[0]
    loss = losses if reduction == "sum" else losses / (total + (total == 0))
    return float(loss) if framework(scores).name == "numpy" else loss


def _sums(backend: str, scores: Any, target: Any, weight: Any, options: Options) -> tuple[Any, Any]:
    """Return the pixels' losses or their sum, and their weight."""
    if backend == "eager":
        return eager.cross_entropy(scores, target, weight, options)
    if framework(scores).name == "numpy":
        from upscore.heads.cross_entropy import cpu

        scores = scores.astype(np.promote_types(scores.dtype, np.float32), copy=False)
        losses, total, _ = cpu.cross_entropy(scores, target, weight, options=options)
        return losses, total
    from upscore.heads.cross_entropy import torch_op

    return torch_op.losses(scores, target, weight, options, backend)
