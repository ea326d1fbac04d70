"""Labels as an operator of torch, so that `torch.compile` and `torch.export` can trace `argmax`."""

import torch
from torch import Tensor

from upscore.heads.argmax.labels import make_labels
from upscore.heads.argmax.result import label_dtype
from upscore.heads.grid import Grid
from upscore.kernels.torch_op import register


def traced_labels(
    scores: Tensor, size: tuple[int, int], grid: Grid, measure: str | None, backend: str
) -> tuple[Tensor, Tensor | None]:
    """Return what `make_labels` will return when the graph runs."""
    labels, confidence = operator(scores, *size, grid.name, grid.stride, measure, backend)
    return labels, None if measure is None else confidence


def _compute(
    scores: Tensor,
    height: int,
    width: int,
    grid: str,
    stride: int,
    measure: str | None,
    backend: str,
) -> tuple[Tensor, Tensor]:
    labels, confidence = make_labels(scores, (height, width), Grid(grid, stride), measure, backend)
    nothing = scores.new_empty(0, dtype=torch.float32)
    return labels, nothing if confidence is None else confidence


def _fake(
    scores: Tensor,
    height: int,
    width: int,
    grid: str,
    stride: int,
    measure: str | None,
    backend: str,
) -> tuple[Tensor, Tensor]:
    shape = (scores.shape[0], height, width)
    labels = scores.new_empty(shape, dtype=getattr(torch, label_dtype(scores.shape[1])))
    return labels, scores.new_empty(0 if measure is None else shape, dtype=torch.float32)


operator = register("argmax", _compute, _fake)
