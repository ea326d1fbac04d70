"""OpenVINO: the fastest engine on Intel and AMD processors, in float32 or bfloat16."""

from pathlib import Path
from typing import Any

import numpy as np
import openvino
from numpy.typing import NDArray

from upscore.kernels.threads import thread_count

_PRECISIONS = {"float32": "f32", "bfloat16": "bf16"}


class OpenVinoEngine:
    """Runs a checkpoint's graph on the CPU."""

    def __init__(self, graph: str | Path, precision: str = "float32") -> None:
        """Open a verified graph; its tensors are read from the safetensors file beside it."""
        self.name = "openvino" if precision == "float32" else f"openvino {precision}"
        self.model = openvino.Core().compile_model(
            str(graph),
            "CPU",
            {
                "INFERENCE_PRECISION_HINT": _PRECISIONS[precision],
                "PERFORMANCE_HINT": "LATENCY",
                "INFERENCE_NUM_THREADS": thread_count(),
            },
        )

    def scores(self, photos: NDArray[np.uint8]) -> Any:
        """Coarse scores, float32."""
        return np.array(self.model(photos)[0], np.float32)
