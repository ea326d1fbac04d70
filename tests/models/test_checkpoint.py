"""Checkpoints from strangers: any JSON, any graph; the answer is a CheckpointError or a model."""

import json
import shutil

import onnx
import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st
from onnx import TensorProto, helper

from upscore.errors import ArgumentError, CheckpointError
from upscore.models.checkpoint import BUNDLED, read_checkpoint
from upscore.models.graph_check import check_external_data

GRAPH = next(BUNDLED.glob("*.onnx"))
WEIGHTS = next(BUNDLED.glob("*.safetensors"))
DESCRIPTION = json.loads((BUNDLED / "model.json").read_text())

ANYTHING = st.recursive(
    st.none() | st.booleans() | st.integers() | st.floats() | st.text(max_size=5),
    lambda inner: st.lists(inner, max_size=4) | st.dictionaries(st.text(max_size=3), inner),
    max_leaves=6,
)


@pytest.fixture
def folder(tmp_path):
    for file in (GRAPH, WEIGHTS, BUNDLED / "model.json"):
        shutil.copy(file, tmp_path)
    return tmp_path


@settings(
    max_examples=300, deadline=None, suppress_health_check=[HealthCheck.function_scoped_fixture]
)
@given(field=st.sampled_from([*DESCRIPTION, "stranger"]), value=ANYTHING)
def test_any_value_of_any_field_is_read_or_refused(folder, field, value):
    (folder / "model.json").write_text(json.dumps(DESCRIPTION | {field: value}))
    try:
        found = read_checkpoint(folder).spec
    except CheckpointError:
        return
    assert len(found.palette) == len(found.class_names)
    assert field in ("long_side", "zoom", "encoder", "card", "width", "mean", "std") or value in (
        DESCRIPTION.get(field),
        *((1, 2) if field == "format" else ()),
    )


@pytest.mark.parametrize("value", [None, 1, 0.25, 1e5])
def test_the_ground_of_the_photos(folder, value):
    (folder / "model.json").write_text(json.dumps(DESCRIPTION | {"resolution": value}))
    assert read_checkpoint(folder).spec.resolution == value


def test_models_of_before_do_not_know_the_ground(folder):
    old = {name: field for name, field in DESCRIPTION.items() if name != "resolution"}
    (folder / "model.json").write_text(json.dumps(old))
    assert read_checkpoint(folder).spec.resolution is None


@pytest.mark.parametrize("value", [0, -1, 1e6, True, "0.5", [0.5], float("nan"), float("inf")])
def test_what_is_no_ground(folder, value):
    (folder / "model.json").write_text(json.dumps(DESCRIPTION | {"resolution": value}))
    with pytest.raises(CheckpointError, match="resolution"):
        read_checkpoint(folder)


@settings(
    max_examples=100, deadline=None, suppress_health_check=[HealthCheck.function_scoped_fixture]
)
@given(ANYTHING)
def test_any_json_is_read_or_refused(folder, value):
    (folder / "model.json").write_text(json.dumps(value))
    with pytest.raises(CheckpointError):
        read_checkpoint(folder)


@pytest.mark.parametrize("text", ["[" * 100_000, "{" * 100_000, '{"format": 1e999}', ""])
def test_json_made_to_hurt_is_refused(folder, text):
    (folder / "model.json").write_text(text)
    with pytest.raises(CheckpointError):
        read_checkpoint(folder)


def test_a_checkpoint_without_its_graph_or_with_another_is_refused(folder):
    graph = folder / GRAPH.name
    whole = graph.read_bytes()
    graph.write_bytes(whole[:-1] + b"\0")
    with pytest.raises(CheckpointError, match="not the file that model"):
        read_checkpoint(folder)
    graph.unlink()
    with pytest.raises(CheckpointError, match="cannot be read"):
        read_checkpoint(folder)


