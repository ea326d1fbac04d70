import json
import os

import numpy as np
import pytest
from PIL import Image

from upscore.prediction.batch import predict_files

pytestmark = pytest.mark.slow


@pytest.mark.parametrize("count", [2000, pytest.param(10_000, marks=pytest.mark.release)])
def test_thousands_of_small_files(tmp_path, monkeypatch, count):
    monkeypatch.setattr(os, "fsync", lambda handle: None)  # most of the time, and not the question
    photos, out = tmp_path / "photos", tmp_path / "out"
    photos.mkdir()
    random = np.random.default_rng(0)
    for i in range(count):
        pixels = random.integers(0, 256, (16, 16, 3), np.uint8)
        Image.fromarray(pixels).save(photos / f"{i:05}.png")
    first = predict_files([photos], out, long_side=None, progress=False)
    assert (len(first.ok), len(first.skipped)) == (count, 0)
    names = [path.stem for path in sorted((out / "labels").iterdir())]
    assert names == [f"{i:05}" for i in range(count)]
    assert len((out / "manifest.jsonl").read_bytes().splitlines()) == count + 1

    (out / "labels" / "00007.png").unlink()
    again = predict_files([photos], out, long_side=None, resume=True, progress=False)
    assert len(again.skipped) == count - 1
    assert json.loads((out / "summary.json").read_text())["ok"] == count
