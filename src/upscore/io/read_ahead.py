"""Work that runs ahead of its use, in order and in bounded memory."""

from collections import deque
from collections.abc import Callable, Generator, Iterable
from concurrent.futures import Future, ThreadPoolExecutor
from typing import TypeVar

Item = TypeVar("Item")
Result = TypeVar("Result")


def map_ahead(
    function: Callable[[Item], Result], items: Iterable[Item], *, depth: int = 2, threads: int = 2
) -> Generator[Result, None, None]:
    """`map(function, items)` on some threads, at most `depth` results ahead of the one in use.

    Chained, `map_ahead(write, map(network, map_ahead(read, files)))` is a pipeline: the iterable
    is drawn in the caller's thread, so the network stays there while files are read and written.
    One thread calls the function in the order of the items, as decoders and encoders need it.

    >>> list(map_ahead(str.upper, "abc"))
    ['A', 'B', 'C']
    """
    with ThreadPoolExecutor(threads, thread_name_prefix="upscore-files") as pool:
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
