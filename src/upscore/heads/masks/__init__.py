"""Masks at full resolution: the public `masks`, its checks and its choice of a backend."""

from typing import Any, Literal, get_args

import numpy as np
from numpy.typing import NDArray

from upscore.arrays import framework
from upscore.errors import ArgumentError, ArgumentTypeError
from upscore.heads.backend import check_dtype, choose_backend
from upscore.heads.grid import Grid, choose_grid
from upscore.heads.masks.arguments import check_pair, check_steps
from upscore.heads.masks.pasting import pasted, rimmed, turned
from upscore.heads.masks.result import Masks, stability_of
from upscore.heads.masks.sampling import Boxes, Sampling, resized, windowed

__all__ = ["Masks", "masks"]

Paste = Literal["aligned", "torchvision"]
MOST_LIMIT = 1e38  # no float32 is much larger


def masks(
    scores: Any,
    size: tuple[int, int],
    *,
    threshold: float = 0.0,
    inclusive: bool = False,
    align_corners: bool = False,
    through: tuple[int, int] | None = None,
    crop: tuple[int, int] | tuple[int, int, int, int] | None = None,
    boxes: Any = None,
    paste: Paste = "aligned",
    within: Any = None,
    stability: float | None = None,
    backend: str = "auto",
) -> Masks:
    """Return one mask for each map of scores, at full resolution, as runs of pixels.

    Equivalent to `F.interpolate(scores[None], size, mode="bilinear", align_corners=...)[0] >
    threshold`, with `scores` converted to float32 first where they are of half precision, and
    without building the full-resolution scores. The pixels are those of this expression in float64,
    except where the score differs from the threshold by less than the rounding of float32.

    Args:
        scores: N x h x w, 1 x N x h x w or N x 1 x h x w NumPy array or torch tensor, float32,
            float16, bfloat16 or float64 (computed in float64), of any strides.
        size: height and width of the masks, larger or smaller than the scores.
        threshold: what the score of a pixel must be above, a finite number. NaN is above nothing.
            With `boxes` neither it nor `threshold - stability` may be below 0.
        inclusive: also where it is equal (`>=`).
        align_corners: as in `F.interpolate`.
        through: height and width to resize to first; from there to `size`. Segment Anything:
            `through=(1024, 1024), crop=input_size, size=original_size`.
        crop: what to keep of that picture (of the scores, without `through`) before it is resized
            to `size`: (height, width) of its upper left part, or (top, left, height, width).
        boxes: N x 4 numbers x0, y0, x1, y1, in pixels of the mask: where to paste each map of
            scores. Beyond them all is unset.
        paste: how to paste into boxes: "aligned" is detectron2's way (its `paste_masks_in_image` is
            `threshold=0.5, inclusive=True`), "torchvision" that of its `paste_masks_in_image`
            (`threshold=0.5`), which rounds the boxes to whole pixels.
        within: N x 4 numbers x0, y0, x1, y1: pixels whose numbers are not `x0 <= x < x1` and
            `y0 <= y < y1` are unset, as by the `crop_mask` of Ultralytics.
        stability: above 0; also measure how much of each mask stays as the threshold moves by so
            much up and down: see `Masks.stability`.
        backend: "eager" (the expression above, mask by mask), "cpu" (Numba), "gpu" (Triton), or
            "auto": "cpu" for arrays and CPU tensors where Numba is installed, "gpu" for CUDA
            tensors where Triton is, else "eager".

    Returns:
        `Masks`: `.dense()`, `.rle()`, `.boxes`, `.areas`, `.polygons()`, `.label_map()` and more.

    Raises:
        ArgumentError: a shape or value does not fit; the message says which and why.
        ArgumentTypeError: a type does not fit, such as arrays of two frameworks.

    Examples:
        >>> import numpy as np
        >>> found = masks(np.array([[[-1.0, 3.0]]], dtype=np.float32), size=(2, 4))
        >>> found.dense().astype(int)
        array([[[0, 0, 1, 1],
                [0, 0, 1, 1]]])
        >>> found.areas, found.boxes
        (array([4]), array([[2, 0, 4, 2]]))
        >>> found.rle()
        [{'size': [2, 4], 'counts': b'44'}]
    """
    batch = _check_scores(scores)
    batch = framework(batch).detached(batch)
    size = check_pair("size", size)
    limits = _limits(batch, threshold, stability, inclusive)
    if paste not in get_args(Paste):
        raise ArgumentError(f"paste must be one of {get_args(Paste)}, not {paste!r}")
    if boxes is None:
        source, grid = tuple(batch.shape[1:]), choose_grid(align_corners, None)
        through, crop = check_steps(source, through, crop)
        sampling = resized(len(batch), source, through, crop, size, grid)
    elif through is not None or crop is not None or align_corners:
        raise ArgumentError("boxes go with none of through, crop and align_corners")
    elif min(limits) < 0:
        raise ArgumentError(
            "pixels beyond the boxes have scores of 0, which must not reach the threshold (nor the "
            f"threshold - stability): {threshold!r} is too low"
        )
    else:
        corners = _check_boxes("boxes", boxes, len(batch))
        if paste == "aligned":  # torchvision pastes nothing into a box from right to left
            batch, corners = turned(batch, corners)
        sampling = pasted(corners, tuple(batch.shape[1:]), size, paste)
        batch = rimmed(batch)
    if within is not None:
        sampling = windowed(sampling, _check_boxes("within", within, len(batch)), size)
    case = choose_backend(batch, backend), batch, sampling, size
    stable = None
    if stability is not None:
        stable = stability_of(*(_find(*case, limit) for limit in limits[1:]))
    return _find(*case, limits[0], stable)


