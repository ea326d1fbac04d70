"""The Numba kernel that pastes scores into boxes."""

# mypy: disable-error-code="no-untyped-def, untyped-decorator"

from upscore.kernels.compile import part


@part()
def paste(first, last, between, scores, height, rows, columns, places, out, picture):
    """Write rows `first` to `last` of all masks, whose scores have `height` rows.

    `between` takes a row between two rows of scores; `picture` is how many rows one picture has.
    """
    for i in range(first, last):
        mask = places.masks[i]
        row, upper, lower = mask * picture + places.rows[i], rows.low[i], rows.high[i]
        for x in range(len(between)):
            above, below = scores[mask * height + upper, x], scores[mask * height + lower, x]
            between[x] = rows.less[i] * above + rows.weight[i] * below
        start = places.starts[mask]
        left = places.first[mask]
        for x in range(places.starts[mask + 1] - start):
            at = start + x
            one = columns.less[at] * between[columns.low[at]]
            out[row, left + x] = one + columns.weight[at] * between[columns.high[at]]
