"""Photos on several processes; if one dies, only the photo it was working on is affected."""

import os
from collections import Counter, deque
from collections.abc import Iterable, Iterator, Mapping
from contextlib import suppress
from multiprocessing import connection, get_context
from pathlib import Path
from typing import Any

from upscore.errors import RunError
from upscore.kernels.threads import limit_threads
from upscore.prediction.predictor import Predictor
from upscore.prediction.steps import Steps

Named = tuple[Path, str]
ATTEMPTS = 2  # a photo that has killed as many processes is left out


def on_processes(
    named: Iterable[Named], out: Path, options: Mapping[str, Any], jobs: int, threads: int
) -> Iterator[tuple[Named, dict[str, Any]]]:
    """Label photos on `jobs` processes of `threads` threads each; yield records as they come.

    Each process has one photo at a time. A photo whose process dies is tried once more, in another.

    Raises:
        RunError: a process died before it could take a photo.
    """
    todo = deque(named)
    tried: Counter[Named] = Counter()
    workers = [_Worker(out, options, threads) for _ in range(min(jobs, len(todo)))]
    try:
        while todo or any(worker.photo for worker in workers):
            for worker in workers:
                if todo and worker.ready and worker.photo is None:
                    worker.give(todo.popleft())
            for worker in _heard(workers):
                photo, answer = worker.take()
                if isinstance(answer, Exception):
                    raise answer
                if answer is not None:
                    if photo is not None:  # else it says that it is ready
                        yield photo, answer
                    continue
                workers[workers.index(worker)] = _Worker(out, options, threads)
                if photo is None:
                    continue  # nothing is lost
                tried[photo] += 1
                if tried[photo] < ATTEMPTS:
                    todo.append(photo)
                else:
                    yield photo, {"file": str(photo[0]), "error": worker.failure(photo[0])}
    finally:
        for worker in workers:
            worker.end()


class _Worker:
    """A process that labels photos, one at a time."""

    def __init__(self, out: Path, options: Mapping[str, Any], threads: int) -> None:
        context = get_context("spawn")
        self.pipe, theirs = context.Pipe()
        arguments = (theirs, out, dict(options), threads)
        self.process = context.Process(target=_work, args=arguments, daemon=True)
        self.process.start()
        theirs.close()  # so that the pipe ends when the process does
        self.photo: Named | None = None
        self.ready = False

    def give(self, photo: Named) -> None:
        self.photo = photo
        with suppress(OSError):  # of one that died between two photos: `take` will find out
            self.pipe.send(photo)

    def take(self) -> tuple[Named | None, Any]:
        """The photo it had, and the record; an error that ends the run; or None if it died."""
        photo, self.photo = self.photo, None
        try:
            answer = self.pipe.recv()
        except (EOFError, OSError):
            self.process.join()
            if not self.ready:
                code = self.process.exitcode
                return None, RunError(
                    f"a process that labels photos could not start ({code}); --jobs 1 may say why"
                )
            return photo, None
        self.ready = True
        return photo, answer

    def failure(self, path: Path) -> str:
        """The error of a photo that is left out."""
        code = self.process.exitcode or 0
        how = f"killed by signal {-code}" if code < 0 else f"exit code {code}"
        return f"{path}: {ATTEMPTS} processes died while working on it ({how}); it is left out"

    def end(self) -> None:
        self.pipe.close()
        self.process.terminate()
        self.process.join()


def _heard(workers: list[_Worker]) -> list[_Worker]:
    """The processes that have sent an answer or died; waits until there is one."""
    heard = connection.wait([worker.pipe for worker in workers])
    return [worker for worker in workers if worker.pipe in heard]


def _work(pipe: Any, out: Path, options: dict[str, Any], threads: int) -> None:
    """Label photos from the pipe until it is closed."""
    limit_threads(threads)
    try:
        steps = Steps(Predictor(**options), out)
        pipe.send("ready")
        while True:
            pipe.send(steps.one(*pipe.recv()))
    except (EOFError, BrokenPipeError, KeyboardInterrupt):
        os._exit(0)  # the run has ended or is being ended
    except Exception as error:
        pipe.send(error)
