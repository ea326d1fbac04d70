"""Every engine gives the scores of the network, at every size; loading says what it cannot do."""

import hashlib
import json
from dataclasses import replace

import numpy as np
import onnx
import pytest
import torch
from torch import nn

import tiny
import upscore
from upscore import Segmenter, models
from upscore.errors import ArgumentError, CheckpointError, ImageError
from upscore.inference.engines import ENGINES
from upscore.models.graph import FromPhotos, trace

pytestmark = pytest.mark.slow

SIZES = [(1, 1, 1), (2, 7, 1), (1, 31, 65), (3, 64, 96), (1, 100, 333)]


@pytest.fixture(scope="module")
def model(tmp_path_factory):
    return tiny.saved(tmp_path_factory.mktemp("model"))


def expected(model, batch):
    """The scores of the network on photos that it pads by itself."""
    network, spec = models.load(model)
    pixels = models.normalise(torch.from_numpy(batch).permute(0, 3, 1, 2), spec)
    with torch.inference_mode():
        return network(pixels).numpy()


@pytest.mark.parametrize("size", SIZES)
@pytest.mark.parametrize("engine", ENGINES)
def test_scores_are_those_of_the_network(model, engine, size):
    batch = tiny.batch(*size)
    scores = np.asarray(upscore.load(model, engine).scores(batch))
    assert scores.dtype == np.float32
    np.testing.assert_allclose(scores, expected(model, batch), rtol=1e-4, atol=1e-4)


@pytest.mark.parametrize("engine", ENGINES)
def test_labels_of_a_batch_are_those_of_its_photos(model, engine):
    segmenter = upscore.load(model, engine).at(64)
    batch = tiny.batch(3, 50, 80)[:, ::-1, ::-1]  # of any strides
    labels = segmenter.labels(batch)
    assert (labels.dtype, labels.shape) == (np.uint8, (3, 50, 80))
    for photo, one in zip(batch, labels, strict=True):
        assert (segmenter.labels(photo) != one).mean() < 1e-3


@pytest.mark.parametrize(
    ("architecture", "encoder", "width"),
    [
        ("fcn4s", "test_resnet", "classes"),
        ("fcn32s", "test_efficientnet", 16),
        ("fcn16s", "test_convnext", 8),
        ("fcn4s", "mobilenetv3_small_050", 8),
    ],
)
def test_the_graph_of_any_network_is_the_network(architecture, encoder, width, tmp_path):
    tiny.saved(tmp_path, tiny.spec(architecture, encoder, width))
    batch = tiny.batch(2, 65, 40)
    scores = upscore.load(tmp_path, "onnxruntime").scores(batch)
    np.testing.assert_allclose(scores, expected(tmp_path, batch), rtol=1e-3, atol=1e-4)


def test_half_precision_weights_are_read_by_the_graph(tmp_path):
    tiny.saved(tmp_path, dtype=torch.float16)
    batch = tiny.batch(1, 64, 64)
    for engine in ENGINES:
        scores = np.asarray(upscore.load(tmp_path, engine).scores(batch))
        np.testing.assert_allclose(scores, expected(tmp_path, batch), rtol=1e-4, atol=1e-4)


def test_bfloat16_is_close(model):
    batch = tiny.batch(1, 64, 96)
    scores = upscore.load(model, "openvino", precision="bfloat16").scores(batch)
    whole = expected(model, batch)
    assert np.abs(scores - whole).max() < 0.05 * np.abs(whole).max()


