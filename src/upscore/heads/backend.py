"""What every head asks first: do the scores fit, and which backend serves them."""

import sys
from importlib.util import find_spec
from typing import Any

import numpy as np

from upscore.errors import ArgumentError, ArgumentTypeError

MOST_CLASSES = 65_536
BACKENDS = ("auto", "eager", "cpu", "gpu")
# Looked up here because torch.compile cannot trace it where it is used.
_INSTALLED = {"cpu": find_spec("numba"), "gpu": find_spec("triton"), "eager": True}
_SCORES = ("float32", "float16", "bfloat16", "float64")


def is_tensor(x: object) -> bool:
    """Tell a torch tensor without importing torch."""
    torch = sys.modules.get("torch")
    return torch is not None and isinstance(x, torch.Tensor)


def check_scores(scores: Any) -> Any:
    """Return the scores as N x C x h x w."""
    if not isinstance(scores, np.ndarray) and not is_tensor(scores):
        raise ArgumentTypeError(
            f"scores must be a NumPy array or a torch tensor, not {type(scores).__name__}"
        )
    dtype = str(scores.dtype).removeprefix("torch.")
    if dtype not in _SCORES:
        raise ArgumentTypeError(
            f"scores must be of {', '.join(_SCORES)}, not {dtype}: "
            "they are interpolated before they are compared; convert them first"
        )
    if scores.ndim not in (3, 4):
        raise ArgumentError(
            f"scores must be C x h x w or N x C x h x w, not of shape {tuple(scores.shape)}"
        )
    classes, height, width = scores.shape[-3:]
    if not 1 <= classes <= MOST_CLASSES:
        raise ArgumentError(
            f"scores must have 1 to {MOST_CLASSES:,} classes, not {classes:,} "
            f"(shape {tuple(scores.shape)})"
        )
    if not height or not width:
        raise ArgumentError(f"scores of shape {tuple(scores.shape)} hold no pixel to sample")
    return scores if scores.ndim == 4 else scores[None]


def choose_backend(scores: Any, backend: str) -> str:
    """Return the backend to use, or raise with the reason the one asked for cannot serve."""
    if backend not in BACKENDS:
        raise ArgumentError(f"backend must be one of {BACKENDS}, not {backend!r}")
    device = scores.device.type if is_tensor(scores) else "cpu"
    if backend == "auto":
        backend = {"cpu": "cpu", "cuda": "gpu"}.get(device, "eager")
        return backend if _INSTALLED[backend] else "eager"
    if backend == "cpu" and device != "cpu":
        raise ArgumentError(f'backend="cpu" works in main memory, but the scores are on {device}')
    if backend == "gpu" and not is_tensor(scores):
        raise ArgumentError('backend="gpu" takes torch tensors; a NumPy array is served by "cpu"')
    if not _INSTALLED[backend]:
        package = {"cpu": "numba", "gpu": "triton"}[backend]
        raise ArgumentError(f'backend="{backend}" needs {package}: pip install {package}')
    return backend
