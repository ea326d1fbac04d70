"""Kernels of the depthwise transposed convolution whose filters are outer products.

A filter is a column (over depth and height) times a row. Forward, an input row is widened once, by
its filter's row, to a *line* as long as the output's rows; the output rows that need it take it
times their column's numbers. Backward, the gradient's rows are summed with the column's numbers
into a line, which is then narrowed by the filter's row.

Arrays are (planes, depth, height, width) in float32 or float64; `bits` is the same output or
gradient as the bits of bfloat16, used instead where `half`. `geometry` has the rows size of the
output, kernel, stride and pixels cut at the beginning.
"""

from typing import Any

import numpy as np
from numpy.typing import NDArray

from upscore.kernels.bfloat16 import narrow, widen
from upscore.kernels.compile import kernel

Array = NDArray[Any]


@kernel(fastmath={"contract"})
def _widened(row: Array, taps: Array, stride: int, line: Array) -> None:
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


@kernel(fastmath={"contract"})
def _narrowed(line: Array, taps: Array, stride: int, row: Array) -> None:
    """Write the one-dimensional convolution of the line: the transpose of `_widened`."""
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


@kernel(fastmath={"contract"})
def _scaled(target: Array, scale: Any, line: Array) -> None:
    for i in range(len(target)):
        target[i] += scale * line[i]


@kernel(fastmath={"contract"})
def _two_scaled(target: Array, start: Any, scale: Any, a: Array, scale_b: Any, b: Array) -> None:
    for i in range(len(target)):
        target[i] = start + scale * a[i] + scale_b * b[i]


@kernel()
def forward(
    first: int, last: int, x: Array, rows: Array, columns: Array, bias: Array, out: Array,
    bits: Array, half: bool, geometry: Array,
) -> None:  # fmt: skip
    """A task: the output rows, of one plane, that mix the same input rows."""
    depth, height, width = geometry[0]
    kz, ky, kx = geometry[1]
    sz, sy, sx = geometry[2]
    pz, py, px = geometry[3]
    _, d, h, w = x.shape
    channels = len(rows)
    rows_z, rows_y = (kz + sz - 1) // sz, (ky + sy - 1) // sy
    first_z, first_y = pz // sz, py // sy
    groups_z = (pz + depth - 1) // sz + 1 - first_z
    groups_y = (py + height - 1) // sy + 1 - first_y
    # Lines stay for as long as tasks need them; `held` says which input row lies in which.
    lines = np.zeros((rows_z * rows_y, max(px + width, (w - 1) * sx + kx)), x.dtype)
    held = np.full(rows_z * rows_y, -1)
    slot = np.empty((rows_z, rows_y), np.int64)
    used = np.empty(rows_z * rows_y, np.int64)
    scale = np.empty(rows_z * rows_y, x.dtype)
    wide = np.empty(width, x.dtype)
    for task in range(first, last):
        plane = task // (groups_z * groups_y)
        mz, my = first_z + task // groups_y % groups_z, first_y + task % groups_y
        channel = plane % channels
        start = bias[channel]
        for tz in range(rows_z):
            for ty in range(rows_y):
                iz, iy = mz - tz, my - ty
                if not (0 <= iz < d and 0 <= iy < h):
                    slot[tz, ty] = -1
                    continue
                k = slot[tz, ty] = iz % rows_z * rows_y + iy % rows_y
                row = (plane * d + iz) * h + iy
                if held[k] != row:
                    held[k] = row
                    _widened(x[plane, iz, iy], rows[channel], sx, lines[k])
        for rz in range(max(0, pz - mz * sz), min(sz, pz + depth - mz * sz)):
            for ry in range(max(0, py - my * sy), min(sy, py + height - my * sy)):
                oz, oy = mz * sz + rz - pz, my * sy + ry - py
                count = 0
                for tz in range((kz - rz + sz - 1) // sz):
                    for ty in range((ky - ry + sy - 1) // sy):
                        if slot[tz, ty] >= 0:
                            used[count] = slot[tz, ty]
                            scale[count] = columns[channel, rz + tz * sz, ry + ty * sy]
                            count += 1
                target = wide if half else out[plane, oz, oy]
                if count == 2:
                    a, b = lines[used[0], px : px + width], lines[used[1], px : px + width]
                    _two_scaled(target, start, scale[0], a, scale[1], b)
                else:
                    target[:] = start
                    for k in range(count):
                        _scaled(target, scale[k], lines[used[k], px : px + width])
                if half:
                    narrow(wide, bits[plane, oz, oy])


@kernel()
def input_gradient(
    first: int, last: int, gradient: Array, bits: Array, half: bool, rows: Array, columns: Array,
    out: Array, geometry: Array,
) -> None:  # fmt: skip
    """A task: one row of the gradient to the input, the ordinary strided convolution."""
    depth, height, width = geometry[0]
    kz, ky, kx = geometry[1]
    sz, sy, sx = geometry[2]
    pz, py, px = geometry[3]
    _, d, h, w = out.shape
    channels = len(rows)
    line = np.zeros(max(px + width, (w - 1) * sx + kx), out.dtype)
    wide = np.empty(width, out.dtype)
    for task in range(first, last):
        plane, iz, iy = task // (d * h), task // h % d, task % h
        channel = plane % channels
        line[px : px + width] = 0
        for az in range(max(0, pz - iz * sz), min(kz, pz - iz * sz + depth)):
            for ay in range(max(0, py - iy * sy), min(ky, py - iy * sy + height)):
                oz, oy = iz * sz + az - pz, iy * sy + ay - py
                if half:
                    widen(bits[plane, oz, oy], wide)
                source = wide if half else gradient[plane, oz, oy]
                _scaled(line[px : px + width], columns[channel, az, ay], source)
        _narrowed(line, rows[channel], sx, out[plane, iz, iy])
