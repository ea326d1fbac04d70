"""What is measured of a photo and its mask, for the plan of a training run."""

from typing import NamedTuple

import numpy as np
from numpy.typing import NDArray

from upscore.data.classes import VOID

Counts = NDArray[np.int64]
Floats = NDArray[np.float64]

_LOOKED_AT = 1536  # pixels along the longer side of a mask
_VALUES = 256  # pixels of a photo whose values are kept
_WITHIN = (0.001, 0.999)  # of the values of a band that lie within its range


def class_counts(mask: NDArray[np.uint8], classes: int) -> tuple[Counts, Counts]:
    """Pixels of each class in a mask of class ids, and those of them in its upper half."""
    rows = mask.shape[0] // 2
    upper, lower = (
        np.bincount(part.ravel(), minlength=VOID + 1)[:classes]
        for part in (mask[:rows], mask[rows:])
    )
    return upper + lower, upper


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


def some_values(photo: NDArray[np.float32]) -> NDArray[np.float32]:
    """The bands of 256 pixels of a photo H x W x B, evenly spread: 256 x B."""
    pixels = photo.reshape(-1, photo.shape[2])
    some: NDArray[np.float32] = pixels[np.linspace(0, len(pixels) - 1, _VALUES).round().astype(int)]
    return some


class Bands(NamedTuple):
    """For each band, the range of its values; and their mean and deviation where that is 0..1."""

    ranges: tuple[tuple[float, float], ...]
    mean: tuple[float, ...]
    std: tuple[float, ...]


def bands(values: NDArray[np.float32]) -> Bands:
    """What normalises each band, from values N x P x B.

    A range leaves out the lowest and the highest thousandth of the values, which may be faults of
    the sensor. A band that is the same everywhere has a range of 1.

    >>> bands(np.linspace(0, 1000, 1001, dtype=np.float32).reshape(1, -1, 1)).ranges
    ((1.0, 999.0),)
    """
    pixels = values.reshape(-1, values.shape[-1]).astype(np.float64)
    low, high = np.quantile(pixels, _WITHIN, axis=0).astype(np.float32).astype(np.float64)
    high = np.where(high > low, high, low + 1)
    shares = ((pixels - low) / (high - low)).clip(0, 1)
    std = np.maximum(shares.std(axis=0), 1e-3)
    return Bands(
        tuple(zip(low.tolist(), high.tolist(), strict=True)),
        tuple(shares.mean(axis=0).tolist()),
        tuple(std.tolist()),
    )
