"""The confusion matrix at full resolution: the public function and its checks."""

from typing import Any

from upscore.arrays import framework
from upscore.errors import ArgumentError
from upscore.heads.argmax.arguments import choose_size
from upscore.heads.backend import check_images_or_volumes, choose_backend
from upscore.heads.confusion.counts import make_counts
from upscore.heads.grid import choose_grid
from upscore.heads.target import check_ignore_index, check_target


def confusion(
    scores: Any,
    target: Any,
    *,
    ignore_index: int = 255,
    align_corners: bool = False,
    stride: int | None = None,
    size: tuple[int, ...] | None = None,
    backend: str = "auto",
) -> Any:
    """Count the pixels of a full-resolution target by true class and by class of the best score.

    Equivalent to `labels = upscore.argmax(scores, target.shape[-2:], ...)`, `valid = target !=
    ignore_index` and `bincount(C * target[valid] + labels[valid], minlength=C * C).reshape(C, C)`,
    without building the full-resolution scores or, on the CPU, the labels.

    Args:
        scores: C x h x w or N x C x h x w NumPy array or torch tensor, as of `upscore.argmax`;
            or volumes, N x C x d x h x w.
        target: H x W, N x H x W or N x D x H x W class numbers, uint8, int16, int32 or int64, an
            array or tensor like the scores and on their device; any size, larger or smaller than
            the scores.
        ignore_index: the label of pixels that are not counted.
        align_corners: as in `F.interpolate`.
        stride: sample on the grid of the FCN instead, as in `upscore.argmax`. Not for volumes.
        size: what the target's size must be, such as the photo's: another one is an error.
        backend: "eager" (the expression above), "cpu" (Numba), "gpu" (the labels by Triton), or
            "auto", as in `upscore.argmax`.

    Returns:
        The C x C counts, int64, rows the truth and columns the prediction: an array, or a tensor on
        the device of the scores.

    Raises:
        ArgumentError: a shape or value does not fit; the message says which and why. For a label
            that is neither a class nor `ignore_index` it names the first and where it stands.
        ArgumentTypeError: a type does not fit, such as arrays of two frameworks.

    Examples:
        >>> import numpy as np
        >>> scores = np.array([[[4.0, 0.0]], [[0.0, 4.0]]])
        >>> target = np.array([[0, 0, 1, 1], [0, 0, 255, 0]], dtype=np.uint8)
        >>> confusion(scores, target)
        array([[4, 1],
               [0, 2]])
    """
    batch = check_images_or_volumes(scores)
    arrays = framework(batch)
    batch = arrays.detached(batch)
    target = check_target(scores, target)
    check_ignore_index(ignore_index)
    found = tuple(target.shape[2 - batch.ndim :])
    if size is not None and choose_size(tuple(batch.shape[2:]), size, None) != found:
        raise ArgumentError(
            f"size is {tuple(size)}, but the target's is {found}: pixels are counted where the "
            "target has them, so resize it first"
        )
    if batch.ndim == 5 and stride is not None:
        raise ArgumentError("stride is for images: volumes have align_corners alone")
    grid = choose_grid(align_corners, stride)
    backend = choose_backend(batch, backend)
    target = target if scores.ndim > 3 else target[None]
    if arrays.traced(batch):
        from upscore.heads.confusion.torch_op import operator

        return operator(batch, target, ignore_index, grid.name, grid.stride, backend)
    return make_counts(batch, target, ignore_index, grid, backend)
