"""Post-training quantisation of an ONNX file: 8-bit convolutions, calibrated on photos."""

from collections.abc import Iterable
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray


def quantise(source: Path, target: Path, photos: Iterable[NDArray[np.uint8]]) -> None:
    """Write the model of a file with 8-bit convolutions.

    Weights are quantised for each channel; the ranges of activations are those that the photos
    reach. Transposed convolutions, which the tools cannot quantise, and all else stay in float32.
    """
    import onnx
    import onnxruntime
    from onnxruntime import quantization

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
    # What ONNX Runtime's own preparation notes, without which it warns that there was none.
    model.metadata_props.add(key="onnx.quant.pre_process", value="onnxruntime.quant")
    quantization.quantize_static(
        model,
        str(target),
        Photos(),
        quant_format=quantization.QuantFormat.QDQ,
        op_types_to_quantize=["Conv"],
        per_channel=True,
        activation_type=quantization.QuantType.QUInt8,
        weight_type=quantization.QuantType.QInt8,
    )
