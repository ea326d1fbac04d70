"""Labels of checked scores by a chosen backend."""

from typing import Any

from upscore.arrays import framework
from upscore.heads.argmax.result import label_dtype
from upscore.heads.grid import Grid


def make_labels(
    scores: Any,
    size: tuple[int, ...],
    grid: Grid,
    measure: str | None,
    backend: str,
    labels: Any = None,
) -> tuple[Any, Any]:
    """Return N x H x W labels, new ones or those given, and the confidence (or None).

    "eager" takes tensors of volumes too.
    """
    arrays = framework(scores)
    shape = (len(scores), *size)
    if labels is None:
        labels = arrays.empty(scores, shape, label_dtype(scores.shape[1]))
    confidence = None if measure is None else arrays.empty(scores, shape, "float32")
    if arrays.count(labels):
        _head(backend)(scores, labels, confidence, measure=measure, grid=grid)
    return labels, confidence


def _head(backend: str) -> Any:
    """Return the backend's function, whose module is only now imported."""
    if backend == "cpu":
        from upscore.heads.argmax.cpu import argmax
    elif backend == "gpu":
        from upscore.heads.argmax.gpu import argmax
    else:
        from upscore.heads.argmax.eager import argmax
    return argmax
