"""What `assign` is given beside the scores: weights, and the threshold of a query's own mask."""

from typing import Any

import numpy as np

from upscore.arrays import framework
from upscore.errors import ArgumentError, ArgumentTypeError


def check_weights(scores: Any, weights: Any) -> Any:
    """Return weights of N x Q x h x w scores as N x Q, an array or tensor like the scores."""
    arrays = framework(scores)
    if not arrays.owns(weights):
        try:
            weights = arrays.placed(scores, np.asarray(weights, np.float64))
        except (TypeError, ValueError, RuntimeError):
            raise ArgumentTypeError(
                f"weights must be numbers, an array or tensor like the scores, not {weights!r}"
            ) from None
    elif not arrays.together(weights, scores):
        raise ArgumentError(
            f"weights are on {weights.device}, the scores on {scores.device}: move one"
        )
    images, queries = scores.shape[:2]
    shape = tuple(weights.shape)
    if shape not in ((queries,), (images, queries)):
        raise ArgumentError(
            f"weights must hold a number for each of the {queries} queries (or {images} x "
            f"{queries}), not be of shape {shape}"
        )
    weights = arrays.detached(weights)
    return weights if len(shape) == 2 else weights[None][[0] * images]


def check_threshold(threshold: Any) -> float:
    """Return a probability above 0 and below 1."""
    try:
        number = float(threshold)
    except (TypeError, ValueError):
        raise ArgumentTypeError(f"threshold must be a number, not {threshold!r}") from None
    if not 0 < number < 1:
        raise ArgumentError(f"threshold must be above 0 and below 1, not {threshold!r}")
    return number


def check_values(weights: Any) -> None:
    """Raise ArgumentError, naming the first, if there are negative or infinite weights or NaN."""
    numbers = framework(weights).numpy(weights)
    wrong = ~((numbers >= 0) & (numbers < np.inf))
    if wrong.any():
        image, query = np.argwhere(wrong)[0]
        raise ArgumentError(
            f"weights must be finite and not negative, but that of query {query} of image {image} "
            f"is {numbers[image, query]}"
        )
