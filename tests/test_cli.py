"""The command: exit codes, messages, and a reference that says what --help says."""

import json
import subprocess
import sys
from pathlib import Path

import numpy as np
import pytest
from PIL import Image

import upscore.cli

pytestmark = pytest.mark.slow

ROOT = Path(__file__).parent.parent


def command(*arguments):
    return subprocess.run(
        [sys.executable, "-m", "upscore", *map(str, arguments)],
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
    page = "docs/reference/cli.md"
    assert (ROOT / page).read_text().strip() == made.strip(), (
        f"regenerate it: python -m typer upscore.cli utils docs --name upscore --output {page}"
    )


def test_upsample_writes_a_larger_picture(tmp_path):
    Image.fromarray(np.full((5, 7, 3), 90, np.uint8)).save(tmp_path / "small.png")
    done = command("upsample", tmp_path / "small.png", "--factor", 3, "-o", tmp_path / "large.png")
    assert done.returncode == 0, done.stderr
    large = np.asarray(Image.open(tmp_path / "large.png"))
    assert large.shape == (15, 21, 3)
    assert (large == 90).all()


def test_check_says_what_it_took_a_folder_for(tmp_path):
    (tmp_path / "img").mkdir()
    (tmp_path / "gt").mkdir()
    for i in range(2):
        Image.new("RGB", (3, 2), (i, 0, 0)).save(tmp_path / "img" / f"{i}.tif")
        Image.new("L", (3, 2), i).save(tmp_path / "gt" / f"{i}_mask.png")
    (tmp_path / "classes.txt").write_text("ground\nroad\n")
    patterns = ("--images", "img/*.tif", "--masks", "gt/{stem}_mask.png")
    done = command("check", tmp_path, *patterns)
    assert done.returncode == 0, done.stderr
    assert done.stdout == (
        "all: 2 pairs; patterns (img/*.tif, gt/{stem}_mask.png), 2 classes: ground, road; "
        "masks of class ids\n"
    )
    for arguments in (
        ("check", tmp_path),
        ("evaluate", tmp_path),
        ("train", tmp_path, "-o", "run"),
    ):
        done = command(*arguments, "--images", "img/*.tif")
        assert done.returncode == 1
        assert "images and masks go together" in done.stderr


def test_check_reports_each_problem_of_an_undivided_folder_once(tmp_path):
    for part, band in (("images", "RGB"), ("masks", "L")):
        (tmp_path / part).mkdir()
        for i in range(12):
            Image.new(band, (3, 2), i % 2).save(tmp_path / part / f"{i}.png")
    Image.new("L", (3, 2), 7).save(tmp_path / "masks" / "5.png")
    (tmp_path / "masks" / "4.png").unlink()
    (tmp_path / "classes.txt").write_text("ground\nroad\n")
    done = command("check", tmp_path)
    assert done.returncode == 1
    assert "2 problems (1 no partner, 1 no such class):" in done.stdout
    assert done.stdout.count(str(tmp_path / "masks" / "5.png")) == 1


def test_check_notes_masks_that_are_cut(tmp_path):
    for part, band in (("images", "RGB"), ("masks", "L")):
        (tmp_path / part).mkdir()
        half = Image.new(band, (40, 40))
        half.paste("white", (0, 0, 20, 37))
        half.save(tmp_path / part / "a.jpg")
    done = command("check", tmp_path)
    assert done.returncode == 0, done.stderr
    assert done.stdout.splitlines()[1].startswith(
        "note: 1 of 1 masks have values between 0 and 255"
    )


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        (("predict", "nowhere.jpg", "-o", "out", "--model", "no/model"), "no model at"),
        (("predict", "a.jpg", "-o", "out", "-m", "bundled", "-m", "no/model"), "no model at no"),
        (("predict", "nowhere.jpg", "-o", "out", "--tta", "turn"), "tta 'turn' is unknown"),
        (("evaluate", "nowhere", "--tta", "scales=9"), "each must be from 0.25 to 2"),
        (("evaluate", "nowhere"), "nowhere"),
        (("train", "nowhere", "-o", "run"), "nowhere"),
        (("plan", "nowhere", "--time", "20m"), "nowhere"),
        (("plan", "nowhere", "--time", "a while"), "expected seconds, or 90s, 20m"),
        (("plan", "nowhere", "--set", "crop=large"), "crop is 'large'"),
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
    assert upscore.cli.options._setting("ema=0.9") == ("ema", 0.9)
    assert upscore.cli.options._setting("architecture=fcn8s") == ("architecture", "fcn8s")
    assert upscore.cli.options._setting("scale=(0.5, 1.5)") == ("scale", (0.5, 1.5))
    with pytest.raises(Exception, match="not name=value"):
        upscore.cli.options._setting("speed=11")


def test_a_plan_is_shown_and_written(tmp_path):
    for part in ("images", "masks"):
        (tmp_path / "data" / part).mkdir(parents=True)
    for i in range(5):
        mask = np.zeros((40, 60), np.uint8)
        mask[10:30, 20 : 30 + i] = 255
        for part, pixels in (("images", mask // 2), ("masks", mask)):
            Image.fromarray(pixels).save(tmp_path / "data" / part / f"{i}.png")
    settings = ("encoder=test_efficientnet", "pretrained=False", "frozen_norm=False", "crop=64")
    options = [part for setting in settings for part in ("--set", setting)]
    done = command("plan", tmp_path / "data", "-o", tmp_path / "plan.json", *options)
    assert done.returncode == 0, done.stderr
    assert "ce+dice" in done.stdout
    assert "as given" in done.stdout
    assert "on this machine" in done.stdout
    assert json.loads((tmp_path / "plan.json").read_text())["recipe"]["crop"] == 64
