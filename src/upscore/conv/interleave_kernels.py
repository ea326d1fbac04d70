"""The kernel that lays the phases of an output side by side, or takes them apart again."""

from typing import Any

from numpy.typing import NDArray

from upscore.kernels.compile import part


@part()
def move(
    first: int, last: int, blocks: NDArray[Any], out: NDArray[Any], begin: Any, apart: int
) -> None:
    """A task: one row of `out` (planes, D, H, W), from or, where `apart`, to phases in `blocks`.

    `blocks` is (planes, 3 strides, 3 sizes): output o of an axis is at phase (o + begin) % stride
    of block (o + begin) // stride.
    """
    _, depth, height, width = out.shape
    _, sz, sy, sx, _, _, count = blocks.shape
    for task in range(first, last):
        plane, z, y = task // (depth * height), task // height % depth, task % height
        z, y = z + begin[0], y + begin[1]
        line = out[plane, z - begin[0], y - begin[1]]
        for phase in range(sx):
            phases = blocks[plane, z % sz, y % sy, phase, z // sz, y // sy]
            shift = phase - begin[2]
            start = max(0, (-shift + sx - 1) // sx)
            stop = min(count, (width - shift + sx - 1) // sx)
            if apart:
                for i in range(start, stop):
                    phases[i] = line[i * sx + shift]
            else:
                for i in range(start, stop):
                    line[i * sx + shift] = phases[i]
