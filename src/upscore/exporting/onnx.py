"""One ONNX file with its weights, for photos of any size or one.

    photos -> padding to whole cells -> the checkpoint's graph -> cut to the photo -> head

photos: uint8, N x H x W x 3, RGB, or float32 of the model's bands; normalisation is part of the
graph. `scores` are those of `Segmenter.scores`, `labels` those of `Segmenter.labels` without
resizing of photos.
"""

from collections.abc import Iterable
from pathlib import Path
from typing import Any

import numpy as np

from upscore.exporting.options import Options
from upscore.models.spec import COARSEST, Spec

_FIRST = np.zeros(2, np.int64)
_ROWS_COLUMNS = np.array([2, 3])  # the axes of scores
_LARGEST_HALF = float(np.finfo(np.float16).max)


def onnx_model(graph: Path, spec: Spec, options: Options) -> Any:
    """Return a checkpoint's graph as a self-contained model; int8 is left to `quantise`."""
    import onnx

    model = onnx.load(str(graph), load_external_data=True)
    _widen(model.graph)
    if options.precision == "float16":
        _narrow(model.graph)
    _surround(model.graph, spec, options)
    model.producer_name = "upscore"
    onnx.checker.check_model(model, full_check=True)
    return model


def add_metadata(model: Any, metadata: dict[str, str]) -> None:
    """Write keys and values where every ONNX tool shows them, instead of what tools noted there."""
    del model.metadata_props[:]
    for key, value in metadata.items():
        model.metadata_props.add(key=key, value=value)


def _widen(graph: Any) -> None:
    """Make half-precision weights float32, which any tool can fold or quantise."""
    from onnx import TensorProto, numpy_helper

    halves = {t.name: t for t in graph.initializer if t.data_type == TensorProto.FLOAT16}
    nodes = []
    for node in graph.node:
        tensor = halves.get(node.input[0]) if node.op_type == "Cast" else None
        if tensor is None:
            nodes.append(node)
        else:
            wide = numpy_helper.to_array(tensor).astype(np.float32)
            tensor.CopyFrom(numpy_helper.from_array(wide, node.output[0]))
    _replace(graph.node, nodes)


def _narrow(graph: Any) -> None:
    """Keep filters and matrices in half precision, each followed by a Cast to float32.

    Vectors (biases, normalisation of features and of photos) are small, and a variance near zero
    would be lost; a tensor with values beyond half precision stays as it is.
    """
    from onnx import TensorProto, helper, numpy_helper

    casts = []
    for tensor in graph.initializer:
        if tensor.data_type != TensorProto.FLOAT or sum(n > 1 for n in tensor.dims) < 2:
            continue
        values, name = numpy_helper.to_array(tensor), tensor.name
        if np.abs(values).max(initial=0) > _LARGEST_HALF:
            continue
        tensor.CopyFrom(numpy_helper.from_array(values.astype(np.float16), f"{name}.half"))
        casts.append(helper.make_node("Cast", [f"{name}.half"], [name], to=TensorProto.FLOAT))
    _replace(graph.node, [*casts, *graph.node])


def _surround(graph: Any, spec: Spec, options: Options) -> None:
    """Put padding before the network, and cutting and the head after it."""
    from onnx import TensorProto, helper

    steps = _Steps(graph)
    for node in graph.node:
        for names in (node.input, node.output):
            _replace(names, [{"photos": "padded", "scores": "all_scores"}.get(n, n) for n in names])
    if options.size is None:
        padding, cells, size = _measured(steps, spec.stride)
    else:
        down, right = (-side % COARSEST for side in options.size)
        padding = steps.constant([0, 0, 0, 0, 0, down, right, 0])
        cells = steps.constant([-(-side // spec.stride) for side in options.size])
        size = steps.constant(options.size)
    steps.add("Pad", ["photos", padding], "padded", mode="edge")
    before, steps.nodes = steps.nodes, []
    first, axes = steps.constant(_FIRST), steps.constant(_ROWS_COLUMNS)
    steps.add("Slice", ["all_scores", first, cells, axes], "scores")
    height, width = options.size or ("H", "W")
    if options.head == "labels":
        scales = steps.constant([1, 1, spec.stride, spec.stride], np.float32)
        resizing = {"mode": "linear", "coordinate_transformation_mode": "half_pixel"}
        steps.add("Resize", ["scores", "", scales], "enlarged", **resizing)
        steps.add("Slice", ["enlarged", first, size, axes], "cut")
        steps.add("ArgMax", ["cut"], "ids", axis=1, keepdims=0)
        steps.add("Cast", ["ids"], "labels", to=TensorProto.UINT8)
        output = helper.make_tensor_value_info("labels", TensorProto.UINT8, ["N", height, width])
    else:
        rows, columns = (
            ("h", "w")
            if options.size is None
            else [-(-side // spec.stride) for side in options.size]
        )
        shape: list[Any] = ["N", len(spec.class_names), rows, columns]
        output = helper.make_tensor_value_info("scores", TensorProto.FLOAT, shape)
    _replace(graph.node, [*before, *graph.node, *steps.nodes])
    dtype, bands = (TensorProto.UINT8, 3) if spec.bands is None else (TensorProto.FLOAT, spec.bands)
    photos = helper.make_tensor_value_info("photos", dtype, ["N", height, width, bands])
    _replace(graph.input, [photos])
    _replace(graph.output, [output])


def _measured(steps: "_Steps", stride: int) -> tuple[str, str, str]:
    """Padding, cells of scores, and rows and columns, from the photos as they come."""
    size = steps.add("Shape", ["photos"], "size", start=1, end=3)
    less = steps.add("Neg", [size], "minus_size")
    missing = steps.add("Mod", [less, steps.constant([COARSEST])], "missing")
    nothing = steps.constant([0, 0, 0, 0, 0]), steps.constant([0])
    padding = steps.add("Concat", [nothing[0], missing, nothing[1]], "padding", axis=0)
    more = steps.add("Add", [size, steps.constant([stride - 1])], "size_and_more")
    cells = steps.add("Div", [more, steps.constant([stride])], "cells")
    return padding, cells, size


class _Steps:
    """Nodes to come, and their constants, under names of their own."""

    def __init__(self, graph: Any) -> None:
        self.graph, self.nodes, self.constants = graph, list[Any](), 0

    def constant(self, values: Iterable[int], dtype: type = np.int64) -> str:
        from onnx import numpy_helper

        name = f"upscore_constant_{self.constants}"
        self.constants += 1
        self.graph.initializer.append(numpy_helper.from_array(np.array(values, dtype), name))
        return name

    def add(self, kind: str, inputs: list[str], output: str, **attributes: Any) -> str:
        from onnx import helper

        node = helper.make_node(kind, inputs, [output], name=f"upscore_{output}", **attributes)
        self.nodes.append(node)
        return output


def _replace(field: Any, values: list[Any]) -> None:
    """Give a repeated field of a protocol buffer other values."""
    values = list(values)
    del field[:]
    field.extend(values)
