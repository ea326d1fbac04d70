"""Masks on the CPU: Numba kernels that look only at what the edge of a mask may cross.

First every score becomes a bit: above the threshold or not, a column of the scores in words of 64
rows. What is interpolated lies between its corners, so where all source pixels are of one sign no
arithmetic is needed. Down a column of the mask the scores are a straight line within each *band*
(the output rows between two rows), and cross the threshold at most once: see
docs/explanation/fast.md.

Masks with scores that are not finite take a plain way: zero times infinity is NaN.

`source`, `plan` and `scratch` are the named tuples of `cpu` and `cpu_plan`. `LANES` output columns
are a *block*, and a *task* is a share of the blocks of a mask.

What every block needs is inlined, because a call would copy these tuples.
"""

# mypy: disable-error-code="no-untyped-def, untyped-decorator"

from upscore.kernels import LANES
from upscore.kernels.compile import part
from upscore.kernels.simd import bits, fma, load, splat, store, trailing_zeros, where, widen

ALL_LANES = (1 << LANES) - 1
ALL_BUT_SIGN = 0x7FFFFFFFFFFFFFFF


@part()
def sign_scores(first, last, source, plan, threshold, signs, finite):
    """Write the signs of masks `first` to `last`, and whether all of their scores are finite."""
    image_step, row_step, step = source.steps
    whole = plan.columns - plan.columns % LANES if step == 1 else 0
    for mask in range(first, last):
        at = mask * plan.words * plan.columns
        signs[at : at + plan.words * plan.columns] = 0
        every = True
        for y in range(plan.rows):
            start = source.offset + mask * image_step + y * row_step
            word = at + (y >> 6) * plan.columns
            every &= _sign_blocks(source.scores, start, whole, threshold, signs, word, y & 63)
            for x in range(whole, plan.columns):
                v = widen(source.scores[start + x * step])
                every &= v - v == 0
                signs[word + x] |= (1 if v > threshold else 0) << (y & 63)
        finite[mask] = every


@part(forceinline=True)
def _sign_blocks(scores, start, columns, threshold, signs, at, bit):
    """Set a bit of each column, a block at a time; tell whether all is finite."""
    limit, above, below = splat(threshold), splat(1 << bit), splat(0)
    every = limit == limit
    for x in range(0, columns, LANES):
        v = widen(load(scores, start + x))
        d = v - v
        every = every & (d == d)
        store(signs, at + x, load(signs, at + x) | where(v > limit, above, below))
    return bits(every) == ALL_LANES


