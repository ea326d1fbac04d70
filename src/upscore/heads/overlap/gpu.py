"""The overlap and its gradient on a GPU: Triton kernels and their launchers.

`_pixels` walks the output once; each program sums up a tile of it, class by class. Under softmax it
walks once more for the gradient, and keeps of each pixel the logarithm of its summed exponentials
and what is taken from every class's slope. Then `_gradient` gathers as that of the cross-entropy
does: a program owns a patch of source pixels of some classes and visits the outputs that sample
them.
"""

# mypy: disable-error-code="no-untyped-def, untyped-decorator"

import torch
import triton
import triton.language as tl

from upscore.heads.gpu import (
    COLUMNS,
    PATCH_COLUMNS,
    PATCH_ROWS,
    VISITED,
    compute_dtype,
    launching,
    lerp,
    read,
    rows_per_tile,
    sampling,
    values,
)
from upscore.heads.overlap.options import Options
from upscore.heads.target import check_labels

_CLASSES = 16  # that a gradient program owns


def overlap(
    scores: torch.Tensor,
    target: torch.Tensor,
    weight: torch.Tensor | None,
    toward: torch.Tensor | None = None,
    *,
    options: Options,
) -> torch.Tensor:
    """Return the sums N x K x C, or, given the derivatives `toward` them, a loss's gradient.

    A label of no meaning reads nothing out of bounds; each program counts them, and asking whether
    there are any is the one time that the host waits for the device. While a CUDA graph is captured
    it cannot wait: such a label then counts for nothing.
    """
    images, classes, h, w = scores.shape
    H, W = target.shape[-2:]
    with launching(scores):
        dtype, device = compute_dtype(scores), scores.device
        x, y = (
            sampling(size, full, options.grid, dtype, device) for size, full in ((w, W), (h, H))
        )
        labels = target if target.ndim == 4 else target[:, None].expand(-1, classes, -1, -1)
        mass = weight if weight is not None else torch.ones((), dtype=dtype, device=device)
        mass = mass.to(dtype).expand(images, H, W)
        given = (scores, labels, mass)
        strides = (*scores.stride(), *labels.stride(), *mass.stride())
        sizes = (classes, h, w, H, W)
        copied = options.grid.copies(h, H) and options.grid.copies(w, W)
        kind = {"SIGMOID": options.sigmoid, "CHANNELS": target.ndim == 4}
        kind |= {"LOSSES": options.losses, "COPIED": copied}
        count = 5 if options.losses else 3
        rows, columns = rows_per_tile(y.most), min(COLUMNS, triton.next_power_of_2(W))
        tiles, pieces = triton.cdiv(W, columns), triton.cdiv(y.most, rows)
        programs = images * h * pieces * tiles
        parts = torch.empty((programs, count, classes), dtype=dtype, device=device)
        faults = torch.empty(programs, dtype=torch.int32, device=device)
        slopes, log_sum, less = parts, parts, parts  # not read
        if toward is not None:
            slopes = toward.to(dtype).contiguous()
            log_sum, less = torch.empty((2, images, H, W), dtype=dtype, device=device)
        if toward is None or not options.sigmoid:
            _pixels[(programs,)](
                *(*given, slopes, parts, faults, log_sum, less),
                *(x.low, x.weight, y.weight, y.edges, *sizes, tiles, pieces, options.ignore_index),
                *strides,
                **kind,
                SUMS=toward is None,
                ROWS=rows,
                COLUMNS=columns,
                num_warps=4,
            )
        if toward is None:
            capturing = scores.is_cuda and torch.cuda.is_current_stream_capturing()
            if not capturing and faults.any():
                check_labels(target, 2 if target.ndim == 4 else classes, options.ignore_index)
            each = parts.view(images, programs // max(1, images), count, classes)
            return each.sum(1, dtype=torch.float64).to(dtype)
        gradient = torch.empty((images, classes, h, w), dtype=dtype, device=device)
        blocks = triton.cdiv(classes, _CLASSES)
        strips, patches = triton.cdiv(h, PATCH_ROWS), triton.cdiv(w, PATCH_COLUMNS)
        _gradient[(images * blocks * strips * patches,)](
            *(*given, slopes, log_sum, less, gradient),
            *(x.low, x.weight, x.edges, y.weight, y.edges),
            *(*sizes, blocks, strips, patches, options.ignore_index, *strides),
            **kind,
            CLASSES=_CLASSES,
            PATCH_ROWS=PATCH_ROWS,
            PATCH_COLUMNS=PATCH_COLUMNS,
            VISITED=VISITED,
            num_warps=4,
        )
        return gradient


@triton.jit
def _logistic(v):
    return 1 / (1 + tl.exp(-v))


@triton.jit
def _softplus(v):
    """log(1 + exp(v)), its second term as exact as the exponential (Kahan)."""
    z = tl.exp(-tl.abs(v))
    u = 1 + z
    return tl.maximum(v, 0) + tl.where(u == 1, z, tl.log(u) * (z / (u - 1)))


@triton.jit
def _pixels(
    scores,
    target,
    weight,
    slopes,
    parts,
    faults,
    log_sum,
    less,
    x_low,
    x_weight,
    y_weight,
    y_edges,
    classes,
    h,
    w,
    H,
    W,
    tiles,
    pieces,
    ignore_index,
    scores_n,
    scores_c,
    scores_y,
    scores_x,
    target_n,
    target_c,
    target_y,
    target_x,
    weight_n,
    weight_y,
    weight_x,
    SUMS: tl.constexpr,
    SIGMOID: tl.constexpr,
    CHANNELS: tl.constexpr,
    LOSSES: tl.constexpr,
    COPIED: tl.constexpr,
    ROWS: tl.constexpr,
    COLUMNS: tl.constexpr,
):
    """One program: a tile of the output rows between two source rows of an image."""
    dtype: tl.constexpr = x_weight.dtype.element_ty
    count: tl.constexpr = 5 if LOSSES else 3
    program = tl.program_id(0)
    tile = program % tiles
    piece = program // tiles % pieces
    band = program // tiles // pieces % h
    image = (program // tiles // pieces // h).to(tl.int64)
    x = tile * COLUMNS + tl.arange(0, COLUMNS)
    column = tl.minimum(x, W - 1).to(tl.int64)
    low = tl.load(x_low + column)
    across = tl.load(x_weight + column)
    upper = scores + image * scores_n + tl.cast(band, tl.int64) * scores_y
    lower = scores + image * scores_n + tl.minimum(band + 1, h - 1).to(tl.int64) * scores_y
    left = low.to(tl.int64) * scores_x
    right = tl.minimum(low + 1, w - 1).to(tl.int64) * scores_x
    last = tl.load(y_edges + band + 1)
    y = tl.load(y_edges + band) + piece * ROWS + tl.arange(0, ROWS)
    row = tl.maximum(tl.minimum(y, last - 1), 0).to(tl.int64)
    inside = (y < last)[:, None] & (x < W)[None, :]
    down = tl.load(y_weight + row)[:, None]
    at = target + image * target_n + row[:, None] * target_y + column[None, :] * target_x
    m = tl.load(weight + image * weight_n + row[:, None] * weight_y + column[None, :] * weight_x)
    m = tl.where(inside, m, 0)
    label = tl.load(at).to(tl.int64)

    # Finite, so that a score of -inf is simply an exponential of zero.
    best = tl.full((ROWS, COLUMNS), -3e38, dtype)
    exponentials = tl.zeros((ROWS, COLUMNS), dtype)
    slope = tl.zeros((ROWS, COLUMNS), dtype)  # the mean, weighted by the exponentials
    by_losses = tl.zeros((ROWS, COLUMNS), dtype)  # that of the label
    if not SIGMOID:
        for c in range(classes):
            plane = tl.cast(c, tl.int64) * scores_c
            v = values(upper + plane, lower + plane, left, right, across, down, dtype, COPIED)
            better = v > best
            e = tl.exp(-tl.abs(v - best))
            exponentials = tl.where(better, exponentials * e + 1, exponentials + e)
            best = tl.where(better, v, best)
            if not SUMS:
                own = slopes + image * count * classes + c
                one = tl.load(own + classes) + tl.where(label == c, tl.load(own), 0)
                if LOSSES:
                    by_losses = tl.where(label == c, tl.load(own + 3 * classes), by_losses)
                slope = tl.where(better, slope * e + one, slope + one * e)
    if not SUMS:
        m = tl.where((label != ignore_index) & (label >= 0) & (label < classes), m, 0)
        at = (image * H + row[:, None]) * W + column[None, :]
        tl.store(log_sum + at, best + tl.log(exponentials), mask=inside)
        slope = slope / exponentials - by_losses
        tl.store(less + at, tl.where(m != 0, m * slope, 0), mask=inside)
        return
    wrong = tl.zeros((ROWS, COLUMNS), tl.int32)
    to = parts + tl.cast(program, tl.int64) * count * classes
    rest = tl.log(exponentials)
    for c in range(classes):
        plane = tl.cast(c, tl.int64) * scores_c
        v = values(upper + plane, lower + plane, left, right, across, down, dtype, COPIED)
        p = _logistic(v) if SIGMOID else tl.exp(v - best) / exponentials
        if CHANNELS:
            label = tl.load(at + tl.cast(c, tl.int64) * target_c).to(tl.int64)
        known = (label >= 0) & (label < (2 if CHANNELS else classes))
        valid = inside & (label != ignore_index)
        wrong += (valid & (known == 0)).to(tl.int32)
        mass = tl.where(valid & known, m, 0)
        p = tl.where(mass != 0, p * mass, 0)  # even of NaN
        true = label == (1 if CHANNELS else c)
        if LOSSES:
            if SIGMOID:
                loss, had = _softplus(tl.where(true, -v, v)), mass
            else:
                loss, had = rest + (best - v), tl.where(true, mass, 0)
            tl.store(to + 3 * classes + c, tl.sum(tl.where(had != 0, had * loss, 0)))
            tl.store(to + 4 * classes + c, tl.sum(had))
        tl.store(to + c, tl.sum(tl.where(true, p, 0)))
        tl.store(to + classes + c, tl.sum(p))
        tl.store(to + 2 * classes + c, tl.sum(tl.where(true, mass, 0)))
    tl.store(faults + program, tl.sum(wrong))


@triton.jit
def _gradient(
    scores,
    target,
    weight,
    slopes,
    log_sum,
    less,
    gradient,
    x_low,
    x_weight,
    x_edges,
    y_weight,
    y_edges,
    classes,
    h,
    w,
    H,
    W,
    blocks,
    strips,
    patches,
    ignore_index,
    scores_n,
    scores_c,
    scores_y,
    scores_x,
    target_n,
    target_c,
    target_y,
    target_x,
    weight_n,
    weight_y,
    weight_x,
    SIGMOID: tl.constexpr,
    CHANNELS: tl.constexpr,
    LOSSES: tl.constexpr,
    CLASSES: tl.constexpr,
    COPIED: tl.constexpr,
    PATCH_ROWS: tl.constexpr,
    PATCH_COLUMNS: tl.constexpr,
    VISITED: tl.constexpr,
):
    """One program: a patch of source pixels of `CLASSES` classes of an image.

    The outputs between source rows i and i + 1 add to both, so a program starts one band above its
    patch and carries what belongs to the next row: between patches a band is visited twice.
    """
    dtype: tl.constexpr = x_weight.dtype.element_ty
    program = tl.program_id(0)
    first_column = program % patches * PATCH_COLUMNS
    first_row = program // patches % strips * PATCH_ROWS
    c = program // patches // strips % blocks * CLASSES + tl.arange(0, CLASSES)
    image = (program // patches // strips // blocks).to(tl.int64)
    own = tl.minimum(c, classes - 1).to(tl.int64)[:, None]
    plane = scores + image * scores_n + own * scores_c
    labels = target + image * target_n + (own * target_c if CHANNELS else 0)
    count: tl.constexpr = 5 if LOSSES else 3
    by_hits = tl.load(slopes + image * count * classes + own)
    by_predicted = tl.load(slopes + (image * count + 1) * classes + own)
    by_losses = tl.load(slopes + (image * count + 3) * classes + own) if LOSSES else 0
    j = first_column + tl.arange(0, PATCH_COLUMNS)
    to = gradient + (image * classes + c.to(tl.int64)[:, None]) * h * w + j[None, :]
    kept = (c < classes)[:, None] & (j < w)[None, :]
    first_x = tl.load(x_edges + tl.maximum(first_column - 1, 0))
    last_x = tl.load(x_edges + tl.minimum(first_column + PATCH_COLUMNS, w))

    carried = tl.zeros((CLASSES, PATCH_COLUMNS), dtype)
    for band in range(tl.maximum(first_row - 1, 0), tl.minimum(first_row + PATCH_ROWS, h)):
        upper = plane + tl.cast(band, tl.int64) * scores_y
        lower = plane + tl.minimum(band + 1, h - 1).to(tl.int64) * scores_y
        to_upper = carried
        to_lower = tl.zeros((CLASSES, PATCH_COLUMNS), dtype)
        for x0 in range(first_x, last_x, VISITED):
            # Rows of one class, so that they are loaded the way the classes' tile is laid out.
            x = (x0 + tl.arange(0, VISITED))[None, :]
            column = tl.minimum(x, last_x - 1).to(tl.int64)
            low = tl.load(x_low + column)
            across = tl.load(x_weight + column)
            left = low.to(tl.int64) * scores_x
            right = tl.minimum(low + 1, w - 1).to(tl.int64) * scores_x
            top, bottom = read(upper + left, dtype), read(lower + left, dtype)
            if not COPIED:
                top = lerp(top, read(upper + right, dtype), across)
                bottom = lerp(bottom, read(lower + right, dtype), across)
            top_sum = tl.zeros((CLASSES, VISITED), dtype)
            bottom_sum = tl.zeros((CLASSES, VISITED), dtype)
            for y in range(tl.load(y_edges + band), tl.load(y_edges + band + 1)):
                row = tl.cast(y, tl.int64)
                down = tl.load(y_weight + row)
                label = tl.load(labels + row * target_y + column * target_x).to(tl.int64)
                known = (label >= 0) & (label < (2 if CHANNELS else classes))
                m = tl.load(weight + image * weight_n + row * weight_y + column * weight_x)
                m = tl.where((x < last_x) & known & (label != ignore_index), m, 0)
                true = label == (1 if CHANNELS else c.to(tl.int64)[:, None])
                slope = by_predicted + tl.where(true, by_hits, 0)
                v = top if COPIED else lerp(top, bottom, down)
                if SIGMOID:
                    p = _logistic(v)
                    g = m * (p * (1 - p) * slope + by_losses * (p - tl.where(true, 1, 0)))
                else:
                    at = (image * H + row) * W + column
                    p = tl.exp(v - tl.load(log_sum + at))
                    g = p * (m * slope - tl.where(x < last_x, tl.load(less + at), 0))
                    g -= tl.where(true, m * by_losses, 0)
                g = tl.where(m != 0, g, 0)  # even of NaN
                top_sum += (1 - down) * g
                bottom_sum += down * g
            x = (x0 + tl.arange(0, VISITED))[:, None]
            low = tl.load(x_low + tl.minimum(x, last_x - 1))
            across = tl.load(x_weight + tl.minimum(x, last_x - 1))
            near = tl.where(low == j[None, :], 1 - across, 0)
            near += tl.where(low + 1 == j[None, :], across, 0)
            to_upper = tl.dot(top_sum, near, to_upper, input_precision="ieee", out_dtype=dtype)
            to_lower = tl.dot(bottom_sum, near, to_lower, input_precision="ieee", out_dtype=dtype)
        if band >= first_row:
            tl.store(to + tl.cast(band, tl.int64) * w, to_upper, mask=kept)
        carried = to_lower
