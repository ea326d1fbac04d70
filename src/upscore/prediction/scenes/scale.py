"""At what scale a network is shown a picture: by the ground where it is known."""

import re
from math import isfinite

from upscore.errors import ArgumentError, ImageError
from upscore.models.spec import LEAST_ZOOM, MOST_ZOOM, Spec
from upscore.rasters.raster import Georeference

_UNITS = {"": 1.0, "m": 1.0, "cm": 1e-2, "mm": 1e-3, "um": 1e-6, "µm": 1e-6, "km": 1e3}


def metres(text: str | float) -> float:
    """Return a length in metres: a number, or text such as "0.5m", "30 cm" and "0.25um".

    >>> metres("30 cm")
    0.3
    """
    found = re.fullmatch(r"\s*([0-9.]+(?:[eE][+-]?[0-9]+)?)\s*(\w*)\s*", str(text))
    try:
        length = float(found[1]) * _UNITS[found[2]] if found else 0.0
    except (KeyError, ValueError):
        length = 0.0
    if not (length > 0 and isfinite(length)):
        units = ", ".join(filter(None, _UNITS))
        raise ArgumentError(f"{text!r} is no length such as 0.5m or 30cm; the units are {units}")
    return length


def choose_scale(
    spec: Spec,
    georeference: Georeference | None,
    scale: float | None = None,
    resolution: str | float | None = None,
) -> tuple[float, str]:
    """Return how many pixels the network is shown for one of the picture, and the reason.

    scale: this many, if given.
    resolution: or as many as make its pixels this long on the ground, in metres or with a unit.

    Else the ground decides, where both the picture and the photos that the model was trained on say
    how long their pixels are; else `spec.zoom`.

    Raises:
        ArgumentError: both are given, or one that is no size.
        ImageError: a resolution, and the picture does not tell the size of its own pixels; or what
            follows from that size is beyond the limits.
    """
    if scale is not None and resolution is not None:
        raise ArgumentError(
            "give scale or resolution, not both: each sets the size for the network"
        )
    ground = None if georeference is None else georeference.resolution
    if scale is not None:
        chosen, reason = scale, "as asked"
    elif resolution is not None:
        side = metres(resolution)
        if ground is None:
            raise ImageError(
                "resolution needs a picture that says how large its pixels are on the ground, and "
                "this one does not: give scale (--scale) instead"
            )
        chosen, reason = ground / side, f"{side:g} m a pixel, as asked; the picture has {ground:g}"
    elif ground is not None and spec.resolution is not None:
        chosen = ground / spec.resolution * spec.zoom
        reason = f"trained at {spec.resolution:g} m a pixel, the picture has {ground:g}"
    elif spec.long_side is None:
        chosen, reason = spec.zoom, "as the model was trained"
    else:
        chosen = 1.0
        reason = (
            f"the picture's own: the model was trained on photos of {spec.long_side} pixels and "
            "does not say at what scale; if its things are smaller or larger here, give --scale"
        )
    if not LEAST_ZOOM <= chosen <= MOST_ZOOM:
        kind = ImageError if scale is None else ArgumentError
        raise kind(
            f"the network would be shown {chosen:g} pixels for one of the picture, and {LEAST_ZOOM}"
            f" to {MOST_ZOOM} are the limits: give another scale or resolution"
        )
    return chosen, reason
