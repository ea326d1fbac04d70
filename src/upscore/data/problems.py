"""Problems of a data set: what is wrong with which file, and how to mend it."""

from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

PROBLEM_KINDS = (
    *("empty split", "no partner", "ambiguous", "missing", "unreadable", "sizes differ"),
    *("bad shape", "binary", "blurred", "no such class", "duplicate"),
)
# No reader gets past these, so that they cannot be allowed.
FATAL_KINDS = ("empty split", "unreadable", "sizes differ", "no such class")


@dataclass(frozen=True)
class Problem:
    """One problem of a data set.

    Attributes:
        file: in which file.
        kind: of which kind; see `check`.
        message: what is wrong.
        remedy: how to mend it.
    """

    file: Path
    kind: str
    message: str
    remedy: str

    def __str__(self) -> str:
        return f"{self.file}: {self.message}; {self.remedy}"


def bad_shapes(file: Path, faults: Sequence[str]) -> list[Problem]:
    """One problem for the shapes that a listing leaves out of a file; none where there are none."""
    if not faults:
        return []
    more = f"; and {len(faults) - 1} more" if len(faults) > 1 else ""
    remedy = "mend it where it was drawn, or allow the kind 'bad shape' to leave such shapes out"
    return [Problem(file, "bad shape", faults[0] + more, remedy)]


def report(problems: Sequence[Problem], shown: int = 20) -> str:
    """Return problems as text: how many of each kind, and the first of them one by one.

    Args:
        problems: as of `check`.
        shown: how many are listed one by one.

    Returns:
        Some lines of text.

    Examples:
        >>> print(report([Problem(Path("a.png"), "unreadable", "0 bytes", "replace the file")]))
        1 problem (1 unreadable):
          a.png: 0 bytes; replace the file
    """
    kinds = [problem.kind for problem in problems]
    counts = ", ".join(f"{kinds.count(kind)} {kind}" for kind in dict.fromkeys(kinds))
    lines = [f"{len(problems)} problem{'s' * (len(problems) != 1)} ({counts}):"]
    lines += [f"  {problem}" for problem in problems[:shown]]
    if len(problems) > shown:
        lines.append(f"  and {len(problems) - shown} more")
    return "\n".join(lines)
