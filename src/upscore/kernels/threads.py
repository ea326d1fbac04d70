"""How kernels share the cores.

Kernels run without the GIL on a small thread pool of our own instead of Numba's threading layers:
those either may not be entered from two Python threads at once (workqueue) or share OpenMP's state
with torch (omp).
"""

import os
import sys
from collections import deque
from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor
from functools import cache
from itertools import pairwise
from typing import Any

from upscore.kernels.launch import Kernel

_limit: int | None = None


def limit_threads(threads: int) -> None:
    """Let kernels, engines and torch, loaded or not yet, have so many threads in this process.

    For processes that share a machine; it comes before anything that makes threads.
    """
    global _limit
    _limit = threads
    os.environ["OMP_NUM_THREADS"] = str(threads)
    torch = sys.modules.get("torch")
    if torch is not None:  # by the script, which a spawned process has imported before
        torch.set_num_threads(threads)


def thread_count() -> int:
    """Torch's thread count where torch is loaded, else the limit or the cores of this process."""
    torch = sys.modules.get("torch")
    if torch is not None:
        return int(torch.get_num_threads())
    if _limit is not None:
        return _limit
    return len(os.sched_getaffinity(0)) if hasattr(os, "sched_getaffinity") else os.cpu_count() or 1


@cache
def _pool(threads: int, pid: int) -> ThreadPoolExecutor:
    return ThreadPoolExecutor(threads, thread_name_prefix="upscore")


def share(
    kernel: Kernel,
    tasks: int,
    *arguments: Any,
    scratch: Callable[[], Any] | None = None,
    least: int = 1,
    pieces: int = 1,
) -> None:
    """Run `kernel(first, last, *arguments)` over `range(tasks)`, a contiguous share a thread.

    The calling thread works too. A thread is woken for `least` tasks or more. With `pieces` the
    shares are that many times smaller, and whoever is done takes the next: for uneven tasks. With
    `scratch` each thread makes itself what this returns, as a first argument. The pool is keyed by
    process, so a fork starts with its own.
    """
    threads = min(thread_count(), tasks // least)
    if threads <= 1:
        kernel.bind(*arguments if scratch is None else (scratch(), *arguments))(0, tasks)
        return
    count = min(tasks, threads * pieces)
    todo = deque(pairwise(tasks * i // count for i in range(count + 1)))

    def run() -> None:
        call = kernel.bind(*arguments) if scratch is None else kernel.bind(scratch(), *arguments)
        while True:
            try:
                first, last = todo.popleft()
            except IndexError:
                return
            call(first, last)

    others = [_pool(threads, os.getpid()).submit(run) for _ in range(threads - 1)]
    run()
    for other in others:
        if not other.cancel():  # one that is not awake yet has nothing left to do
            other.result()
