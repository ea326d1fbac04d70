"""The kernel of the gradient to a depthwise convolution's weight, channels last.

A pixel's channels lie side by side, and `LANES` of them are worked on at once: a task is so many
channels of one photo. Its rows go, one by one, to the middle of a line in the nearest cache; what
lies before and after them there is zero, so that no tap falls off.
"""

from typing import Any

from numpy.typing import NDArray

from upscore.kernels import LANES
from upscore.kernels.compile import part
from upscore.kernels.simd import fma, load, store, widen

Array = NDArray[Any]


@part()
def _correlate(
    sums: Array, at: int, taps: int, line: Array, stride: int, gradient: Array, start: int,
    channels: int, width: int,
) -> None:  # fmt: skip
    """Add a line times a row of the output's gradient to the sums of a row of taps.

    Five, three or one at once, which stay in registers.
    """
    hop, tap = stride * LANES, 0
    while tap < taps:
        t, place = at + tap * LANES, tap * LANES
        a = load(sums, t)
        if taps - tap >= 5:
            b, c = load(sums, t + LANES), load(sums, t + 2 * LANES)
            d, e = load(sums, t + 3 * LANES), load(sums, t + 4 * LANES)
            for i in range(width):
                of_output, p = widen(load(gradient, start + i * channels)), place + i * hop
                a = fma(of_output, load(line, p), a)
                b = fma(of_output, load(line, p + LANES), b)
                c = fma(of_output, load(line, p + 2 * LANES), c)
                d = fma(of_output, load(line, p + 3 * LANES), d)
                e = fma(of_output, load(line, p + 4 * LANES), e)
            store(sums, t + LANES, b)
            store(sums, t + 2 * LANES, c)
            store(sums, t + 3 * LANES, d)
            store(sums, t + 4 * LANES, e)
            tap += 5
        elif taps - tap >= 3:
            b, c = load(sums, t + LANES), load(sums, t + 2 * LANES)
            for i in range(width):
                of_output, p = widen(load(gradient, start + i * channels)), place + i * hop
                a = fma(of_output, load(line, p), a)
                b = fma(of_output, load(line, p + LANES), b)
                c = fma(of_output, load(line, p + 2 * LANES), c)
            store(sums, t + LANES, b)
            store(sums, t + 2 * LANES, c)
            tap += 3
        else:
            for i in range(width):
                of_output = widen(load(gradient, start + i * channels))
                a = fma(of_output, load(line, place + i * hop), a)
            tap += 1
        store(sums, t, a)


@part()
def weight_gradient(
    first: int, last: int, scratch: Any, sizes: Array, x: Array, gradient: Array, out: Array
) -> None:
    """A task: `LANES` channels' taps, from one photo.

    `sizes` has the height and width of the photos, height and width of the output, channels,
    kernel, stride, and the rows and columns of zeros before a photo. `x` and `gradient` have all
    pixels in a line, in float32 or the bits of bfloat16. `out` has, in a line too, for each photo
    channels / LANES x kernel x kernel x LANES.
    """
    (line,) = scratch
    h, w, height, width, channels, k, s, top, left = sizes
    groups, taps = channels // LANES, k * LANES
    line[:] = 0
    for task in range(first, last):
        n, c = task // groups, task % groups * LANES
        out[task * k * taps : (task + 1) * k * taps] = 0
        for y in range(h):
            start = (n * h + y) * w * channels + c
            for i in range(w):
                store(line, (left + i) * LANES, widen(load(x, start + i * channels)))
            for ay in range(k):
                oy = (y + top - ay) // s
                if (y + top - ay) % s == 0 and 0 <= oy < height:
                    start, at = (n * height + oy) * width * channels + c, (task * k + ay) * taps
                    _correlate(out, at, k, line, s, gradient, start, channels, width)
