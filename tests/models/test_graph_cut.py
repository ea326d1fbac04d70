"""Graphs are cut where rows and columns are pooled, and nowhere else, for both runtimes."""

import numpy as np
import onnx
import pytest
from onnx import TensorProto, helper, numpy_helper

from upscore.errors import ArgumentError
from upscore.inference.engines.onnxruntime import OnnxRuntimeEngine
from upscore.inference.engines.openvino import OpenVinoEngine
from upscore.models.graph_cut import cut
from upscore.models.protobuf import field, fields_of

PHOTO = np.random.default_rng(0).integers(0, 256, (1, 64, 96, 3), np.uint8)


def graph(*poolings):
    """Scores are the bands plus the means over some axes, or a global average pooling."""
    nodes = [
        helper.make_node("Cast", ["photos"], ["floats"], to=TensorProto.FLOAT),
        helper.make_node("Transpose", ["floats"], ["bands"], perm=[0, 3, 1, 2]),
        helper.make_node("Identity", ["bands"], ["sum_0"]),
    ]
    tensors = []
    for i, axes in enumerate(poolings):
        if axes is None:
            nodes.append(helper.make_node("GlobalAveragePool", ["bands"], [f"pooled_{i}"]))
        else:
            tensors.append(numpy_helper.from_array(np.array(axes, np.int64), f"axes_{i}"))
            nodes.append(helper.make_node("ReduceMean", ["bands", f"axes_{i}"], [f"pooled_{i}"]))
        nodes.append(helper.make_node("Add", [f"sum_{i}", f"pooled_{i}"], [f"sum_{i + 1}"]))
    nodes.append(helper.make_node("Identity", [f"sum_{len(poolings)}"], ["scores"]))
    photos = helper.make_tensor_value_info("photos", TensorProto.UINT8, ["N", "H", "W", 3])
    scores = helper.make_tensor_value_info("scores", TensorProto.FLOAT, ["N", 3, "h", "w"])
    made = helper.make_graph(nodes, "g", [photos], [scores], tensors)
    return helper.make_model(
        made, opset_imports=[helper.make_opsetid("", 20)], ir_version=10
    ).SerializeToString()


@pytest.mark.parametrize("engine", [OnnxRuntimeEngine, OpenVinoEngine])
@pytest.mark.parametrize(
    ("poolings", "found"),
    [
        ([], []),
        ([(1,), (2,), (3,), (1, 2, 3)], []),
        ([(2, 3)], [0]),
        ([(1,), (3, 2), None, (-1, -2), (-1,)], [1, 2, 3]),
    ],
)
def test_only_rows_and_columns_together_are_cut(engine, poolings, found, tmp_path):
    path = tmp_path / "graph.onnx"
    path.write_bytes(graph(*poolings))
    assert cut(path.read_bytes()).pools == tuple(f"pooled_{i}" for i in found)
    runs = engine(path)
    pooled = runs.pooled(PHOTO)
    assert len(pooled) == len(found)
    alone = runs.scores(PHOTO)
    np.testing.assert_allclose(runs.scores(PHOTO, pooled), alone, rtol=1e-5)
    for values in pooled:
        np.testing.assert_allclose(values.ravel(), PHOTO.mean((0, 1, 2)), rtol=1e-4)
    raised = runs.scores(PHOTO, [values + 1 for values in pooled])
    np.testing.assert_allclose(raised - alone, len(found), rtol=1e-3, atol=1e-3)


def test_the_graph_in_several_messages_is_one():
    whole = graph((2, 3))
    fields = list(fields_of(memoryview(whole)))
    split = b""
    for number, value in fields:
        parts = [field(n, v) for n, v in fields_of(value)] if number == 7 else [value]
        split += b"".join(field(number, part) for part in parts)
    assert onnx.load_from_string(split) == onnx.load_from_string(whole)
    for ours, theirs in zip(cut(split)[1:], cut(whole)[1:], strict=True):
        assert onnx.load_from_string(ours) == onnx.load_from_string(theirs)


def test_what_is_no_graph_is_refused():
    with pytest.raises(ArgumentError, match="it is no ONNX graph"):
        cut(field(7, 1))
