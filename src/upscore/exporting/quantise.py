"""Post-training quantisation of an ONNX file: 8-bit convolutions, calibrated on photos."""

from collections.abc import Iterable
from pathlib import Path
from typing import Any

from numpy.typing import NDArray


def quantise(source: Path, target: Path, photos: Iterable[NDArray[Any]]) -> None:
    """Write the model of a file with 8-bit convolutions.

    Weights are quantised for each channel; the ranges of activations are those that the photos
    reach, after the clipping that follows a convolution. In float32 stay: the first convolution,
    since all that is lost there is lost for the whole network; those that answer class scores,
    which are compared with each other; transposed convolutions, which the tools cannot quantise;
    and all else.
    """
    import onnx

    from upscore.inference.engines.onnxruntime import onnxruntime  # which reports to nobody
    from onnxruntime import quantization  # isort: skip

    class Photos(quantization.CalibrationDataReader):  # type: ignore[misc]
        def __init__(self) -> None:
            self.batches = ({"photos": photo[None]} for photo in photos)

        def get_next(self) -> dict[str, Any] | None:
            return next(self.batches, None)

    # Batch normalisation must be part of the convolution before it, or its range is measured twice.
    folded = target.with_name("folded.onnx")
    options = onnxruntime.SessionOptions()
    options.graph_optimization_level = onnxruntime.GraphOptimizationLevel.ORT_ENABLE_BASIC
    options.optimized_model_filepath = str(folded)
    onnxruntime.InferenceSession(str(source), options, providers=["CPUExecutionProvider"])
    model = onnx.load(str(folded))
    _only_used_operators(model)
    # What ONNX Runtime's own preparation notes, without which it warns that there was none.
    model.metadata_props.add(key="onnx.quant.pre_process", value="onnxruntime.quant")
    quantization.quantize_static(
        model,
        str(target),
        Photos(),
        quant_format=quantization.QuantFormat.QDQ,
        op_types_to_quantize=["Conv", "Clip", "Relu"],
        nodes_to_exclude=_sensitive(model.graph),
        per_channel=True,
        activation_type=quantization.QuantType.QUInt8,
        weight_type=quantization.QuantType.QInt8,
    )


def _only_used_operators(model: Any) -> None:
    """Drop the operator sets that ONNX Runtime lists though no node is from them."""
    used = {node.domain for node in model.graph.node}
    unused = [entry for entry in model.opset_import if entry.domain not in used]
    for entry in unused:
        model.opset_import.remove(entry)


def _sensitive(graph: Any) -> list[str]:
    """The names of the first convolution and of those that answer class scores."""
    convolutions = [node for node in graph.node if node.op_type == "Conv"]
    answering = [n for n in convolutions if any(".classify_" in name for name in n.input)]
    if not answering:  # the paper's network: every score_* answers class scores
        answering = [n for n in convolutions if any(".score_" in name for name in n.input)]
    return [node.name for node in (convolutions[0], *answering)]
