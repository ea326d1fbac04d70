"""Which input rows an output row mixes, and in which lines of scratch memory they lie.

With stride s and a kernel of k rows, output row o (counted from the first of the full output) mixes
the input rows o // s - t with the kernel's rows o % s + t * s, t = 0 .. ceil(k / s) - 1. So the s
output rows of a *group*, o // s, mix the same input rows, at depth as at height. What a kernel has
made of an input row, a line, stays for as long as groups need it.

`indices` has one row for each of the names below; a line is known by its place in them.
"""

from typing import Any

from numpy.typing import NDArray

from upscore.conv.depthwise import INDICES
from upscore.kernels.compile import part

# Of each line: of which input row it was made. Of the t-th input row at depth and height: its line,
# or -1 outside of the input. Then lists: of lines to be made, of lines that an output row mixes,
# and of the kernel's rows with which it does.
MADE_OF, LINE, STALE, MIXED, KERNEL_Z, KERNEL_Y = range(INDICES)

Indices = NDArray[Any]


@part(forceinline=True)
def place_lines(
    indices: Indices,
    plane: int,
    z: int,
    y: int,
    mixed_z: int,
    mixed_y: int,
    depth: int,
    height: int,
) -> int:
    """Find lines for the input rows of the group (z, y); return how many are to be made."""
    stale = 0
    for tz in range(mixed_z):
        for ty in range(mixed_y):
            iz, iy = z - tz, y - ty
            if not (0 <= iz < depth and 0 <= iy < height):
                indices[LINE, tz * mixed_y + ty] = -1
                continue
            line = iz % mixed_z * mixed_y + iy % mixed_y
            indices[LINE, tz * mixed_y + ty] = line
            row = (plane * depth + iz) * height + iy
            if indices[MADE_OF, line] != row:
                indices[MADE_OF, line] = row
                indices[STALE, stale] = line
                stale += 1
    return stale


@part(forceinline=True)
def list_lines(
    indices: Indices, phase_z: int, phase_y: int, kz: int, ky: int, sz: int, sy: int, mixed_y: int
) -> int:
    """List the lines that an output row mixes, with the kernel's rows; return their number."""
    count = 0
    for tz in range((kz - phase_z + sz - 1) // sz):
        for ty in range((ky - phase_y + sy - 1) // sy):
            line = indices[LINE, tz * mixed_y + ty]
            if line >= 0:
                indices[MIXED, count] = line
                indices[KERNEL_Z, count] = phase_z + tz * sz
                indices[KERNEL_Y, count] = phase_y + ty * sy
                count += 1
    return count
