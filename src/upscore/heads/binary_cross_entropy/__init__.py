"""Binary cross-entropy at full resolution, for classes that overlap: the public function."""

from typing import Any

from upscore.arrays import framework
from upscore.heads.backend import check_images_or_volumes, choose_backend
from upscore.heads.binary_cross_entropy import eager
from upscore.heads.binary_cross_entropy.options import Options
from upscore.heads.grid import choose_grid, widened
from upscore.heads.reduction import Reduction, check_reduction
from upscore.heads.target import check_binary_target, check_ignore_index, check_weight
from upscore.heads.volumes import as_images

BACKENDS = ("auto", "eager", "cpu")


def binary_cross_entropy(
    scores: Any,
    target: Any,
    *,
    ignore_index: int = 255,
    pos_weight: Any = None,
    reduction: Reduction = "mean",
    align_corners: bool = False,
    stride: int | None = None,
    backend: str = "auto",
) -> Any:
    """Return the binary cross-entropy of each class's coarse scores with a full-resolution target.

    Equivalent to `F.binary_cross_entropy_with_logits(F.interpolate(scores, target.shape[-2:],
    mode="bilinear", align_corners=...), target.float(), pos_weight=..., reduction=...)` over what
    is not ignored, with `scores` converted to float32 first where they are of half precision, and
    without building the full-resolution scores or their gradient. Where all is ignored the mean is
    0 and so is its gradient, not NaN; an infinite score of the right sign costs 0, not NaN.

    Args:
        scores: N x C x h x w or C x h x w torch tensor or NumPy array, float32, float16, bfloat16
            or float64 (computed in float64), of any strides; of volumes N x C x d x h x w
            (`mode="trilinear"`).
        target: 0 or 1 for each class and pixel, N x C x H x W or C x H x W (N x C x D x H x W),
            uint8, int16, int32 or int64, a tensor or array like the scores and on their device. Or
            class numbers, N x H x W or H x W: 1 for that class, 0 for the others; of one class this
            is 0 or 1.
        ignore_index: the value in the target that counts for nothing.
        pos_weight: C numbers, the weight of pixels where the class is true; no gradient is computed
            for them.
        reduction: "mean" over pixels and classes, "sum", or "none" for all losses, of the shape of
            the interpolated scores (N x C x H x W), 0 where ignored.
        align_corners: as in `F.interpolate`.
        stride: sample on the grid of the FCN instead, as in `upscore.argmax`. Not for volumes.
        backend: "eager" (the expression above), "cpu" (Numba), or "auto": "cpu" in main memory
            where Numba is installed, else "eager".

    Returns:
        The loss, float64 for float64 scores, else float32, autocast or not: a tensor without
        dimensions that can be differentiated once with respect to the scores, for arrays a float;
        all losses for `reduction="none"`.

    Raises:
        ArgumentError: a shape or value does not fit; the message says which and why. For a label
            of no meaning it names the first and where it stands.
        ArgumentTypeError: a type does not fit, such as arrays of two frameworks.

    Examples:
        >>> import numpy as np
        >>> scores = np.array([[[4.0, 0.0]], [[0.0, 4.0]]])
        >>> target = np.array([[0, 0, 1, 1], [0, 0, 255, 1]], dtype=np.uint8)
        >>> round(binary_cross_entropy(scores, target), 4)
        0.4951
    """
    batch = check_images_or_volumes(scores)
    labels = check_binary_target(scores, target)
    check_ignore_index(ignore_index)
    check_reduction(reduction)
    pos_weight = check_weight(batch, pos_weight, "pos_weight")
    backend = choose_backend(batch, backend, BACKENDS)
    grid = choose_grid(align_corners, stride)
    shape = (*scores.shape[:-2], *target.shape[-2:])
    if scores.ndim == 5:
        shape = (*scores.shape[:2], *target.shape[-3:])
        batch, labels = as_images(batch, grid, backend, ignore_index, labels)
    options = Options(ignore_index, grid, reduction == "none", reduction == "mean")
    losses = _losses(backend, batch, labels, pos_weight, options)
    if reduction == "none":
        return _as_volumes(losses, shape) if scores.ndim == 5 else losses.reshape(shape)
    return float(losses) if framework(scores).name == "numpy" else losses


def _losses(backend: str, scores: Any, target: Any, pos_weight: Any, options: Options) -> Any:
    """Return the losses N x C x H x W, or their sum or mean."""
    if backend == "eager":
        return eager.binary_cross_entropy(scores, target, pos_weight, options)
    if framework(scores).name == "numpy":
        from upscore.heads.binary_cross_entropy import cpu

        scores = widened(scores)
        return cpu.binary_cross_entropy(scores, target, pos_weight, options=options)[0]
    from upscore.heads.binary_cross_entropy import torch_op

    return torch_op.losses(scores, target, pos_weight, options)


def _as_volumes(losses: Any, shape: tuple[int, ...]) -> Any:
    """Losses of the images that `as_images` made, N x C x D x H x W."""
    images, classes, depth, height, width = shape
    if losses.ndim == 5 or losses.shape[2] == depth * height:  # or tall ones
        return losses.reshape(shape)
    return losses.reshape(images, depth, classes, height, width).swapaxes(1, 2)
