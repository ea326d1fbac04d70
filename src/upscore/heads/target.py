"""The checks of a target, the truth of every pixel, and of what pixels and classes count for."""

from contextlib import suppress
from typing import Any

import numpy as np
from numpy.typing import NDArray

from upscore.arrays import framework
from upscore.errors import ArgumentError, ArgumentTypeError
from upscore.geometry import whole

LABELS = ("uint8", "int16", "int32", "int64")
RANGES = {name: (np.iinfo(name).min, np.iinfo(name).max) for name in LABELS}


def check_target(scores: Any, target: Any, *, channels: bool = False) -> Any:
    """Return the target once it fits the scores: a label for each pixel, or for each of `channels`.

    Scores of five dimensions are of volumes.
    """
    check_together(scores, target, "target")
    arrays = framework(scores)
    dtype = arrays.dtype(target)
    if dtype == "bool":
        target = target.astype(np.uint8) if arrays.name == "numpy" else target.byte()
        dtype = "uint8"
    if dtype not in LABELS:
        raise ArgumentTypeError(
            f"target must hold class numbers of {', '.join(LABELS)}, not {dtype}"
        )
    sides = ("D", "H", "W") if scores.ndim == 5 else ("H", "W")
    lead = tuple(scores.shape[: -len(sides) if channels else -len(sides) - 1])
    if target.ndim != len(lead) + len(sides) or tuple(target.shape[: len(lead)]) != lead:
        raise ArgumentError(
            f"target must be of shape {' x '.join(map(str, (*lead, *sides)))} for scores of shape "
            f"{tuple(scores.shape)}, not {tuple(target.shape)}"
        )
    if 0 in target.shape[len(lead) :]:
        raise ArgumentError(f"target of shape {tuple(target.shape)} holds no pixels")
    return target


def check_together(scores: Any, other: Any, name: str) -> None:
    """Raise unless `other` is an array or tensor like the scores, and where they are."""
    arrays = framework(scores)
    if not arrays.owns(other):
        raise ArgumentTypeError(
            f"{name} must be a {type(scores).__name__} like the scores, not {type(other).__name__}"
        )
    if not arrays.together(other, scores):
        raise ArgumentError(f"{name} is on {other.device}, the scores on {scores.device}: move one")


def check_binary_target(scores: Any, target: Any) -> Any:
    """Return a target of classes that may overlap, for a batch of scores.

    It is 0 or 1 for each class, of the batch's dimensions, or class numbers, with one fewer.
    """
    channels = getattr(target, "ndim", 0) == scores.ndim
    target = check_target(scores, target, channels=channels)
    batch = target if scores.ndim > 3 else target[None]
    single = scores.shape[0 if scores.ndim == 3 else 1] == 1
    return batch[:, None] if single and not channels else batch


def check_weight(scores: Any, weight: Any, name: str = "weight") -> Any:
    """Return the class weights as an array or tensor that fits the scores."""
    if weight is None:
        return None
    arrays = framework(scores)
    if arrays.name == "numpy":
        weight = np.asarray(weight, np.float64)
    else:
        check_together(scores, weight, name)
    if tuple(weight.shape) != (scores.shape[1],):
        raise ArgumentError(
            f"{name} must hold a number for each of the {scores.shape[1]} classes, "
            f"not be of shape {tuple(weight.shape)}"
        )
    return arrays.detached(weight)


def check_pixel_weight(scores: Any, target: Any, weight: Any) -> Any:
    """Return what each pixel counts for, once it fits the target."""
    if weight is None:
        return None
    arrays = framework(scores)
    check_together(scores, weight, "weight")
    if not arrays.dtype(weight).startswith(("float", "bfloat")):
        raise ArgumentTypeError(
            f"weight must hold floating point numbers, not {arrays.dtype(weight)}"
        )
    expected = tuple(target.shape)
    if target.ndim == scores.ndim:  # without the classes
        expected = expected[1:] if scores.ndim == 3 else (*expected[:1], *expected[2:])
    if tuple(weight.shape) != expected:
        raise ArgumentError(
            f"weight must hold a number for each pixel, of shape {expected}, "
            f"not {tuple(weight.shape)}"
        )
    return arrays.detached(weight)


def check_ignore_index(ignore_index: int) -> int:
    """Return the label of pixels that count for nothing."""
    whole("ignore_index", ignore_index, -(2**63))
    if ignore_index >= 2**63:
        raise ArgumentError(f"ignore_index must be below 2**63, not {ignore_index}")
    return ignore_index


def counted(target: Any, ignore_index: int) -> Any:
    """Where the target is not to be ignored.

    Torch compares with a number that the target's type cannot hold as if it were another.
    """
    least, most = RANGES[framework(target).dtype(target)]
    same: Any = target == (ignore_index if least <= ignore_index <= most else 0)
    return ~same if least <= ignore_index <= most else same | True


def of_pixels(
    numbers: NDArray[Any] | None, size: tuple[int, ...], dtype: np.dtype[Any]
) -> NDArray[Any]:
    """Return a number for each pixel as a kernel takes them, or nothing, of as many dimensions."""
    if numbers is None:
        return np.empty((1, *[0] * len(size)), dtype)
    return np.ascontiguousarray(numbers, dtype).reshape(-1, *size)


def check_labels(target: Any, classes: int, ignore_index: int) -> None:
    """Raise, naming the first, if there are labels that are neither a class nor `ignore_index`."""
    arrays = framework(target)
    if arrays.device(target) == "cpu":
        with suppress(RuntimeError):  # of tensors without memory, inside torch.func
            target = arrays.numpy(target)  # whose comparisons start no threads
    wrong = counted(target, ignore_index) & ((target < 0) | (target >= classes))
    if wrong.any():
        first = np.unravel_index(int((wrong.reshape(-1) * 1).argmax()), target.shape)
        at = tuple(int(i) for i in first)
        raise ArgumentError(
            f"target holds label {int(target[at])} at {at}, which is neither a class "
            f"(0 to {classes - 1}) nor ignore_index ({ignore_index})"
        )
