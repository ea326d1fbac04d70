"""Cross-entropy and its gradient on a GPU: two Triton kernels and their launchers.

The first walks the output once and keeps, of each pixel, the logarithm of its summed exponentials.
The second gathers the gradient: a program owns a patch of source pixels of some classes, visits the
outputs that sample them, and makes their softmax again from the scores and those logarithms.
"""

# mypy: disable-error-code="no-untyped-def, untyped-decorator"

from functools import lru_cache

import torch
import triton
import triton.language as tl

from upscore.heads.cross_entropy.options import Options
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
from upscore.heads.target import check_labels, counted


def cross_entropy(
    scores: torch.Tensor,
    target: torch.Tensor,
    weight: torch.Tensor | None,
    factor: torch.Tensor | None = None,
    tilt: torch.Tensor | None = None,
    *,
    options: Options,
    with_gradient: bool,
) -> tuple[torch.Tensor, torch.Tensor, torch.Tensor | None, torch.Tensor | None]:
    """Return the losses, the pixels' weight, log-sums and the gradient, as `torch_op` does.

    A label that is neither a class nor `ignore_index` reads nothing out of bounds;
    each program counts them, and asking whether there are any is the one time that the host waits
    for the device. While a CUDA graph is captured it cannot wait: such a label then makes the loss
    NaN.
    """
    batch, classes, h, w = scores.shape
    H, W = target.shape[1:]
    ignore_index, label_smoothing, grid, per_pixel, mean, log_sums = options
    with launching(scores):
        dtype, device = compute_dtype(scores), scores.device
        x = sampling(w, W, grid, dtype, device)
        y = sampling(h, H, grid, dtype, device)
        copied = grid.copies(h, H) and grid.copies(w, W)
        tiles = triton.cdiv(W, COLUMNS)
        programs = batch * h * tiles
        factors = _factors(weight, classes, label_smoothing, dtype, device)
        log_sum = torch.empty((batch, H, W), dtype=dtype, device=device)
        losses = torch.empty((batch, H, W) if per_pixel else programs, dtype=dtype, device=device)
        totals = torch.empty(programs, dtype=dtype, device=device)
        faults = torch.empty(programs, dtype=torch.int32, device=device)
        _forward[(programs,)](
            scores,
            target,
            *factors,
            *(log_sum, losses, totals, faults),
            *(x.low, x.weight, y.weight, y.edges),
            *(classes, h, w, H, W, tiles, ignore_index),
            *scores.stride(),
            *target.stride(),
            PER_PIXEL=per_pixel,
            SMOOTHED=label_smoothing > 0,
            COPIED=copied,
            ROWS=rows_per_tile(y.most),
            COLUMNS=min(COLUMNS, triton.next_power_of_2(W)),
            num_warps=4,
            enable_fp_fusion=True,
        )
        gradient = None
        if with_gradient:
            factor = torch.ones((), dtype=dtype, device=device) if factor is None else factor
            factor = factor.to(dtype).expand(batch, H, W)
            tilted = tilt is not None
            tilt = tilt.to(dtype) if tilt is not None else factor
            gradient = torch.empty((batch, classes, h, w), dtype=dtype, device=device)
            block = min(16, triton.next_power_of_2(classes))
            blocks = triton.cdiv(classes, block)
            strips, patches = triton.cdiv(h, PATCH_ROWS), triton.cdiv(w, PATCH_COLUMNS)
            _gradient[(batch * blocks * strips * patches,)](
                scores,
                target,
                *factors,
                *(log_sum, factor, tilt, gradient),
                *(x.low, x.weight, x.edges, y.weight, y.edges),
                *(classes, h, w, H, W, blocks, strips, patches, ignore_index),
                *scores.stride(),
                *target.stride(),
                *factor.stride(),
                *tilt.stride(),
                TILTED=tilted,
                SMOOTHED=label_smoothing > 0,
                COPIED=copied,
                CLASSES=block,
                PATCH_ROWS=PATCH_ROWS,
                PATCH_COLUMNS=PATCH_COLUMNS,
                VISITED=VISITED,
                num_warps=4,
                enable_fp_fusion=True,
            )
        capturing = scores.is_cuda and torch.cuda.is_current_stream_capturing()
        if not capturing and faults.any():
            check_labels(target, classes, ignore_index)
        kept = log_sum.where(counted(target, ignore_index), 0) if log_sums else None
        found, total = losses if per_pixel else _sum(losses), _sum(totals)
        if mean:
            found /= total + (total == 0)
            if gradient is not None:
                gradient /= total + (total == 0)
        return found, total, kept, gradient


def _factors(
    weight: torch.Tensor | None,
    classes: int,
    smoothing: float,
    dtype: torch.dtype,
    device: torch.device,
) -> tuple[torch.Tensor, torch.Tensor]:
    """What a pixel's terms are multiplied with, by class, and the sum of the last row.

    Three rows: the weight counted, that of the target's term, and that of each class's own term
    under smoothing.
    """
    if weight is None:
        return _even_factors(classes, smoothing, dtype, device)
    weight = weight.to(dtype)
    rows = torch.stack((weight, (1 - smoothing) * weight, smoothing / classes * weight))
    return rows, rows[2].sum()


@lru_cache(maxsize=8)
def _even_factors(
    classes: int, smoothing: float, dtype: torch.dtype, device: torch.device
) -> tuple[torch.Tensor, torch.Tensor]:
    """The factors of classes that all weigh one, kept for the next call."""
    return _factors(torch.ones(classes, device=device), classes, smoothing, dtype, device)


def _sum(parts: torch.Tensor) -> torch.Tensor:
    """The sum of the programs' sums, rounded once."""
    return parts.sum(dtype=torch.float64).to(parts.dtype)


