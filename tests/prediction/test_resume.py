import json
import os
import signal
import subprocess
import sys
import time

import numpy as np
import pytest
from PIL import Image

from upscore import load
from upscore.prediction.batch import predict_files
from upscore.prediction.manifest import Manifest

pytestmark = pytest.mark.slow

RUN = (
    "import sys; from upscore.prediction.batch import predict_files\n"
    "predict_files([sys.argv[1]], sys.argv[2], progress=False)"
)


@pytest.fixture
def photos(tmp_path):
    folder = tmp_path / "photos"
    folder.mkdir()
    for i in range(12):
        pixels = np.random.default_rng(i).integers(0, 256, (60, 80, 3), np.uint8)
        Image.fromarray(pixels).save(folder / f"{i:02}.png")
    return folder


def outputs(out):
    return {p.relative_to(out): p.read_bytes() for p in out.rglob("*") if p.suffix != ".json"
            and p.suffix != ".jsonl" and p.is_file()}  # fmt: skip


def run(photos, out, **options):
    return predict_files([photos], out, progress=False, resume=True, **options)


def skipped(summary):
    return {record["file"].rpartition("/")[2] for record in summary.skipped}


def test_a_run_that_was_killed_goes_on(photos, tmp_path):
    out, whole = tmp_path / "out", tmp_path / "whole"
    predict_files([photos], whole, progress=False)
    process = subprocess.Popen([sys.executable, "-c", RUN, str(photos), str(out)])
    manifest = out / "manifest.jsonl"
    deadline = time.monotonic() + 60
    while not manifest.exists() or manifest.read_bytes().count(b"\n") < 4:
        assert time.monotonic() < deadline
        time.sleep(0.005)
    process.send_signal(signal.SIGKILL)
    process.wait()
    done = manifest.read_bytes().count(b"\n") - 1
    found = run(photos, out)
    assert len(found.skipped) >= min(done, 3)
    assert len(found.ok) == 12
    parts = [path for path in outputs(out) if path.name.startswith(".part-")]
    made = outputs(out)
    for part in parts:  # what was being written at that moment
        del made[part]
    assert made == outputs(whole)
    listed = json.loads((out / "summary.json").read_text())
    assert (listed["ok"], listed["skipped"]) == (12, len(found.skipped))


def test_what_changed_failed_or_is_missing_is_done_again(photos, tmp_path, capsys):
    out = tmp_path / "out"
    (photos / "broken.png").write_bytes(b"nothing")
    assert not run(photos, out).skipped
    names = {path.name for path in photos.iterdir()}
    assert skipped(run(photos, out)) == names - {"broken.png"}

    os.utime(photos / "00.png", (1, 1))
    (out / "labels" / "01.png").unlink()
    (out / "overlays" / "02.jpg").write_bytes(b"short")
    lines = (out / "manifest.jsonl").read_bytes().splitlines(keepends=True)
    torn = [line for line in lines if b'"03"' not in line]
    torn += [line[:40] for line in lines if b'"03"' in line][:1]
    (out / "manifest.jsonl").write_bytes(b"".join(torn))
    redone = {"broken.png", "00.png", "01.png", "02.png", "03.png"}
    assert names - skipped(run(photos, out)) == redone
    assert names - skipped(run(photos, out)) == {"broken.png"}  # the torn line spoilt none
    assert "other options" not in capsys.readouterr().err
    assert not run(photos, out, long_side=64).skipped
    assert "another model or other options" in capsys.readouterr().err
    assert not predict_files([photos], out, progress=False).skipped


FULL = """
import resource, signal, sys
from pathlib import Path
from upscore.errors import OutputError
from upscore.prediction.manifest import Manifest
signal.signal(signal.SIGXFSZ, signal.SIG_IGN)
resource.setrlimit(resource.RLIMIT_FSIZE, (1000, 1000))
manifest = Manifest(Path(sys.argv[1]), {}, resume=True)
try:
    for i in range(100):
        manifest.add(str(i), {}, {})
except OutputError as error:
    print(error)
"""


@pytest.mark.skipif(os.name == "nt", reason="limits the size of a file as a shell's ulimit does")
def test_a_full_disk_ends_the_run_and_tears_one_line(tmp_path):
    command = [sys.executable, "-c", FULL, str(tmp_path)]
    said = subprocess.run(command, capture_output=True, text=True, check=True).stdout
    assert "manifest.jsonl" in said
    assert "cannot be written" in said
    assert (tmp_path / "manifest.jsonl").stat().st_size == 1000
    Manifest(tmp_path, {}, resume=True).add("next", {}, {})
    *_, torn, last = (tmp_path / "manifest.jsonl").read_bytes().splitlines()
    assert json.loads(last)["name"] == "next"
    with pytest.raises(ValueError, match=r"Expecting|Unterminated"):
        json.loads(torn)


def test_results_of_a_segmenter_are_not_taken_for_another_models(photos, tmp_path):
    out = tmp_path / "out"
    run(photos, out)
    predict_files([photos], out, load(), progress=False)
    assert not run(photos, out).skipped


def test_a_name_that_another_photo_took_is_done_again(photos, tmp_path):
    out, other = tmp_path / "out", tmp_path / "other"
    other.mkdir()
    Image.new("RGB", (8, 8)).save(other / "00.png")
    run(photos, out)
    run(other, out)
    assert "00.png" not in skipped(run(photos, out))
