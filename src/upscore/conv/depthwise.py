"""The depthwise backends on NumPy arrays: lay out the filters, share the kernels' work out."""

from math import prod
from typing import Any

import numpy as np
from numpy.typing import NDArray

from upscore.conv.outer_product import Factors
from upscore.kernels.launch import Kernel, address
from upscore.kernels.threads import share

Array = NDArray[Any]
Sizes = tuple[int, ...]

# Outputs whose tiles, with the lines of a few input rows, stay in the nearest cache.
CHUNK = 512
# Outputs that take some 40 microseconds, several times as long as waking a thread.
WORTH_A_THREAD = 2**17
CACHE_LINE = 64  # bytes
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


def _zeros(shape: Sizes, dtype: np.dtype[Any]) -> Array:
    """Zeros that begin where a line of the cache does: kernels read them a fifth faster."""
    size = prod(shape) * dtype.itemsize
    memory = np.zeros(size + CACHE_LINE, np.uint8)
    first = -address(memory) % CACHE_LINE
    return memory[first : first + size].view(dtype).reshape(shape)


class _Launch:
    """One case: its sizes, with leading axes of 1 so that the kernels always meet three."""

    FORWARD: Kernel
    INPUT_GRADIENT: Kernel
    taps: tuple[Array, ...]  # the filters, laid out for the kernels

    def __init__(
        self,
        dtype: np.dtype[Any],
        kernel: Sizes,
        size_in: Sizes,
        size_out: Sizes,
        stride: Sizes,
        begin: Sizes,
    ) -> None:
        """`begin` is what is cut from the beginning of each axis."""
        self.dtype, self.kernel, self.size_in, self.size_out = dtype, kernel, size_in, size_out
        self.ones = (1,) * (3 - len(stride))
        nothing = (0,) * len(self.ones)
        axes = (self.ones + size_out, self.ones + kernel, self.ones + stride, nothing + begin)
        self.geometry = np.array(axes)
        self.groups = self.mixed = 1  # groups of output rows in a plane; input rows that one mixes
        for size, taps, step, cut in list(zip(*axes, strict=True))[:2]:
            self.groups *= (cut + size - 1) // step + 1 - cut // step
            self.mixed *= -(-taps // step)
        # Of the last axis: what is kept of a full row, and where that ends.
        self.width, self.end = size_out[-1], begin[-1] + size_out[-1]

    def forward(self, x: Array, bias: Array | None, *, bfloat16: bool = False) -> Array:
        """The output of x (N, C, *size); as the bits of bfloat16 if asked for."""
        # NumPy asks for large pages, which makes writing a large new array twice as fast.
        out = np.empty((*x.shape[:2], *self.size_out), np.int16 if bfloat16 else self.dtype)
        share(
            self.FORWARD,
            tasks := len(out) * out.shape[1] * self.groups,
            self._rows(x),
            *self.taps,
            np.zeros(x.shape[1], self.dtype) if bias is None else bias,
            *self._numbers_and_bits(out),
            self.geometry,
            scratch=self._forward_scratch,
            least=_least(tasks, out.size),
        )
        return out

    def input_gradient(self, gradient: Array) -> Array:
        """The gradient to the input, from that to the output (N, C, *size_out)."""
        out = np.empty((*gradient.shape[:2], *self.size_in), self.dtype)
        rows = self._rows(out)
        share(
            self.INPUT_GRADIENT,
            tasks := int(np.prod(rows.shape[:3])),
            *self._numbers_and_bits(gradient),
            *self.taps,
            rows,
            self.geometry,
            scratch=self._gradient_scratch,
            least=_least(tasks, gradient.size),
        )
        return out

    def _forward_scratch(self) -> tuple[Array, Array, Array]:
        """A line for each input row that an output row mixes, an output row, and indices."""
        indices = np.full((INDICES, self.mixed), -1)
        return self._lines(self.mixed), np.empty(self.width, self.dtype), indices

    def _lines(self, count: int) -> Array:
        """Zeros of `count` lines."""
        raise NotImplementedError

    def _gradient_scratch(self) -> tuple[Array, ...]:
        raise NotImplementedError

    def _numbers_and_bits(self, array: Array) -> tuple[Array, Array]:
        """The array as the kernels' pair of numbers and bits of bfloat16, of which one is empty."""
        rows = self._rows(array)
        if array.dtype == np.int16:
            return np.empty((0, 0, 0, 0), self.dtype), rows
        return rows, np.empty((0, 0, 0, 0), np.int16)

    def _rows(self, array: Array) -> Array:
        return array.reshape(-1, *self.ones, *array.shape[2:])


class Depthwise(_Launch):
    """Filters (C, *kernel) of any numbers."""

    FORWARD = Kernel("upscore.conv.depthwise_kernels", "forward")
    INPUT_GRADIENT = Kernel("upscore.conv.depthwise_kernels", "input_gradient")
    WEIGHT_GRADIENT = Kernel("upscore.conv.depthwise_kernels", "weight_gradient")

    def __init__(
        self, filters: Array, size_in: Sizes, size_out: Sizes, stride: Sizes, begin: Sizes
    ) -> None:
        super().__init__(filters.dtype, filters.shape[1:], size_in, size_out, stride, begin)
        filters = filters.reshape(-1, *self.ones, *self.kernel)
        self.taps = (tiles(filters, stride[-1], size_out[-1]),)
        self.stride = stride[-1]
        self.count = -(-self.kernel[-1] // self.stride)  # taps that an output mixes along a row

    def weight_gradient(self, x: Array, gradient: Array) -> Array:
        """The gradient to the weight (C, 1, *kernel), from that to the output."""
        sums = np.zeros(self.taps[0].shape, self.dtype)
        channels = len(sums)
        share(
            self.WEIGHT_GRADIENT,
            channels,
            self._rows(x),
            *self._numbers_and_bits(gradient),
            sums,
            self.geometry,
            scratch=lambda: (self._lines(1)[0, 0], np.empty(self.width, self.dtype)),
            least=_least(channels, gradient.size),
        )
        # The taps lie as `tiles` lays them out, and each chunk's repetitions are to be summed.
        *outer, taps, _ = sums.shape
        filters = sums.reshape(*outer, taps, -1, self.stride).sum(4, dtype=np.float64)
        filters = filters.reshape(*outer, -1)[..., : self.kernel[-1]]
        return np.asarray(filters.reshape(channels, 1, *self.kernel), self.dtype)

    def _lines(self, count: int) -> Array:
        # The last taps of a kernel that is no multiple of the stride need a line of their own.
        versions = 2 if self.kernel[-1] % self.stride else 1
        before = (self.count - 1) * self.stride
        length = before + max(self.end, self.size_in[-1] * self.stride)
        return _zeros((count, versions, length), self.dtype)

    def _gradient_scratch(self) -> tuple[Array, ...]:
        """A line for each tap, their sum, and a row of the gradient."""
        width = self.size_in[-1] * self.stride
        length = max(self.end, width + self.count * self.stride)
        return (
            _zeros((self.count, length), self.dtype),
            np.empty(width, self.dtype),
            np.empty(self.width, self.dtype),
        )


class Separable(_Launch):
    """Filters that are outer products."""

    FORWARD = Kernel("upscore.conv.separable_kernels", "forward")
    INPUT_GRADIENT = Kernel("upscore.conv.separable_kernels", "input_gradient")

    def __init__(
        self, factors: Factors, size_in: Sizes, size_out: Sizes, stride: Sizes, begin: Sizes
    ) -> None:
        columns, rows = factors.columns, factors.rows
        kernel = (*columns.shape[1:], rows.shape[1])
        super().__init__(rows.dtype, kernel, size_in, size_out, stride, begin)
        self.taps = (rows, columns.reshape(-1, *(self.ones + kernel)[:2]))
        self.length = max(self.end, (size_in[-1] - 1) * stride[-1] + kernel[-1])

    def _lines(self, count: int) -> Array:
        return _zeros((count, self.length), self.dtype)

    def _gradient_scratch(self) -> tuple[Array, ...]:
        """A line, and a row of the gradient."""
        return self._lines(1)[0], np.empty(self.width, self.dtype)
