"""OpenVINO: the fastest engine on Intel and AMD processors, in float32 or bfloat16."""

from collections.abc import Sequence
from functools import cache, cached_property
from pathlib import Path
from typing import Any

import numpy as np
import openvino
from numpy.typing import NDArray
from openvino import opset8
from openvino.passes import ConstantFolding, Manager

from upscore.errors import CheckpointError
from upscore.inference.engines import no_memory
from upscore.kernels.threads import thread_count

_PRECISIONS = {"float32": "f32", "bfloat16": "bf16"}
_SPATIAL = ({2, 3}, {-2, -1})  # the rows and columns of N x C x h x w


@cache
def core() -> Any:
    """The one core of this process, which lives as long as it does.

    Its CPU plugin gives the thread another stack for signals, and the one before back when it goes.
    Of two cores of which the first one made goes first, what comes back is freed memory: the next
    signal, such as that of a child that ends, is then a segmentation fault.
    """
    return openvino.Core()


class OpenVinoEngine:
    """Runs a checkpoint's graph on the CPU."""

    def __init__(self, graph: str | Path, precision: str = "float32") -> None:
        """Open a verified graph; its tensors are read from the safetensors file beside it."""
        self.name = "openvino" if precision == "float32" else f"openvino {precision}"
        self.graph, self._precision = graph, _PRECISIONS[precision]
        self.model = self._compiled(str(graph))

    def scores(self, photos: NDArray[Any], pooled: Sequence[NDArray[Any]] = ()) -> Any:
        """Coarse scores, float32."""
        if not pooled:
            return _run(self.model, [photos])[0]
        return _run(self._taking, [photos, *pooled])[0]

    def pooled(self, photos: NDArray[Any]) -> tuple[NDArray[Any], ...]:
        """What the network's global poolings find in photos, which `scores` takes."""
        return () if self._showing is None else tuple(_run(self._showing, [photos]))

    @cached_property
    def _showing(self) -> Any:
        """The network as far as its global poolings; None where it has none."""
        model = self._read()
        pools = _pools(model)
        if not pools:
            return None
        return self._compiled(openvino.Model(pools, model.get_parameters(), "pools"))

    @cached_property
    def _taking(self) -> Any:
        """The network with what its global poolings find as inputs."""
        model = self._read()
        for pool in _pools(model):
            given = opset8.parameter(pool.get_partial_shape(), np.float32)
            for target in pool.get_target_inputs():
                target.replace_source_output(given.output(0))
            model.add_parameters([given])
        model.validate_nodes_and_infer_types()
        return self._compiled(model)

    def _read(self) -> Any:
        """The network with the axes of its means as constants."""
        model = core().read_model(str(self.graph))
        manager = Manager()
        manager.register_pass(ConstantFolding())
        manager.run_passes(model)
        return model

    def _compiled(self, model: Any) -> Any:
        options = {
            "INFERENCE_PRECISION_HINT": self._precision,
            "PERFORMANCE_HINT": "LATENCY",
            "INFERENCE_NUM_THREADS": thread_count(),
        }
        try:
            return core().compile_model(model, "CPU", options)
        except RuntimeError as error:
            raise CheckpointError(f"OpenVINO cannot open {self.graph}: {error}") from error


def _pools(model: Any) -> list[Any]:
    """What the means over all rows and columns of a model make, in one order for one file."""
    return [
        op.output(0)
        for op in model.get_ordered_ops()
        if op.get_type_name() == "ReduceMean" and _axes(op.input_value(1).get_node()) in _SPATIAL
    ]


def _axes(node: Any) -> set[int]:
    """The values of a constant; of anything else none."""
    constant = node.get_type_name() == "Constant"
    return {int(axis) for axis in node.get_data().ravel()} if constant else set()


def _run(model: Any, given: list[NDArray[Any]]) -> list[NDArray[np.float32]]:
    try:
        # A request of its own: the one that a model keeps refuses a second thread.
        found = model.create_infer_request().infer(given)
        return [np.array(found[i], np.float32) for i, _ in enumerate(model.outputs)]
    except RuntimeError as error:
        if "alloc" in str(error):
            raise no_memory(given[0].shape) from error
        raise
