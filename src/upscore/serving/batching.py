"""One network for many requests: a queue whose photos of one size go through it together."""

import threading
from collections import deque
from collections.abc import Callable, Hashable, Sequence
from concurrent.futures import Future
from contextlib import suppress
from dataclasses import dataclass, field
from time import perf_counter
from typing import Generic, TypeVar

Item = TypeVar("Item")
Answer = TypeVar("Answer")


@dataclass(eq=False)
class Waiting(Generic[Item, Answer]):
    """What waits in the queue: items of one `key` may go together."""

    key: Hashable
    item: Item
    future: Future[Answer] = field(default_factory=Future)
    since: float = field(default_factory=perf_counter)


class Batches(Generic[Item, Answer]):
    """Threads that work through a queue, oldest first, with what else waits and fits it.

    Nothing waits for company: a batch is what is there when a thread is free. So one client is
    served as fast as without batches, and many clients fill them by themselves.

    Args:
        work: answers items of one key, in their order. It runs in the threads.
        most: how many items of a key may go together.
        threads: how many work.
        report: is told how many items a batch has, how long each waited and how long they took.
    """

    def __init__(
        self,
        work: Callable[[Hashable, Sequence[Item]], Sequence[Answer]],
        most: Callable[[Hashable], int],
        threads: int = 1,
        report: Callable[[list[float], float], None] = lambda waited, took: None,
    ) -> None:
        self._work, self._most, self._report = work, most, report
        self._waiting: deque[Waiting[Item, Answer]] = deque()
        self._change = threading.Condition()
        self._open = True
        self._threads = [
            threading.Thread(target=self._run, name="upscore-network", daemon=True)
            for _ in range(threads)
        ]
        for thread in self._threads:
            thread.start()

    def __len__(self) -> int:
        return len(self._waiting)

    def put(self, key: Hashable, item: Item) -> Future[Answer]:
        """Queue an item; its answer comes in the future, and a cancelled future is left out."""
        waiting: Waiting[Item, Answer] = Waiting(key, item)
        waiting.future.add_done_callback(lambda _: self._leave(waiting))
        with self._change:
            self._waiting.append(waiting)
            self._change.notify()
        return waiting.future

    def close(self) -> None:
        """Work through what is queued, and end the threads."""
        with self._change:
            self._open = False
            self._change.notify_all()
        for thread in self._threads:
            thread.join()

    def _leave(self, waiting: Waiting[Item, Answer]) -> None:
        """Let go of the item of a caller who has given up."""
        if waiting.future.cancelled():
            with self._change, suppress(ValueError):  # a thread may have taken it
                self._waiting.remove(waiting)

    def _run(self) -> None:
        while batch := self._next():
            started = perf_counter()
            self._answer(batch)
            self._report([started - one.since for one in batch], perf_counter() - started)

    def _next(self) -> list[Waiting[Item, Answer]]:
        """The oldest of the queue and others of its key; nothing when all is done and closed."""
        batch: list[Waiting[Item, Answer]] = []
        with self._change:
            while not batch:
                while not self._waiting:
                    if not self._open:
                        return []
                    self._change.wait()
                key = self._waiting[0].key
                most = self._most(key)
                others: deque[Waiting[Item, Answer]] = deque()
                while self._waiting:
                    one = self._waiting.popleft()
                    if len(batch) == most or one.key != key:
                        others.append(one)
                    elif one.future.set_running_or_notify_cancel():
                        batch.append(one)
                self._waiting = others
        return batch

    def _answer(self, batch: Sequence[Waiting[Item, Answer]]) -> None:
        try:
            answers = self._work(batch[0].key, [one.item for one in batch])
        except BaseException as error:
            if len(batch) > 1:  # one by one, so that only the photo that causes the error fails
                for one in batch:
                    self._answer([one])
            else:
                batch[0].future.set_exception(error)
            return
        for one, answer in zip(batch, answers, strict=True):
            one.future.set_result(answer)
