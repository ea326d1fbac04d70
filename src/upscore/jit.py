"""The one place that imports Numba, and how its kernels share the cores.

Kernels are compiled without the GIL and run on a small thread pool of our own instead of Numba's
threading layers: those either may not be entered from two Python threads at once (workqueue) or
share OpenMP's state with torch (omp).
"""

import os
import sys
from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor
from functools import cache
from typing import Any

from numba import njit


def kernel(**options: Any) -> Callable[[Callable[..., Any]], Callable[..., Any]]:
    """Compile without the GIL and keep the machine code on disk (`NUMBA_BOUNDSCHECK=1` checks)."""
    return njit(nogil=True, cache=True, error_model="numpy", **options)  # type: ignore[no-any-return]


def thread_count() -> int:
    """Torch's thread count where torch is loaded, else the cores this process may use."""
    torch = sys.modules.get("torch")
    if torch is not None:
        return int(torch.get_num_threads())
    return len(os.sched_getaffinity(0)) if hasattr(os, "sched_getaffinity") else os.cpu_count() or 1


@cache
def _pool(threads: int, pid: int) -> ThreadPoolExecutor:
    return ThreadPoolExecutor(threads, thread_name_prefix="upscore")


def share(work: Callable[..., Any], tasks: int, *args: Any) -> None:
    """Call `work(first, last, *args)` over `range(tasks)`, a contiguous share for each thread.

    The calling thread works too. The pool is keyed by process, so a fork starts with its own.
    """
    threads = max(1, min(thread_count(), tasks))
    edges = [tasks * i // threads for i in range(threads + 1)]
    others = [
        _pool(threads, os.getpid()).submit(work, first, last, *args)
        for first, last in zip(edges[1:-1], edges[2:], strict=True)
    ]
    work(edges[0], edges[1], *args)
    for other in others:
        other.result()
