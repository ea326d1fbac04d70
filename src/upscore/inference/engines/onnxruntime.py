"""ONNX Runtime: the engine of predictions on a CPU."""

import os
from collections.abc import Sequence
from functools import cached_property
from pathlib import Path
from typing import Any

from numpy.typing import NDArray

# From 1.29 on its builds report every session to Microsoft, unless this is set before the import.
os.environ.setdefault("ORT_DISABLE_TELEMETRY", "1")
import onnxruntime as onnxruntime
from onnxruntime.capi.onnxruntime_pybind11_state import RuntimeException

from upscore.errors import CheckpointError
from upscore.inference.engines import no_memory
from upscore.kernels.threads import thread_count
from upscore.models.graph_cut import Cut, cut

_ERRORS = 3  # of ONNX Runtime's log levels


class OnnxRuntimeEngine:
    """Runs a checkpoint's graph on the CPU."""

    name = "onnxruntime"

    def __init__(self, graph: str | Path) -> None:
        """Open a verified graph; its tensors are read from the safetensors file beside it."""
        self.graph = Path(graph)
        self.session = self._session(str(graph))

    def scores(self, photos: NDArray[Any], pooled: Sequence[NDArray[Any]] = ()) -> Any:
        """Coarse scores, float32."""
        if not pooled:
            return _run(self.session, {"photos": photos})[0]
        given = dict(zip(self._cut.pools, pooled, strict=True))
        return _run(self._taking, {"photos": photos} | given)[0]

    def pooled(self, photos: NDArray[Any]) -> tuple[NDArray[Any], ...]:
        """What the network's global poolings find in photos, which `scores` takes."""
        if not self._cut.pools:
            return ()
        # For a picture this comes once: the memory is given back.
        options = onnxruntime.RunOptions()
        options.add_run_config_entry("memory.enable_memory_arena_shrinkage", "cpu:0")
        return tuple(_run(self._showing, {"photos": photos}, options))

    @cached_property
    def _cut(self) -> Cut:
        return cut(self.graph.read_bytes())

    @cached_property
    def _showing(self) -> onnxruntime.InferenceSession:
        return self._session(self._cut.showing)

    @cached_property
    def _taking(self) -> onnxruntime.InferenceSession:
        return self._session(self._cut.taking)

    def _session(self, graph: str | bytes) -> onnxruntime.InferenceSession:
        options = onnxruntime.SessionOptions()
        options.intra_op_num_threads = thread_count()
        options.log_severity_level = _ERRORS
        # It would hold the memory of a size that came before beside that of the next ones.
        options.enable_mem_pattern = False
        # Threads that spin while they wait starve whatever else wants the cores.
        options.add_session_config_entry("session.intra_op.allow_spinning", "0")
        options.add_session_config_entry(
            "session.model_external_initializers_file_folder_path", str(self.graph.parent)
        )
        try:
            return onnxruntime.InferenceSession(graph, options, providers=["CPUExecutionProvider"])
        except Exception as error:  # of a dozen types without a common one
            raise CheckpointError(f"ONNX Runtime cannot open {self.graph}: {error}") from error


def _run(
    session: onnxruntime.InferenceSession, given: dict[str, NDArray[Any]], options: Any = None
) -> Any:
    try:
        return session.run(None, given, options)
    except RuntimeException as error:
        if any(text in str(error) for text in ("allocate memory", "bad_alloc")):
            raise no_memory(given["photos"].shape) from error
        raise
