"""What is measured of a mask: for the plan of a training run, and to tell whether it is blurred."""

from typing import Any

import numpy as np
from numpy.typing import NDArray

from upscore.data.classes import VOID

Counts = NDArray[np.int64]
Floats = NDArray[np.float64]

# Of the changes along a mask's rows and columns, the share that are steps of a ramp: at most 0.05
# in CamVid and VOC, also resized by the nearest pixel; at least 0.27 after bilinear or bicubic
# resizing by 0.33 to 2.
RAMP = 0.15
GREY = 3.0  # of 255, that the bands of grey pictures differ by: those saved as JPEG by 1 or 2
_FEWEST_RAMPS = 16  # below that many, a share says nothing

_LOOKED_AT = 1536  # pixels along the longer side of a mask


def class_counts(mask: NDArray[np.uint8], classes: int) -> tuple[Counts, Counts]:
    """Pixels of each class in a mask of class ids, and those of them in its upper half."""
    rows = mask.shape[0] // 2
    upper, lower = (
        np.bincount(part.ravel(), minlength=VOID + 1)[:classes]
        for part in (mask[:rows], mask[rows:])
    )
    return upper + lower, upper


def has_colour(photo: NDArray[np.uint8]) -> bool:
    """Whether the bands of a picture differ, by more than JPEG makes of grey.

    >>> grey = np.full((2, 2, 3), 90, np.uint8)
    >>> has_colour(grey), has_colour(grey + np.array([9, 0, 0], np.uint8))
    (False, True)
    """
    some = photo[:: max(1, photo.shape[0] // 64), :: max(1, photo.shape[1] // 64)].astype(int)
    return bool(np.ptp(some, axis=2).mean() > GREY)


def thickness(mask: NDArray[np.uint8], classes: int) -> Floats:
    """How thick the things of each class are, in pixels; NaN for those that are not there.

    Four times the mean distance of a class's pixels to its edge: of a long bar of two pixels or
    more that is its width, of a disc two thirds of the diameter.

    >>> bar = np.zeros((20, 200), np.uint8)
    >>> bar[6:14] = 1
    >>> thickness(bar, 3).round(1)
    array([12.,  8., nan])
    """
    from scipy.ndimage import distance_transform_edt

    step = -(-max(mask.shape) // _LOOKED_AT)  # of large masks, every few pixels tell it well
    mask = mask[::step, ::step]
    found = np.full(classes, np.nan)
    for label in np.unique(mask[mask < classes]):
        here = mask == label
        if here.all():
            found[label] = step * min(mask.shape)
            continue
        # A pixel beside the edge is half a pixel from it.
        found[label] = step * 4 * (distance_transform_edt(here)[here].mean() - 0.5)
    return found


def ramp_share(mask: NDArray[Any]) -> float:
    """Of the changes between neighbouring pixels, the share that continue upwards or downwards.

    >>> ramp_share(np.tile([0, 0, 0, 9, 9, 9], (9, 1)))
    0.0
    >>> ramp_share(np.tile([0, 0, 3, 6, 9, 9], (9, 1)))
    0.666...
    """
    ramps = changes = 0
    for lines in (mask, mask.swapaxes(0, 1)):
        steps = lines[:, 1:] != lines[:, :-1]
        steps = steps if mask.ndim == 2 else steps.any(-1)
        changes += int(np.count_nonzero(steps))
        twice = steps[:, 1:] & steps[:, :-1]
        left, here, right = (lines[:, i : i + twice.shape[1]][twice] for i in range(3))
        ramp = (np.minimum(left, right) <= here) & (here <= np.maximum(left, right))
        ramps += int(np.count_nonzero(ramp if mask.ndim == 2 else ramp.all(-1)))
    return ramps / changes if ramps >= _FEWEST_RAMPS else 0.0
