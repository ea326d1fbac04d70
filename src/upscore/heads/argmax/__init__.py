"""Labels at full resolution: the public `argmax`, its checks and its choice of a backend."""

from typing import Any

from upscore.arrays import framework
from upscore.errors import ArgumentError, ArgumentTypeError
from upscore.geometry import whole
from upscore.heads.argmax.labels import make_labels
from upscore.heads.argmax.result import MEASURES, Measure, label_dtype
from upscore.heads.backend import check_scores, choose_backend
from upscore.heads.grid import choose_grid

MOST_PIXELS = 1 << 40  # beyond any memory, and small enough that no index of 64 bits overflows


def argmax(
    scores: Any,
    size: tuple[int, int] | None = None,
    scale: float | tuple[float, float] | None = None,
    *,
    align_corners: bool = False,
    stride: int | None = None,
    out: Any = None,
    return_confidence: Measure | None = None,
    backend: str = "auto",
) -> Any:
    """Return the label map at full resolution without building the full-resolution scores.

    Equivalent to `F.interpolate(scores, size, mode="bilinear", align_corners=...).argmax(1)`,
    with `scores` converted to float32 first where they are of half precision. The labels are those
    of this expression in float64, except where the two best classes differ by less than the
    rounding of float32; of equal classes the lowest wins, and NaN counts as the greatest score.

    Args:
        scores: C x h x w or N x C x h x w NumPy array or torch tensor, float32, float16, bfloat16
            or float64 (computed in float64), of any strides; 1 to 65,536 classes.
        size: height and width of the labels, larger or smaller than the scores.
        scale: instead of `size`, what to multiply h and w with (one factor or two); the products
            are rounded down, as by `interpolate(scale_factor=..., recompute_scale_factor=True)`.
        align_corners: as in `F.interpolate`.
        stride: sample on the grid of the FCN instead, `(i + 0.5) / stride - 0.5` whatever the
            ratio of the sizes: the bilinear transposed convolution of that stride, cropped to
            `size`.
        out: where to write the labels; of the shape, type and device of the result.
        return_confidence: "probability" of the winner under the softmax, "margin" of its score
            over the runner-up's, or "entropy" of the softmax in nats.
        backend: "eager" (the expression above), "cpu" (Numba), "gpu" (Triton), or "auto": "cpu"
            for arrays and CPU tensors where Numba is installed, "gpu" for CUDA tensors where
            Triton is, else "eager".

    Returns:
        H x W or N x H x W labels, an array or tensor like the scores and on their device: uint8 up
        to 256 classes, int16 up to 32,768, else int32. With `return_confidence`, those and a
        float32 array of the same shape.

    Raises:
        ValueError, TypeError: an argument does not fit; the message says which and why.

    >>> import numpy as np
    >>> scores = np.array([[[4.0, 0.0]], [[1.0, 2.0]]], dtype=np.float32)
    >>> argmax(scores, size=(2, 6))
    array([[0, 0, 0, 1, 1, 1],
           [0, 0, 0, 1, 1, 1]], dtype=uint8)
    """
    batch = check_scores(scores)
    arrays = framework(batch)
    batch = arrays.detached(batch)
    size = _size(batch.shape[-2:], size, scale)
    grid = choose_grid(align_corners, stride)
    if return_confidence is not None and return_confidence not in MEASURES:
        raise ArgumentError(
            f"return_confidence must be one of {MEASURES}, not {return_confidence!r}"
        )
    backend = choose_backend(batch, backend)
    into = None if out is None else _check_out(out, scores, size)
    if backend != "eager" and arrays.traced(batch):
        from upscore.heads.argmax.torch_op import traced_labels

        labels, confidence = traced_labels(batch, size, grid, return_confidence, backend)
        if into is not None:
            into.copy_(labels)
    else:
        labels, confidence = make_labels(batch, size, grid, return_confidence, backend, into)
    result = out if out is not None else labels if scores.ndim == 4 else labels[0]
    if confidence is None:
        return result
    return result, confidence if scores.ndim == 4 else confidence[0]


def _size(source: tuple[int, int], size: Any, scale: Any) -> tuple[int, int]:
    """Return the target size, from `size` or from `scale`."""
    if (size is None) == (scale is None):
        given = "neither was" if size is None else "both were"
        raise ArgumentError(f"give size=(height, width) or scale=factor: {given} given")
    if size is not None:
        try:
            height, width = size
        except (TypeError, ValueError):
            raise ArgumentTypeError(f"size must be (height, width), not {size!r}") from None
        return _bounded(whole("height", height, 1), whole("width", width, 1))
    factors = scale if isinstance(scale, tuple | list) else (scale, scale)
    if len(factors) != 2 or not all(
        isinstance(f, int | float) and 0 < f < MOST_PIXELS for f in factors
    ):
        raise ArgumentError(f"scale must be a positive factor or two of them, not {scale!r}")
    height, width = (int(n * f) for n, f in zip(source, factors, strict=True))
    if not height or not width:
        raise ArgumentError(f"scale={scale!r} leaves no pixel of {source[0]} x {source[1]} scores")
    return _bounded(height, width)


def _bounded(height: int, width: int) -> tuple[int, int]:
    """Return a size that may be asked for."""
    if height * width > MOST_PIXELS:
        raise ArgumentError(
            f"{height} x {width} labels are too many: at most {MOST_PIXELS:,} pixels"
        )
    return height, width


def _check_out(out: Any, scores: Any, size: tuple[int, int]) -> Any:
    """Return `out` as N x H x W once it can take the labels."""
    arrays = framework(scores)
    if not arrays.owns(out):
        raise ArgumentTypeError(
            f"out must be a {type(scores).__name__} like the scores, not {type(out).__name__}"
        )
    shape, dtype = (*scores.shape[:-3], *size), label_dtype(scores.shape[-3])
    if tuple(out.shape) != shape or arrays.dtype(out) != dtype:
        raise ArgumentError(
            f"out must be of shape {shape} and {dtype}, not {tuple(out.shape)} and {out.dtype}"
        )
    if not arrays.writeable(out):
        raise ArgumentError("out is read-only: give an array that can be written")
    if not arrays.together(out, scores):
        raise ArgumentError(f"out is on {out.device}, the scores on {scores.device}: move one")
    return out if out.ndim == 3 else out[None]
