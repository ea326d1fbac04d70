"""Skip lists: text files that name photos and masks to leave out."""

from collections.abc import Iterable
from pathlib import Path

from upscore.data.dataset import Dataset
from upscore.data.problems import Problem
from upscore.data.text import read_text


def skip_list(dataset: Dataset, problems: Iterable[Problem]) -> str:
    """Return the files with problems as the text of a skip list.

    Args:
        dataset: the data set.
        problems: as of `check`.

    Returns:
        A line for each file: its path below the root, and why.
    """
    return "".join(
        f"{problem.file.relative_to(dataset.root).as_posix()}  # {problem.kind}\n"
        for problem in problems
        if problem.kind != "empty split"
    )


def read_skip_list(path: Path) -> tuple[str, ...]:
    """Return the entries of a skip list, for `find(skip=...)`.

    Args:
        path: a text file with one entry a line; `  # ` begins a comment.

    Returns:
        The entries.

    Raises:
        DataError: the file cannot be read.
    """
    lines = (line.split("  # ")[0].strip() for line in read_text(path).splitlines())
    return tuple(line for line in lines if line and not line.startswith("#"))
