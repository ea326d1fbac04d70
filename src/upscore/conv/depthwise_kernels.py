"""Kernels of the depthwise transposed convolution, and of both its gradients.

With stride s and T = ceil(kernel / s), an output row mixes T input rows, and along the row output
q mixes the inputs q // s - t with the taps q % s + t * s, t = 0 .. T - 1. Two arrays turn that
into multiply-adds over neighbouring elements, which vectorise:

    line   an input row with every element repeated s times, zeros beyond its ends; read t * s
           places further left it holds input q // s - t at output q
    tile   the taps t * s .. t * s + s - 1, repeated to the width of a chunk of the output

so that output[q] is the sum over input rows and t of tile[q % chunk] * line[q - t * s].

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


@part()
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


@part()
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


@part()
def _added(target: Array, line: Array) -> None:
    for i in range(len(target)):
        target[i] += line[i]


@part(fastmath={"contract"})
def _tiled(target: Array, tile: Array, line: Array) -> None:
    for i in range(len(target)):
        target[i] += tile[i] * line[i]


@part(fastmath={"contract"})
def _two_tiled(target: Array, tile: Array, line: Array, tile_b: Array, line_b: Array) -> None:
    for i in range(len(target)):
        target[i] += tile[i] * line[i] + tile_b[i] * line_b[i]


@part()
def _write_row(
    target: Array, start: Any, tiles: Array, indices: Array, count: int, lines: Array, begin: int,
    stride: int,
) -> None:  # fmt: skip
    """Write an output row: `start` and the lines that it mixes, each times its tiles."""
    z, y, mixed = indices[KERNEL_Z], indices[KERNEL_Y], indices[MIXED]
    _, _, taps, chunk = tiles.shape
    # Where the kernel is no multiple of the stride, its last taps meet a second line, which is
    # zero where the kernel has ended, so that a NaN there does not count.
    last = lines.shape[1] - 1
    lead, end = (taps - 1) * stride, begin + len(target)
    for q in range(begin // chunk * chunk, end, chunk):
        lo, hi = max(q, begin), min(q + chunk, end)
        u, v, a, b = lo - q, hi - q, lead + lo, lead + hi
        piece = target[lo - begin : hi - begin]
        piece[:] = start
        for k in range(count):
            line, tile = lines[mixed[k]], tiles[z[k], y[k]]
            if taps == 2:
                second = line[last, a - stride : b - stride]
                _two_tiled(piece, tile[0, u:v], line[0, a:b], tile[1, u:v], second)
                continue
            for t in range(taps):
                repeated = line[last if t == taps - 1 else 0]
                _tiled(piece, tile[t, u:v], repeated[a - t * stride : b - t * stride])


@part()
def forward(
    first: int, last: int, scratch: Any, layer: Any, x: Array, bias: Array, out: Array
) -> None:
    """A task: the output rows of one group of one plane."""
    lines, spare, _, indices = scratch
    geometry, tiles = layer
    lines[:] = 0  # beyond the ends of input rows it stays so
    indices[MADE_OF] = -1
    depth, height, _ = geometry[0]
    kz, ky, kx = geometry[1]
    sz, sy, sx = geometry[2]
    pz, py, px = geometry[3]
    _, d, h, _ = x.shape
    channels, _, _, taps, _ = tiles.shape
    lead = (taps - 1) * sx
    mixed_z, mixed_y = (kz + sz - 1) // sz, (ky + sy - 1) // sy
    first_z, first_y = pz // sz, py // sy
    groups_z = (pz + depth - 1) // sz + 1 - first_z
    groups_y = (py + height - 1) // sy + 1 - first_y
    for task in range(first, last):
        plane = task // (groups_z * groups_y)
        z, y = first_z + task // groups_y % groups_z, first_y + task % groups_y
        channel = plane % channels
        for n in range(place_lines(indices, plane, z, y, mixed_z, mixed_y, d, h)):
            k = indices[STALE, n]
            row = indices[MADE_OF, k]
            _repeat(x[plane, row // h % d, row % h], sx, sx, lines[k, 0, lead:])
            if lines.shape[1] == 2:
                _repeat(x[plane, row // h % d, row % h], sx, kx - lead, lines[k, 1, lead:])
        for rz in range(max(0, pz - z * sz), min(sz, pz + depth - z * sz)):
            for ry in range(max(0, py - y * sy), min(sy, py + height - y * sy)):
                count = list_lines(indices, rz, ry, kz, ky, sz, sy, mixed_y)
                oz, oy = z * sz + rz - pz, y * sy + ry - py
                target = room(out[plane, oz, oy], spare)
                _write_row(target, bias[channel], tiles[channel], indices, count, lines, px, sx)
                stored(target, out[plane, oz, oy])


@part()
def input_gradient(
    first: int, last: int, scratch: Any, layer: Any, gradient: Array, out: Array
) -> None:
    """A task: one row of the gradient to the input, the ordinary strided convolution."""
    lines, spare, total, _ = scratch
    geometry, tiles = layer
    lines[:] = 0
    depth, height, width = geometry[0]
    kz, ky, _ = geometry[1]
    sz, sy, sx = geometry[2]
    pz, py, px = geometry[3]
    _, d, h, w = out.shape
    channels, _, _, taps, chunk = tiles.shape
    end = px + width
    for task in range(first, last):
        plane, iz, iy = task // (d * h), task // h % d, task % h
        channel = plane % channels
        lines[:, px:end] = 0
        for az in range(max(0, pz - iz * sz), min(kz, pz - iz * sz + depth)):
            for ay in range(max(0, py - iy * sy), min(ky, py - iy * sy + height)):
                oz, oy = iz * sz + az - pz, iy * sy + ay - py
                source = widened(gradient[plane, oz, oy], spare)
                for q in range(px // chunk * chunk, end, chunk):
                    lo, hi = max(q, px), min(q + chunk, end)
                    piece = source[lo - px : hi - px]
                    for t in range(taps):
                        _tiled(lines[t, lo:hi], tiles[channel, az, ay, t, lo - q : hi - q], piece)
        total[:] = 0
        for t in range(taps):
            _added(total, lines[t, t * sx : (t + w) * sx])
        _gather(total, sx, out[plane, iz, iy])


@part()
def _correlate(sums: Array, line: Array, gradient: Array, begin: int, stride: int) -> None:
    """Add the products of the gradient's row with the line, shifted for each tap, to tiles."""
    taps, chunk = sums.shape
    end = begin + len(gradient)
    for q in range(begin // chunk * chunk, end, chunk):
        lo, hi = max(q, begin), min(q + chunk, end)
        piece = gradient[lo - begin : hi - begin]
        for t in range(taps):
            at = (taps - 1 - t) * stride
            _tiled(sums[t, lo - q : hi - q], line[at + lo : at + hi], piece)


@part()
def weight_gradient(
    first: int, last: int, scratch: Any, layer: Any, x: Array, gradient: Array, out: Array
) -> None:
    """A task: the gradient to one channel's tiles, added to `out`, which is laid out like them."""
    lines, spare, _, _ = scratch
    geometry, _ = layer
    line = lines[0]
    line[:] = 0
    depth, height, _ = geometry[0]
    kz, ky, _ = geometry[1]
    sz, sy, sx = geometry[2]
    pz, py, px = geometry[3]
    planes, d, h, _ = x.shape
    channels, _, _, taps, _ = out.shape
    lead = (taps - 1) * sx
    for task in range(first, last):
        for plane in range(task, planes, channels):
            for iz in range(d):
                for iy in range(h):
                    _repeat(x[plane, iz, iy], sx, sx, line[lead:])
                    for az in range(max(0, pz - iz * sz), min(kz, pz - iz * sz + depth)):
                        for ay in range(max(0, py - iy * sy), min(ky, py - iy * sy + height)):
                            oz, oy = iz * sz + az - pz, iy * sy + ay - py
                            source = widened(gradient[plane, oz, oy], spare)
                            _correlate(out[task, az, ay], line, source, px, sx)
