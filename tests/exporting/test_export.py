"""Exports run in their own runtimes as the model does, or are not written."""

import json
import re
import subprocess
import sys
from pathlib import Path

import numpy as np
import onnx
import onnxruntime
import pytest
import torch
from PIL import ExifTags, Image

import tiny
import upscore
from upscore.errors import ArgumentError, ParityError, UnsupportedError
from upscore.exporting import parity as gate

pytestmark = pytest.mark.slow

GUIDE = Path(__file__).parents[2] / "docs" / "guides" / "export.md"
ODD = [(1, 1, 1), (2, 7, 33), (1, 64, 96), (1, 101, 75)]


@pytest.fixture(scope="module", params=[None, torch.float16], ids=["float32", "float16"])
def model(request, tmp_path_factory):
    return tiny.saved(tmp_path_factory.mktemp("model"), dtype=request.param)


def run_onnx(file, batch):
    session = onnxruntime.InferenceSession(str(file), providers=["CPUExecutionProvider"])
    return session.run(None, {"photos": batch})[0]


def run_openvino(file, batch):
    import openvino

    options = {"INFERENCE_PRECISION_HINT": "f32"}
    return np.array(openvino.Core().compile_model(str(file), "CPU", options)(batch)[0])


@pytest.mark.parametrize(("name", "run"), [("m.onnx", run_onnx), ("m.xml", run_openvino)])
def test_any_size_gives_the_scores_and_labels_of_the_model(model, name, run, tmp_path):
    segmenter = upscore.load(model, "onnxruntime")
    upscore.export(model, tmp_path / name)
    upscore.export(model, tmp_path / f"labels-{name}", head="labels")
    for size in ODD:
        batch = tiny.batch(*size)
        expected = segmenter.scores(batch)
        np.testing.assert_allclose(run(tmp_path / name, batch), expected, rtol=1e-3, atol=1e-4)
        labels = run(tmp_path / f"labels-{name}", batch)
        assert (labels.dtype, labels.shape) == (np.uint8, size)
        assert (labels != segmenter.labels(batch)).mean() < 1e-3


