"""ONNX Runtime: the engine of predictions on a CPU."""

from pathlib import Path
from typing import Any

import onnxruntime
from numpy.typing import NDArray
from onnxruntime.capi.onnxruntime_pybind11_state import RuntimeException

from upscore.errors import CheckpointError
from upscore.kernels.threads import thread_count

_ERRORS = 3  # of ONNX Runtime's log levels


class OnnxRuntimeEngine:
    """Runs a checkpoint's graph on the CPU."""

    name = "onnxruntime"

    def __init__(self, graph: str | Path) -> None:
        """Open a verified graph; its tensors are read from the safetensors file beside it."""
        options = onnxruntime.SessionOptions()
        options.intra_op_num_threads = thread_count()
        options.log_severity_level = _ERRORS
        # Threads that spin while they wait starve whatever else wants the cores.
        options.add_session_config_entry("session.intra_op.allow_spinning", "0")
        try:
            self.session = onnxruntime.InferenceSession(
                str(graph), options, providers=["CPUExecutionProvider"]
            )
        except Exception as error:  # of a dozen types without a common one
            raise CheckpointError(f"ONNX Runtime cannot open {graph}: {error}") from error

    def scores(self, photos: NDArray[Any]) -> Any:
        """Coarse scores, float32."""
        try:
            return self.session.run(None, {"photos": photos})[0]
        except RuntimeException as error:
            if "allocate memory" in str(error):
                raise MemoryError(f"not enough memory for photos of {photos.shape}") from error
            raise
