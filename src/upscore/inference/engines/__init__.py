"""What runs a network. An engine has a name and one method: photos in, coarse scores out."""

from typing import Literal

EngineName = Literal["auto", "onnxruntime", "openvino", "torch"]
Precision = Literal["float32", "bfloat16"]

# Each engine has the name of its package; the extra of upscore that installs it.
ENGINES = {"onnxruntime": "predict", "openvino": "openvino", "torch": "network"}
PRECISIONS = ("float32", "bfloat16")


def no_memory(shape: tuple[int, ...]) -> MemoryError:
    """The error of an engine that has no memory for photos of this shape, N x H x W x bands.

    >>> str(no_memory((1, 9000, 12000, 3))).partition(":")[0]
    'not enough memory for photos of 1 x 9000 x 12000 x 3'
    """
    return MemoryError(
        f"not enough memory for photos of {' x '.join(map(str, shape))}: show the network smaller "
        "ones (long_side), or label them by windows (upscore predict --tile auto)"
    )
