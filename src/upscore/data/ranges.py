"""What is measured of photos that are measurements, to normalise each of their bands."""

from typing import NamedTuple

import numpy as np
from numpy.typing import NDArray

from upscore.errors import DataError

_VALUES = 256  # pixels of a photo whose values are kept
_MOST = 1e20  # of a value that was measured
_WITHIN = (0.001, 0.999)  # of the values of a band that lie within its range


def some_values(photo: NDArray[np.float32]) -> NDArray[np.float32]:
    """The bands of 256 pixels of a photo H x W x B, evenly spread: 256 x B."""
    pixels = photo.reshape(-1, photo.shape[2])
    some: NDArray[np.float32] = pixels[np.linspace(0, len(pixels) - 1, _VALUES).round().astype(int)]
    return some


class Normalisation(NamedTuple):
    """For each band, the range of its values; and their mean and deviation where that is 0..1."""

    ranges: tuple[tuple[float, float], ...]
    mean: tuple[float, ...]
    std: tuple[float, ...]


def normalisation(values: NDArray[np.float32]) -> Normalisation:
    """What normalises each band, from values N x P x B.

    Values that were not measured, NaN, do not count. A range leaves out the lowest and the highest
    thousandth of the others, which may be faults of the sensor. A band that is the same everywhere
    has a range of its own size. A DataError is raised for values that cannot be measurements.

    >>> normalisation(np.linspace(0, 1000, 1001, dtype=np.float32).reshape(1, -1, 1)).ranges
    ((1.0, 999.0),)
    """
    pixels = values.reshape(-1, values.shape[-1]).astype(np.float64)
    pixels[:, np.isnan(pixels).all(axis=0)] = 0  # a band that nobody measured
    low, high = np.nanquantile(pixels, _WITHIN, axis=0).astype(np.float32).astype(np.float64)
    high = np.where(high > low, high, low + np.maximum(1, np.abs(low)))
    if max(-low.min(), high.max()) > _MOST:
        raise DataError(
            f"photos hold values from {low.min():g} to {high.max():g}: if these stand for what was "
            "not measured, replace them by NaN"
        )
    shares = ((pixels - low) / (high - low)).clip(0, 1)
    std = np.maximum(np.nanstd(shares, axis=0), 1e-3)
    return Normalisation(
        tuple(zip(low.tolist(), high.tolist(), strict=True)),
        tuple(np.nanmean(shares, axis=0).tolist()),
        tuple(std.tolist()),
    )