def masks_above_zero(scores: Any, size: tuple[int, int], grid: Grid, backend: str) -> Masks:
    """Return the masks of checked N x h x w scores by a chosen backend, on any grid."""
    sampling = resized(len(scores), tuple(scores.shape[1:]), None, None, size, grid)
    return _find(backend, scores, sampling, size, 0.0)


def _find(
    backend: str,
    scores: Any,
    sampling: Sampling,
    size: tuple[int, int],
    limit: float,
    stability: NDArray[np.float32] | None = None,
) -> Masks:
    """Return the masks of scores above a limit."""
    like = framework(scores).empty(scores, (0,), "bool")
    case = scores, sampling, size, limit
    if backend == "gpu" and len(scores):
        from upscore.heads.masks import gpu
        from upscore.heads.masks.gpu_result import DeviceMasks

        return DeviceMasks(size, *gpu.find_runs(*case), like=like, stability=stability)
    if backend == "cpu" and len(scores):
        from upscore.heads.masks.cpu import find_runs
    else:
        from upscore.heads.masks.eager import find_runs
    return Masks(size, *find_runs(*case), like=like, stability=stability)


def _check_scores(scores: Any) -> Any:
    """Return the scores as N x h x w."""
    check_dtype(scores)
    shape = tuple(scores.shape)
    if len(shape) == 4 and 1 in shape[:2]:
        scores = scores[0] if shape[0] == 1 else scores[:, 0]
    if scores.ndim != 3:
        hint = {2: "; give scores[None]", 4: "; give scores.reshape(-1, h, w)"}.get(len(shape), "")
        raise ArgumentError(
            f"scores must be N x h x w, 1 x N x h x w or N x 1 x h x w, not of shape {shape}{hint}"
        )
    if not scores.shape[1] or not scores.shape[2]:
        raise ArgumentError(f"scores of shape {shape} hold no pixel to sample")
    return scores


def _limits(
    scores: Any, threshold: float, stability: float | None, inclusive: bool
) -> tuple[float, ...]:
    """What scores must be above: for the masks, and with `stability` a higher and a lower limit.

    They are numbers of the type that is computed in, as PyTorch and NumPy take them.
    """
    numbers = {"threshold": threshold, "stability": 1.0 if stability is None else stability}
    for name, value in numbers.items():
        try:
            numbers[name] = float(value)
        except (TypeError, ValueError):
            raise ArgumentTypeError(f"{name} must be a number, not {value!r}") from None
        if not abs(numbers[name]) < MOST_LIMIT:
            raise ArgumentError(f"{name} must be finite and below {MOST_LIMIT:g}, not {value!r}")
    middle, distance = numbers.values()
    if not distance > 0:
        raise ArgumentError(f"stability must be above 0, not {stability!r}")
    limits = (middle,) if stability is None else (middle, middle + distance, middle - distance)
    real = np.float64 if framework(scores).dtype(scores) == "float64" else np.float32
    return tuple(
        float(np.nextafter(real(limit), real(-np.inf)) if inclusive else real(limit))
        for limit in limits
    )


def _check_boxes(name: str, boxes: Any, number: int) -> Boxes:
    """Return N x 4 float64 numbers."""
    boxes = np.asarray(boxes) if isinstance(boxes, list | tuple) else boxes
    numbers = framework(boxes, name).numpy(boxes)
    if numbers.shape != (number, 4) and not (number == 0 and not numbers.size):
        raise ArgumentError(
            f"{name} must be {number} x 4 numbers x0, y0, x1, y1, one box for each map of scores, "
            f"not of shape {numbers.shape}"
        )
    return numbers.astype(np.float64).reshape(number, 4)
