"""Labels as an operator of torch, so that `torch.compile` and `torch.export` can trace `argmax`."""

from collections.abc import Sequence
from typing import Any

import torch
from torch import Tensor

from upscore.heads.argmax.arguments import Case
from upscore.heads.argmax.labels import make_labels
from upscore.heads.argmax.slices import label_slices
from upscore.heads.grid import Grid
from upscore.kernels.torch_op import register


def traced_labels(
    scores: Tensor, case: Case, labels: Tensor | None = None
) -> tuple[Tensor, Tensor | None]:
    """Return what `make_labels` or `label_slices` will return when the graph runs."""
    grid = case.grid.name, case.grid.stride, [number for axis in case.grid.axes for number in axis]
    found, confidence = operator(scores, case.size, *grid, *case[2:])
    if labels is not None:
        labels.copy_(found)
    return found, None if case.measure is None else confidence


def _compute(
    scores: Tensor,
    size: Sequence[int],
    grid: str,
    stride: int,
    axes: Sequence[float],
    nearest: Sequence[int],
    regions: Sequence[int] | None,
    measure: str | None,
    backend: str,
) -> tuple[Tensor, Tensor]:
    case = _case(size, grid, stride, axes, nearest, regions, measure, backend)
    if scores.ndim == 5:
        labels, confidence = label_slices(scores, case)
    else:
        labels, confidence = make_labels(scores, case.size, case.grid, measure, backend)
    nothing = scores.new_empty(0, dtype=torch.float32)
    return labels, nothing if confidence is None else confidence


def _fake(scores: Tensor, *arguments: Any) -> tuple[Tensor, Tensor]:
    case = _case(*arguments)
    shape = (scores.shape[0], *case.size)
    labels = scores.new_empty(shape, dtype=getattr(torch, case.dtype(scores.shape[1])))
    return labels, scores.new_empty(0 if case.measure is None else shape, dtype=torch.float32)


def _case(size: Sequence[int], grid: str, stride: int, axes: Sequence[float], *rest: Any) -> Case:
    pairs = tuple(zip(axes[::2], axes[1::2], strict=True))
    return Case(tuple(size), Grid(grid, stride, pairs), *rest)


operator = register("argmax", _compute, _fake)
