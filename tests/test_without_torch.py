"""Prediction where nothing of torch can be imported, as after `pip install upscore[predict]`."""

import json
import subprocess
import sys

import numpy as np
import pytest
from PIL import Image

from upscore.images import samples

# What [predict] and [evaluate] do not bring.
BLOCK = """
import sys
absent = "torch torchvision timm safetensors accelerate onnx onnxscript openvino skimage".split()
sys.modules |= dict.fromkeys(absent)
"""


def run(code, *arguments):
    done = subprocess.run(
        [sys.executable, "-c", BLOCK + code, *map(str, arguments)], capture_output=True, text=True
    )
    assert done.returncode == 0, done.stderr
    return done.stdout


COMMAND = "from upscore.cli import main; main()"


def test_predict(tmp_path):
    out = run(COMMAND, "predict", samples()["cat"], "-o", tmp_path)
    assert "cat " in out
    labels = np.asarray(Image.open(tmp_path / "labels" / "cat.png"))
    assert labels.shape == (300, 451)
    summary = json.loads((tmp_path / "summary.json").read_text())
    assert summary["files"][0]["areas"]["cat"] > 0.4


def test_several_models_and_views(tmp_path):
    options = "-m", "bundled", "-m", "bundled", "--tta", "flip,scales=0.5/1"
    out = run(COMMAND, "predict", samples()["cat"], "-o", tmp_path, *options)
    assert "cat " in out
    summary = json.loads((tmp_path / "summary.json").read_text())
    assert summary["model"] == "bundled, bundled"
    assert summary["files"][0]["areas"]["cat"] > 0.4


def test_predictor():
    code = "import upscore; print(list(upscore.Predictor()(sys.argv[1]).areas))"
    assert run(code, samples()["cat"]) == "['cat', 'background']\n"


def test_evaluate(tmp_path):
    for part in ("images", "masks"):
        (tmp_path / "val" / part).mkdir(parents=True)
    Image.open(samples()["cat"]).save(tmp_path / "val" / "images" / "a.png")
    mask = np.zeros((300, 451), np.uint8)
    mask[100:200, 150:300] = 1
    Image.fromarray(mask).save(tmp_path / "val" / "masks" / "a.png")
    (tmp_path / "classes.txt").write_text("background\ncat\n")
    report = tmp_path / "report"
    out = run(COMMAND, "evaluate", tmp_path, "--report", report)
    assert "mean IoU" in out
    assert (report / "report.html").is_file()


@pytest.mark.parametrize("engine", ["torch", "openvino"])
def test_an_engine_that_is_not_installed_says_what_to_install(engine):
    code = (
        "import upscore\n"
        "try: upscore.load(engine=sys.argv[1])\n"
        "except upscore.UpscoreError as error: print(error)\n"
    )
    assert "pip install 'upscore[" in run(code, engine)
