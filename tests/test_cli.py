"""The command: exit codes, messages, and a reference that says what --help says."""

import subprocess
import sys
from pathlib import Path

import numpy as np
import pytest
from PIL import Image

import upscore.cli

ROOT = Path(__file__).parent.parent


def command(*arguments):
    return subprocess.run(
        [sys.executable, "-c", "from upscore.cli import main; main()", *map(str, arguments)],
        capture_output=True,
        text=True,
    )


def test_reference_is_what_help_says():
    made = subprocess.run(
        [sys.executable, "-m", "typer", "upscore.cli", "utils", "docs", "--name", "upscore"],
        capture_output=True,
        text=True,
        check=True,
    ).stdout
    assert (ROOT / "docs" / "cli.md").read_text().strip() == made.strip(), (
        "regenerate it: python -m typer upscore.cli utils docs --name upscore --output docs/cli.md"
    )


def test_upsample_writes_a_larger_picture(tmp_path):
    Image.fromarray(np.full((5, 7, 3), 90, np.uint8)).save(tmp_path / "small.png")
    done = command("upsample", tmp_path / "small.png", "--factor", 3, "-o", tmp_path / "large.png")
    assert done.returncode == 0, done.stderr
    large = np.asarray(Image.open(tmp_path / "large.png"))
    assert large.shape == (15, 21, 3)
    assert (large == 90).all()


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        (("predict", "nowhere.jpg", "-o", "out", "--model", "no/model"), "no model at"),
        (("predict", "a.jpg", "-o", "out", "-m", "bundled", "-m", "no/model"), "no model at no"),
        (("predict", "nowhere.jpg", "-o", "out", "--tta", "turn"), "tta 'turn' is unknown"),
        (("evaluate", "nowhere", "--tta", "scales=9"), "each must be from 0.25 to 2"),
        (("evaluate", "nowhere"), "nowhere"),
        (("train", "nowhere", "-o", "run"), "nowhere"),
        (("check", "nowhere"), "nowhere"),
    ],
)
def test_mistakes_are_one_message_and_exit_code_1(arguments, message, tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    done = command(*arguments)
    assert done.returncode == 1
    assert message in done.stderr
    assert "Traceback" not in done.stderr


def test_settings_are_fields_of_the_recipe():
    assert upscore.cli._setting("ema=0.9") == ("ema", 0.9)
    assert upscore.cli._setting("architecture=fcn8s") == ("architecture", "fcn8s")
    assert upscore.cli._setting("scale=(0.5, 1.5)") == ("scale", (0.5, 1.5))
    with pytest.raises(Exception, match="not name=value"):
        upscore.cli._setting("speed=11")
