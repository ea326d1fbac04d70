"""How far a network looks: measured, for tiles that give the answer of the whole picture.

Two photos agree on one side of a line and differ on the other. How far from the line do their
scores still differ on the side where the photos agree? Both photos have one size, so the same code
computes them, and where nothing of the difference arrives, scores are equal to the last bit. That
is the receptive field but for influences below rounding; 640 pixels for the bundled model, in all
engines and all draws.
"""

from contextlib import suppress
from typing import Any
from weakref import WeakKeyDictionary

import numpy as np
from numpy.typing import NDArray

from upscore.arrays import as_numpy
from upscore.inference.segmenter import Photos, Segmenter
from upscore.models.spec import COARSEST, Spec

_ACROSS = 128  # the short side of the photos, in pixels
_LENGTHS = (512, 1024, 2048)  # the long side: what is found must be less than half of it
_GRAINS = (1, 8, 32)  # pixels of one colour: a draw of each
_LEAST_SHARE = 0.02  # of the spread of scores: far above rounding, far below another answer

_AXES = _ROWS, _COLUMNS = 1, 2  # of photos N x H x W x B

_known: WeakKeyDictionary[Any, int | None] = WeakKeyDictionary()


def halo_of(segmenter: Segmenter) -> int | None:
    """Return how many pixels a tile needs around it, a multiple of 32; None if there is no number.

    What global poolings find is held fixed where the engine can do so. None too for a network whose
    answer depends on where a tile begins, such as one with attention inside fixed windows. It is
    measured once for each engine, in seconds.
    """
    engine = segmenter.engine
    with suppress(TypeError):  # an engine that cannot be a key is measured every time
        if engine not in _known:
            _known[engine] = _measured(segmenter)
        return _known[engine]
    return _measured(segmenter)


def _measured(segmenter: Segmenter) -> int | None:
    for length in _LENGTHS:
        reach = max(_reach(segmenter, length, axis) for axis in _AXES)
        if 2 * reach < length:
            halo = -(-reach // COARSEST) * COARSEST
            return halo if all(_moves_along(segmenter, halo, axis) for axis in _AXES) else None
    return None


def _reach(segmenter: Segmenter, length: int, axis: int) -> int:
    """How far from the middle of photos a difference on one side of it is seen on the other."""
    rng = np.random.default_rng(length)
    middle, cells = length // 2, length // 2 // segmenter.spec.stride
    farthest = 0
    for grain in _GRAINS:
        if farthest == cells:
            break
        photo = _noise(rng, segmenter.spec, length, axis, grain)
        pooled = segmenter.pooled(photo)
        first = as_numpy(segmenter.seen(photo, (), pooled))
        for side in (np.s_[:middle], np.s_[middle:]):
            other = photo.copy()
            half = (*[slice(None)] * axis, side)
            other[half] = _noise(rng, segmenter.spec, length, axis, grain)[half]
            differs = as_numpy(segmenter.seen(other, (), pooled)) != first
            # Of N x C x h x w, for each place along the axis, counted away from the middle.
            places = differs.any(axis=tuple({0, 1, 2, 3} - {axis + 1}))
            agreeing = places[cells:] if side.start is None else places[:cells][::-1]
            found = np.flatnonzero(agreeing)
            farthest = max(farthest, int(found[-1]) + 1 if len(found) else 0)
    return farthest * segmenter.spec.stride


def _moves_along(segmenter: Segmenter, halo: int, axis: int) -> bool:
    """Whether the scores of a part of a photo, beyond the halo, are those of the whole photo."""
    photo = _noise(np.random.default_rng(0), segmenter.spec, 2 * halo + 4 * COARSEST, axis, 8)
    pooled = segmenter.pooled(photo)
    whole = as_numpy(segmenter.seen(photo, (), pooled))
    part = as_numpy(segmenter.seen(photo[(*[slice(None)] * axis, np.s_[COARSEST:])], (), pooled))
    inner, moved = halo // segmenter.spec.stride, COARSEST // segmenter.spec.stride
    found = part.swapaxes(axis + 1, -1)[..., inner : part.shape[axis + 1] - inner]
    expected = whole.swapaxes(axis + 1, -1)[..., inner + moved : whole.shape[axis + 1] - inner]
    return bool(np.abs(found - expected).mean() <= _LEAST_SHARE * whole.std())


def _noise(rng: np.random.Generator, spec: Spec, length: int, axis: int, grain: int) -> Photos:
    """A photo of random values, long along one axis."""
    sides = (length, _ACROSS) if axis == _ROWS else (_ACROSS, length)
    shape = (1, *(-(-side // grain) for side in sides))
    if spec.ranges is None:
        values: NDArray[Any] = rng.integers(0, 256, (*shape, 3), np.uint8)
    else:
        low, high = np.array(spec.ranges, np.float32).T
        values = low + (high - low) * rng.random((*shape, len(low)), np.float32)
    return values.repeat(grain, 1).repeat(grain, 2)[:, : sides[0], : sides[1]]
