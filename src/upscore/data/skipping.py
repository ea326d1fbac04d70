"""Skip lists: text files that name photos and masks to leave out."""

from collections.abc import Iterable
from pathlib import Path

from upscore.data.dataset import Dataset
from upscore.data.problems import Problem
from upscore.data.text import read_text


def skip_list(dataset: Dataset, problems: Iterable[Problem]) -> str:
    """The files with problems as the text of a skip list: paths below the root, and why."""
    return "".join(
        f"{problem.file.relative_to(dataset.root).as_posix()}  # {problem.kind}\n"
        for problem in problems
        if problem.kind != "empty split"
    )


def read_skip_list(path: Path) -> tuple[str, ...]:
    """The entries of a skip list, for `find(skip=...)`: one a line, `  # ` begins a comment."""
    lines = (line.split("  # ")[0].strip() for line in read_text(path).splitlines())
    return tuple(line for line in lines if line and not line.startswith("#"))
