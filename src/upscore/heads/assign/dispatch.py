"""The assignment of checked arguments by a chosen backend."""

from typing import Any

from upscore.heads.assign.arguments import check_values
from upscore.heads.assign.result import Assignment, Options


def checked_assign(scores: Any, weights: Any, options: Options, backend: str) -> Assignment:
    """Assign the pixels of N x Q x h x w scores once the weights are found to be fit."""
    check_values(weights)
    return assign_by(scores, weights, options, backend)


def assign_by(scores: Any, weights: Any, options: Options, backend: str) -> Assignment:
    """Assign the pixels of N x Q x h x w scores with N x Q weights."""
    if backend == "cpu" and len(scores):
        from upscore.heads.assign.cpu import assign
    else:
        from upscore.heads.assign.eager import assign
    return assign(scores, weights, options)
