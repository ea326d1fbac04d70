"""What the heads' Triton kernels share: whom they serve, and where pixels sample.

Kernels and launchers are in each head's `gpu`. All walk the output in *bands*: the output
rows between two source rows blend the same two, so a program interpolates those two horizontally
once, and each output row then costs one multiply-add a class. Every element is written by one
program alone: no atomics, and the same result every time.
"""

# mypy: disable-error-code="no-untyped-def, untyped-decorator"

from collections.abc import Callable
from contextlib import AbstractContextManager, nullcontext
from functools import lru_cache
from typing import Any, NamedTuple

import numpy as np
import torch
import triton
import triton.language as tl

from upscore.errors import ArgumentError
from upscore.heads.grid import Grid, grid_positions

COLUMNS = 128  # output columns of a tile
# The source pixels that a gradient program owns, and the outputs of a row that it visits at a time:
# whole tiles of the tensor cores.
PATCH_ROWS = 8
PATCH_COLUMNS = 16
VISITED = 32


def launching(scores: torch.Tensor) -> AbstractContextManager[object]:
    """Launch on the device of the scores, which need not be the current one, or say why not."""
    if scores.is_cuda:
        return torch.cuda.device(scores.device)
    if triton.knobs.runtime.interpret:
        return nullcontext()
    raise ArgumentError(
        f'backend="gpu" works on CUDA devices, but the scores are on {scores.device}: '
        'move them there or choose backend="cpu"'
    )


def compute_dtype(scores: torch.Tensor) -> torch.dtype:
    """Float64 for float64 scores, else float32."""
    return torch.float64 if scores.dtype == torch.float64 else torch.float32


class Sampling(NamedTuple):
    """Where the outputs of one axis sample: `low` and `low + step`, the latter by `weight`."""

    low: torch.Tensor
    weight: torch.Tensor
    edges: torch.Tensor  # outputs edges[i] to edges[i + 1] are those whose `low` is i
    most: int  # outputs that share a `low`
    span: int  # inputs under a tile of COLUMNS outputs
    step: int  # 1, but 0 where inputs are copied


@lru_cache(maxsize=64)
def sampling(
    size_in: int,
    size_out: int,
    grid: Grid,
    dtype: torch.dtype,
    device: torch.device,
    find: Callable[..., tuple[Any, Any, Any]] = grid_positions,
) -> Sampling:
    """The positions along one axis that `find` finds; kept on the device for the next call."""
    low, high, weight = find(grid, size_in, size_out)
    edges = np.searchsorted(low, np.arange(size_in + 1))
    tile_ends = np.append(low[COLUMNS - 1 :: COLUMNS], low[-1])[: -(-size_out // COLUMNS)]
    return Sampling(
        torch.from_numpy(low).to(device, torch.int32),
        torch.from_numpy(weight).to(device, dtype),
        torch.from_numpy(edges).to(device, torch.int32),
        int(np.diff(edges).max()),
        int((tile_ends - low[::COLUMNS]).max()) + 1,
        int(high is not low),
    )


def rows_per_tile(most: int) -> int:
    """The tile height, a power of two, that spends the least on rows, idle ones included."""
    return min((1, 2, 4, 8, 16), key=lambda rows: -(-most // rows) * (rows + 4))


@triton.jit
def lerp(a, b, weight):
    """From `a` to `b`; zero times an infinity is NaN, as in PyTorch."""
    return a * (1 - weight) + b * weight


@triton.jit
def read(pointer, dtype: tl.constexpr):
    """Scores in the type they are computed in."""
    return tl.load(pointer).to(dtype)


@triton.jit
def values(
    upper, lower, left, right, across, down, dtype: tl.constexpr, COPIED: tl.constexpr = False
):
    """A class at a tile of outputs: both source rows interpolated once, then blended by row."""
    if COPIED:
        v = read(upper + left, dtype)[None, :]
    else:
        top = lerp(read(upper + left, dtype), read(upper + right, dtype), across)
        bottom = lerp(read(lower + left, dtype), read(lower + right, dtype), across)
        v = lerp(top[None, :], bottom[None, :], down)
    return v