@part()
def bound_runs(first, last, scratch, plan, signs, finite, most):
    """Write how many runs tasks `first` to `last` may find at most."""
    places = plan.places
    for task in range(first, last):
        mask, begin, end = _blocks_of(task, plan)
        dense = (places.bottom[mask] - places.top[mask]) // 2 + 1
        total = 0
        for block in range(begin, end):
            here = dense
            if finite[mask]:
                # The sign may change where a band begins, once within it, and after it.
                stretches = _stretches(mask, block, plan, signs, scratch.bands)
                changes = stretches + 1
                for i in range(stretches):
                    changes += 2 * (scratch.bands[2 * i + 1] - scratch.bands[2 * i])
                here = min(changes // 2 + 1, dense)
            total += LANES * here
        most[task] = total


@part()
def find_runs(
    first, last, scratch, source, plan, threshold, signs, finite, skip, starts, counts, runs
):
    """Write the runs of tasks `skip + first` to `skip + last`, and how many there are."""
    places, turns = plan.places, scratch.turns
    for task in range(skip + first, skip + last):
        mask, begin, end = _blocks_of(task, plan)
        start = at = starts[task]
        for block in range(begin, end):
            column = places.column[mask] + (block - places.block[mask]) * LANES
            for lane in range(LANES):
                scratch.counts[lane] = 0
            if finite[mask]:
                _turn_block(mask, block, scratch, source, plan, threshold, signs)
            else:
                for lane in range(LANES):
                    tap = (block * LANES + lane) * plan.taps
                    _turn_plainly(mask, lane, tap, scratch, source, plan, threshold)
            for lane in range(LANES):
                x = column + lane
                if places.left[mask] <= x < places.right[mask]:
                    for i in range(scratch.counts[lane]):
                        at = _write(x * plan.height + turns[lane, i], i & 1, runs, start, at)
                    if scratch.counts[lane] & 1:
                        at = _write(x * plan.height + places.bottom[mask], 1, runs, start, at)
        counts[task] = at - start


@part(inline="always")
def _blocks_of(task, plan):
    """The mask of a task, and its blocks of columns."""
    places = plan.places
    mask, share = divmod(task, plan.shares)
    if places.left[mask] >= places.right[mask] or places.top[mask] >= places.bottom[mask]:
        return mask, 0, 0
    left = (places.left[mask] - places.column[mask]) // LANES
    count = (places.right[mask] - 1 - places.column[mask]) // LANES + 1 - left
    left += places.block[mask]
    return mask, left + count * share // plan.shares, left + count * (share + 1) // plan.shares


@part(forceinline=True)
def _write(pixel, ends, runs, start, at):
    """Begin a run at a pixel, or end the one begun; return where the next one goes.

    A run that begins where the last one ended goes on with it; one without pixels is dropped.
    """
    if ends:
        runs[2 * at + 1] = pixel
        return at + (pixel > runs[2 * at])
    if at > start and runs[2 * at - 1] == pixel:
        return at - 1
    runs[2 * at] = pixel
    return at


@part(forceinline=True)
def _stretches(mask, block, plan, signs, bands):
    """List the stretches of bands, from and to, that an edge may cross in a block."""
    count = 0
    for word in range(plan.words):
        live = _live(mask, word, block, plan, signs)
        while live != 0:
            pair = plan.places.pair[mask] + (word << 6) + trailing_zeros(live)
            live &= live - 1
            first, last = plan.pair_first[pair], plan.pair_last[pair] + 1
            if count and first <= bands[2 * count - 1]:
                bands[2 * count - 1] = max(last, bands[2 * count - 1])
            else:
                bands[2 * count], bands[2 * count + 1] = first, last
                count += 1
    return count


@part(forceinline=True)
def _live(mask, word, block, plan, signs):
    """Bits of the rows of a word that are not, together with the next row, of one sign."""
    some, every = _some_every(mask, word, block, plan, signs)
    some_next, every_next = (some >> 1) & ALL_BUT_SIGN, (every >> 1) & ALL_BUT_SIGN
    rows = min(plan.rows - (word << 6), 64)
    if word + 1 < plan.words:
        some_after, every_after = _some_every(mask, word + 1, block, plan, signs)
        some_next |= some_after << 63
        every_next |= every_after << 63
    else:  # after the last row it comes again
        some_next |= some & (1 << (rows - 1))
        every_next |= every & (1 << (rows - 1))
    used = -1 if rows == 64 else (1 << rows) - 1
    return (some | some_next) & ~(every & every_next) & used


@part(forceinline=True)
def _some_every(mask, word, block, plan, signs):
    """Bits of the rows where some, and where all, of a block's source columns are above."""
    at = (mask * plan.words + word) * plan.columns + plan.blocks.column[block]
    some, every = 0, -1
    for column in range(at, at + plan.blocks.taps[block]):
        some |= signs[column]
        every &= signs[column]
    return some, every


@part(forceinline=True)
def _turn_block(mask, block, scratch, source, plan, threshold, signs):
    """List the rows where each column of a block turns: from unset to set, or back.

    The stretches were found once before, to bound the runs; to find them again is cheaper than to
    keep them.
    """
    places, bands, stretch = plan.places, plan.bands, scratch.bands
    stretches = _stretches(mask, block, plan, signs, stretch)
    base, end = places.band[mask], places.band_end[mask]
    inside, band = 0, base  # `inside`: a bit of each column
    for i in range(stretches + 1):
        first = base + stretch[2 * i] if i < stretches else end
        if band < first:  # bands of one sign, that of any of their source pixels
            row = bands.upper[band]
            word = signs[
                (mask * plan.words + (row >> 6)) * plan.columns + plan.blocks.column[block]
            ]
            above = ALL_LANES if (word >> (row & 63)) & 1 else 0
            _list_row(above ^ inside, _clipped(bands.top[band], mask, places), scratch)
            inside = above
        if i < stretches:
            band = base + stretch[2 * i + 1]
            inside = _turn_bands(mask, block, first, band, inside, scratch, source, plan, threshold)


@part(forceinline=True)
def _turn_bands(mask, block, first, last, inside, scratch, source, plan, threshold):
    """List the rows where columns turn in bands `first` to `last`; return what is inside after."""
    places, bands, weight = plan.places, plan.bands, plan.row_weight
    w, limit = places.row[mask], splat(threshold)
    scratch.held[0] = scratch.held[1] = -1
    for k in range(first, last):
        upper = _value(
            *(mask, block, bands.upper[k], bands.upper_next[k], bands.upper_weight[k]),
            *(scratch, source, plan),
        )
        lower = _value(
            *(mask, block, bands.lower[k], bands.lower_next[k], bands.lower_weight[k]),
            *(scratch, source, plan),
        )
        y0, y1 = _clipped(bands.top[k], mask, places), _clipped(bands.bottom[k], mask, places)
        if y0 == y1:
            continue
        above = bits(_lerp_vector(upper, lower, weight[w + y0]) > limit)
        _list_row(above ^ inside, y0, scratch)
        inside = bits(_lerp_vector(upper, lower, weight[w + y1 - 1]) > limit)
        if above != inside:
            store(scratch.upper, 0, upper)
            store(scratch.lower, 0, lower)
            _list_crossings(above ^ inside, inside, y0, y1 - 1, mask, scratch, plan, threshold)
    return inside


@part(inline="always")
def _clipped(y, mask, places):
    return min(max(y, places.top[mask]), places.bottom[mask])


@part(forceinline=True)
def _list_row(lanes, y, scratch):
    """List row `y` for these lanes."""
    while lanes != 0:
        lane = trailing_zeros(lanes)
        lanes &= lanes - 1
        scratch.turns[lane, scratch.counts[lane]] = y
        scratch.counts[lane] += 1


@part(forceinline=True)
def _list_crossings(lanes, inside, first, last, mask, scratch, plan, threshold):
    """List the first row where these lanes are as in row `last`, not as in row `first`."""
    weight, w = plan.row_weight, plan.places.row[mask]
    begin, rows = weight[w + first], last - first
    slope = rows / (weight[w + last] - begin)  # of rows to weight: nearly, if not quite, constant
    while lanes != 0:
        lane = trailing_zeros(lanes)
        lanes &= lanes - 1
        upper, lower = scratch.upper[lane], scratch.lower[lane]
        after = (inside >> lane) & 1 != 0
        guess = ((threshold - upper) / (lower - upper) - begin) * slope
        if not 0 <= guess < rows:
            guess = 0  # also where it is no number
        y = first + min(int(guess) + 1, rows)
        while y < last and (_lerp(upper, lower, weight[w + y]) > threshold) != after:
            y += 1
        while y > first + 1 and (_lerp(upper, lower, weight[w + y - 1]) > threshold) == after:
            y -= 1
        scratch.turns[lane, scratch.counts[lane]] = y
        scratch.counts[lane] += 1


@part(forceinline=True)
def _value(mask, block, row, following, weight, scratch, source, plan):
    """The scores of a block in a row, or between two of them."""
    near = _row(mask, block, row, scratch, source, plan)
    if following < 0:
        return near
    return _lerp_vector(near, _row(mask, block, following, scratch, source, plan), weight)


@part(forceinline=True)
def _row(mask, block, row, scratch, source, plan):
    """The scores of a block in a row of the source: the last two, even and odd, are kept."""
    at = (row & 1) * LANES
    if scratch.held[row & 1] != row:
        scratch.held[row & 1] = row
        store(scratch.rows, at, _mix(mask, block, row, source, plan))
    return load(scratch.rows, at)


@part(forceinline=True)
def _mix(mask, block, row, source, plan):
    """The scores of a block in a row of the source."""
    image_step, row_step, step = source.steps
    blocks = plan.blocks
    at = source.offset + mask * image_step + row * row_step + blocks.column[block] * step
    w = blocks.weight[block] * LANES
    total = splat(widen(source.scores[at])) * load(plan.block_weight, w)
    for t in range(1, blocks.taps[block]):
        v = splat(widen(source.scores[at + t * step]))
        total = fma(v, load(plan.block_weight, w + t * LANES), total)
    return total


@part(forceinline=True)
def _lerp_vector(upper, lower, weight):
    w = splat(weight)
    return fma(lower, w, upper - upper * w)


@part(forceinline=True)
def _lerp(upper, lower, weight):
    """As PyTorch; Numba makes `1 - weight` float64. Zero times infinity is NaN."""
    return upper * (1 - weight) + lower * weight


@part()
def _turn_plainly(mask, lane, tap, scratch, source, plan, threshold):
    """List the rows where a column turns, from every row's own score: as many as there are rows."""
    places, bands = plan.places, plan.bands
    inside = False
    for k in range(places.band[mask], places.band_end[mask]):
        upper = _score(
            mask, tap, bands.upper[k], bands.upper_next[k], bands.upper_weight[k], source, plan
        )
        lower = _score(
            mask, tap, bands.lower[k], bands.lower_next[k], bands.lower_weight[k], source, plan
        )
        first, last = _clipped(bands.top[k], mask, places), _clipped(bands.bottom[k], mask, places)
        for y in range(first, last):
            weight = plan.row_weight[places.row[mask] + y]
            if (_lerp(upper, lower, weight) > threshold) != inside:
                inside = not inside
                _list_row(1 << lane, y, scratch)


@part()
def _score(mask, tap, row, following, weight, source, plan):
    """The score of a column in a row, or between two of them."""
    near = _blend(mask, tap, row, source, plan)
    if following < 0:
        return near
    return _lerp(near, _blend(mask, tap, following, source, plan), weight)


@part()
def _blend(mask, tap, row, source, plan):
    """The score of a column in a row of the source."""
    image_step, row_step, step = source.steps
    start = source.offset + mask * image_step + row * row_step
    total = widen(source.scores[start + plan.tap_column[tap] * step]) * plan.tap_weight[tap]
    for t in range(tap + 1, tap + plan.taps):
        total += widen(source.scores[start + plan.tap_column[t] * step]) * plan.tap_weight[t]
    return total
