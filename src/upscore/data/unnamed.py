"""Classes that nothing names: as many as the ids in the masks tell, called by their ids."""

import os
from collections.abc import Sequence
from concurrent.futures import ThreadPoolExecutor
from functools import lru_cache
from pathlib import Path

from upscore.data.classes import VOID
from upscore.data.masks import MOST_IDS, read_pixels
from upscore.data.measure import RAMP, ramp_share
from upscore.errors import ImageError
from upscore.images.decode import JPEG_SUFFIXES

_BLUR_IN = 16  # masks that are looked at for blur

Stamped = tuple[tuple[Path, int, int], ...]


def names_by_ids(masks: Sequence[Path]) -> tuple[str, ...] | None:
    """`class_0`, `class_1`, ... to the largest id in mask files; 255 is void and does not count.

    None where the masks tell no classes: no id above 0, ids of 64 or more, blurred masks, JPEGs.
    """
    stats = [(path, path.stat()) for path in masks]
    largest = _largest_id(tuple((path, stat.st_mtime_ns, stat.st_size) for path, stat in stats))
    return tuple(f"class_{i}" for i in range(largest + 1)) if 0 < largest < MOST_IDS else None


@lru_cache(maxsize=8)  # each split of a folder asks for the masks of all
def _largest_id(stamped: Stamped) -> int:
    """The largest id in these mask files, 0 where their values are not to be taken for ids."""
    paths = [path for path, _, _ in stamped]
    if not paths or any(path.suffix.lower() in JPEG_SUFFIXES for path in paths):
        return 0
    with ThreadPoolExecutor(os.cpu_count()) as pool:
        largest = max(pool.map(_largest_in, paths))
        some = paths[:: -(-len(paths) // _BLUR_IN)]
        blurred = sum(pool.map(_is_blurred, some)) if largest < MOST_IDS else 0
    return largest if 2 * blurred <= len(some) else 0


def _largest_in(path: Path) -> int:
    """The largest id in one mask file; 0 where it cannot be read, which the checks report."""
    try:
        pixels = read_pixels(path)
    except ImageError:
        return 0
    if pixels.ndim == 3 or pixels.dtype.kind == "f":  # no ids: the checks report them too
        return 0
    return int(pixels.max(where=pixels != VOID, initial=0))


def _is_blurred(path: Path) -> bool:
    try:
        return ramp_share(read_pixels(path)) > RAMP
    except ImageError:
        return False