@pytest.mark.parametrize(
    ("resizing", "size"), [({"long_side": 480}, (480, 360)), ({"zoom": 1.25}, (400, 300))]
)
def test_the_program_of_the_guide_turns_and_resizes_photos(resizing, size, tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    upscore.export(tiny.saved("model", tiny.spec(**resizing)), "model.onnx", head="labels")
    lying = Image.Exif()
    lying[ExifTags.Base.Orientation] = 6
    Image.fromarray(tiny.batch(1, 240, 320)[0]).save("cat.jpg", exif=lying)
    blocks = re.findall(r"^```python\n(.*?)^```$", GUIDE.read_text("utf-8"), re.M | re.DOTALL)
    [program] = [block for block in blocks if "onnxruntime" in block]
    names = {}
    exec(program, names)
    shown = upscore.images.resized(upscore.images.read("cat.jpg"), size)
    expected = upscore.load("model", "onnxruntime").at(None).labels(shown)
    assert names["labels"].shape == (1, *size)
    assert (names["labels"][0] != expected).mean() < 1e-3


def test_one_size_is_the_only_one(model, tmp_path):
    upscore.export(model, tmp_path / "m.onnx", size="50x70", head="labels")
    batch = tiny.batch(2, 50, 70)
    labels = run_onnx(tmp_path / "m.onnx", batch)
    assert (labels != upscore.load(model, "onnxruntime").labels(batch)).mean() < 1e-3
    with pytest.raises(Exception, match="invalid dimensions"):
        run_onnx(tmp_path / "m.onnx", tiny.batch(1, 64, 64))


def test_half_precision_halves_the_file(model, tmp_path):
    upscore.export(model, tmp_path / "whole.onnx")
    upscore.export(model, tmp_path / "half.onnx", precision="float16")
    kinds = {t.data_type for t in onnx.load(str(tmp_path / "half.onnx")).graph.initializer}
    assert onnx.TensorProto.FLOAT16 in kinds
    sizes = [(tmp_path / name).stat().st_size for name in ("half.onnx", "whole.onnx")]
    assert sizes[0] < sizes[1]


def test_files_say_how_to_use_them(model, tmp_path):
    parity = upscore.export(model, tmp_path / "m.onnx", head="labels")
    found = {p.key: json.loads(p.value) for p in onnx.load(str(tmp_path / "m.onnx")).metadata_props}
    assert found["class_names"] == list(tiny.NAMES)
    assert found["palette"] == [list(colour) for colour in tiny.SPEC.palette]
    assert (found["head"], found["stride"], found["long_side"]) == ("labels", 8, None)
    assert found["parity"] == json.loads(json.dumps(parity.to_dict()))
    upscore.export(model, tmp_path / "m.xml")
    import openvino

    info = openvino.Core().read_model(str(tmp_path / "m.xml")).get_rt_info(["upscore", "head"])
    assert json.loads(info.astype(str)) == "scores"


def test_a_checkpoint_is_written_again(model, tmp_path):
    upscore.export(model, tmp_path / "again", precision="float16")
    batch = tiny.batch(1, 40, 50)
    again = upscore.load(tmp_path / "again", "onnxruntime")
    expected = upscore.load(model, "onnxruntime").scores(batch)
    np.testing.assert_allclose(again.scores(batch), expected, rtol=0.05, atol=0.05)
    assert again.spec.card["parity"]["precision"] == "float16"


def test_a_program_of_torch_labels_as_the_model_does(model, tmp_path):
    upscore.export(model, tmp_path / "m.pt2", size="45x60", head="labels")
    batch = tiny.batch(1, 45, 60)
    with torch.inference_mode():
        found = torch.export.load(tmp_path / "m.pt2").module()(torch.from_numpy(batch)).numpy()
    assert (found != upscore.load(model, "onnxruntime").labels(batch)).mean() < 1e-3


def test_8_bits_quantise_convolutions(model, tmp_path):
    every = list(gate.MEASURES)
    upscore.export(model, tmp_path / "m.onnx", precision="int8", accept=every)
    nodes = onnx.load(str(tmp_path / "m.onnx")).graph.node
    assert "QuantizeLinear" in {node.op_type for node in nodes}
    assert run_onnx(tmp_path / "m.onnx", tiny.batch(1, 33, 65)).shape == (1, 3, 5, 9)


@pytest.mark.parametrize("name", ["m.onnx", "m.xml", "folder"])
def test_beyond_a_limit_nothing_is_written(model, name, tmp_path, monkeypatch):
    monkeypatch.setitem(gate.LIMITS, "float32", (2.0, 0.5, 2.0, 0.5, 0.0))
    with pytest.raises(ParityError, match=r"--accept agreement --accept worst-class"):
        upscore.export(model, tmp_path / name)
    with pytest.raises(ParityError, match="worst-class"):
        upscore.export(model, tmp_path / name, accept=["agreement"])
    assert not list(tmp_path.iterdir())
    parity = upscore.export(model, tmp_path / name, accept=["agreement", "worst-class"])
    assert (tmp_path / name).exists()
    assert [m.name for m in parity.measures if not m.met] == ["agreement", "worst-class"]


def test_masks_are_a_measure(model):
    segmenter = upscore.load(model, "onnxruntime")
    photo = tiny.batch(1, 40, 60)[0]
    mask = segmenter.at(None).labels(photo)
    values = {"source": "here", "precision": "float32"}
    parity = gate.compare(segmenter, lambda photo: mask, [(photo, mask)], **values)
    assert parity.masks == (1.0, 1.0)
    assert [m.name for m in parity.measures] == list(gate.MEASURES)
    parity.check()
    wrong = gate.compare(segmenter, lambda photo: (mask + 1) % 3, [(photo, mask)], **values)
    assert not any(m.met for m in wrong.measures)
    with pytest.raises(ParityError, match="masks"):
        wrong.check()


@pytest.mark.parametrize(
    ("name", "options", "error", "message"),
    [
        ("m.txt", {}, ArgumentError, "format must be"),
        ("m.onnx", {"format": "openvino"}, ArgumentError, "xml"),
        ("m.onnx", {"precision": "int4"}, ArgumentError, "precision must be"),
        ("m.onnx", {"size": "0x5"}, ArgumentError, "HxW"),
        ("m.onnx", {"accept": ["speed"]}, ArgumentError, "measures are"),
        ("m.pt2", {}, UnsupportedError, "needs a size"),
        ("m.pt2", {"size": "5x5", "precision": "int8"}, UnsupportedError, "float32"),
        ("folder", {"precision": "int8"}, UnsupportedError, "float16"),
        ("folder", {"head": "labels"}, UnsupportedError, "network alone"),
    ],
)
def test_what_cannot_be_is_said(name, options, error, message, tmp_path):
    with pytest.raises(error, match=message):
        upscore.export("bundled", tmp_path / name, **options)
    assert not list(tmp_path.iterdir())


def test_the_command_refuses_with_exit_code_1(tmp_path):
    code = (
        "from upscore.exporting import parity\n"
        "parity.LIMITS['float32'] = (2.0, 0.0, 0.0, 0.0, 0.0)\n"
        "from upscore.cli import main; main()"
    )
    arguments = ["export", "bundled", "-o", str(tmp_path / "m.onnx")]
    accepted = ["--accept", "agreement"]
    refused, written = (
        subprocess.run([sys.executable, "-c", code, *more], capture_output=True, text=True)
        for more in (arguments, arguments + accepted)
    )
    assert refused.returncode == 1
    assert "--accept agreement" in refused.stderr.replace("\n", " ")
    assert written.returncode == 0, written.stderr
    assert (tmp_path / "m.onnx").is_file()
    assert "accepted" in written.stdout
