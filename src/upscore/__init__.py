"""upscore: from coarse class scores to a full-resolution label map.

Importing this module needs NumPy alone; every public name is loaded when it is first used.
"""

import sys
from importlib import import_module
from types import ModuleType
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from upscore.conv import conv_transpose1d as conv_transpose1d
    from upscore.conv import conv_transpose2d as conv_transpose2d
    from upscore.conv import conv_transpose3d as conv_transpose3d
    from upscore.evaluate import evaluate as evaluate
    from upscore.explain import explain as explain
    from upscore.filters import bilinear_filter as bilinear_filter
    from upscore.heads import argmax as argmax
    from upscore.heads import cross_entropy as cross_entropy
    from upscore.predict import Predictor as Predictor
    from upscore.train import train as train
    from upscore.upsample import upsample as upsample

__version__ = "0.1.0"

# Public name -> the module that holds it.
_HOME = {
    "Predictor": "upscore.predict",
    "argmax": "upscore.heads",
    "bilinear_filter": "upscore.filters",
    "conv_transpose1d": "upscore.conv",
    "conv_transpose2d": "upscore.conv",
    "conv_transpose3d": "upscore.conv",
    "cross_entropy": "upscore.heads",
    "evaluate": "upscore.evaluate",
    "explain": "upscore.explain",
    "train": "upscore.train",
    "upsample": "upscore.upsample",
}
_MODULES = {"compat", "data", "definition", "filters", "geometry", "metrics", "models", "nn"}

__all__ = ["__version__", *sorted(_HOME)]


class _Package(ModuleType):
    """Keeps `upscore.train` the function when Python binds the submodule of the same name here."""

    def __setattr__(self, name: str, value: object) -> None:
        if name in _HOME and isinstance(value, ModuleType):
            value = getattr(value, name)
        super().__setattr__(name, value)


sys.modules[__name__].__class__ = _Package


def __getattr__(name: str) -> Any:
    if name in _HOME:
        return getattr(import_module(_HOME[name]), name)
    if name in _MODULES:
        return import_module(f"upscore.{name}")
    raise AttributeError(f"module 'upscore' has no attribute {name!r}")


def __dir__() -> list[str]:
    return sorted({*__all__, *_MODULES})
