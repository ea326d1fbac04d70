"""Labels counted instead of written: the kernel of the confusion matrix on the CPU.

It labels as `cpu_kernels` and lies beside it, since machine code on disk is known by the files of
its folder. Each tile of labels is compared with the target while it is in the first-level cache.
"""

# mypy: disable-error-code="no-untyped-def, untyped-decorator"

import numpy as np

from upscore.heads.argmax.cpu_kernels import TILE_WIDTH, label_chunk, load_band
from upscore.kernels import LANES
from upscore.kernels.compile import part


@part(forceinline=True)
def count_bands(first, last, thread, source, plan, target, ignore_index):
    """Count the pixels of tasks `first` to `last` by true and predicted class.

    `thread` is what a thread works with: the scratch of `label_bands`; where the pixels of a row of
    a tile are counted; and the counts in a line: C x C, rows the truth, then of pixels whose true
    label is no class, and of those that are ignored. The truth is read from `target`.
    """
    scratch, places, counts = thread
    strips = plan.strips
    scratch.cached[0] = scratch.cached[1] = -1
    for task in range(first, last):
        image, strip, band, upper, lower, finite = load_band(scratch, source, plan, task)
        for chunk in range(strips.first[strip], strips.last[strip]):
            label_chunk(scratch, plan, target, band, chunk, upper, lower, finite)
            top, left = plan.bands.top[band], plan.chunks.first[chunk] * LANES
            width = min(plan.chunks.last[chunk] * LANES, plan.width) - left
            image_step, row_step, column_step = target.steps
            at = target.offset + image * image_step + top * row_step + left * column_step
            for y in range(plan.bands.bottom[band] - top):
                labels = scratch.labels[y * TILE_WIDTH : y * TILE_WIDTH + width]
                _find(
                    *(places, labels, target.labels, at + y * row_step, column_step),
                    *(plan.classes, ignore_index),
                )
                _count_row(places, width, counts)


@part(forceinline=True)
def _count_row(places, width, counts):
    """Count pixels by their places; blocks of equal ones, which most are, at once."""
    for start in range(0, width - LANES + 1, LANES):
        first, differ = places[start], 0
        for i in range(LANES):
            differ |= places[start + i] ^ first
        if differ == 0:
            counts[first] += LANES
        else:
            for i in range(LANES):
                counts[places[start + i]] += 1
    for x in range(width - width % LANES, width):
        counts[places[x]] += 1


@part(forceinline=True)
def _find(places, labels, target, at, step, classes, ignore_index):
    """Find where each pixel of a row is counted."""
    width = len(labels)
    if step == 1:
        row = target[at : at + width]
        for x in range(width):
            places[x] = _place(row[x], labels[x], classes, ignore_index)
    else:
        for x in range(width):
            places[x] = _place(target[at + x * step], labels[x], classes, ignore_index)


@part(forceinline=True)
def _place(true, label, classes, ignore_index):
    """Where a pixel is counted."""
    t = np.int64(true)
    place = t * classes + label if (t >= 0) & (t < classes) else classes * classes
    return place if t != ignore_index else classes * classes + 1
