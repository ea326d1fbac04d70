"""Work that runs ahead of its use, in order and in bounded memory."""

from collections import deque
from collections.abc import Callable, Iterable, Iterator
from concurrent.futures import Future, ThreadPoolExecutor
from typing import TypeVar

Item = TypeVar("Item")
Result = TypeVar("Result")


def map_ahead(
    function: Callable[[Item], Result], items: Iterable[Item], *, depth: int = 2
) -> Iterator[Result]:
    """`map(function, items)` on two threads, at most `depth` results ahead of the one in use.

    Chained, `map_ahead(write, map(network, map_ahead(read, files)))` is a pipeline: the iterable
    is drawn in the caller's thread, so the network stays there while files are read and written.

    >>> list(map_ahead(str.upper, "abc"))
    ['A', 'B', 'C']
    """
    with ThreadPoolExecutor(2, thread_name_prefix="upscore-files") as pool:
        waiting: deque[Future[Result]] = deque()
        try:
            for item in items:
                waiting.append(pool.submit(function, item))
                if len(waiting) > depth:
                    yield waiting.popleft().result()
            while waiting:
                yield waiting.popleft().result()
        finally:
            for future in waiting:
                future.cancel()
