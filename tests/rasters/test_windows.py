import os
import signal
import subprocess
import sys
from pathlib import Path

import numpy as np
import pytest

from upscore.errors import ArgumentError, RunError
from upscore.rasters.raster import Window
from upscore.rasters.windows import WindowStore

PLAN = {"picture": "scene.tif", "tile": 4, "classes": ["a", "é"]}
WINDOWS = [Window(0, 0, 4, 4), Window(0, 4, 4, 3), Window(4, 0, 2, 4), Window(4, 4, 2, 3)]


def values(window, seed=0):
    rng = np.random.default_rng([seed, *window])
    return rng.integers(0, 256, (window.height, window.width), np.uint8)


def test_what_is_put_is_read_by_the_next_store(tmp_path):
    store = WindowStore(tmp_path / ".part", PLAN, ("labels", "confidence"))
    assert not store.discarded
    for window in WINDOWS[:2]:
        assert not store.done(window)
        store.put(window, labels=values(window)[::-1], confidence=values(window, 1))
    again = WindowStore(tmp_path / ".part", PLAN, ("labels", "confidence"))
    assert not again.discarded
    assert [again.done(window) for window in WINDOWS] == [True, True, False, False]
    for window, labels in again.results(WINDOWS[:2], "labels"):
        np.testing.assert_array_equal(labels, values(window)[::-1])
        np.testing.assert_array_equal(again.read(window, "confidence"), values(window, 1))
    again.remove()
    assert os.listdir(tmp_path) == []


def test_a_window_lacks_a_kind_that_was_not_wanted_before(tmp_path):
    WindowStore(tmp_path, PLAN).put(WINDOWS[0], labels=values(WINDOWS[0]))
    assert WindowStore(tmp_path, PLAN).done(WINDOWS[0])
    assert not WindowStore(tmp_path, PLAN, ("labels", "confidence")).done(WINDOWS[0])


@pytest.mark.parametrize("damage", [False, True])
def test_windows_of_another_plan_are_discarded(tmp_path, damage):
    WindowStore(tmp_path, PLAN | {"tile": 5}).put(WINDOWS[0], labels=values(WINDOWS[0]))
    if damage:
        (tmp_path / "plan.json").write_text("{")
    store = WindowStore(tmp_path, PLAN)
    assert store.discarded
    assert not store.done(WINDOWS[0])
    assert os.listdir(tmp_path) == ["plan.json"]
    assert not WindowStore(tmp_path, PLAN).discarded


def test_a_folder_of_other_files_is_left_alone(tmp_path):
    (tmp_path / "thesis.txt").write_text("precious")
    with pytest.raises(RunError, match=r"thesis.txt is in this folder, but no plan.json"):
        WindowStore(tmp_path, PLAN)
    assert os.listdir(tmp_path) == ["thesis.txt"]


def test_damage_is_named(tmp_path):
    store = WindowStore(tmp_path, PLAN)
    store.put(WINDOWS[0], labels=values(WINDOWS[0]))
    file = next(tmp_path.glob("labels_*"))
    file.write_bytes(file.read_bytes()[:-3])
    with pytest.raises(RunError, match=r"labels_0_0_4_4: damaged .* delete it"):
        store.read(WINDOWS[0], "labels")
    with pytest.raises(ArgumentError, match="not finished"):
        store.read(WINDOWS[1], "labels")


def test_results_that_do_not_fit_are_refused(tmp_path):
    store = WindowStore(tmp_path, PLAN)
    with pytest.raises(ArgumentError, match=r"uint8 \(3, 4\) .* expected uint8 \(4, 4\)"):
        store.put(WINDOWS[0], labels=np.zeros((3, 4), np.uint8))
    with pytest.raises(ArgumentError, match="int64"):
        store.put(WINDOWS[0], labels=np.zeros((4, 4), np.int64))
    with pytest.raises(ArgumentError, match=r"\['scores'\], expected \['labels'\]"):
        store.put(WINDOWS[0], scores=values(WINDOWS[0]))
    assert os.listdir(tmp_path) == ["plan.json"]


WRITER = """
import sys, numpy as np
from upscore.rasters.raster import Window
from upscore.rasters.windows import WindowStore
store = WindowStore(sys.argv[1], {"tile": 512})
first, count = int(sys.argv[2]), int(sys.argv[3])
for i in range(first, first + count):
    labels = np.random.default_rng(i).integers(0, 256, (512, 512), np.uint8)
    store.put(Window(0, 512 * i, 512, 512), labels=labels)
    print(i, flush=True)
"""


def start(folder, first, count):
    command = [sys.executable, "-c", WRITER, str(folder), str(first), str(count)]
    return subprocess.Popen(command, stdout=subprocess.PIPE, text=True)


def finished(folder, count):
    """The windows that are done, each checked to be whole."""
    store = WindowStore(folder, {"tile": 512})
    assert not store.discarded
    windows = [Window(0, 512 * i, 512, 512) for i in range(count)]
    done = [i for i, window in enumerate(windows) if store.done(window)]
    for i in done:
        labels = np.random.default_rng(i).integers(0, 256, (512, 512), np.uint8)
        np.testing.assert_array_equal(store.read(windows[i], "labels"), labels)
    return done


def test_what_a_killed_process_finished_is_there(tmp_path):
    child = start(tmp_path, 0, 10_000)
    for _ in range(20):
        child.stdout.readline()
    child.send_signal(signal.SIGKILL)
    rest, _ = child.communicate()
    told = 20 + rest.count("\n")
    done = finished(tmp_path, told + 2)
    assert done == list(range(len(done)))
    assert told <= len(done) <= told + 1  # It may have been killed before it told.


def test_two_processes_write_at_a_time(tmp_path):
    children = [start(Path(tmp_path, "part"), first, 20) for first in (0, 20)]
    for child in children:
        child.communicate()
        assert child.returncode == 0
    assert finished(tmp_path / "part", 40) == list(range(40))
