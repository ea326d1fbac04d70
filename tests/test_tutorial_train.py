"""The commands of docs/tutorials/train.md, in order, on the data that its script makes."""

import io
import json
import re
import shlex
import shutil
import subprocess
import sys
from pathlib import Path

import numpy as np
import pytest
from PIL import Image

from upscore.evaluation import metrics

pytestmark = pytest.mark.slow

pytest.importorskip("timm", reason="needs pip install 'upscore[train]'")

TUTORIALS = Path(__file__).parents[1] / "docs" / "tutorials"
PAGE = (TUTORIALS / "train.md").read_text("utf-8")
STEPS = ["coins.py", "check", "plan", "train", "evaluate", "predict", "serve", "export"]
# Steps instead of a time: how many fit into two minutes depends on what else the machine does. A
# small network and small photos, so that so few of them are enough.
SHORT = "--steps 14 --set encoder=tf_efficientnet_lite0 --set long_side=128 --set crop=96"


def test_the_tutorial(tmp_path, serve):
    """Each command of the page runs; the model finds coins, and is served as it predicts."""
    shutil.copy(TUTORIALS / "coins.py", tmp_path)
    commands = re.findall(r"^```sh\n(.*?)\n```$", PAGE, re.MULTILINE | re.DOTALL)
    verbs = [command.split()[1] for command in commands]
    assert verbs == STEPS

    said = {}
    for verb, command in zip(verbs, commands, strict=True):
        words = shlex.split(command.replace("--time 2m", SHORT))
        if verb == "serve":
            server = serve(*(word for word in words[2:] if word != "--open"))
            continue
        words[:1] = [sys.executable, *(["-m", "upscore"] if words[0] == "upscore" else [])]
        if verb == "evaluate":
            words += ["--json", "scores.json"]
        run = subprocess.run(words, cwd=tmp_path, capture_output=True, text=True)
        assert run.returncode == 0, run.stderr
        said[verb] = run.stdout

    assert f"```text\n{said['check']}```\n" in PAGE
    assert "held out of train" in " ".join(said["plan"].split())

    scores = json.loads((tmp_path / "scores.json").read_text())
    pixels = np.array([row["true_pixels"] for row in scores["classes"].values()])
    assert scores["mean_iou"] > metrics.commonest_iou(pixels) + 0.4
    assert (tmp_path / "runs/mine/report/report.html").is_file()

    photo = (tmp_path / "new/coin-03.jpg").read_bytes()
    answer = server.client.post("/v1/segment", content=photo)
    served = np.asarray(Image.open(io.BytesIO(answer.content)))
    assert {0, 1} == set(np.unique(served))
    predicted = np.asarray(Image.open(tmp_path / "found/labels/coin-03.png"))
    np.testing.assert_array_equal(served, predicted)
    assert (tmp_path / "mine.onnx").stat().st_size > 1e6
