"""Load a model with an engine that runs it."""

import ctypes
import sys
import warnings
from collections.abc import Sequence
from importlib.util import find_spec
from os import PathLike
from pathlib import Path
from typing import Any, Literal

from upscore.errors import ArgumentError, CheckpointError, MissingPackageError
from upscore.inference.engines import ENGINES, PRECISIONS, EngineName, Precision
from upscore.inference.ensemble import Ensemble
from upscore.inference.segmenter import Segmenter
from upscore.inference.tta import Tta
from upscore.models.checkpoint import Checkpoint, read_checkpoint

Models = str | Path | Sequence[str | Path]
LongSide = int | Literal["trained"] | None

_ADD_GRAPH = (
    "it was written by an upscore before 0.2; `upscore export FOLDER --format checkpoint -o FOLDER`"
    " adds the graph (it needs 'upscore[export]')"
)


def load(
    model: Models = "bundled",
    engine: EngineName = "auto",
    device: str | None = None,
    *,
    precision: Precision = "float32",
) -> Segmenter:
    """Load a model for prediction.

    Args:
        model: "bundled", a folder with a model.json, or the folder of a training run. A list of
            them is an ensemble: models of the same classes that answer as one.
        engine: "onnxruntime" and "openvino" run on the CPU and need no torch; "torch" runs on any
            device. "auto" takes OpenVINO where bfloat16 is asked for; torch where a device other
            than the CPU is asked for, or where the installed torch can use an NVIDIA GPU; and
            otherwise ONNX Runtime.
        device: where the network runs, as torch names it: "cpu", "cuda", ...
        precision: what OpenVINO computes in. "bfloat16" is faster on processors that have it, and
            keeps two to three decimal places of the scores.

    Returns:
        A `Segmenter`.

    Raises:
        CheckpointError: the model cannot be loaded, or has no graph for the engine asked for.
        MissingPackageError: the engine's package is not installed.
        ArgumentError: no such engine, or one that cannot run on the device or in the precision; the
            classes of several models differ.

    Examples:
        >>> import upscore
        >>> upscore.load().spec.class_names
        ('background', 'person', 'cat', 'dog', 'horse', 'sheep', 'cow')
    """
    if isinstance(model, str | PathLike):
        return _load_one(model, engine, device, precision)
    members = [_load_one(one, engine, device, precision) for one in model]
    return members[0] if len(members) == 1 else Ensemble(members, [str(one) for one in model])


def name_of(model: Models | Segmenter) -> str:
    """What to call a model in a result."""
    if isinstance(model, Segmenter):
        return "Segmenter"
    return str(model) if isinstance(model, str | PathLike) else ", ".join(map(str, model))


def segmenter_of(
    model: Models | Segmenter,
    *,
    engine: EngineName = "auto",
    device: str | None = None,
    precision: Precision = "float32",
    long_side: LongSide = "trained",
    tta: Tta = (),
) -> Segmenter:
    """Return the Segmenter that these arguments of `Predictor` and `evaluate` mean."""
    if isinstance(model, Segmenter):
        if (engine, device, precision) != ("auto", None, "float32"):
            raise ArgumentError(
                "a Segmenter has its engine: give engine, device, precision to load"
            )
    else:
        model = load(model, engine, device, precision=precision)
    if long_side != "trained":
        model = model.at(long_side)
    return model.with_tta(tta) if tta else model


def _load_one(
    model: str | Path, engine: EngineName, device: str | None, precision: Precision
) -> Segmenter:
    """Load one model, as `load` says."""
    if engine not in ("auto", *ENGINES):
        raise ArgumentError(f"engine must be auto, {', '.join(ENGINES)}, not {engine!r}")
    if precision not in PRECISIONS:
        raise ArgumentError(f"precision must be {' or '.join(PRECISIONS)}, not {precision!r}")
    checkpoint = read_checkpoint(model)
    if precision == "bfloat16" and checkpoint.spec.bands is not None:
        raise ArgumentError("measurements need float32: bfloat16 would keep 8 bits of their values")
    name = _choose(checkpoint, device, precision) if engine == "auto" else engine
    if precision != "float32" and name != "openvino":
        raise ArgumentError(f"the engine {name} computes in float32: {precision} needs openvino")
    if find_spec(name) is None:
        raise MissingPackageError(
            f"the engine {name} needs {name}: pip install 'upscore[{ENGINES[name]}]'"
        )
    if name == "torch":
        return Segmenter(checkpoint.spec, _torch_engine(checkpoint, device))
    if device not in (None, "cpu"):
        raise ArgumentError(f"the engine {name} runs on the CPU, not on {device}: take torch")
    if checkpoint.graph is None:
        raise CheckpointError(f"{checkpoint.folder} has no graph for {name}: {_ADD_GRAPH}")
    if name == "openvino":
        from upscore.inference.engines.openvino import OpenVinoEngine

        return Segmenter(checkpoint.spec, OpenVinoEngine(checkpoint.graph, precision))
    from upscore.inference.engines.onnxruntime import OnnxRuntimeEngine

    return Segmenter(checkpoint.spec, OnnxRuntimeEngine(checkpoint.graph))


def _choose(checkpoint: Checkpoint, device: str | None, precision: Precision) -> str:
    """The engine that "auto" means."""
    if precision == "bfloat16":
        return "openvino"
    on_cpu = device == "cpu" or (device is None and not _has_cuda())
    if not on_cpu:
        return "torch"
    if checkpoint.graph is None and find_spec("torch") is not None:
        warnings.warn(f"{checkpoint.folder} runs with torch: {_ADD_GRAPH}", stacklevel=4)
        return "torch"
    return "onnxruntime"


def _has_cuda() -> bool:
    """Whether torch can use a GPU here; torch is imported, slowly, only if there is a driver."""
    if find_spec("torch") is None:
        return False
    try:
        ctypes.CDLL("nvcuda.dll" if sys.platform == "win32" else "libcuda.so.1")
    except OSError:
        return False
    import torch

    return bool(torch.cuda.is_available())


def _torch_engine(checkpoint: Checkpoint, device: str | None) -> Any:
    import torch

    from upscore.inference.engines.torch import TorchEngine
    from upscore.models.weights import network_of

    network = network_of(checkpoint.spec, checkpoint.weights)
    network.to(device or ("cuda" if torch.cuda.is_available() else "cpu"))
    return TorchEngine(network.to(memory_format=torch.channels_last), checkpoint.spec)
