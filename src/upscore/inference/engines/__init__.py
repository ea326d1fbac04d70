"""What runs a network. An engine has a name and one method: photos in, coarse scores out."""

from typing import Literal

EngineName = Literal["auto", "onnxruntime", "openvino", "torch"]
Precision = Literal["float32", "bfloat16"]

ENGINES = ("onnxruntime", "openvino", "torch")
PRECISIONS = ("float32", "bfloat16")
