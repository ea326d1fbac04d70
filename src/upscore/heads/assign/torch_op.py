"""The assignment as an operator of torch, so that `torch.compile` can trace `assign`."""

from collections.abc import Sequence
from typing import Any

import torch
from torch import Tensor

from upscore.heads.argmax.result import label_dtype
from upscore.heads.assign.dispatch import checked_assign
from upscore.heads.assign.result import Assignment, Options
from upscore.heads.grid import Grid
from upscore.kernels.torch_op import register


def traced_assign(scores: Tensor, weights: Tensor, options: Options) -> Assignment:
    """Return what the kernel will find when the graph runs."""
    through, crop = options.through or (), options.crop or ()
    found = operator(
        scores,
        weights,
        options.size,
        through,
        crop,
        options.grid.name,
        options.grid.stride,
        options.threshold,
    )
    return Assignment(*found)


def _compute(
    scores: Tensor,
    weights: Tensor,
    size: Sequence[int],
    through: Sequence[int],
    crop: Sequence[int],
    grid: str,
    stride: int,
    threshold: float,
) -> tuple[Tensor, Tensor, Tensor, Tensor, Tensor]:
    to: Any = tuple(size)
    first: Any = tuple(through) or None
    kept: Any = tuple(crop) or None
    options = Options(to, first, kept, Grid(grid, stride), threshold)
    return tuple(checked_assign(scores, weights, options, "cpu"))


def _fake(
    scores: Tensor,
    weights: Tensor,
    size: Sequence[int],
    through: Sequence[int],
    crop: Sequence[int],
    grid: str,
    stride: int,
    threshold: float,
) -> tuple[Tensor, Tensor, Tensor, Tensor, Tensor]:
    images, queries = scores.shape[:2]
    shape = (images, *size)
    labels = scores.new_empty(shape, dtype=getattr(torch, label_dtype(queries)))
    inside = scores.new_empty(shape, dtype=torch.bool)
    won, won_inside, area = (
        scores.new_empty((images, queries), dtype=torch.int64) for _ in range(3)
    )
    return labels, inside, won, won_inside, area


operator = register("assign", _compute, _fake)
