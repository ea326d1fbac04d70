"""A progress bar for work whose steps are counted."""

from collections.abc import Callable, Iterator
from contextlib import contextmanager


@contextmanager
def progress_bar(text: str, *, shown: bool = True) -> Iterator[Callable[[int, int], None]]:
    """Yield a `progress(done, total)` that draws a bar with the time left on standard error.

    Nothing is drawn where that is not a terminal. The bar is wiped when the block ends.
    """
    from rich.console import Console
    from rich.progress import BarColumn, MofNCompleteColumn, Progress, TextColumn
    from rich.progress import TimeRemainingColumn as TimeLeft

    console = Console(stderr=True)
    columns = (TextColumn("{task.description}"), MofNCompleteColumn(), BarColumn(), TimeLeft())
    disable = not (shown and console.is_terminal)
    with Progress(*columns, console=console, transient=True, disable=disable) as bar:
        task = bar.add_task(text, total=None)

        def advance(done: int, total: int) -> None:
            bar.update(task, completed=done, total=total)

        yield advance
