"""What every head asks first: do the scores fit, and which backend serves them."""

from importlib.util import find_spec
from typing import Any

from upscore.arrays import framework
from upscore.errors import ArgumentError, ArgumentTypeError
from upscore.kernels import NUMBA_IS_INSTALLED

MOST_CLASSES = 65_536
BACKENDS = ("auto", "eager", "cpu", "gpu")
SCORES = ("float32", "float16", "bfloat16", "float64")

# Looked up when this is imported: torch.compile cannot trace the search where it is needed.
_INSTALLED = {"cpu": NUMBA_IS_INSTALLED, "gpu": find_spec("triton") is not None, "eager": True}


def check_dtype(scores: Any) -> None:
    """Raise ArgumentTypeError for what holds no scores."""
    dtype = framework(scores, "scores").dtype(scores)
    if dtype not in SCORES:
        raise ArgumentTypeError(
            f"scores must be of {', '.join(SCORES)}, not {dtype}: "
            "they are interpolated before they are compared; convert them first"
        )


def check_classes(classes: int, scores: Any) -> None:
    """Raise ArgumentError for more or fewer classes than a head takes."""
    if not 1 <= classes <= MOST_CLASSES:
        raise ArgumentError(
            f"scores must have 1 to {MOST_CLASSES:,} classes, not {classes:,} "
            f"(shape {tuple(scores.shape)})"
        )


def check_scores(scores: Any) -> Any:
    """Return the scores as N x C x h x w."""
    check_dtype(scores)
    if scores.ndim not in (3, 4):
        raise ArgumentError(
            f"scores must be C x h x w or N x C x h x w, not of shape {tuple(scores.shape)}"
        )
    check_classes(scores.shape[-3], scores)
    if 0 in scores.shape[-2:]:
        raise ArgumentError(f"scores of shape {tuple(scores.shape)} hold no pixel to sample")
    return scores if scores.ndim == 4 else scores[None]


def check_images_or_volumes(scores: Any) -> Any:
    """Return the scores as N x C x h x w, or N x C x d x h x w if they have five dimensions."""
    return check_volumes(scores) if getattr(scores, "ndim", 0) == 5 else check_scores(scores)


def check_volumes(scores: Any) -> Any:
    """Return the scores as N x C x d x h x w."""
    check_dtype(scores)
    if scores.ndim not in (4, 5) or not all(scores.shape[-3:]):
        raise ArgumentError(
            "scores of volumes must be C x d x h x w or N x C x d x h x w and hold pixels, "
            f"not of shape {tuple(scores.shape)}"
        )
    check_classes(scores.shape[-4], scores)
    return scores if scores.ndim == 5 else scores[None]


def choose_backend(scores: Any, backend: str, backends: tuple[str, ...] = BACKENDS) -> str:
    """Return which of a head's backends to use, or raise with the reason one cannot serve."""
    if backend not in backends:
        raise ArgumentError(f"backend must be one of {backends}, not {backend!r}")
    arrays = framework(scores)
    device = arrays.device(scores).partition(":")[0]
    if backend == "auto":
        if arrays.exporting():  # a graph that others run holds torch's own operators
            return "eager"
        backend = {"cpu": "cpu", "cuda": "gpu"}.get(device, "eager")
        return backend if backend in backends and _INSTALLED[backend] else "eager"
    if backend == "cpu" and device != "cpu":
        raise ArgumentError(f'backend="cpu" works in main memory, but the scores are on {device}')
    if backend == "gpu" and arrays.name != "torch":
        raise ArgumentError('backend="gpu" takes torch tensors; a NumPy array is served by "cpu"')
    if not _INSTALLED[backend]:
        package = {"cpu": "numba", "gpu": "triton"}[backend]
        raise ArgumentError(f'backend="{backend}" needs {package}: pip install {package}')
    return backend
