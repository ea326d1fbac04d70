import errno
import json
import os
import subprocess
import sys
from pathlib import Path

import pytest

from upscore.errors import OutputError
from upscore.io import atomic


def test_a_finished_block_replaces_the_file(tmp_path):
    path = tmp_path / "a.txt"
    path.write_text("old")
    with atomic.replacing(path) as temporary:
        assert (temporary.parent, temporary.suffix) == (tmp_path, ".txt")
        temporary.write_text("new")
        assert path.read_text() == "old"
    assert path.read_text() == "new"
    assert os.listdir(tmp_path) == ["a.txt"]


def test_a_failed_block_leaves_everything_as_it_was(tmp_path):
    path = tmp_path / "a.txt"
    path.write_text("old")

    def fail():
        with atomic.replacing(path) as temporary:
            temporary.write_text("half")
            raise RuntimeError("disk on fire")

    with pytest.raises(RuntimeError, match="on fire"):
        fail()
    assert path.read_text() == "old"
    assert os.listdir(tmp_path) == ["a.txt"]


def test_a_killed_writer_leaves_the_old_file(tmp_path):
    path = tmp_path / "a.txt"
    path.write_text("old")
    code = (
        "import os, signal, sys; from upscore.io.atomic import replacing\n"
        "with replacing(sys.argv[1]) as temporary:\n"
        "    temporary.write_text('half'); os.kill(os.getpid(), signal.SIGKILL)"
    )
    done = subprocess.run([sys.executable, "-c", code, str(path)], check=False)
    assert done.returncode == -9
    assert path.read_text() == "old"
    assert all(name == "a.txt" or name.startswith(".part-") for name in os.listdir(tmp_path))


def test_a_name_of_the_greatest_length_can_be_written(tmp_path):
    path = tmp_path / ("n" * 251 + ".txt")
    atomic.write_bytes(path, b"x")
    assert path.read_bytes() == b"x"


def test_json_is_strict_and_readable(tmp_path):
    path = tmp_path / "a.json"
    atomic.write_json(path, {"é": [1, None]})
    assert json.loads(path.read_text("utf-8")) == {"é": [1, None]}
    assert path.read_text("utf-8").startswith('{\n  "é"')
    with pytest.raises(ValueError, match="JSON"):
        atomic.write_json(path, float("nan"))
    assert json.loads(path.read_text("utf-8")) == {"é": [1, None]}


def test_a_missing_folder_is_named(tmp_path):
    with pytest.raises(OSError, match=r"cannot be written: No such file.*missing") as found:
        atomic.write_bytes(Path(tmp_path, "missing", "a"), b"")
    assert isinstance(found.value, OutputError)
    assert found.value.errno == errno.ENOENT
