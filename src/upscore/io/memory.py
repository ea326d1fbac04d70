"""How much memory this process may still take."""

import os
import sys
from collections.abc import Iterator
from importlib.util import find_spec
from pathlib import Path

_MACHINE = Path("/proc/meminfo")
_PROCESS = Path("/proc/self/statm")
_VIRTUAL, _RESIDENT, _DATA = 0, 1, 5  # its fields, in pages
_CGROUPS = ("/sys/fs/cgroup/memory.max", "/sys/fs/cgroup/memory/memory.limit_in_bytes")


def free_memory() -> int | None:
    """Return the bytes that are free: of the machine, and within this process's limits.

    None where the system does not tell.
    """
    return min(_limits(), default=None)


def _limits() -> Iterator[int]:
    """What is left within each limit that there is."""
    if _MACHINE.exists():
        lines = dict(line.split(":") for line in _MACHINE.read_text(encoding="ascii").splitlines())
        yield int(lines["MemAvailable"].split()[0]) << 10
    elif find_spec("psutil") is not None:
        import psutil

        yield int(psutil.virtual_memory().available)
    for path in _CGROUPS:
        limit = _number(path)
        if limit is not None:
            yield max(0, limit - _held(_RESIDENT))
    yield from _process_limits()


def _process_limits() -> Iterator[int]:
    """What is left within the limits that a shell's `ulimit` sets."""
    if sys.platform == "win32":
        return
    import resource

    for kind, field in ((resource.RLIMIT_AS, _VIRTUAL), (resource.RLIMIT_DATA, _DATA)):
        soft, _ = resource.getrlimit(kind)
        if soft != resource.RLIM_INFINITY:
            yield max(0, soft - _held(field))


def _held(field: int) -> int:
    """Bytes that this process holds, by one of the fields of /proc/self/statm."""
    if not _PROCESS.exists():
        return 0
    return int(_PROCESS.read_text(encoding="ascii").split()[field]) * os.sysconf("SC_PAGE_SIZE")


def _number(path: str) -> int | None:
    try:
        return int(Path(path).read_text(encoding="ascii"))
    except (OSError, ValueError):  # no such group, or "max"
        return None
