"""The source rows of a band, copied into cache: part of the kernel of `cpu_kernels`.

Of a volume a row is blended from two slices as it is copied.
"""

# mypy: disable-error-code="no-untyped-def, untyped-decorator"

from upscore.kernels import LANES
from upscore.kernels.compile import part
from upscore.kernels.simd import bits, load, prefetch, splat, store, widen

ALL_LANES = (1 << LANES) - 1


@part(inline="always")
def load_rows(scratch, source, plan, image, strip, low, high):
    """Copy the source rows of a band into cache, but those that are there from the band before."""
    left, right = plan.strips.left[strip], plan.strips.right[strip]
    for row in range(low, high + 1):
        parity = row & 1
        name = (image * len(plan.strips.left) + strip) << 32 | row
        if scratch.cached[parity] != name:
            scratch.cached[parity] = name
            _, _, row_step, column_step = source.steps
            at = source.offset + row * row_step + left * column_step
            to = parity * plan.classes * plan.pitch
            scratch.finite[parity] = _load_row(
                source, plan, image, at, right - left, scratch.rows, to
            )


@part(forceinline=True)
def _load_row(source, plan, image, at, width, rows, to):
    """Copy one row of every class to `rows[to:]`; tell whether all scores are in the limit."""
    scores, pitch, slices = source.scores, plan.pitch, source.slices
    image_step, class_step, row_step, column_step = source.steps
    low, high, low_weight, high_weight = _slices_of(slices, image, plan.limit)
    at += low * image_step
    apart = (high - low) * image_step
    blend = slices, apart, low_weight, high_weight
    packed = column_step == 1 and width >= LANES
    if not packed:
        for x in range(width):
            for c in range(plan.classes):
                one = at + c * class_step + x * column_step
                rows[to + c * pitch + x] = _score(scores, one, *blend)
    most, least = splat(plan.limit), splat(-plan.limit)
    finite = least < most
    for c in range(plan.classes):
        start, target = at + c * class_step, to + c * pitch
        if packed:
            for x in range(0, width - LANES, LANES):
                prefetch(scores, start + row_step + x)  # the next row, soon to be needed
                if slices is not None:
                    prefetch(scores, start + row_step + x + apart)
                v = _scores(scores, start + x, *blend)
                finite = finite & (v < most) & (least < v)
                store(rows, target + x, v)
            v = _scores(scores, start + width - LANES, *blend)
            finite = finite & (v < most) & (least < v)
            store(rows, target + width - LANES, v)
        # Beyond the last column it is repeated; at least LANES + 1 columns are spare.
        edge = splat(rows[target + width - 1])
        for x in range(width, pitch - LANES, LANES):
            store(rows, target + x, edge)
        store(rows, target + pitch - LANES, edge)
        if not packed:
            for x in range(target, target + pitch, LANES):
                v = load(rows, x)
                finite = finite & (v < most) & (least < v)
    return bits(finite) == ALL_LANES


@part(forceinline=True)
def _slices_of(slices, image, real):
    """The two slices of a volume that are blended to an image of it, and their weights."""
    if slices is None:
        return image, image, real, real  # numbers of the type of weights, which nothing takes
    low, high = slices.low[image], slices.high[image]
    return low, high, slices.low_weight[image], slices.high_weight[image]


@part(forceinline=True)
def _scores(scores, at, slices, apart, low_weight, high_weight):
    """Scores side by side in an image, widened, or between two slices of a volume."""
    low = widen(load(scores, at))
    if slices is None:
        return low
    return low * splat(low_weight) + widen(load(scores, at + apart)) * splat(high_weight)


@part(forceinline=True)
def _score(scores, at, slices, apart, low_weight, high_weight):
    """Do as `_scores` for one score."""
    low = widen(scores[at])
    if slices is None:
        return low
    return low * low_weight + widen(scores[at + apart]) * high_weight
