"""The FCN family on timm encoders, its checkpoints, and the bundled model."""

from upscore.models.checkpoint import CheckpointError, Spec, load, normalise, save
from upscore.models.encoder import DEFAULT_ENCODER, preprocessing
from upscore.models.fcn import ARCHITECTURES, FCN, build, fcn4s, fcn8s, fcn16s, fcn32s

__all__ = [
    "ARCHITECTURES",
    "DEFAULT_ENCODER",
    "FCN",
    "CheckpointError",
    "Spec",
    "build",
    "fcn4s",
    "fcn8s",
    "fcn16s",
    "fcn32s",
    "load",
    "normalise",
    "preprocessing",
    "save",
]
