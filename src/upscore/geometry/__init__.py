"""Where the pixels go: output sizes, crops and sampling positions of a transposed convolution.

Everything is said for one axis; the axes of a picture do not know of each other. Input pixel `i`
adds its kernel to the *full* output, tap `t` at `i * stride + t * dilation`. All that the
conventions disagree on is how many pixels to cut from its two ends:

    full      |-------------------------------------|     (size_in - 1) * stride + extent
    output            |-------------------------|         extent = (kernel - 1) * dilation + 1
              | begin |                         | end |   end < 0: zeros are appended instead

An `Axis` holds those numbers. Each convention has a reader, which makes an `Axis` of its own terms
(`pytorch`, `tensorflow`, `keras`, `caffe`, `onnx`), and a writer (`to_pytorch`, ...): one of each
converts between any two. Sizes and paddings are in pixels. docs/explanation/geometry.md
derives it all.
"""

from upscore.geometry.axis import Axis
from upscore.geometry.axis import whole as whole
from upscore.geometry.conventions import (
    caffe,
    keras,
    onnx,
    pytorch,
    tensorflow,
    to_caffe,
    to_onnx,
    to_pytorch,
    to_tensorflow,
)
from upscore.geometry.grid import (
    Grid,
    convolved,
    crop_offset,
    linear_positions,
    sampling,
    shift,
    transposed,
    upscore_padding,
)

__all__ = [
    "Axis",
    "Grid",
    "caffe",
    "convolved",
    "crop_offset",
    "keras",
    "linear_positions",
    "onnx",
    "pytorch",
    "sampling",
    "shift",
    "tensorflow",
    "to_caffe",
    "to_onnx",
    "to_pytorch",
    "to_tensorflow",
    "transposed",
    "upscore_padding",
]
