"""The checks of a loss's target."""

from typing import Any

import numpy as np

from upscore.arrays import framework
from upscore.errors import ArgumentError, ArgumentTypeError

LABELS = ("uint8", "int16", "int32", "int64")


def check_target(scores: Any, target: Any) -> Any:
    """Return the target once it fits the scores."""
    arrays = framework(scores)
    if not arrays.owns(target):
        raise ArgumentTypeError(
            f"target must be a {type(scores).__name__} like the scores, not {type(target).__name__}"
        )
    dtype = arrays.dtype(target)
    if dtype not in LABELS:
        raise ArgumentTypeError(
            f"target must hold class numbers of {', '.join(LABELS)}, not {dtype}"
        )
    batch = tuple(scores.shape[:-3])
    if target.ndim != len(batch) + 2 or tuple(target.shape[:-2]) != batch:
        expected = f"{batch[0]} x H x W" if batch else "H x W"
        raise ArgumentError(
            f"target must be of shape {expected} for scores of shape {tuple(scores.shape)}, "
            f"not {tuple(target.shape)}"
        )
    if 0 in target.shape[-2:]:
        raise ArgumentError(f"target of shape {tuple(target.shape)} holds no pixels")
    if not arrays.together(target, scores):
        raise ArgumentError(
            f"target is on {target.device}, the scores on {scores.device}: move one"
        )
    return target


def check_weight(scores: Any, weight: Any) -> Any:
    """Return the class weights as an array or tensor that fits the scores."""
    if weight is None:
        return None
    arrays = framework(scores)
    if arrays.name == "numpy":
        weight = np.asarray(weight, np.float64)
    elif not arrays.owns(weight):
        raise ArgumentTypeError(
            f"weight must be a tensor like the scores, not {type(weight).__name__}"
        )
    elif not arrays.together(weight, scores):
        raise ArgumentError(
            f"weight is on {weight.device}, the scores on {scores.device}: move one"
        )
    if tuple(weight.shape) != (scores.shape[1],):
        raise ArgumentError(
            f"weight must hold a number for each of the {scores.shape[1]} classes, "
            f"not be of shape {tuple(weight.shape)}"
        )
    return arrays.detached(weight)


def check_labels(target: Any, classes: int, ignore_index: int) -> None:
    """Raise, naming the first, if there are labels that are neither a class nor `ignore_index`."""
    wrong = (target != ignore_index) & ((target < 0) | (target >= classes))
    if wrong.any():
        first = np.unravel_index(int((wrong.reshape(-1) * 1).argmax()), target.shape)
        at = tuple(int(i) for i in first)
        raise ArgumentError(
            f"target holds label {int(target[at])} at {at}, which is neither a class "
            f"(0 to {classes - 1}) nor ignore_index ({ignore_index})"
        )
