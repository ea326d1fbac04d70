"""What a run has finished, kept beside its results, so that the next one need not do it again."""

import json
from collections.abc import Mapping
from pathlib import Path
from typing import Any

from upscore.io.atomic import append_bytes, write_bytes

NAME = "manifest.jsonl"
_VERSION = 1


class Manifest:
    """`out/manifest.jsonl`: first what the run was made with, then a line for each file done.

    A line is appended by one write, so that a kill tears the last one at most, which is ignored.
    What is known of a name is its last line.
    """

    def __init__(self, out: Path, made_with: Mapping[str, Any], *, resume: bool) -> None:
        """Open the manifest of a folder, anew unless the run there is to go on.

        made_with: the model and the options that change results; of another run nothing is kept.
        """
        self.out, self.path = out, out / NAME
        first = {"manifest": _VERSION, **made_with}
        found = self._lines() if resume else []
        self.stale = bool(found) and found[0] != first
        self._done: dict[str, dict[str, Any]] = {}
        if not found or self.stale:
            write_bytes(self.path, _line(first))
        elif not self.path.read_bytes().endswith(b"\n"):
            append_bytes(self.path, b"\n")
        if not self.stale:
            self._done = {line["name"]: line for line in found[1:] if "name" in line}

    def finished(self, path: Path, name: str) -> dict[str, Any] | None:
        """The record of a photo that has not changed since, with its results whole; else None."""
        line = self._done.get(name)
        if line is None or line.get("status") != "ok":
            return None
        if any(line.get(key) != value for key, value in state(path).items()):
            return None
        if any(_bytes(self.out / output) != size for output, size in line["outputs"].items()):
            return None
        return dict(line["record"])

    def add(self, name: str, before: Mapping[str, Any], record: Mapping[str, Any]) -> None:
        """Keep what became of a photo; `before` is its `state` from before it was read."""
        outputs = [record[key] for key in ("labels", "overlay") if key in record]
        line = {
            "name": name,
            **before,
            "status": "error" if "error" in record else "ok",
            "error": record.get("error"),
            "outputs": {output: _bytes(self.out / output) for output in outputs},
            "record": record,
        }
        append_bytes(self.path, _line(line))

    def _lines(self) -> list[dict[str, Any]]:
        """The lines that are whole."""
        if not self.path.is_file():
            return []
        read = map(_value, self.path.read_bytes().splitlines())
        return [value for value in read if isinstance(value, dict)]


def state(path: Path) -> dict[str, Any]:
    """What shows that a file is still the same: where it lies, its size and its modification."""
    try:
        found = path.stat()
    except OSError:
        return {"path": str(path.absolute()), "size": None, "modified": None}
    return {"path": str(path.absolute()), "size": found.st_size, "modified": found.st_mtime_ns}


def _bytes(path: Path) -> int | None:
    return path.stat().st_size if path.is_file() else None


def _line(value: Mapping[str, Any]) -> bytes:
    return json.dumps(value).encode() + b"\n"


def _value(line: bytes) -> Any:
    try:
        return json.loads(line)
    except ValueError:
        return None
