"""The depthwise backends on NumPy arrays: lay out the filters, share the kernels' work out."""

from collections.abc import Callable
from functools import lru_cache
from math import prod
from typing import Any, NamedTuple

import numpy as np
from numpy.typing import NDArray

from upscore.conv.case import Case
from upscore.conv.outer_product import Factors
from upscore.kernels.launch import Kernel, Workspace, packed
from upscore.kernels.threads import share

Array = NDArray[Any]
Sizes = tuple[int, ...]

# Outputs whose tiles, with the lines of a few input rows, stay in the nearest cache.
CHUNK = 512
# Outputs that take some 40 microseconds, several times as long as waking a thread.
WORTH_A_THREAD = 2**17
INDICES = 6  # lists of indices that forward kernels keep: see mixing_kernels


def tiles(filters: Array, stride: int, width: int) -> Array:
    """The taps of (C, kz, ky, kx) filters as their kernels want them: (C, kz, ky, taps, chunk)."""
    *outer, k = filters.shape
    taps = -(-k // stride)
    padded = np.zeros((*outer, taps * stride), filters.dtype)
    padded[..., :k] = filters
    repeats = -(-min(CHUNK, width) // stride)
    return np.tile(padded.reshape(*outer, taps, stride), repeats)


def _least(tasks: int, outputs: int) -> int:
    """The tasks that are worth waking a thread for."""
    return max(1, tasks * WORTH_A_THREAD // max(1, outputs))


class Scratch(NamedTuple):
    """What a thread works with. Kernels set to zero or -1 what they do not write first."""

    lines: Array  # forward: of each input row that an output row mixes; backward: of each tap
    spare: Array  # a row of the output or its gradient as numbers, where that is bfloat16
    total: Array  # backward: the sum of the lines
    indices: NDArray[np.int64]  # forward: see mixing_kernels


class Layout(NamedTuple):
    """What the kernels need to know of a case but its filters; sizes of three axes, some of 1."""

    ones: Sizes  # the leading axes that the case lacks
    geometry: Array
    groups: int  # of output rows in a plane
    forward: Workspace
    input_gradient: Workspace
    weight_gradient: Workspace


@lru_cache(256)  # a network asks for the same few cases again and again
def layout(
    separable: bool,
    dtype: str,
    kernel: Sizes,
    size_in: Sizes,
    size_out: Sizes,
    stride: Sizes,
    begin: Sizes,
) -> Layout:
    """Return the layout of a case; `begin` is what is cut from the beginning of each axis."""
    ones = (1,) * (3 - len(stride))
    axes = (ones + size_out, ones + kernel, ones + stride, (0,) * len(ones) + begin)
    groups = mixed = 1  # `mixed`: the input rows that an output row mixes
    for size, taps, step, cut in list(zip(*axes, strict=True))[:2]:
        groups *= (cut + size - 1) // step + 1 - cut // step
        mixed *= -(-taps // step)

    k, n, width, step = kernel[-1], size_in[-1], size_out[-1], stride[-1]
    end = begin[-1] + width

    def workspace(lines: Sizes, total: int = 0, mixed: int = 0) -> Workspace:
        rows = (np.empty(lines, dtype), np.empty(width, dtype), np.empty(total, dtype))
        return Workspace(Scratch(*rows, np.empty((INDICES, mixed), np.int64)))

    if separable:
        length = max(end, (n - 1) * step + k)
        forward = workspace((mixed, length), mixed=mixed)
        backward = of_weight = workspace((1, length))
    else:
        taps = -(-k // step)
        length = (taps - 1) * step + max(end, n * step)
        # The last taps of a kernel that is no multiple of the stride need a line of their own.
        forward = workspace((mixed, 2 if k % step else 1, length), mixed=mixed)
        backward = workspace((taps, max(end, (n + taps) * step)), total=n * step)
        of_weight = workspace((1, length))
    return Layout(ones, np.array(axes), groups, forward, backward, of_weight)


class _Launch:
    """One case, with its filters laid out for the kernels."""

    FORWARD: Kernel
    INPUT_GRADIENT: Kernel
    layer: Any  # the geometry and the filters

    def __init__(
        self, dtype: np.dtype[Any], size_in: Sizes, size_out: Sizes, found: Layout
    ) -> None:
        self.dtype, self.size_in, self.size_out, self.layout = dtype, size_in, size_out, found

    def forward(self, x: Array, bias: Array | None, *, bfloat16: bool = False) -> Array:
        """The output of x (N, C, *size); as the bits of bfloat16 if asked for."""
        # NumPy asks for large pages, which makes writing a large new array faster.
        out = np.empty((*x.shape[:2], *self.size_out), np.int16 if bfloat16 else self.dtype)
        share(
            self.FORWARD,
            tasks := len(out) * out.shape[1] * self.layout.groups,
            self.layer,
            self._rows(x),
            np.zeros(x.shape[1], self.dtype) if bias is None else bias,
            self._rows(out),
            scratch=self.layout.forward,
            least=_least(tasks, out.size),
        )
        return out

    def input_gradient(self, gradient: Array) -> Array:
        """The gradient to the input, from that to the output (N, C, *size_out)."""
        out = np.empty((*gradient.shape[:2], *self.size_in), self.dtype)
        rows = self._rows(out)
        share(
            self.INPUT_GRADIENT,
            tasks := prod(rows.shape[:3]),
            self.layer,
            self._rows(gradient),
            rows,
            scratch=self.layout.input_gradient,
            least=_least(tasks, gradient.size),
        )
        return out

    def _rows(self, array: Array) -> Array:
        return array.reshape(-1, *self.layout.ones, *array.shape[2:])


class Depthwise(_Launch):
    """Filters (C, *kernel) of any numbers."""

    FORWARD = Kernel("upscore.conv.depthwise_kernels", "forward")
    INPUT_GRADIENT = Kernel("upscore.conv.depthwise_kernels", "input_gradient")
    WEIGHT_GRADIENT = Kernel("upscore.conv.depthwise_kernels", "weight_gradient")

    def __init__(
        self, filters: Array, size_in: Sizes, size_out: Sizes, stride: Sizes, begin: Sizes
    ) -> None:
        dtype, self.kernel, self.stride = filters.dtype, filters.shape[1:], stride[-1]
        found = layout(False, dtype.char, self.kernel, size_in, size_out, stride, begin)
        super().__init__(dtype, size_in, size_out, found)
        filters = filters.reshape(-1, *found.ones, *self.kernel)
        self.tiles = tiles(filters, self.stride, size_out[-1])
        self.layer = (found.geometry, self.tiles)

    def weight_gradient(self, x: Array, gradient: Array) -> Array:
        """The gradient to the weight (C, 1, *kernel), from that to the output."""
        sums = np.zeros_like(self.tiles)
        channels = len(sums)
        share(
            self.WEIGHT_GRADIENT,
            channels,
            self.layer,
            self._rows(x),
            self._rows(gradient),
            sums,
            scratch=self.layout.weight_gradient,
            least=_least(channels, gradient.size),
        )
        # The taps lie as `tiles` lays them out, and each chunk's repetitions are to be summed.
        *outer, taps, _ = sums.shape
        filters = sums.reshape(*outer, taps, -1, self.stride).sum(4, dtype=np.float64)
        filters = filters.reshape(*outer, -1)[..., : self.kernel[-1]]
        return np.asarray(filters.reshape(channels, 1, *self.kernel), self.dtype)


class Separable(_Launch):
    """Filters that are outer products."""

    FORWARD = Kernel("upscore.conv.separable_kernels", "forward")
    INPUT_GRADIENT = Kernel("upscore.conv.separable_kernels", "input_gradient")

    def __init__(
        self, factors: Factors, size_in: Sizes, size_out: Sizes, stride: Sizes, begin: Sizes
    ) -> None:
        columns, rows = factors.columns, factors.rows
        dtype, kernel = rows.dtype, (*columns.shape[1:], rows.shape[1])
        found = layout(True, dtype.char, kernel, size_in, size_out, stride, begin)
        super().__init__(dtype, size_in, size_out, found)
        columns = columns.reshape(-1, *(found.ones + kernel)[:2])
        self.layer = packed((found.geometry, rows, columns))


def launch(case: Case, weight: Callable[[], Array], *, separable: bool) -> Depthwise | Separable:
    """Return the launch of a case; its weight (C, 1, *kernel) is asked for only if needed."""
    if separable:
        return _separable(case)
    return Depthwise(weight()[:, 0], case.size_in, case.size_out, case.stride, case.padding)


@lru_cache(64)  # as many as cases with factors are remembered
def _separable(case: Case) -> Separable:
    assert case.factors is not None  # else the separable backend could not serve the case
    return Separable(case.factors, case.size_in, case.size_out, case.stride, case.padding)
