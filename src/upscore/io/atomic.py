"""Writing files so that nothing half-written ever stands under its final name."""

import json
import os
import secrets
from collections.abc import Iterator
from contextlib import contextmanager
from os import PathLike
from pathlib import Path
from typing import Any

from upscore.errors import OutputError


@contextmanager
def replacing(path: str | PathLike[str]) -> Iterator[Path]:
    """Yield a temporary path to write; when the block ends well, it becomes `path` in one step.

    The temporary file lies in the same folder (a rename is atomic within a file system), is hidden,
    and keeps the suffix, from which many writers choose the format. If the block raises, it is
    removed and `path` stays as it was. An OSError, such as a full disk, becomes an OutputError.
    """
    path = Path(path)
    temporary = path.with_name(f".part-{secrets.token_hex(8)}{path.suffix}")
    with _output(path):
        try:
            yield temporary
            with temporary.open("rb+") as written:  # A rename may reach the disk before the bytes.
                os.fsync(written.fileno())
            os.replace(temporary, path)
        finally:
            temporary.unlink(missing_ok=True)


def write_bytes(path: str | PathLike[str], data: bytes) -> None:
    """Write a whole file or nothing."""
    with replacing(path) as temporary:
        temporary.write_bytes(data)


def append_bytes(path: str | PathLike[str], data: bytes) -> None:
    """Add to the end of a file, by one write where there is room, or raise OutputError."""
    with _output(Path(path)):
        how = os.O_WRONLY | os.O_APPEND | os.O_CREAT | getattr(os, "O_BINARY", 0)  # as on Windows
        handle = os.open(path, how, 0o666)
        try:
            while data:  # a disk that becomes full takes a part, and then raises
                data = data[os.write(handle, data) :]
        finally:
            os.close(handle)


def write_json(path: str | PathLike[str], value: Any) -> None:
    """Write JSON that is strict (NaN raises) and comfortable to read, whole or not at all."""
    text = json.dumps(value, indent=2, ensure_ascii=False, allow_nan=False)
    # A file name that is no UTF-8 holds lone surrogates, which JSON can only write as escapes.
    write_bytes(path, text.encode(errors="backslashreplace") + b"\n")


def make_folder(path: str | PathLike[str]) -> Path:
    """Make a folder and those above it where they are missing, or raise OutputError."""
    with _output(Path(path)):
        Path(path).mkdir(parents=True, exist_ok=True)
    return Path(path)


@contextmanager
def _output(path: Path) -> Iterator[None]:
    """Turn the system's error into one that names the result, whatever file it arose with."""
    try:
        yield
    except OSError as error:
        if isinstance(error, OutputError) or error.errno is None:
            raise
        raise OutputError(error.errno, f"cannot be written: {error.strerror}", str(path)) from error
