"""Labels on a GPU: the Triton kernel and its launcher.

Interpolated values lie between their four corners: where a class's largest corner is below another
class's smallest, it cannot win. A program first bounds the classes so at the resolution of the
scores, then evaluates those left, on the scores of a trained network mostly one or two. That is
exact; how many are left only changes the time.
"""

# mypy: disable-error-code="no-untyped-def, untyped-decorator"

import torch
import triton
import triton.language as tl

from upscore.heads.gpu import (
    COLUMNS,
    compute_dtype,
    launching,
    read,
    rows_per_tile,
    sampling,
    values,
)
from upscore.heads.grid import HALF_PIXEL, Grid, positions


def argmax(
    scores: torch.Tensor,
    labels: torch.Tensor,
    confidence: torch.Tensor | None = None,
    *,
    measure: str | None = None,
    grid: Grid = HALF_PIXEL,
) -> None:
    """Write the labels (N, H, W) of N x C x h x w scores and, if asked, the confidence."""
    batch, classes, h, w = scores.shape
    H, W = labels.shape[1:]
    with launching(scores):
        dtype = compute_dtype(scores)
        x = sampling(w, W, grid.along(-1), dtype, scores.device, positions)
        y = sampling(h, H, grid.along(-2), dtype, scores.device, positions)
        tiles = triton.cdiv(W, COLUMNS)
        # With fewer than four pixels a cell, bounding costs about as much as it saves.
        bounded = measure is None and classes > 2 and x.most * y.most >= 4
        confidence = labels if confidence is None else confidence  # not written
        _labels[(batch * h * tiles,)](
            scores,
            labels,
            confidence,
            *(x.low, x.weight, y.weight, y.edges),
            *(classes, h, w, W, tiles, x.step, y.step),
            *scores.stride(),
            *labels.stride(),
            *confidence.stride(),
            MEASURE=measure,
            BOUNDED=bounded,
            CLASSES=min(16, triton.next_power_of_2(classes)),
            CELLS=triton.next_power_of_2(x.span),
            ROWS=rows_per_tile(y.most),
            COLUMNS=min(COLUMNS, triton.next_power_of_2(W)),
            num_warps=2,
            enable_fp_fusion=True,
        )


@triton.jit
def _labels(
    scores,
    labels,
    confidence,
    x_low,
    x_weight,
    y_weight,
    y_edges,
    classes,
    h,
    w,
    W,
    tiles,
    x_step,
    y_step,
    scores_n,
    scores_c,
    scores_y,
    scores_x,
    labels_n,
    labels_y,
    labels_x,
    confidence_n,
    confidence_y,
    confidence_x,
    MEASURE: tl.constexpr,
    BOUNDED: tl.constexpr,
    CLASSES: tl.constexpr,
    CELLS: tl.constexpr,
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
    lower = scores + image * scores_n + tl.minimum(band + y_step, h - 1).to(tl.int64) * scores_y

    x = tile * COLUMNS + tl.arange(0, COLUMNS)
    column = tl.minimum(x, W - 1)
    low = tl.load(x_low + column)
    across = tl.load(x_weight + column)
    left = low.to(tl.int64) * scores_x
    right = tl.minimum(low + x_step, w - 1).to(tl.int64) * scores_x

    block = tl.arange(0, CLASSES)
    if BOUNDED:
        # No class wins in a cell where it stays below the greatest of the smallest corners.
        final = tl.load(x_low + tl.minimum(tile * COLUMNS + COLUMNS, W) - 1)
        cell = tl.minimum(tl.load(x_low + tile * COLUMNS) + tl.arange(0, CELLS), final)
        near = cell.to(tl.int64)[None, :] * scores_x
        far = tl.minimum(cell + x_step, w - 1).to(tl.int64)[None, :] * scores_x
        floors = tl.full((CLASSES, CELLS), float("-inf"), dtype)
        for c0 in range(0, classes, CLASSES):
            plane = tl.minimum(c0 + block, classes - 1).to(tl.int64)[:, None] * scores_c
            least, _ = bounds(upper + plane, lower + plane, near, far, dtype)
            floors = tl.where(least > floors, least, floors)
        floor = tl.max(floors, axis=0)[None, :]

    last = tl.load(y_edges + band + 1)
    for y0 in range(tl.load(y_edges + band), last, ROWS):
        y = y0 + tl.arange(0, ROWS)
        down = tl.load(y_weight + tl.minimum(y, last - 1))[:, None]
        best = tl.full((ROWS, COLUMNS), float("-inf"), dtype)
        label = tl.zeros((ROWS, COLUMNS), tl.int32)
        second, total, moment = best, tl.zeros_like(best), tl.zeros_like(best)
        if BOUNDED:
            for c0 in range(0, classes, CLASSES):
                plane = tl.minimum(c0 + block, classes - 1).to(tl.int64)[:, None] * scores_c
                least, most = bounds(upper + plane, lower + plane, near, far, dtype)
                # Zero times -inf is NaN, and NaN wins.
                may = (least == float("-inf")) | (most != most) | (most >= floor)
                bits = tl.sum(tl.where(tl.max(may.to(tl.int32), axis=1) > 0, 1 << block, 0))
                for c in range(c0, tl.minimum(c0 + CLASSES, classes)):
                    if ((bits >> (c - c0)) & 1) != 0:
                        plane_c = tl.cast(c, tl.int64) * scores_c
                        v = values(
                            upper + plane_c, lower + plane_c, left, right, across, down, dtype
                        )
                        better = (v > best) | ((v != v) & (best == best))
                        best = tl.where(better, v, best)
                        label = tl.where(better, c, label)
        else:
            for c in range(classes):
                plane_c = tl.cast(c, tl.int64) * scores_c
                v = values(upper + plane_c, lower + plane_c, left, right, across, down, dtype)
                better = (v > best) | ((v != v) & (best == best))
                if MEASURE == "margin":
                    second = tl.where(better, best, tl.where(v > second, v, second))
                elif MEASURE is not None:
                    gap = tl.minimum(tl.abs(v - best), 1e30)  # also from or between infinities
                    e = tl.exp(-gap)
                    moment = tl.where(better, e * (moment - gap * total), moment - gap * e)
                    total = tl.where(better, e * total + 1, total + e)
                best = tl.where(better, v, best)
                label = tl.where(better, c, label)

        inside = (y < last)[:, None] & (x < W)[None, :]
        labels_at = image * labels_n + y.to(tl.int64)[:, None] * labels_y
        labels_at += x.to(tl.int64)[None, :] * labels_x
        tl.store(labels + labels_at, label.to(labels.dtype.element_ty), mask=inside)
        if MEASURE is not None:
            if MEASURE == "margin":
                value = best - second
            else:
                value = 1 / total if MEASURE == "probability" else tl.log(total) - moment / total
                value += best - best  # NaN where the best is NaN or infinite, as in PyTorch
            at = image * confidence_n + y.to(tl.int64)[:, None] * confidence_y
            at += x.to(tl.int64)[None, :] * confidence_x
            tl.store(confidence + at, value.to(tl.float32), mask=inside)


@triton.jit
def bounds(upper, lower, near, far, dtype: tl.constexpr):
    """The least and the most of the four corners of cells; NaN where a corner is."""
    a, b = read(upper + near, dtype), read(upper + far, dtype)
    c, d = read(lower + near, dtype), read(lower + far, dtype)
    nan: tl.constexpr = tl.PropagateNan.ALL
    least = tl.minimum(tl.minimum(a, b, nan), tl.minimum(c, d, nan), nan)
    return least, tl.maximum(tl.maximum(a, b, nan), tl.maximum(c, d, nan), nan)
