"""The confusion matrix on the CPU: the launcher of the kernel that counts labels as it makes them.

Labels are made as by `heads.argmax.cpu`, a tile at a time; each thread has counts of its own.
"""

import math
from typing import Any

import numpy as np
from numpy.typing import NDArray

from upscore.arrays import framework
from upscore.heads.argmax.cpu import (
    PIECES,
    WORTH_A_THREAD_NANOSECONDS,
    Source,
    Target,
    prepare,
    real_of,
)
from upscore.heads.argmax.cpu_plan import TILE
from upscore.heads.grid import Grid
from upscore.heads.target import check_labels
from upscore.kernels import LANES
from upscore.kernels.launch import Kernel, line_of
from upscore.kernels.threads import share

COUNT_BANDS = Kernel("upscore.heads.argmax.counting_kernels", "count_bands")


def confusion(scores: Any, target: Any, ignore_index: int, grid: Grid) -> NDArray[np.int64]:
    """Return the C x C counts of N x C x h x w scores and an N x H x W target in main memory."""
    arrays = framework(scores)
    classes = scores.shape[1]
    source = Source(*line_of(arrays.memory(scores)))
    real = real_of(source.scores)
    prepared = prepare(scores.shape[2:], target.shape[1:], grid, classes, real.__name__)
    found: list[NDArray[np.int64]] = []  # each thread's counts

    def thread() -> tuple[Any, ...]:
        counts = np.zeros(classes**2 + 2, np.int64)
        found.append(counts)
        return prepared.workspace(), np.empty(TILE * LANES, np.int64), counts

    share(
        COUNT_BANDS,
        len(scores) * prepared.tasks,
        source,
        prepared.plan,
        Target(*line_of(arrays.memory(target)), None, 0, real(0)),
        ignore_index,
        scratch=thread,
        # Counts of its own take a thread about a nanosecond each.
        least=math.ceil((WORTH_A_THREAD_NANOSECONDS + classes**2) / prepared.nanoseconds),
        pieces=PIECES,
    )
    total = sum(found[1:], found[0])
    if total[-2]:
        check_labels(target, classes, ignore_index)
    return total[:-2].reshape(classes, classes)
