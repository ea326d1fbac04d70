"""Run lengths as COCO has them: the annotation format of `pycocotools.mask`."""

from typing import Any

import numpy as np

from upscore.heads.masks.sampling import Indices


def lengths_of(runs: Indices, pixels: int) -> Indices:
    """The lengths of zeros and ones in turn, zeros first, of a mask of so many pixels.

    >>> lengths_of(np.array([[2, 5]]), 6).tolist()
    [2, 3, 1]
    """
    edges = np.concatenate(([0], runs.reshape(-1), [pixels] if _ends_unset(runs, pixels) else []))
    edges = edges.astype(np.int64)
    return edges[1:] - edges[:-1]


def _ends_unset(runs: Indices, pixels: int) -> bool:
    return not len(runs) or bool(runs[-1, 1] < pixels)


def packed(lengths: Indices) -> bytes:
    """The lengths as text: from the fourth on less the one two before, five bits a letter.

    Letters are of the low bits first; a sixth bit says that more follow, and the last one's fifth
    is the sign. Source: `rleToString` of pycocotools.

    >>> packed(np.array([2, 3, 1]))
    b'231'
    """
    numbers = lengths.copy()
    numbers[3:] -= lengths[1:-2]
    digits: list[Any] = []
    more = np.ones(len(numbers), bool)
    present = []
    while more.any():
        digit = numbers & 0x1F
        numbers = numbers >> 5
        present.append(more)
        more = more & ~np.where(digit & 0x10, numbers == -1, numbers == 0)
        digits.append(digit + 48 + np.where(more, 0x20, 0))
    letters = np.stack(digits, 1).astype(np.uint8)
    return bytes(letters[np.stack(present, 1)].tobytes())
