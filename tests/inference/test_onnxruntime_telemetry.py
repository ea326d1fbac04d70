"""ONNX Runtime reports nothing to its makers when upscore runs it."""

import os
import subprocess
import sys

import onnxruntime
import pytest

PREDICT = """
import upscore
from upscore.images import samples
upscore.Predictor(engine="onnxruntime")(samples()["cat"])
"""
ALONE = "import onnxruntime"


def files_after(code, home):
    """What a process leaves in an empty home: a device's identity is kept there with reports."""
    environment = {k: v for k, v in os.environ.items() if k not in ("CI", "ORT_DISABLE_TELEMETRY")}
    environment |= {"HOME": str(home), "XDG_CACHE_HOME": str(home / "cache")}
    command = [sys.executable, "-c", code]
    subprocess.run(command, check=True, env=environment, cwd=home, timeout=300)
    return [path.name for path in home.rglob("*") if "onnxruntime" in str(path)]


def test_no_device_is_named_and_no_report_kept(tmp_path):
    (tmp_path / "ours").mkdir()
    assert not files_after(PREDICT, tmp_path / "ours")
    (tmp_path / "alone").mkdir()
    if not files_after(ALONE, tmp_path / "alone"):
        pytest.skip(f"onnxruntime {onnxruntime.__version__} keeps no reports here by itself")
