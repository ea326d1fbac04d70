"""Labels at full resolution: the public `argmax`, its checks and its choice of a backend."""

from collections.abc import Sequence
from typing import Any

from upscore.arrays import framework
from upscore.errors import ArgumentError
from upscore.heads.argmax.arguments import Case, check_out, choose_coordinates, choose_size
from upscore.heads.argmax.labels import make_labels
from upscore.heads.argmax.result import Measure, check_measure
from upscore.heads.argmax.volumes import are_volumes, label_volumes
from upscore.heads.backend import check_scores, choose_backend


def argmax(
    scores: Any,
    size: tuple[int, ...] | None = None,
    scale: float | tuple[float, ...] | None = None,
    *,
    align_corners: bool = False,
    stride: int | None = None,
    coordinates: Sequence[tuple[float, float]] | None = None,
    nearest: Sequence[int] = (),
    regions: Sequence[int] | None = None,
    out: Any = None,
    return_confidence: Measure | None = None,
    backend: str = "auto",
) -> Any:
    """Return the label map at full resolution without building the full-resolution scores.

    Equivalent to `F.interpolate(scores, size, mode="bilinear", align_corners=...).argmax(1)`,
    with `scores` converted to float32 first where they are of half precision. The labels are those
    of this expression in float64, except where the two best classes differ by less than the
    rounding of float32; of equal classes the lowest wins, and NaN counts as the greatest score.
    With `coordinates`, equivalent to `F.grid_sample(scores, grid, padding_mode="border",
    align_corners=True).argmax(1)` with the grid that names them.

    Args:
        scores: C x h x w or N x C x h x w NumPy array or torch tensor, float32, float16, bfloat16
            or float64 (computed in float64), of any strides; 1 to 65,536 classes. Volumes are
            C x d x h x w with three numbers of `size` or `scale` (with two, or one factor, they
            would be images), or N x C x d x h x w. They are resized as by `mode="trilinear"`, a
            slice at a time.
        size: height and width of the labels, larger or smaller than the scores; of volumes depth,
            height and width.
        scale: instead of `size`, what to multiply h and w with (one factor or two); the products
            are rounded down, as by `interpolate(scale_factor=..., recompute_scale_factor=True)`.
        align_corners: as in `F.interpolate`.
        stride: sample on the grid of the FCN instead, `(i + 0.5) / stride - 0.5` whatever the
            ratio of the sizes: the bilinear transposed convolution of that stride, cropped to
            `size`. Not for volumes.
        coordinates: with `size`, (step, offset) for each axis: output pixel i samples the scores at
            pixel `i * step + offset`, held at the edges. To undo a resampling to other spacings,
            `step = spacing / scores_spacing` and `offset = (origin - scores_origin) /
            scores_spacing`, where an origin is the centre of the first pixel. Of two affine
            matrices whose axes are parallel, with `m = np.linalg.solve(scores_affine, affine)`,
            they are `zip(m.diagonal(), m[:-1, -1])`.
        nearest: of volumes, the axes (0 to 2) along which the nearest pixel is taken, as nnU-Net
            does across thick slices (`mode="nearest-exact"`).
        regions: of volumes, the label of each class where classes may overlap: a label is painted
            where the class's score is above 0 (its sigmoid above one half), one class after
            another, over 0. nnU-Net calls it `regions_class_order`.
        out: where to write the labels; of the shape, type and device of the result.
        return_confidence: "probability" of the winner under the softmax, "margin" of its score
            over the runner-up's, or "entropy" of the softmax in nats.
        backend: "eager" (the expression above), "cpu" (Numba), "gpu" (Triton), or "auto": "cpu"
            for arrays and CPU tensors where Numba is installed, "gpu" for CUDA tensors where
            Triton is, else "eager".

    Returns:
        H x W or N x H x W labels (D x H x W or N x D x H x W of volumes), an array or tensor like
        the scores and on their device: uint8 up to 256 classes, int16 up to 32,768, else int32 (by
        the greatest label where there are `regions`).
        With `return_confidence`, those and a float32 array of the same shape.

    Raises:
        ArgumentError: a shape or value does not fit; the message says which and why.
        ArgumentTypeError: a type does not fit, such as arrays of two frameworks.

    Examples:
        >>> import numpy as np
        >>> scores = np.array([[[4.0, 0.0]], [[1.0, 2.0]]], dtype=np.float32)
        >>> argmax(scores, size=(2, 6))
        array([[0, 0, 0, 1, 1, 1],
               [0, 0, 0, 1, 1, 1]], dtype=uint8)
    """
    if are_volumes(scores, size, scale):
        return label_volumes(
            scores,
            size,
            scale,
            grid=choose_coordinates(coordinates, size, 3, align_corners, stride),
            nearest=nearest,
            regions=regions,
            out=out,
            measure=return_confidence,
            backend=backend,
        )
    if not (isinstance(nearest, tuple) and not nearest) or regions is not None:
        raise ArgumentError(
            "nearest and regions are for volumes: give three numbers of size or scale, or "
            "N x C x d x h x w scores"
        )
    batch = check_scores(scores)
    arrays = framework(batch)
    batch = arrays.detached(batch)
    grid = choose_coordinates(coordinates, size, 2, align_corners, stride)
    size = choose_size(tuple(batch.shape[-2:]), size, scale)
    check_measure(return_confidence)
    case = Case(size, grid, (), None, return_confidence, choose_backend(batch, backend))
    into = None if out is None else check_out(out, scores, size, case.dtype(batch.shape[1]))
    if case.backend != "eager" and arrays.traced(batch):
        from upscore.heads.argmax.torch_op import traced_labels

        labels, confidence = traced_labels(batch, case, into)
    else:
        labels, confidence = make_labels(batch, size, grid, return_confidence, case.backend, into)
    result = out if out is not None else labels if scores.ndim == 4 else labels[0]
    if confidence is None:
        return result
    return result, confidence if scores.ndim == 4 else confidence[0]
