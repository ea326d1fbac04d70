"""The depthwise paths on NumPy arrays: lay out the filters, share the kernels' work out."""

from types import ModuleType
from typing import Any

import numpy as np
from numpy.typing import NDArray

from upscore.conv import depthwise_kernels, separable_kernels
from upscore.conv.factor import factors
from upscore.errors import ArgumentError
from upscore.kernels.threads import share

Array = NDArray[Any]
WORTH_A_THREAD = 2**17  # outputs, some 40 microseconds


def tiles(filters: Array, stride: int, width: int) -> Array:
    """The taps of (C, kz, ky, kx) filters as their kernels want them: (C, kz, ky, taps, chunk)."""
    *outer, k = filters.shape
    taps = -(-k // stride)
    padded = np.zeros((*outer, taps * stride), filters.dtype)
    padded[..., :k] = filters
    repeats = -(-min(depthwise_kernels.CHUNK, width) // stride)
    return np.tile(padded.reshape(*outer, taps, stride), repeats)


def _least(tasks: int, outputs: int) -> int:
    """The tasks that are worth waking a thread for."""
    return max(1, tasks * WORTH_A_THREAD // max(1, outputs))


class Launch:
    """One case's sizes with the leading axes that the kernels want, and its filters laid out."""

    def __init__(
        self,
        filters: Array,
        size_in: tuple[int, ...],
        size_out: tuple[int, ...],
        stride: tuple[int, ...],
        begin: tuple[int, ...],
        *,
        separable: bool,
    ) -> None:
        self.lead = (1,) * (3 - len(stride))
        self.geometry = np.array(
            [
                (*self.lead, *size_out),
                (*self.lead, *filters.shape[1:]),
                (*self.lead, *stride),
                (*(0 for _ in self.lead), *begin),
            ]
        )
        self.size_in, self.size_out, self.kernel = size_in, size_out, filters.shape[1:]
        self.filters = filters.reshape(-1, *self.geometry[1])
        if separable:
            outer = factors(self.filters)
            if outer is None:
                raise ArgumentError(
                    "algorithm 'separable' needs filters that are outer products of a column and "
                    "a row, and these are not: take 'depthwise' or 'auto'"
                )
            columns, rows = outer
            self.kernels: ModuleType = separable_kernels
            self.taps: tuple[Array, ...] = (rows, columns)
        else:
            self.kernels = depthwise_kernels
            self.taps = (tiles(self.filters, stride[-1], size_out[-1]),)

    def forward(self, x: Array, bias: Array | None, *, half: bool = False) -> Array:
        """The output of x (N, C, *size); as the bits of bfloat16 where `half`."""
        # NumPy asks for large pages, which makes writing a large new array twice as fast.
        out = np.empty((*x.shape[:2], *self.size_out), np.uint16 if half else x.dtype)
        size, _, stride, begin = self.geometry
        groups = ((begin + size - 1) // stride + 1 - begin // stride)[:2].prod()
        share(
            self.kernels.forward,
            tasks := len(out) * out.shape[1] * int(groups),
            self._rows(x),
            *self.taps,
            np.zeros(x.shape[1], x.dtype) if bias is None else bias,
            *self._either(out),
            half,
            self.geometry,
            least=_least(tasks, out.size),
        )
        return out

    def input_gradient(self, gradient: Array) -> Array:
        """The gradient to the input, from that to the output (N, C, *size_out)."""
        half = gradient.dtype == np.uint16
        out = np.empty((*gradient.shape[:2], *self.size_in), self.filters.dtype)
        rows = self._rows(out)
        share(
            self.kernels.input_gradient,
            tasks := int(np.prod(rows.shape[:3])),
            *self._either(gradient),
            half,
            *self.taps,
            rows,
            self.geometry,
            least=_least(tasks, gradient.size),
        )
        return out

    def weight_gradient(self, x: Array, gradient: Array) -> Array:
        """The gradient to the weight (C, 1, *kernel), from that to the output."""
        half = gradient.dtype == np.uint16
        channels, kz, ky, kx = self.filters.shape
        *_, taps, chunk = self.taps[0].shape
        sums = np.zeros((channels, kz, ky, taps, chunk), x.dtype)
        rows = self._rows(x)
        share(
            depthwise_kernels.weight_gradient,
            channels,
            rows,
            *self._either(gradient),
            half,
            sums,
            self.geometry,
            least=_least(channels, gradient.size),
        )
        stride = int(self.geometry[2, 2])
        filters = sums.reshape(channels, kz, ky, taps, -1, stride).sum(4, dtype=np.float64)
        filters = filters.reshape(channels, 1, kz, ky, -1)[..., :kx]
        return np.asarray(filters.reshape(channels, 1, *self.kernel), x.dtype)

    def _either(self, array: Array) -> tuple[Array, Array]:
        """The array as the kernels' pair of numbers and bits, of which one is empty."""
        rows = self._rows(array)
        if array.dtype == np.uint16:
            return np.empty((0, 0, 0, 0), self.filters.dtype), rows
        return rows, np.empty((0, 0, 0, 0), np.uint16)

    def _rows(self, array: Array) -> Array:
        return array.reshape(-1, *self.lead, *array.shape[2:])
