"""The memory of a process that does the same work over and over."""

import ctypes

_M_TRIM_THRESHOLD, _M_MMAP_MAX = -1, -4  # of glibc's mallopt(3)


def keep_freed() -> None:
    """Keep memory that is freed for the next allocation, where the C library is glibc.

    A step of training on the CPU frees what the next one asks for again. By default glibc hands
    large blocks back to the system, which then fills every page of them with zeros anew. The whole
    process is changed and keeps its peak: for commands, not for a library's functions.
    """
    try:
        mallopt = ctypes.CDLL(None).mallopt
    except (AttributeError, OSError, TypeError):  # another C library, or Windows
        return
    mallopt(_M_MMAP_MAX, 0)
    mallopt(_M_TRIM_THRESHOLD, -1)