def test_a_graph_that_depends_on_the_size_is_none():
    class Fixed(nn.Module):
        def forward(self, x):
            return x[..., :: x.shape[-1] // 8]

    spec = models.read_checkpoint().spec
    assert trace(FromPhotos(nn.Conv2d(3, 2, 1), spec)) is not None
    assert trace(FromPhotos(Fixed(), spec)) is None


def without_graph(folder):
    """Make a checkpoint one of the first format."""
    path = folder / "model.json"
    values = json.loads(path.read_text())
    del values["graph_sha256"]
    values |= {"format": 1, "classes": values.pop("class_names")}
    path.write_text(json.dumps(values))
    next(folder.glob("*.onnx")).unlink()


def test_a_checkpoint_of_the_first_format_runs_with_torch_and_says_how_to_add_a_graph(tmp_path):
    tiny.saved(tmp_path)
    batch = tiny.batch(1, 40, 40)
    scores = upscore.load(tmp_path, "torch").scores(batch)
    without_graph(tmp_path)
    with pytest.warns(UserWarning, match="--format checkpoint"):
        segmenter = upscore.load(tmp_path)
    assert segmenter.engine.name == "torch"
    torch.testing.assert_close(segmenter.scores(batch), scores)
    with pytest.raises(CheckpointError, match=r"no graph for onnxruntime.*--format checkpoint"):
        upscore.load(tmp_path, "onnxruntime")
    upscore.export(tmp_path, tmp_path, format="checkpoint")
    segmenter = upscore.load(tmp_path)
    assert segmenter.engine.name == "onnxruntime"
    np.testing.assert_allclose(segmenter.scores(batch), scores.numpy(), rtol=1e-4, atol=1e-4)


def test_what_cannot_be_is_said(model):
    with pytest.raises(ArgumentError, match="engine must be auto, onnxruntime, openvino, torch"):
        upscore.load(model, "tensorrt")
    with pytest.raises(ArgumentError, match="runs on the CPU, not on cuda"):
        upscore.load(model, "onnxruntime", "cuda")
    assert upscore.load(model, precision="bfloat16").engine.name == "openvino bfloat16"
    with pytest.raises(ArgumentError, match="bfloat16 needs openvino"):
        upscore.load(model, "torch", precision="bfloat16")
    segmenter = upscore.load(model)
    with pytest.raises(ArgumentError, match="a Segmenter has its engine"):
        upscore.Predictor(segmenter, engine="torch")
    for wrong in (np.zeros((8, 8), np.uint8), np.zeros((8, 8, 4), np.uint8), np.zeros((0, 8, 3))):
        with pytest.raises(ArgumentError, match="uint8 of N x H x W x 3"):
            segmenter.at(64).labels(wrong)
    for wrong in (np.zeros((8, 8, 3), np.uint8), np.zeros((1, 8, 8, 3)), np.zeros((0, 8, 8, 3))):
        with pytest.raises(ArgumentError, match="uint8 of N x H x W x 3"):
            segmenter.scores(wrong)
    with pytest.raises(ArgumentError, match="long_side must be at least 1"):
        segmenter.at(0)


def test_a_photo_is_not_shown_at_a_size_that_no_memory_holds(model):
    segmenter = upscore.load(model)
    wide = tiny.batch(1, 4, 1000)
    for larger in (segmenter.at(10**6), Segmenter(replace(segmenter.spec, zoom=1e3), None)):
        with pytest.raises(
            ImageError, match=r"at 1000000 x 4000 pixels, .* 400,000,000: .* 316227"
        ):
            larger.labels(wide)


@pytest.mark.parametrize("engine", ENGINES)
def test_files_that_do_not_belong_together_are_refused(engine, tmp_path):
    path = tiny.saved(tmp_path) / "model.json"
    values = json.loads(path.read_text())
    values |= {"class_names": values["class_names"][:2], "palette": values["palette"][:2]}
    path.write_text(json.dumps(values))
    with pytest.raises(CheckpointError, match=r"together|does not hold"):
        upscore.load(tmp_path, engine).labels(tiny.batch(1, 32, 32))


@pytest.mark.parametrize("engine", ["onnxruntime", "openvino"])
def test_a_graph_that_a_runtime_refuses_is_a_checkpoint_error(engine, tmp_path):
    values = json.loads((tiny.saved(tmp_path) / "model.json").read_text())
    graph = next(tmp_path.glob("*.onnx"))
    nodes = onnx.load(graph, load_external_data=False)
    nodes.graph.node[0].op_type = "NoSuchThing"
    content = nodes.SerializeToString()
    digest = hashlib.sha256(content).hexdigest()
    (tmp_path / f"model-{digest[:8]}.onnx").write_bytes(content)
    (tmp_path / "model.json").write_text(json.dumps(values | {"graph_sha256": digest}))
    with pytest.raises(CheckpointError, match="cannot open"):
        upscore.load(tmp_path, engine)
