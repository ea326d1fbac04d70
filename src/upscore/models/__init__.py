"""The FCN family on timm encoders, its checkpoints, and the bundled model.

`spec`, `checkpoint` and `graph_check` need NumPy at most; the names below that build or hold
networks load torch when they are first used.
"""

from importlib import import_module
from typing import TYPE_CHECKING, Any

from upscore.errors import CheckpointError
from upscore.models.checkpoint import read_checkpoint
from upscore.models.spec import Spec

if TYPE_CHECKING:
    from upscore.models.architectures import ARCHITECTURES as ARCHITECTURES
    from upscore.models.architectures import build as build
    from upscore.models.architectures import fcn1s as fcn1s
    from upscore.models.architectures import fcn2s as fcn2s
    from upscore.models.architectures import fcn4s as fcn4s
    from upscore.models.architectures import fcn8s as fcn8s
    from upscore.models.architectures import fcn16s as fcn16s
    from upscore.models.architectures import fcn32s as fcn32s
    from upscore.models.encoder import DEFAULT_ENCODER as DEFAULT_ENCODER
    from upscore.models.encoder import preprocessing as preprocessing
    from upscore.models.fcn import FCN as FCN
    from upscore.models.normalisation import normalise as normalise
    from upscore.models.weights import load as load
    from upscore.models.weights import save as save

_HOME = {
    **dict.fromkeys(("DEFAULT_ENCODER", "preprocessing"), "encoder"),
    "FCN": "fcn",
    **dict.fromkeys(("ARCHITECTURES", "build"), "architectures"),
    **dict.fromkeys(("fcn1s", "fcn2s", "fcn4s", "fcn8s", "fcn16s", "fcn32s"), "architectures"),
    "normalise": "normalisation",
    **dict.fromkeys(("load", "save"), "weights"),
}

__all__ = ["CheckpointError", "Spec", "read_checkpoint", *sorted(_HOME)]


def __getattr__(name: str) -> Any:
    if name in _HOME:
        return getattr(import_module(f"upscore.models.{_HOME[name]}"), name)
    raise AttributeError(f"module 'upscore.models' has no attribute {name!r}")
