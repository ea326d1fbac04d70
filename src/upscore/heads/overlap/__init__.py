"""How much probabilities and target overlap at full resolution: the public function."""

from typing import Any, Literal, NamedTuple, get_args

from upscore.arrays import framework
from upscore.errors import ArgumentError
from upscore.heads.backend import check_images_or_volumes, choose_backend
from upscore.heads.grid import choose_grid, widened
from upscore.heads.overlap import eager
from upscore.heads.overlap.options import Options
from upscore.heads.target import (
    check_binary_target,
    check_ignore_index,
    check_pixel_weight,
    check_target,
)
from upscore.heads.volumes import as_images

Activation = Literal["softmax", "sigmoid"]
ACTIVATIONS: tuple[str, ...] = get_args(Activation)


class Overlap(NamedTuple):
    """Sums over pixels, of each class: C numbers, or N x C of each image.

    Attributes:
        intersection: the sum of the class's probabilities where it is true.
        predicted: the sum of its probabilities.
        true: the number of pixels where it is true, or the sum of their weights.
    """

    intersection: Any
    predicted: Any
    true: Any


def overlap(
    scores: Any,
    target: Any,
    *,
    activation: Activation = "softmax",
    ignore_index: int = 255,
    weight: Any = None,
    per_image: bool = False,
    align_corners: bool = False,
    stride: int | None = None,
    backend: str = "auto",
) -> Overlap:
    """Return how much of each class is predicted, true, and both, at full resolution.

    What every region loss is made of: Dice is `2 * intersection / (predicted + true)`. Equivalent
    to

        p = F.interpolate(scores, target.shape[-2:], mode="bilinear").softmax(1)  # or .sigmoid()
        t = F.one_hot(target, C).movedim(-1, 1)
        (p * t).sum((0, 2, 3)), p.sum((0, 2, 3)), t.sum((0, 2, 3))

    over the pixels that are not ignored, with `scores` converted to float32 first where they are of
    half precision, and without building anything of C x H x W. To sum over several processes, sum
    these three (`torch.distributed.nn.all_reduce`).

    Args:
        scores: N x C x h x w or C x h x w torch tensor or NumPy array, float32, float16, bfloat16
            or float64 (computed in float64), of any strides; of volumes N x C x d x h x w
            (`mode="trilinear"`).
        target: class numbers, N x H x W or H x W (N x D x H x W), uint8, int16, int32 or int64, a
            tensor or array like the scores and on their device. Where classes may overlap
            (`activation="sigmoid"`) 0 or 1 for each class, N x C x H x W, is taken too; of one
            class N x H x W is 0 or 1.
        activation: "softmax" over the classes, or "sigmoid" of each.
        ignore_index: the label of pixels that count for nothing.
        weight: the weight of each pixel, of the shape of a target of class numbers; no gradient is
            computed for it.
        per_image: sum over the pixels of each image instead of the batch.
        align_corners: as in `F.interpolate`.
        stride: sample on the grid of the FCN instead, as in `upscore.argmax`. Not for volumes.
        backend: "eager" (the expression above), "cpu" (Numba), "gpu" (Triton), or "auto", as in
            `upscore.argmax`.

    Returns:
        `Overlap`, a named tuple `intersection`, `predicted`, `true`: arrays or tensors of C
        numbers, of N x C for `per_image` with a batch; float64 for float64 scores, else float32.
        The first two can be differentiated once with respect to the scores.

    Raises:
        ArgumentError: a shape or value does not fit; the message says which and why. For a label
            of no meaning it names the first and where it stands.
        ArgumentTypeError: a type does not fit, such as arrays of two frameworks.

    Examples:
        >>> import numpy as np
        >>> scores = np.array([[[4.0, 0.0]], [[0.0, 4.0]]])
        >>> target = np.array([[0, 0, 1, 1], [0, 0, 255, 1]], dtype=np.uint8)
        >>> overlap(scores, target).intersection.round(2)
        array([3.73, 2.84])
    """
    return Overlap(
        *sums_of(
            scores,
            target,
            activation=activation,
            ignore_index=ignore_index,
            weight=weight,
            per_image=per_image,
            align_corners=align_corners,
            stride=stride,
            backend=backend,
        )
    )


def sums_of(
    scores: Any,
    target: Any,
    *,
    losses: bool = False,
    activation: Activation = "softmax",
    ignore_index: int = 255,
    weight: Any = None,
    per_image: bool = False,
    align_corners: bool = False,
    stride: int | None = None,
    backend: str = "auto",
) -> tuple[Any, ...]:
    """Return the three of `overlap` and, with `losses`, two more, in the same walk.

    These are of each class the cross-entropies of the pixels where it is true (under the sigmoid
    its binary cross-entropies of all pixels), and what these pixels weigh.
    """
    batch = check_images_or_volumes(scores)
    if activation not in ACTIVATIONS:
        raise ArgumentError(f"activation must be one of {ACTIVATIONS}, not {activation!r}")
    sigmoid = activation == "sigmoid"
    if sigmoid:
        labels = check_binary_target(scores, target)
    else:
        labels = check_target(scores, target)
        labels = labels if scores.ndim > 3 else labels[None]
    check_ignore_index(ignore_index)
    weight = check_pixel_weight(scores, target, weight)
    backend = choose_backend(batch, backend)
    grid = choose_grid(align_corners, stride)
    if scores.ndim == 3 and weight is not None:
        weight = weight[None]
    images = len(batch)
    classes = batch.shape[1]
    if scores.ndim == 5:
        batch, labels, weight = as_images(batch, grid, backend, ignore_index, labels, weight)
    sums = _sums(backend, batch, labels, weight, Options(sigmoid, losses, ignore_index, grid))
    slices = len(batch) // max(1, images)  # of a volume
    count = 5 if losses else 3
    sums = sums.reshape(images, slices, count, classes).sum(1)
    if not per_image or scores.ndim == 3:
        sums = sums.sum(0)
    return tuple(sums[..., i, :] for i in range(count))


def _sums(backend: str, scores: Any, target: Any, weight: Any, options: Options) -> Any:
    """Return N x 3 x C sums, N x 5 x C with the losses."""
    if framework(scores).name == "numpy":
        wide = widened(scores)
        if backend == "eager":
            return eager.overlap(wide, target, weight, options).astype(wide.dtype)
        from upscore.heads.overlap import cpu

        return cpu.overlap(wide, target, weight, options=options).astype(wide.dtype)
    if backend == "eager":
        return eager.overlap(scores, target, weight, options)
    from upscore.heads.overlap import torch_op

    return torch_op.sums(scores, target, weight, options, backend)
