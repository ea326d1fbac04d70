"""Masks on the CPU: the launcher of the kernels that find their runs."""

import math
from functools import lru_cache
from typing import Any, NamedTuple

import numpy as np
from numpy.typing import NDArray

from upscore.arrays import framework
from upscore.heads.masks.cpu_plan import Plan, plan_masks
from upscore.heads.masks.sampling import Indices, Sampling
from upscore.kernels import LANES
from upscore.kernels.launch import Kernel, Packed, Workspace, line_of, packed
from upscore.kernels.threads import share

_KERNELS = "upscore.heads.masks.cpu_kernels"
SIGN_SCORES = Kernel(_KERNELS, "sign_scores")
BOUND_RUNS = Kernel(_KERNELS, "bound_runs")
FIND_RUNS = Kernel(_KERNELS, "find_runs")

MOST_RUNS = 1 << 20  # room for runs at a time: 16 MB
FEW_PIXELS = 1 << 16  # have room for as many runs as there can be, without a count

# Times on a Zen 4 core, and how much work is worth waking a thread for.
NANOSECONDS_A_SCORE = 0.3
NANOSECONDS_A_RUN = 20
WORTH_A_THREAD_NANOSECONDS = 150_000
PIECES = 16  # shares for each thread: masks have edges of very different lengths


class Source(NamedTuple):
    """Scores in a line of memory, and how to find one's way in it."""

    scores: NDArray[Any]
    offset: int
    steps: tuple[int, ...]  # to the next mask, row, column


class Scratch(NamedTuple):
    """What a thread works with."""

    bands: Indices  # stretches of bands, from and to
    turns: NDArray[np.int32]  # the rows where each column of a block turns ...
    counts: Indices  # ... and how many these are
    held: Indices  # the last two source rows, an even and an odd one ...
    rows: NDArray[Any]  # ... and the scores of a block in them
    upper: NDArray[Any]  # those in the two rows of a band
    lower: NDArray[Any]


def find_runs(
    scores: Any, sampling: Sampling, size: tuple[int, int], threshold: float
) -> tuple[Indices, Indices]:
    """Return the runs of N x h x w scores in main memory, N at least 1, and each mask's first."""
    number, h, w = scores.shape
    line, offset, steps = line_of(framework(scores).memory(scores))
    real = np.dtype("float64" if line.dtype == np.float64 else "float32").type
    prepare = _prepare if sampling.kept else _prepare.__wrapped__
    plan, packed_plan, scratch = prepare(sampling, (h, w), size, real.__name__)
    source, limit = Source(line, offset, steps), real(threshold)
    signs = np.empty(number * plan.words * w, np.int64)
    finite = np.empty(number, np.uint8)
    least = math.ceil(WORTH_A_THREAD_NANOSECONDS / (NANOSECONDS_A_SCORE * h * w))
    share(SIGN_SCORES, number, source, packed_plan, limit, signs, finite, least=least)
    tasks = number * plan.shares
    most = np.empty(tasks, np.int64)
    if number * size[0] * size[1] < FEW_PIXELS:
        # A column has at most every other row a run; blocks reach beyond the first and last column.
        most[:] = (size[1] + 2 * LANES) * (size[0] // 2 + 1)
    else:
        share(BOUND_RUNS, tasks, packed_plan, signs, finite, most, scratch=scratch, least=least)

    found, counts = [], np.empty(tasks, np.int64)
    groups = _groups(most)
    runs = np.empty(2 * max(int(most[first:last].sum()) for first, last in groups), np.int64)
    for first, last in groups:
        ends = most[first:last].cumsum()
        starts = np.zeros(tasks, np.int64)
        starts[first:last] = ends - most[first:last]
        share(
            FIND_RUNS,
            last - first,
            *(source, packed_plan, limit, signs, finite, first, starts, counts, runs),
            scratch=scratch,
            pieces=PIECES,
            least=math.ceil(
                WORTH_A_THREAD_NANOSECONDS * (last - first) / (NANOSECONDS_A_RUN * max(ends[-1], 1))
            ),
        )
        used = [runs[2 * starts[t] : 2 * (starts[t] + counts[t])] for t in range(first, last)]
        found.append(np.concatenate(used))
    return _joined(np.concatenate(found).reshape(-1, 2), counts, plan)


@lru_cache(maxsize=8)
def _prepare(
    sampling: Sampling, source: tuple[int, int], size: tuple[int, int], dtype: str
) -> tuple[Plan, Packed, Workspace]:
    """Return the plan, and what a thread works with: kept for more calls."""
    plan = plan_masks(sampling, source, size, dtype)
    bands = int((plan.places.band_end - plan.places.band).max())
    rows = int((plan.places.bottom - plan.places.top).max())
    scratch = Scratch(
        np.empty(2 * bands + 2, np.int64),
        np.empty((LANES, max(3 * bands + 2, rows)), np.int32),
        np.empty(LANES, np.int64),
        np.empty(2, np.int64),
        np.empty(2 * LANES, dtype),
        *np.empty((2, LANES), dtype),
    )
    return plan, packed(plan), Workspace(scratch)


def _groups(most: Indices) -> list[tuple[int, int]]:
    """Gather tasks that find at most MOST_RUNS together, or are alone."""
    groups, first, total = [], 0, 0
    for task, count in enumerate(most.tolist()):
        if task > first and total + count > MOST_RUNS:
            groups.append((first, task))
            first, total = task, 0
        total += count
    return [*groups, (first, len(most))]


def _joined(runs: Indices, counts: Indices, plan: Plan) -> tuple[Indices, Indices]:
    """Join runs that go on from one share of a mask to the next."""
    if plan.shares == 1:
        return runs, np.append(0, counts.cumsum())
    mask = (np.arange(len(counts)) // plan.shares).repeat(counts)
    if len(runs):
        goes_on = (runs[:-1, 1] == runs[1:, 0]) & (mask[:-1] == mask[1:])
        starts = np.flatnonzero(~np.append(False, goes_on))
        ends = np.flatnonzero(~np.append(goes_on, False))
        runs, mask = np.stack((runs[starts, 0], runs[ends, 1]), 1), mask[starts]
    return runs, mask.searchsorted(np.arange(len(counts) // plan.shares + 1))