def outside(**entries):
    """A tensor kept in another file."""
    tensor = TensorProto(name="w", dims=[1], data_type=TensorProto.FLOAT)
    tensor.data_location = TensorProto.EXTERNAL
    for key, value in entries.items():
        tensor.external_data.add(key=key, value=str(value))
    return tensor


def model(*nodes, tensors=()):
    graph = helper.make_graph(nodes, "g", [], [], tensors)
    return helper.make_model(graph)


GOOD = {"location": WEIGHTS.name, "offset": 8, "length": 4}
BAD = {
    "another file": GOOD | {"location": "/etc/passwd"},
    "a file above": GOOD | {"location": f"../{WEIGHTS.name}"},
    "beyond the end": GOOD | {"offset": WEIGHTS.stat().st_size - 3},
    "a negative offset": GOOD | {"offset": -4},
    "a huge length": GOOD | {"length": 1 << 70},
    "no length": {"location": WEIGHTS.name, "offset": 8},
    "no location": {"offset": 8, "length": 4},
    "an unknown entry": GOOD | {"basepath": "/"},
    "nothing said": {},
}


def placed(tensor):
    """The tensor in every place of a model where one can be."""
    constant = helper.make_node("Constant", [], ["c"])
    constant.attribute.add(name="value", type=onnx.AttributeProto.TENSOR, t=tensor)
    many = helper.make_node("Constant", [], ["c"])
    many.attribute.add(name="values", type=onnx.AttributeProto.TENSORS, tensors=[tensor])
    branch = helper.make_node("If", [], ["d"])
    inner = helper.make_graph([constant], "inner", [], [], [tensor])
    branch.attribute.add(name="then_branch", type=onnx.AttributeProto.GRAPH, g=inner)
    branches = helper.make_node("Custom", [], ["d"])
    branches.attribute.add(name="all", type=onnx.AttributeProto.GRAPHS, graphs=[inner])
    function = model()
    function.functions.add(name="f", domain="d", node=[constant])
    default = model()
    default.functions.add(name="f", domain="d", attribute_proto=[constant.attribute[0]])
    return [
        model(tensors=[tensor]),
        *map(model, (constant, many, branch, branches)),
        function,
        default,
    ]


def test_tensors_in_the_weights_file_are_allowed_everywhere():
    for one in placed(outside(**GOOD)):
        check_external_data(one.SerializeToString(), WEIGHTS)
    check_external_data(GRAPH.read_bytes(), WEIGHTS)


@pytest.mark.parametrize("case", BAD)
def test_tensors_anywhere_else_are_refused_everywhere(case):
    for one in placed(outside(**BAD[case])):
        with pytest.raises(ArgumentError):
            check_external_data(one.SerializeToString(), WEIGHTS)


def test_sparse_tensors_and_training_graphs_are_refused():
    sparse, training = model(), model()
    sparse.graph.sparse_initializer.add(dims=[1])
    training.training_info.add()
    for one in (sparse, training):
        with pytest.raises(ArgumentError, match="not allowed"):
            check_external_data(one.SerializeToString(), WEIGHTS)


def test_what_is_no_graph_is_refused():
    whole = GRAPH.read_bytes()
    for content in (b"\xff" * 40, whole[: len(whole) // 2], b"\x3b\x00", b"\x38\x01"):
        with pytest.raises(ArgumentError, match="no ONNX graph"):
            check_external_data(content, WEIGHTS)


@settings(max_examples=200, deadline=None)
@given(at=st.integers(0, GRAPH.stat().st_size - 1), byte=st.integers(0, 255))
def test_a_changed_byte_reads_no_other_file(at, byte):
    content = bytearray(GRAPH.read_bytes())
    content[at] = byte
    try:
        check_external_data(bytes(content), WEIGHTS)
        parsed = onnx.load_from_string(bytes(content))
    except Exception:  # either of the two may refuse it, in whatever way
        return
    places = {
        entry.value
        for tensor in parsed.graph.initializer
        for entry in tensor.external_data
        if entry.key == "location"
    }
    assert places <= {WEIGHTS.name}
