"""The pixels of masks from their runs: the launcher of the kernels."""

from typing import Any, NamedTuple

import numpy as np
from numpy.typing import NDArray

from upscore.heads.masks.sampling import Indices
from upscore.kernels.launch import Kernel, Workspace
from upscore.kernels.threads import share

_KERNELS = "upscore.heads.masks.painting_kernels"
PAINT = Kernel(_KERNELS, "paint")
LABEL = Kernel(_KERNELS, "label")


class PaintScratch(NamedTuple):
    """What a thread paints with."""

    changes: NDArray[np.int32]  # the columns where a row differs from the one above
    ends: Indices  # where the changes of each row end


def paint(
    runs: Indices, offsets: Indices, boxes: Indices, height: int, canvas: NDArray[Any], fresh: bool
) -> None:
    """Write masks to contiguous N x H x W pixels, which are zeros already if `fresh`."""
    columns = (runs[:, 1] - 1) // height - runs[:, 0] // height + 1
    turns = np.diff(np.append(0, np.cumsum(columns))[offsets]).max(initial=0)
    scratch = PaintScratch(np.empty(2 * int(turns), np.int32), np.empty(height, np.int64))
    share(
        PAINT,
        len(boxes),
        *(runs.reshape(-1), offsets, boxes, height, *canvas.shape[1:], int(fresh)),
        canvas.reshape(-1).view(np.uint8),
        scratch=Workspace(scratch),
        pieces=4,
    )


def label(runs: Indices, offsets: Indices, masks: Indices, columns: NDArray[np.int32]) -> None:
    """Write the numbers of masks over their pixels, one mask after another."""
    LABEL.bind(runs.reshape(-1), offsets, masks, columns)(0, len(masks))
