"""OpenVINO: the fastest engine on Intel and AMD processors, in float32 or bfloat16."""

from pathlib import Path
from typing import Any

import numpy as np
import openvino
from numpy.typing import NDArray

from upscore.errors import CheckpointError
from upscore.kernels.threads import thread_count

_PRECISIONS = {"float32": "f32", "bfloat16": "bf16"}


class OpenVinoEngine:
    """Runs a checkpoint's graph on the CPU."""

    def __init__(self, graph: str | Path, precision: str = "float32") -> None:
        """Open a verified graph; its tensors are read from the safetensors file beside it."""
        self.name = "openvino" if precision == "float32" else f"openvino {precision}"
        options = {
            "INFERENCE_PRECISION_HINT": _PRECISIONS[precision],
            "PERFORMANCE_HINT": "LATENCY",
            "INFERENCE_NUM_THREADS": thread_count(),
        }
        try:
            self.model = openvino.Core().compile_model(str(graph), "CPU", options)
        except RuntimeError as error:
            raise CheckpointError(f"OpenVINO cannot open {graph}: {error}") from error

    def scores(self, photos: NDArray[Any]) -> Any:
        """Coarse scores, float32."""
        try:
            return np.array(self.model(photos)[0], np.float32)
        except RuntimeError as error:
            if "alloc" in str(error):
                raise MemoryError(f"not enough memory for photos of {photos.shape}") from error
            raise
