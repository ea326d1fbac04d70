import os
import signal
import sys
import threading
import time
from pathlib import Path

import numpy as np
import pytest
from PIL import Image

import tiny
from upscore import Segmenter, images, load
from upscore.errors import ArgumentError, RunError
from upscore.kernels.threads import thread_count
from upscore.prediction.batch import predict_files
from upscore.prediction.workers import on_processes

SPEC = tiny.halves(stride=4).spec


class Deadly(tiny.Halves):
    """Ends the process that shows it a photo that begins with pure red."""

    def __init__(self):
        super().__init__(stride=4)

    def scores(self, photos):
        if tuple(photos[0, 0, 0]) == (255, 0, 0):
            os.kill(os.getpid(), signal.SIGKILL)
        return super().scores(photos)


class Unborn(Deadly):
    def __setstate__(self, state):
        os._exit(3)


class Cramped(Deadly):
    """Leaves a process that it arrives in little more address space than it has by then."""

    spare = 600 << 20

    def __setstate__(self, state):
        import resource

        held = int(Path("/proc/self/statm").read_text().split()[0]) * resource.getpagesize()
        vars(self).update(state)
        resource.setrlimit(resource.RLIMIT_AS, (held + self.spare, held + self.spare))


class Idle(Deadly):
    """Ends its process a second after a photo; but one that begins with pure red waits for that."""

    def __init__(self, ended):
        super().__init__()
        self.ended = ended

    def scores(self, photos):
        if tuple(photos[0, 0, 0]) == (255, 0, 0):
            until = time.monotonic() + 60
            while not self.ended.exists() and time.monotonic() < until:
                time.sleep(0.05)
            time.sleep(1)
        else:
            threading.Timer(1, self.end).start()
        return super().scores(photos | 1)

    def end(self):
        self.ended.touch()
        os.kill(os.getpid(), signal.SIGKILL)


def write(folder, red=()):
    paths = []
    for i in range(6):
        pixels = np.random.default_rng(i).integers(0, 256, (30, 40, 3), np.uint8)
        pixels[0, 0] = (255, 0, 0) if i in red else (1, 2, 3)
        paths.append(folder / f"{i}.png")
        Image.fromarray(pixels).save(paths[-1])
    return paths


def test_a_photo_that_kills_its_process_is_tried_twice_and_left_out(tmp_path):
    paths = write(tmp_path, red=(2,))
    named = [(path, path.stem) for path in paths]
    options = {"model": Segmenter(SPEC, Deadly())}
    found = dict(on_processes(named, tmp_path / "out", options, jobs=2, threads=1))
    assert len(found) == 6
    errors = {photo[1]: record["error"] for photo, record in found.items() if "error" in record}
    assert list(errors) == ["2"]
    assert "2 processes died while working on it (killed by signal 9)" in errors["2"]
    written = sorted(p.stem for p in (tmp_path / "out" / "labels").iterdir())
    assert written == ["0", "1", "3", "4", "5"]


@pytest.mark.skipif(sys.platform != "linux", reason="limits the address space by /proc")
def test_a_photo_too_large_for_memory_is_left_out(tmp_path):
    paths = write(tmp_path)
    large = tmp_path / "large.png"
    Image.new("1", (9_900, 9_900)).save(large)  # under the limit of pixels; 300 MB decoded
    options = {"model": Segmenter(SPEC, Cramped())}
    named = [(path, path.stem) for path in (paths[0], large, *paths[1:])]
    found = dict(on_processes(named, tmp_path / "out", options, jobs=2, threads=1))
    assert [photo[1] for photo, record in found.items() if "error" in record] == ["large"]
    assert len(list((tmp_path / "out" / "labels").iterdir())) == 6


def test_a_process_that_dies_without_a_photo_is_replaced(tmp_path):
    paths = write(tmp_path, red=(0,))[:2]
    options = {"model": Segmenter(SPEC, Idle(tmp_path / "ended"))}
    named = [(path, path.stem) for path in paths]
    found = dict(on_processes(named, tmp_path / "out", options, jobs=2, threads=1))
    assert (tmp_path / "ended").exists()
    assert [record.get("error") for record in found.values()] == [None, None]


def test_a_process_that_cannot_start_ends_the_run(tmp_path):
    options = {"model": Segmenter(SPEC, Unborn())}
    with pytest.raises(RunError, match=r"could not start \(3\)"):
        list(on_processes([(tmp_path / "a.png", "a")], tmp_path, options, jobs=1, threads=1))


def test_processes_give_what_one_gives_and_refuse_a_bomb(tmp_path):
    photos = tmp_path / "photos"
    photos.mkdir()
    write(photos)
    Image.new("1", (20_000, 20_000)).save(photos / "bomb.png")  # a file of 50 kB
    (photos / "broken.jpg").write_bytes(b"\xff\xd8\xff no photo")
    whole = images.samples()["cat"].read_bytes()
    (photos / "cut.jpg").write_bytes(whole[: len(whole) // 2])
    outs = {jobs: tmp_path / str(jobs) for jobs in (1, 2)}
    for jobs, out in outs.items():
        found = predict_files([photos], out, jobs=jobs, progress=False)
        assert [record["file"].rpartition("/")[2] for record in found.failed] == [
            "bomb.png",
            "broken.jpg",
            "cut.jpg",
        ]
        assert "more than the limit" in found.failed[0]["error"]
        assert len(found.ok) == 6
    one, two = (
        {p.relative_to(out): p.read_bytes() for p in out.rglob("*") if p.suffix in (".png", ".jpg")}
        for out in outs.values()
    )
    assert one == two
    assert len(one) == 12


def test_jobs_are_checked():
    with pytest.raises(ArgumentError, match="at least 1"):
        predict_files([images.samples()["cat"]], "unused", jobs=0)
    with pytest.raises(ArgumentError, match="not a Segmenter"):
        predict_files([images.samples()["cat"]], "unused", load(), jobs=2)


def test_threads_are_limited(monkeypatch):
    from upscore.kernels import threads

    monkeypatch.setenv("OMP_NUM_THREADS", "7")
    monkeypatch.setattr(threads, "_limit", None)
    monkeypatch.setitem(threads.sys.modules, "torch", None)
    threads.limit_threads(3)
    assert thread_count() == 3
    assert os.environ["OMP_NUM_THREADS"] == "3"
    monkeypatch.undo()
    torch = pytest.importorskip("torch")
    before = torch.get_num_threads()
    monkeypatch.setenv("OMP_NUM_THREADS", "7")
    monkeypatch.setattr(threads, "_limit", None)
    try:
        threads.limit_threads(1)
        assert thread_count() == 1
    finally:
        torch.set_num_threads(before)