@triton.jit
def _forward(
    scores,
    target,
    factors,
    every_class,
    log_sum,
    losses,
    totals,
    faults,
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
    ignore_index,
    scores_n,
    scores_c,
    scores_y,
    scores_x,
    target_n,
    target_y,
    target_x,
    PER_PIXEL: tl.constexpr,
    SMOOTHED: tl.constexpr,
    COPIED: tl.constexpr,
    ROWS: tl.constexpr,
    COLUMNS: tl.constexpr,
):
    """One program: `COLUMNS` columns of the output rows between two source rows of an image."""
    dtype: tl.constexpr = x_weight.dtype.element_ty
    program = tl.program_id(0)
    tile = program % tiles
    band = program // tiles % h
    image = (program // tiles // h).to(tl.int64)
    upper = scores + image * scores_n + band.to(tl.int64) * scores_y
    lower = scores + image * scores_n + tl.minimum(band + 1, h - 1).to(tl.int64) * scores_y

    x = tile * COLUMNS + tl.arange(0, COLUMNS)
    column = tl.minimum(x, W - 1).to(tl.int64)
    low = tl.load(x_low + column)
    across = tl.load(x_weight + column)
    left = low.to(tl.int64) * scores_x
    right = tl.minimum(low + 1, w - 1).to(tl.int64) * scores_x

    wrong = tl.zeros((ROWS, COLUMNS), tl.int32)
    loss_sum = tl.zeros((ROWS, COLUMNS), dtype)
    total = tl.zeros((ROWS, COLUMNS), dtype)
    last = tl.load(y_edges + band + 1)
    for y0 in range(tl.load(y_edges + band), last, ROWS):
        y = y0 + tl.arange(0, ROWS)
        row = tl.minimum(y, last - 1).to(tl.int64)
        inside = (y < last)[:, None] & (x < W)[None, :]
        down = tl.load(y_weight + row)[:, None]
        at = image * target_n + row[:, None] * target_y + column[None, :] * target_x
        label = tl.load(target + at).to(tl.int64)
        counted = inside & (label != ignore_index)
        label = tl.where((label >= 0) & (label < classes), label, -1).to(tl.int32)

        # Finite, so that a score of -inf is simply an exponential of zero.
        best = tl.full((ROWS, COLUMNS), -3e38, dtype)
        exponentials = tl.zeros((ROWS, COLUMNS), dtype)
        own = tl.full((ROWS, COLUMNS), float("nan"), dtype)
        all_scores = tl.zeros((ROWS, COLUMNS), dtype)
        for c in range(classes):
            plane = tl.cast(c, tl.int64) * scores_c
            v = values(upper + plane, lower + plane, left, right, across, down, dtype, COPIED)
            better = v > best
            e = tl.exp(-tl.abs(v - best))
            exponentials = tl.where(better, exponentials * e + 1, exponentials + e)
            best = tl.where(better, v, best)
            own = tl.where(label == c, v, own)
            if SMOOTHED:
                all_scores += tl.load(factors + 2 * classes + c) * v

        rest = tl.log(exponentials)
        known = tl.maximum(label, 0)
        loss = tl.load(factors + classes + known) * (rest - (own - best))
        if SMOOTHED:
            loss += tl.load(every_class) * (best + rest) - all_scores
        loss = tl.where(counted, loss, 0)
        total += tl.where(counted, tl.load(factors + known), 0)
        at = (image * H + row[:, None]) * W + column[None, :]
        wrong += (counted & (label < 0)).to(tl.int32)
        tl.store(log_sum + at, best + rest, mask=inside)
        if PER_PIXEL:
            tl.store(losses + at, loss, mask=inside)
        else:
            loss_sum += loss
    if not PER_PIXEL:
        tl.store(losses + program, tl.sum(loss_sum))
    tl.store(totals + program, tl.sum(total))
    tl.store(faults + program, tl.sum(wrong))


@triton.jit
def _gradient(
    scores,
    target,
    factors,
    every_class,
    log_sum,
    factor,
    tilt,
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
    target_y,
    target_x,
    factor_n,
    factor_y,
    factor_x,
    tilt_n,
    tilt_y,
    tilt_x,
    TILTED: tl.constexpr,
    SMOOTHED: tl.constexpr,
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
    plane = scores + image * scores_n + tl.minimum(c, classes - 1).to(tl.int64)[:, None] * scores_c
    own_share = tl.load(factors + 2 * classes + tl.minimum(c, classes - 1))[:, None]
    j = first_column + tl.arange(0, PATCH_COLUMNS)
    to = gradient + (image * classes + c.to(tl.int64)[:, None]) * h * w + j[None, :]
    kept = (c < classes)[:, None] & (j < w)[None, :]
    every = tl.load(every_class)
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
                label = tl.load(target + image * target_n + row * target_y + column * target_x)
                label = label.to(tl.int64)
                counted = (x < last_x) & (label != ignore_index)
                label = tl.where((label >= 0) & (label < classes), label, -1).to(tl.int32)
                at = factor + image * factor_n + row * factor_y + column * factor_x
                times = tl.where(counted, tl.load(at), 0)
                own = times * tl.load(factors + classes + tl.maximum(label, 0))
                mass = own + times * every
                if TILTED:
                    at = tilt + image * tilt_n + row * tilt_y + column * tilt_x
                    mass += tl.where(counted, tl.load(at), 0)
                logarithm = tl.load(log_sum + (image * H + row) * W + column)
                v = top if COPIED else lerp(top, bottom, down)
                p = tl.exp(v - logarithm)
                g = mass * p - tl.where(label == c[:, None], own, 0)
                if SMOOTHED:
                    g -= times * own_share
                g = tl.where(counted, g, 0)  # even of NaN
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
