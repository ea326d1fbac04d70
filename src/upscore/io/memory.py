"""How much memory this process may still take."""

import os
import sys
from collections.abc import Iterator
from pathlib import Path

_CGROUPS = ("/sys/fs/cgroup/memory.max", "/sys/fs/cgroup/memory/memory.limit_in_bytes")


def free_memory() -> int | None:
    """Return the bytes that are free: of the machine, and within this process's limits.

    None where the system does not tell.
    """
    return min(_limits(), default=None)


def _limits() -> Iterator[int]:
    """What is left within each limit that there is."""
    meminfo = Path("/proc/meminfo")
    if meminfo.exists():
        lines = dict(line.split(":") for line in meminfo.read_text().splitlines())
        yield int(lines["MemAvailable"].split()[0]) << 10
    elif "SC_AVPHYS_PAGES" in getattr(os, "sysconf_names", {}):
        yield os.sysconf("SC_AVPHYS_PAGES") * os.sysconf("SC_PAGE_SIZE")
    for limit in (*map(_number, _CGROUPS), *_process_limits()):
        if limit is not None:
            yield max(0, limit - _held())


def _process_limits() -> Iterator[int]:
    """The limits that a shell's `ulimit` sets."""
    if sys.platform == "win32":
        return
    import resource

    for kind in (resource.RLIMIT_AS, resource.RLIMIT_DATA):
        soft, _ = resource.getrlimit(kind)
        if soft != resource.RLIM_INFINITY:
            yield soft


def _held() -> int:
    """Bytes that this process holds."""
    status = Path("/proc/self/statm")
    return int(status.read_text().split()[1]) * os.sysconf("SC_PAGE_SIZE") if status.exists() else 0


def _number(path: str) -> int | None:
    try:
        return int(Path(path).read_text())
    except (OSError, ValueError):  # no such group, or "max"
        return None
