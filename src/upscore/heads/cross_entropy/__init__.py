"""Cross-entropy at full resolution: the public function and its checks."""

from typing import Any

from upscore.arrays import framework
from upscore.heads.backend import check_images_or_volumes, choose_backend
from upscore.heads.cross_entropy import eager
from upscore.heads.cross_entropy.hardness import check_hardness, harden
from upscore.heads.cross_entropy.options import Options
from upscore.heads.grid import choose_grid, widened
from upscore.heads.reduction import Reduction, check_reduction
from upscore.heads.target import check_ignore_index, check_target, check_weight
from upscore.heads.volumes import as_images


def cross_entropy(
    scores: Any,
    target: Any,
    *,
    ignore_index: int = 255,
    weight: Any = None,
    label_smoothing: float = 0.0,
    focal: float = 0.0,
    z_loss: float = 0.0,
    top_k: float = 1.0,
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
            or float64 (computed in float64), of any strides; of volumes N x C x d x h x w
            (`mode="trilinear"`).
        target: N x H x W or H x W class numbers (N x D x H x W of volumes), uint8, int16, int32 or
            int64, a tensor or array like the scores and on their device; any size, larger or
            smaller than the scores.
        ignore_index: the label of pixels that count for nothing.
        weight: C class weights; no gradient is computed for them.
        label_smoothing: 0 to 1, the part of the target that is spread over all classes.
        focal: 0 or more, gamma of the focal loss (Lin et al. 2017). Each loss is multiplied by `(1
            - p) ** gamma`, p being the label's probability. Not with label smoothing.
        z_loss: 0 or more; adds `z_loss * logsumexp(scores) ** 2` to each pixel's loss, which keeps
            `logsumexp` near 0 (1e-4 in PaLM, Chowdhery et al. 2022). Class weights do not apply to
            it.
        top_k: above 0 to 1; only this share of all pixels counts, those with the largest losses
            (hard example mining; nnU-Net's `TopKLoss(k=10)` is 0.1). "mean" then divides by their
            number. Not with reduction="none".
        reduction: "mean" divides by the summed weight of the pixels' labels, "sum" does not divide,
            "none" gives every pixel's loss, 0 where ignored.
        align_corners: as in `F.interpolate`.
        stride: sample on the grid of the FCN instead, as in `upscore.argmax`. Not for volumes.
        backend: "eager" (the expression above), "cpu" (Numba), "gpu" (Triton), or "auto", as in
            `upscore.argmax`.

    Returns:
        The loss, float64 for float64 scores, else float32, autocast or not: a tensor without
        dimensions that can be differentiated once with respect to the scores, for arrays a float;
        losses of the target's shape for `reduction="none"`.

    Raises:
        ArgumentError: a shape or value does not fit; the message says which and why. For a label
            that is neither a class nor `ignore_index` it names the first and where it stands.
        ArgumentTypeError: a type does not fit, such as arrays of two frameworks.

    Examples:
        >>> import numpy as np
        >>> scores = np.array([[[4.0, 0.0]], [[0.0, 4.0]]])
        >>> target = np.array([[0, 0, 1, 1], [0, 0, 255, 1]], dtype=np.uint8)
        >>> round(cross_entropy(scores, target), 4)
        0.0648
    """
    batch = check_images_or_volumes(scores)
    labels = check_target(scores, target)
    check_ignore_index(ignore_index)
    check_reduction(reduction)
    hardness = check_hardness(focal, z_loss, top_k, label_smoothing, reduction)
    weight = check_weight(batch, weight)
    backend = choose_backend(batch, backend)
    grid = choose_grid(align_corners, stride)
    labels = labels if scores.ndim > 3 else labels[None]
    if scores.ndim == 5:
        batch, labels = as_images(batch, grid, backend, ignore_index, labels)
    per_pixel = reduction == "none" or hardness is not None
    mean = reduction == "mean" and not per_pixel
    options = Options(ignore_index, label_smoothing, grid, per_pixel, mean, z_loss > 0)
    found = _found(backend, batch, labels, None if focal else weight, options)
    losses = found[0]
    if hardness is not None:
        losses = harden(hardness, found, labels, weight, ignore_index)
    if reduction == "none":
        if backend == "eager" and framework(scores).name == "numpy":
            losses = losses.astype(widened(scores).dtype)
        return losses.reshape(target.shape)
    return float(losses) if framework(scores).name == "numpy" else losses


def _found(
    backend: str, scores: Any, target: Any, weight: Any, options: Options
) -> tuple[Any, Any, Any]:
    """Return the losses as the options say, their weight, and the log-sums if asked for."""
    if backend == "eager":
        return eager.cross_entropy(scores, target, weight, options)
    if framework(scores).name == "numpy":
        from upscore.heads.cross_entropy import cpu

        return cpu.cross_entropy(widened(scores), target, weight, options=options)[:3]
    from upscore.heads.cross_entropy import torch_op

    return torch_op.losses(scores, target, weight, options, backend)
