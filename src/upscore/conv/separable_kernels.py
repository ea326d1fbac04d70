"""Kernels of the depthwise transposed convolution whose filters are outer products.

A filter is a column (over depth and height) times a row. Forward, an input row is enlarged once, by
its filter's row, to a *line* as long as the output's rows; the output rows that need it take it
times their column's numbers. Backward, the gradient's rows are summed with the column's numbers
into a line, which is then reduced by the filter's row.

Arrays are (planes, depth, height, width) in float32 or float64; the output, or its gradient, may
also be in the bits of bfloat16. `geometry` has the rows size of the output, kernel, stride and
pixels cut at the beginning. `scratch` is what `depthwise` makes for each thread.
"""

from typing import Any

from numpy.typing import NDArray

from upscore.conv.mixing_kernels import (
    KERNEL_Y,
    KERNEL_Z,
    MADE_OF,
    MIXED,
    STALE,
    list_lines,
    place_lines,
)
from upscore.kernels.bfloat16 import room, stored, widened
from upscore.kernels.compile import part

Array = NDArray[Any]


@part(fastmath={"contract"})
def _enlarge(row: Array, taps: Array, stride: int, line: Array) -> None:
    """Write the one-dimensional transposed convolution of the row."""
    n, k = len(row), len(taps)
    if k == 4 and stride == 2:  # a constant stride vectorises, both phases at once
        for j in range(1, n):
            line[2 * j] = taps[0] * row[j] + taps[2] * row[j - 1]
            line[2 * j + 1] = taps[1] * row[j] + taps[3] * row[j - 1]
        for r in range(2):
            line[r], line[2 * n + r] = taps[r] * row[0], taps[2 + r] * row[n - 1]
        return
    line[: (n - 1) * stride + k] = 0
    for r in range(min(stride, k)):
        if stride + r < k <= 2 * stride + r:
            line[r] = taps[r] * row[0]
            for j in range(1, n):
                line[j * stride + r] = taps[r] * row[j] + taps[stride + r] * row[j - 1]
            line[n * stride + r] = taps[stride + r] * row[n - 1]
            continue
        for tap in range(r, k, stride):
            for j in range(n):
                line[j * stride + tap] += taps[tap] * row[j]


@part(fastmath={"contract"})
def _reduce(line: Array, taps: Array, stride: int, row: Array) -> None:
    """Write the one-dimensional convolution of the line: the transpose of `_enlarge`."""
    n, k = len(row), len(taps)
    if k == 4 and stride == 2:
        for j in range(n):
            even = taps[0] * line[2 * j] + taps[2] * line[2 * j + 2]
            row[j] = even + taps[1] * line[2 * j + 1] + taps[3] * line[2 * j + 3]
        return
    row[:] = 0
    for tap in range(k):
        for j in range(n):
            row[j] += taps[tap] * line[j * stride + tap]


@part(fastmath={"contract"})
def _scaled(target: Array, scale: Any, line: Array) -> None:
    for i in range(len(target)):
        target[i] += scale * line[i]


@part(fastmath={"contract"})
def _two_scaled(target: Array, start: Any, scale: Any, a: Array, scale_b: Any, b: Array) -> None:
    for i in range(len(target)):
        target[i] = start + scale * a[i] + scale_b * b[i]


@part()
def _write_row(
    target: Array, start: Any, column: Array, indices: Array, count: int, lines: Array, begin: int
) -> None:
    """Write an output row: `start` and the lines that it mixes, each times its column's number."""
    z, y, mixed = indices[KERNEL_Z], indices[KERNEL_Y], indices[MIXED]
    end = begin + len(target)
    if count == 2:
        a, b = lines[mixed[0], begin:end], lines[mixed[1], begin:end]
        _two_scaled(target, start, column[z[0], y[0]], a, column[z[1], y[1]], b)
        return
    target[:] = start
    for k in range(count):
        _scaled(target, column[z[k], y[k]], lines[mixed[k], begin:end])


@part()
def forward(
    first: int, last: int, scratch: Any, layer: Any, x: Array, bias: Array, out: Array
) -> None:
    """A task: the output rows of one group of one plane."""
    lines, spare, _, indices = scratch
    geometry, rows, columns = layer
    lines[:] = 0  # beyond the ends of enlarged rows it stays so
    indices[MADE_OF] = -1
    depth, height, _ = geometry[0]
    kz, ky, _ = geometry[1]
    sz, sy, sx = geometry[2]
    pz, py, px = geometry[3]
    _, d, h, _ = x.shape
    mixed_z, mixed_y = (kz + sz - 1) // sz, (ky + sy - 1) // sy
    first_z, first_y = pz // sz, py // sy
    groups_z = (pz + depth - 1) // sz + 1 - first_z
    groups_y = (py + height - 1) // sy + 1 - first_y
    for task in range(first, last):
        plane = task // (groups_z * groups_y)
        z, y = first_z + task // groups_y % groups_z, first_y + task % groups_y
        channel = plane % len(rows)
        for n in range(place_lines(indices, plane, z, y, mixed_z, mixed_y, d, h)):
            k = indices[STALE, n]
            row = indices[MADE_OF, k]
            _enlarge(x[plane, row // h % d, row % h], rows[channel], sx, lines[k])
        for rz in range(max(0, pz - z * sz), min(sz, pz + depth - z * sz)):
            for ry in range(max(0, py - y * sy), min(sy, py + height - y * sy)):
                count = list_lines(indices, rz, ry, kz, ky, sz, sy, mixed_y)
                oz, oy = z * sz + rz - pz, y * sy + ry - py
                target = room(out[plane, oz, oy], spare)
                _write_row(target, bias[channel], columns[channel], indices, count, lines, px)
                stored(target, out[plane, oz, oy])


@part()
def input_gradient(
    first: int, last: int, scratch: Any, layer: Any, gradient: Array, out: Array
) -> None:
    """A task: one row of the gradient to the input, the ordinary strided convolution."""
    lines, spare, _, _ = scratch
    geometry, rows, columns = layer
    line = lines[0]
    line[:] = 0
    depth, height, width = geometry[0]
    kz, ky, _ = geometry[1]
    sz, sy, sx = geometry[2]
    pz, py, px = geometry[3]
    _, d, h, _ = out.shape
    channels = len(rows)
    for task in range(first, last):
        plane, iz, iy = task // (d * h), task // h % d, task % h
        channel = plane % channels
        line[px : px + width] = 0
        for az in range(max(0, pz - iz * sz), min(kz, pz - iz * sz + depth)):
            for ay in range(max(0, py - iy * sy), min(ky, py - iy * sy + height)):
                oz, oy = iz * sz + az - pz, iy * sy + ay - py
                source = widened(gradient[plane, oz, oy], spare)
                _scaled(line[px : px + width], columns[channel, az, ay], source)
        _reduce(line, rows[channel], sx, out[plane, iz, iy])
