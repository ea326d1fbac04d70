"""upscore: from coarse class scores to a full-resolution label map.

Importing this module needs NumPy alone; every public name is loaded when it is first used.
"""

from importlib import import_module
from typing import TYPE_CHECKING, Any

from upscore.errors import MissingPackageError, extra_of
from upscore.version import __version__

if TYPE_CHECKING:
    from upscore.conv import conv_transpose1d as conv_transpose1d
    from upscore.conv import conv_transpose2d as conv_transpose2d
    from upscore.conv import conv_transpose3d as conv_transpose3d
    from upscore.errors import UpscoreError as UpscoreError
    from upscore.evaluation.evaluate import evaluate as evaluate
    from upscore.explanation.explain import explain as explain
    from upscore.exporting.export import export as export
    from upscore.filters import bilinear_filter as bilinear_filter
    from upscore.heads.argmax import argmax as argmax
    from upscore.heads.assign import assign as assign
    from upscore.heads.binary_cross_entropy import binary_cross_entropy as binary_cross_entropy
    from upscore.heads.confusion import confusion as confusion
    from upscore.heads.cross_entropy import cross_entropy as cross_entropy
    from upscore.heads.masks import masks as masks
    from upscore.heads.overlap import overlap as overlap
    from upscore.heads.region_losses import dice as dice
    from upscore.heads.region_losses import jaccard as jaccard
    from upscore.heads.region_losses import tversky as tversky
    from upscore.inference.load import load as load
    from upscore.inference.segmenter import Segmenter as Segmenter
    from upscore.prediction.predictor import Predictor as Predictor
    from upscore.serving.client import Client as Client
    from upscore.serving.serve import serve as serve
    from upscore.training.plan import plan as plan
    from upscore.training.train import train as train
    from upscore.upsampling import upsample as upsample

# Public name -> the module that holds it.
_HOME = {
    "Client": "upscore.serving.client",
    "Predictor": "upscore.prediction.predictor",
    "Segmenter": "upscore.inference.segmenter",
    "UpscoreError": "upscore.errors",
    "argmax": "upscore.heads.argmax",
    "assign": "upscore.heads.assign",
    "binary_cross_entropy": "upscore.heads.binary_cross_entropy",
    "bilinear_filter": "upscore.filters",
    "confusion": "upscore.heads.confusion",
    "conv_transpose1d": "upscore.conv",
    "conv_transpose2d": "upscore.conv",
    "conv_transpose3d": "upscore.conv",
    "cross_entropy": "upscore.heads.cross_entropy",
    "dice": "upscore.heads.region_losses",
    "evaluate": "upscore.evaluation.evaluate",
    "explain": "upscore.explanation.explain",
    "export": "upscore.exporting.export",
    "jaccard": "upscore.heads.region_losses",
    "load": "upscore.inference.load",
    "masks": "upscore.heads.masks",
    "overlap": "upscore.heads.overlap",
    "plan": "upscore.training.plan",
    "serve": "upscore.serving.serve",
    "train": "upscore.training.train",
    "tversky": "upscore.heads.region_losses",
    "upsample": "upscore.upsampling",
}
_MODULES = {"compat", "data", "definition", "filters", "geometry", "images", "models", "nn"}

__all__ = ["__version__", *sorted(_HOME)]


def __getattr__(name: str) -> Any:
    if name in _HOME:
        try:
            found = globals()[name] = getattr(import_module(_HOME[name]), name)
        except ModuleNotFoundError as error:
            raise MissingPackageError(
                f"upscore.{name} needs {error.name}: pip install 'upscore[{extra_of(name)}]'",
                name=error.name,
            ) from error
        return found
    if name in _MODULES:
        return import_module(f"upscore.{name}")
    raise AttributeError(f"module 'upscore' has no attribute {name!r}")


def __dir__() -> list[str]:
    return sorted({*__all__, *_MODULES})
