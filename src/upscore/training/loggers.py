"""Where a run's scores and pictures are noted besides its folder: Accelerate's trackers."""

from collections.abc import Mapping, Sequence
from typing import Any

import numpy as np
from accelerate import Accelerator
from accelerate.tracking import LOGGER_TYPE_TO_CLASS, get_available_trackers
from PIL.Image import Image

from upscore.errors import ArgumentError, MissingPackageError


def checked(names: Sequence[str]) -> list[str]:
    """The names of loggers, once each is known and its package is there."""
    known = sorted(str(name) for name in LOGGER_TYPE_TO_CLASS)
    ready = {str(name) for name in get_available_trackers()}
    for name in names:
        if name not in known:
            raise ArgumentError(f"no logger {name!r}; Accelerate knows {', '.join(known)}")
        if name not in ready:
            raise MissingPackageError(f"the logger {name} is not installed: pip install {name}")
    return list(names)


def note(
    accelerator: Accelerator, values: Mapping[str, float], picture: Image | None, step: int
) -> None:
    """Hand scores and a picture of validation photos to the loggers."""
    accelerator.log(dict(values), step=step)
    if picture is None:
        return
    pixels: dict[str, Any] = {"validation": np.asarray(picture)[None]}
    for tracker in accelerator.trackers:
        if tracker.name == "tensorboard":
            tracker.log_images(pixels, step=step, dataformats="NHWC")
        elif tracker.name == "wandb":
            tracker.log_images(pixels, step=step)
