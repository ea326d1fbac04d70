"""The assignment on the CPU: the launcher of the kernel."""

import math
from functools import lru_cache
from typing import Any, NamedTuple

import numpy as np
from numpy.typing import NDArray

from upscore.arrays import framework
from upscore.heads.argmax.result import label_dtype
from upscore.heads.assign.result import Assignment, Options
from upscore.heads.grid import widened
from upscore.heads.masks.cpu_plan import Plan, plan_masks
from upscore.heads.masks.sampling import Sampling, resized
from upscore.kernels import LANES
from upscore.kernels.launch import Kernel, Packed, packed
from upscore.kernels.threads import share

ASSIGN_BANDS = Kernel("upscore.heads.assign.cpu_kernels", "assign_bands")

ROWS = 4  # output rows whose best queries are held in registers together

# What the kernel takes, measured on a Zen 4 core on smooth scores, and how much work is worth
# waking a thread for.
NANOSECONDS_A_SCORE = 2
NANOSECONDS_A_PIXEL = 3
WORTH_A_THREAD_NANOSECONDS = 150_000
PIECES = 4  # shares for each thread: how long a task takes depends on the scores


class Case(NamedTuple):
    """Scores, weights, and the score from which on a pixel is in a query's own mask."""

    scores: NDArray[Any]  # N x Q x h x w
    weights: NDArray[np.float64]  # N x Q
    relative: NDArray[Any]  # N x Q: divided by the largest of the image
    inverse: NDArray[np.float32] | None  # N x Q: one over `relative`; None for float64
    limit: float
    width: int  # of the labels
    span: int  # from the first to the last source column that a pixel mixes, at most


class Result(NamedTuple):
    """What the kernel writes."""

    labels: NDArray[Any]  # N x H x W
    inside: NDArray[np.uint8]  # N x H x W


class Scratch(NamedTuple):
    """What a thread works with."""

    rows: NDArray[Any]  # the upper and the lower row of a band, all queries
    values: NDArray[Any]  # ... and their relative weights times probabilities
    finite: NDArray[np.int64]  # whether all scores of these rows are
    greatest: NDArray[Any]  # the largest corner of each cell of a group, query by query
    candidates: NDArray[np.int32]  # the queries of a group that may win
    candidate_cells: NDArray[np.int32]  # ... and in which of its cells they may
    chosen: NDArray[np.int32]  # those of a block
    mixed: NDArray[Any]  # ... interpolated horizontally in both rows
    places: NDArray[np.int32]  # of the winners among the chosen: ROWS rows of a block
    edges: NDArray[np.int32]  # the queries whose own masks reach into a group of cells
    some: NDArray[np.int32]  # ... into which cells
    every: NDArray[np.int32]  # ... and which are all within
    counts: NDArray[np.int64]  # N x Q x 3: pixels won, those of them inside, and the area


def assign(scores: Any, weights: Any, options: Options) -> Assignment:
    """Assign the pixels of N x Q x h x w scores in main memory, N at least 1."""
    arrays = framework(scores)
    numbers = np.ascontiguousarray(arrays.numpy(widened(scores)))
    N, Q, h, w = numbers.shape
    shape = (N, *options.size)
    labels = arrays.empty(scores, shape, label_dtype(Q))
    inside = arrays.empty(scores, shape, "bool")
    result = Result(arrays.memory(labels), arrays.memory(inside).view(np.uint8))
    sampling = resized(1, (h, w), options.through, options.crop, options.size, options.grid)
    bands, span, plan = _prepare(sampling, (h, w), options.size, numbers.dtype.name)
    case = _case(numbers, arrays.numpy(weights), options, span)
    counts = np.ascontiguousarray(_share(case, plan, result, bands).transpose(2, 0, 1))
    return Assignment(labels, inside, *(arrays.placed(scores, one) for one in counts))


def _case(scores: NDArray[Any], weights: NDArray[Any], options: Options, span: int) -> Case:
    weights = np.ascontiguousarray(weights, np.float64)
    largest = weights.max(1, keepdims=True)
    relative = weights / np.where(largest > 0, largest, 1)
    inverse = None
    if scores.dtype == np.float32:
        with np.errstate(divide="ignore", over="ignore"):
            inverse = (1 / relative).astype(np.float32)
    relative = relative.astype(scores.dtype)
    return Case(scores, weights, relative, inverse, options.limit, options.size[1], span)


def _share(case: Case, plan: Packed, result: Result, bands: int) -> NDArray[np.int64]:
    """Run the kernel on so many bands an image; return the N x Q x 3 counts."""
    N, Q, _, w = case.scores.shape
    counts: list[NDArray[np.int64]] = []

    def scratch() -> Scratch:
        made = _scratch(N, Q, w, case.scores.dtype)
        counts.append(made.counts)
        return made

    pixels = result.labels[0].size / bands
    work = NANOSECONDS_A_SCORE * Q * w + NANOSECONDS_A_PIXEL * pixels
    share(
        ASSIGN_BANDS,
        N * bands,
        *(case, plan, result),
        scratch=scratch,
        least=math.ceil(WORTH_A_THREAD_NANOSECONDS / work),
        pieces=PIECES,
    )
    total: NDArray[np.int64] = np.sum(counts, 0)
    return total


@lru_cache(maxsize=8)
def _prepare(
    sampling: Sampling, source: tuple[int, int], size: tuple[int, int], dtype: str
) -> tuple[int, int, Packed]:
    """Return the bands of an image, the span of a pixel, and the plan: kept for more calls."""
    plan: Plan = plan_masks(sampling, source, size, dtype)
    columns = plan.tap_column.reshape(-1, plan.taps)
    return len(plan.bands.top), int(np.ptp(columns, 1).max()), packed(plan)


def _scratch(images: int, queries: int, width: int, dtype: np.dtype[Any]) -> Scratch:
    # An odd number of cache lines, so that the queries spread over all sets of the cache.
    pitch = (-(-width // LANES) + 2 | 1) * LANES
    rows, values = np.empty((2, 2 * queries * pitch), dtype)
    candidates, candidate_cells, chosen, edges, some, every = np.empty((6, queries), np.int32)
    return Scratch(
        rows,
        values,
        np.empty(2, np.int64),
        np.empty(queries * LANES, dtype),
        candidates,
        candidate_cells,
        chosen,
        np.empty(2 * queries * LANES, dtype),
        np.empty(ROWS * LANES, np.int32),
        edges,
        some,
        every,
        np.zeros((images, queries, 3), np.int64),
    )
