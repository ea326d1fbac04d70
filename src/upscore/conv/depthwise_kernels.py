"""Kernels of the depthwise transposed convolution, and of both its gradients.

With stride s and T = ceil(kernel / s), an output row mixes T input rows, and along the row output
q mixes the inputs q // s - t with the taps q % s + t * s, t = 0 .. T - 1. Two arrays turn that
into multiply-adds over neighbouring elements, which vectorise:

    line   an input row with every element repeated s times, zeros beyond its ends; read t * s
           places further left it holds input q // s - t at output q
    tile   the taps t * s .. t * s + s - 1, repeated to the width of a chunk of the output

so that output[q] is the sum over input rows and t of tile[q % chunk] * line[q - t * s].

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
CHUNK = 512


@kernel()
def _repeat(row: Array, stride: int, times: int, line: Array) -> None:
    """Write element j of the row `times` times from j * stride on; a constant stride vectorises."""
    if stride == times == 2:
        for j in range(len(row)):
            line[2 * j] = row[j]
            line[2 * j + 1] = row[j]
    else:
        for j in range(len(row)):
            for r in range(times):
                line[j * stride + r] = row[j]


@kernel()
def _gather(line: Array, times: int, row: Array) -> None:
    """Sum every `times` elements of the line."""
    if times == 2:
        for j in range(len(row)):
            row[j] = line[2 * j] + line[2 * j + 1]
    else:
        for j in range(len(row)):
            total = line[j * times]
            for r in range(1, times):
                total += line[j * times + r]
            row[j] = total


@kernel(fastmath={"contract"})
def _tiled(target: Array, tile: Array, line: Array) -> None:
    for i in range(len(target)):
        target[i] += tile[i] * line[i]


@kernel(fastmath={"contract"})
def _two_tiled(target: Array, tile: Array, line: Array, tile_b: Array, line_b: Array) -> None:
    for i in range(len(target)):
        target[i] += tile[i] * line[i] + tile_b[i] * line_b[i]


@kernel()
def forward(
    first: int, last: int, x: Array, tiles: Array, bias: Array, out: Array, bits: Array,
    half: bool, geometry: Array,
) -> None:  # fmt: skip
    """A task: the output rows, of one plane, that mix the same input rows."""
    depth, height, width = geometry[0]
    kz, ky, kx = geometry[1]
    sz, sy, sx = geometry[2]
    pz, py, px = geometry[3]
    _, d, h, w = x.shape
    channels, _, _, taps, chunk = tiles.shape
    rows_z, rows_y = (kz + sz - 1) // sz, (ky + sy - 1) // sy
    first_z, first_y = pz // sz, py // sy
    groups_z = (pz + depth - 1) // sz + 1 - first_z
    groups_y = (py + height - 1) // sy + 1 - first_y
    end = px + width
    lead = (taps - 1) * sx
    # Lines stay for as long as tasks need them; `held` says which input row lies in which. The
    # last of the taps meets a line that is zero where the kernel has ended, so that a NaN there
    # does not count.
    lines = np.zeros((rows_z * rows_y, 2, lead + max(end, w * sx)), x.dtype)
    held = np.full(rows_z * rows_y, -1)
    tail = kx - lead
    of_last = 0 if tail == sx else 1
    wide = np.empty(chunk, x.dtype)
    slot = np.empty((rows_z, rows_y), np.int64)
    used, used_z, used_y = np.empty((3, rows_z * rows_y), np.int64)
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
                if held[k] == row:
                    continue
                held[k] = row
                _repeat(x[plane, iz, iy], sx, sx, lines[k, 0, lead:])
                if of_last:
                    _repeat(x[plane, iz, iy], sx, tail, lines[k, 1, lead:])
        for rz in range(max(0, pz - mz * sz), min(sz, pz + depth - mz * sz)):
            for ry in range(max(0, py - my * sy), min(sy, py + height - my * sy)):
                oz, oy = mz * sz + rz - pz, my * sy + ry - py
                count = 0
                for tz in range((kz - rz + sz - 1) // sz):
                    for ty in range((ky - ry + sy - 1) // sy):
                        if slot[tz, ty] >= 0:
                            used[count] = slot[tz, ty]
                            used_z[count] = rz + tz * sz
                            used_y[count] = ry + ty * sy
                            count += 1
                for q in range(px // chunk * chunk, end, chunk):
                    lo, hi = max(q, px), min(q + chunk, end)
                    u, v, a, b = lo - q, hi - q, lead + lo, lead + hi
                    here = slice(lo - px, hi - px)
                    target = wide[: hi - lo] if half else out[plane, oz, oy, here]
                    target[:] = start
                    for k in range(count):
                        line = lines[used[k]]
                        tile = tiles[channel, used_z[k], used_y[k]]
                        if taps == 2:
                            _two_tiled(
                                target,
                                tile[0, u:v], line[0, a:b],
                                tile[1, u:v], line[of_last, a - sx : b - sx],
                            )  # fmt: skip
                            continue
                        for t in range(taps):
                            last_line = line[of_last if t == taps - 1 else 0]
                            _tiled(target, tile[t, u:v], last_line[a - t * sx : b - t * sx])
                    if half:
                        narrow(target, bits[plane, oz, oy, here])


@kernel()
def input_gradient(
    first: int, last: int, gradient: Array, bits: Array, half: bool, tiles: Array, out: Array,
    geometry: Array,
) -> None:  # fmt: skip
    """A task: one row of the gradient to the input, the ordinary strided convolution."""
    depth, height, width = geometry[0]
    kz, ky, _ = geometry[1]
    sz, sy, sx = geometry[2]
    pz, py, px = geometry[3]
    _, d, h, w = out.shape
    channels, _, _, taps, chunk = tiles.shape
    end = px + width
    lines = np.zeros((taps, max(end, (w + taps) * sx)), out.dtype)
    total = np.empty(w * sx, out.dtype)
    wide = np.empty(chunk, out.dtype)
    for task in range(first, last):
        plane, iz, iy = task // (d * h), task // h % d, task % h
        channel = plane % channels
        lines[:, px:end] = 0
        for az in range(max(0, pz - iz * sz), min(kz, pz - iz * sz + depth)):
            for ay in range(max(0, py - iy * sy), min(ky, py - iy * sy + height)):
                oz, oy = iz * sz + az - pz, iy * sy + ay - py
                for q in range(px // chunk * chunk, end, chunk):
                    lo, hi = max(q, px), min(q + chunk, end)
                    source = wide[: hi - lo] if half else gradient[plane, oz, oy, lo - px : hi - px]
                    if half:
                        widen(bits[plane, oz, oy, lo - px : hi - px], wide)
                    for t in range(taps):
                        _tiled(lines[t, lo:hi], tiles[channel, az, ay, t, lo - q : hi - q], source)
        total[:] = 0
        for t in range(taps):
            total += lines[t, t * sx : (t + w) * sx]
        _gather(total, sx, out[plane, iz, iy])


@kernel()
def weight_gradient(
    first: int, last: int, x: Array, gradient: Array, bits: Array, half: bool, out: Array,
    geometry: Array,
) -> None:  # fmt: skip
    """A task: the gradient to one channel's tiles, added to `out`, which is laid out like them."""
    depth, height, width = geometry[0]
    kz, ky, _ = geometry[1]
    sz, sy, sx = geometry[2]
    pz, py, px = geometry[3]
    planes, d, h, w = x.shape
    channels, _, _, taps, chunk = out.shape
    end = px + width
    lead = (taps - 1) * sx
    line = np.zeros(lead + max(end, w * sx), x.dtype)
    wide = np.empty(chunk, x.dtype)
    for task in range(first, last):
        for plane in range(task, planes, channels):
            for iz in range(d):
                for iy in range(h):
                    _repeat(x[plane, iz, iy], sx, sx, line[lead:])
                    for az in range(max(0, pz - iz * sz), min(kz, pz - iz * sz + depth)):
                        for ay in range(max(0, py - iy * sy), min(ky, py - iy * sy + height)):
                            oz, oy = iz * sz + az - pz, iy * sy + ay - py
                            for q in range(px // chunk * chunk, end, chunk):
                                lo, hi = max(q, px), min(q + chunk, end)
                                here = slice(lo - px, hi - px)
                                source = wide[: hi - lo] if half else gradient[plane, oz, oy, here]
                                if half:
                                    widen(bits[plane, oz, oy, here], wide)
                                for t in range(taps):
                                    at = lead - t * sx
                                    _tiled(
                                        out[task, az, ay, t, lo - q : hi - q],
                                        line[at + lo : at + hi],
                                        source,
                                    )
