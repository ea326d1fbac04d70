"""The README's code and commands, run as its readers would, with small inputs."""

import importlib.util
import re
import shlex
import subprocess
import sys
from pathlib import Path

import pytest
from PIL import Image

import tiny

pytestmark = pytest.mark.slow

ROOT = Path(__file__).parents[1]
README = (ROOT / "README.md").read_text("utf-8")
PYTHON = re.findall(r"^```python\n(.*?)^```$", README, re.MULTILINE | re.DOTALL)
COMMANDS = re.findall(r"^upscore .*$", README, re.MULTILINE)
SCORES = (
    "import numpy as np\n"
    "scores = np.random.default_rng(0).normal(size=(1, 5, 16, 32)).astype('f')\n"
    "target = np.random.default_rng(1).integers(0, 5, (1, 64, 128))\n"
)
# Training in seconds: two steps of the smallest network.
QUICK = "--steps 2 --workers 0 --log none --set encoder=test_efficientnet --set pretrained=False"
QUICK += " --set frozen_norm=False --set crop=64 --set long_side=80 --set batch_size=2"
TENSORS = "import torch\nscores, target = torch.from_numpy(scores), torch.from_numpy(target)\n"


def run(program, folder):
    done = subprocess.run(
        [sys.executable, "-c", program], cwd=folder, capture_output=True, text=True
    )
    assert done.returncode == 0, done.stderr
    return done.stdout


@pytest.mark.parametrize("tensors", ["", TENSORS], ids=["numpy", "torch"])
def test_the_session_of_those_who_have_a_model(tmp_path, tensors):
    missing = [name for name in ("torch", "transformers") if importlib.util.find_spec(name) is None]
    if missing:
        pytest.skip(f"not installed: {', '.join(missing)} (pip install upscore[integrations])")
    run(SCORES + tensors + PYTHON[0], tmp_path)


def test_the_session_of_those_who_want_to_understand(tmp_path):
    lines = run(PYTHON[1], tmp_path).splitlines()
    shown = re.search(r"# (\[\[\[.*?\]\]\]), four times", PYTHON[1])[1]
    assert [line.split(" ", 1)[1] for line in lines] == [shown] * 4


def test_every_session_is_run():
    assert len(PYTHON) == 2
    used = [command.split()[1] for command in COMMANDS]
    assert used == ["check", "train", "evaluate", "predict", "serve"]


def test_the_session_of_those_who_have_photos(tmp_path, launch):
    """All of it for real, but that training is quick and the server shows no browser."""
    pytest.importorskip("accelerate", reason="needs pip install upscore[train]")
    pytest.importorskip("fastapi", reason="needs pip install upscore[serve]")
    tiny.discs(tmp_path / "photos", 8)
    (tmp_path / "holiday").mkdir()
    for photo in (tmp_path / "photos" / "images").iterdir():
        Image.open(photo).convert("RGB").save(tmp_path / "holiday" / f"{photo.stem}.jpg")
    check, train, evaluate, predict, serve = (shlex.split(line, comments=True) for line in COMMANDS)
    time = train.index("--time")
    train[time : time + 2] = QUICK.split()
    for _, *arguments in (check, train, evaluate, predict):
        command = [sys.executable, "-m", "upscore", *arguments]
        done = subprocess.run(command, cwd=tmp_path, capture_output=True, text=True)
        assert done.returncode == 0, done.stdout + done.stderr
    assert (tmp_path / "runs/mine/report/report.html").exists()
    assert len(list((tmp_path / "labelled/labels").iterdir())) == 8
    server = launch(tmp_path, *(word for word in serve[2:] if word != "--open"))
    answer = server.client.post("/v1/segment", content=(tmp_path / "holiday/0.jpg").read_bytes())
    server.close()
    assert answer.status_code == 200


def test_the_picture_is_what_its_script_draws():
    path = ROOT / "docs" / "images" / "before_after.py"
    spec = importlib.util.spec_from_file_location("before_after", path)
    script = importlib.util.module_from_spec(spec)
    sys.modules["before_after"] = script  # dataclasses look their module up
    spec.loader.exec_module(script)
    assert script.FILE.read_text("utf-8") == script.picture()
