"""Labels on the CPU: takes scores of any layout to the kernel that never upsamples them whole."""

import math
from functools import lru_cache
from typing import Any, NamedTuple

import numpy as np
from numpy.typing import NDArray

from upscore.arrays import framework
from upscore.heads.argmax.cpu_plan import TILE, Plan, plan_labels
from upscore.heads.argmax.result import MEASURES, label_dtype
from upscore.heads.grid import HALF_PIXEL, Grid, positions
from upscore.kernels import LANES
from upscore.kernels.launch import Kernel, Packed, Workspace, line_of, packed
from upscore.kernels.threads import share

LABEL_BANDS = Kernel("upscore.heads.argmax.cpu_kernels", "label_bands")

# What the kernel takes, measured on a Zen 4 core on smooth scores, and what work pays for waking a
# thread, which takes some 50 microseconds.
NANOSECONDS_A_SCORE = 1.2
NANOSECONDS_A_LABEL = 0.4
WORTH_A_THREAD_NANOSECONDS = 150_000
PIECES = 4  # shares for each thread: how long a task takes depends on the scores

# Classes whose exponentials are together below exp(-20) = 2e-9 of the best one's do not count.
NEGLIGIBLE = 20


class Slices(NamedTuple):
    """The slices of a volume that each of its images blends, and by which weights."""

    low: NDArray[np.int64]
    high: NDArray[np.int64]
    low_weight: NDArray[Any]
    high_weight: NDArray[Any]


class Source(NamedTuple):
    """Scores in a line of memory, and how to find one's way in it."""

    scores: NDArray[Any]
    offset: int
    steps: tuple[int, ...]  # to the next image, or slice of a volume, and class, row, column
    slices: Slices | None = None  # where images are blended from slices


class Target(NamedTuple):
    """Labels in a line of memory, and the confidence (N, H, W) as a line or None."""

    labels: NDArray[Any]
    offset: int
    steps: tuple[int, ...]  # to the next image, row, column
    confidence: NDArray[np.float32] | None
    measure: int  # its place in MEASURES
    cutoff: Any  # a class this far below the best one changes no confidence


class Prepared(NamedTuple):
    """What calls of one shape share."""

    tasks: int  # of an image
    nanoseconds: float  # that a task takes
    plan: Packed
    workspace: Workspace  # a thread's


class Scratch(NamedTuple):
    """What a thread works with."""

    rows: NDArray[Any]  # the last two source rows, all classes, widened: even and odd ones
    cached: NDArray[np.int64]  # which two these are
    finite: NDArray[np.int64]  # whether all their scores are within the limit
    mixed: NDArray[Any]  # a block's chosen classes, interpolated horizontally in both rows
    chosen: NDArray[np.int32]  # the classes of a block that may win
    candidates: NDArray[np.int32]  # those of a chunk
    candidate_cells: NDArray[np.int32]  # ... and in which of its cells they may
    labels: NDArray[Any]  # a tile
    confidence: NDArray[np.float32]  # a tile


def argmax(
    scores: Any,
    labels: Any,
    confidence: Any = None,
    *,
    measure: str | None = None,
    grid: Grid = HALF_PIXEL,
) -> None:
    """Write the labels of N x C x h x w scores in main memory and, if asked, their confidence."""
    source = Source(*line_of(framework(scores).memory(scores)))
    _label(source, scores.shape[1:], labels, confidence, measure, grid)


def argmax_volume(
    scores: Any, labels: Any, confidence: Any, *, measure: str | None, grid: Grid
) -> None:
    """Do as `argmax` for the C x d x h x w scores of a volume and D x H x W labels."""
    scores = scores.swapaxes(0, 1)
    source = Source(*line_of(framework(scores).memory(scores)))
    low, high, weight = positions(grid.along(-3), len(scores), len(labels))
    real = real_of(source.scores)
    slices = Slices(low, high, (1 - weight).astype(real), weight.astype(real))
    _label(source._replace(slices=slices), scores.shape[1:], labels, confidence, measure, grid)


def _label(
    source: Source,
    shape: tuple[int, int, int],
    labels: Any,
    confidence: Any,
    measure: str | None,
    grid: Grid,
) -> None:
    """Write the labels of images, each C x h x w."""
    arrays = framework(labels)
    target = arrays.memory(labels)
    aligned = target if target.flags.aligned else np.empty_like(target)
    real, classes = real_of(source.scores), shape[0]
    prepared = prepare(shape[1:], labels.shape[1:], grid, classes, real.__name__)
    cutoff = real(NEGLIGIBLE + math.log(classes) if measure in ("probability", "entropy") else 0)
    if confidence is not None:
        confidence = arrays.memory(confidence).reshape(-1)
    share(
        LABEL_BANDS,
        len(labels) * prepared.tasks,
        source,
        prepared.plan,
        Target(*line_of(aligned), confidence, _code(measure), cutoff),
        scratch=prepared.workspace,
        least=math.ceil(WORTH_A_THREAD_NANOSECONDS / prepared.nanoseconds),
        pieces=PIECES,
    )
    if aligned is not target:
        target[...] = aligned


def real_of(scores: NDArray[Any]) -> Any:
    """The type in which scores are computed: float64 for float64, else float32."""
    return np.float64 if scores.dtype == np.float64 else np.float32


@lru_cache(maxsize=8)
def prepare(
    source: tuple[int, int], target: tuple[int, int], grid: Grid, classes: int, dtype: str
) -> Prepared:
    """Plan the labels of `target` pixels from scores of `source`: kept for more calls."""
    plan = plan_labels(source, target, grid, classes, dtype)
    work = NANOSECONDS_A_SCORE * classes * math.prod(source)
    work += NANOSECONDS_A_LABEL * math.prod(target)
    workspace = Workspace(_scratch(plan, classes, dtype))
    return Prepared(plan.tasks, work / plan.tasks, packed(plan), workspace)


def _scratch(plan: Plan, classes: int, real: str) -> Scratch:
    tile = TILE * TILE * LANES
    chosen, candidates, candidate_cells = np.empty((3, classes), np.int32)
    return Scratch(
        np.empty(2 * classes * plan.pitch, real),
        np.empty(2, np.int64),
        np.empty(2, np.int64),
        np.empty(2 * LANES * classes, real),
        chosen,
        candidates,
        candidate_cells,
        np.empty(tile, label_dtype(classes)),
        np.empty(tile, np.float32),
    )


def _code(measure: str | None) -> int:
    return 0 if measure is None else MEASURES.index(measure)
