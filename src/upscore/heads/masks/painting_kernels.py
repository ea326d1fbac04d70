"""Numba kernels that write the pixels of masks from their runs."""

# mypy: disable-error-code="no-untyped-def, untyped-decorator"

from upscore.kernels.compile import part
from upscore.kernels.simd import clear, copy


@part()
def paint(first, last, scratch, runs, offsets, boxes, height, rows, pitch, fresh, out):
    """Paint masks `first` to `last`, each on `rows` x `pitch` pixels, zeros already if `fresh`.

    Each row is the one above, turned at the pixels where a run of its column begins or ends.
    """
    for mask in range(first, last):
        _list_changes(mask, scratch.changes, scratch.ends, runs, offsets, boxes, height)
        left, top, right, bottom = boxes[mask, 0], boxes[mask, 1], boxes[mask, 2], boxes[mask, 3]
        width, at, end = right - left, mask * rows * pitch + left, (mask + 1) * rows * pitch
        if not fresh:
            clear(out, at - left, top * pitch + left)
        turn, at = 0, at + top * pitch
        for y in range(top, bottom):
            if y > top:
                copy(out, at, at - pitch, width)
            elif not fresh:
                clear(out, at, width)
            while turn < scratch.ends[y]:
                x = at - left + scratch.changes[turn]
                out[x] = 1 - out[x]
                turn += 1
            if not fresh:  # as far as the next row of the box
                clear(out, at + width, min(pitch, end - at) - width)
            at += pitch
        if not fresh and at < end:
            clear(out, at, end - at)


@part()
def _list_changes(mask, turns, ends, runs, offsets, boxes, height):
    """List the columns where each row of a mask's box differs from the one above."""
    top, bottom = boxes[mask, 1], boxes[mask, 3]
    for y in range(top, bottom):
        ends[y] = 0
    for step in range(2):  # count them, then list them
        x, next_column = 0, height  # without a division a run
        for run in range(offsets[mask], offsets[mask + 1]):
            begin, end = runs[2 * run], runs[2 * run + 1]
            while begin >= next_column:
                x, next_column = x + 1, next_column + height
            _list_change(begin - next_column + height, x, step, turns, ends, bottom)
            while end > next_column:  # down to the last row, and on from the first
                x, next_column = x + 1, next_column + height
                _list_change(0, x, step, turns, ends, bottom)
            _list_change(end - next_column + height, x, step, turns, ends, bottom)
        if step == 0:
            total = 0
            for y in range(top, bottom):
                total, ends[y] = total + ends[y], total


@part(inline="always")
def _list_change(y, x, step, turns, ends, bottom):
    if y < bottom:
        if step:
            turns[ends[y]] = x
        ends[y] += 1


@part()
def label(first, last, runs, offsets, masks, columns):
    """Write the numbers of masks over their runs, one mask after another."""
    for i in range(first, last):
        mask = masks[i]
        for run in range(offsets[mask], offsets[mask + 1]):
            for pixel in range(runs[2 * run], runs[2 * run + 1]):
                columns[pixel] = mask
