"""Machine code kept on disk: used again, and made anew when any file that it came from changes."""

import os
import shutil
import subprocess
import sys
from collections import namedtuple
from pathlib import Path

import pytest

import upscore
from upscore.kernels.launch import in_words

pytestmark = pytest.mark.slow

CODE = """
import sys, numpy as np, upscore
scores = np.arange(3 * 4 * 5, dtype=np.float32).reshape(3, 4, 5)[:, ::-1]
print(upscore.argmax(scores, size=(8, 10)).sum(), "numba" in sys.modules)
"""


@pytest.fixture
def run(tmp_path):
    """Run the code on a copy of the package whose kernels are kept in a folder of their own."""
    package = tmp_path / "upscore"
    ignore = shutil.ignore_patterns("__pycache__", "bundled", "web", "photos")
    shutil.copytree(Path(upscore.__file__).parent, package, ignore=ignore)
    cache = tmp_path / "cache"
    environment = {**os.environ, "PYTHONPATH": str(tmp_path), "NUMBA_CACHE_DIR": str(cache)}

    def run():
        command = [sys.executable, "-c", CODE]
        done = subprocess.run(command, env=environment, capture_output=True, text=True)
        assert done.returncode == 0, done.stderr
        labels, compiled = done.stdout.split()
        return int(labels), compiled == "True"

    run.package, run.cache = package, cache
    return run


def test_code_is_compiled_once_and_again_when_it_does_not_fit(run):
    labels, compiled = run()
    assert compiled
    assert run() == (labels, False)  # Numba is not even imported
    shared = run.package / "kernels" / "simd.py"
    shared.write_text(shared.read_text() + "\n# edited\n")
    assert run() == (labels, True)
    assert run() == (labels, False)
    for damage in (flipped, lambda _: b"not ours"):
        for file in run.cache.glob("*.o"):
            file.write_bytes(damage(file.read_bytes()))
        assert run() == (labels, True)


def flipped(content):
    """The content with other bits in one byte of the code."""
    return content[:-100] + bytes([content[-100] ^ 255]) + content[-99:]


def test_the_fields_of_a_tuple_are_part_of_what_it_was_compiled_for():
    """A kernel reads them by name: the same types in another order are another kernel."""
    one = namedtuple("Case", ["factor", "tilt"])
    other = namedtuple("Case", ["tilt", "factor"])
    assert in_words((one(1, 2),))[0] == in_words((one(3, 4),))[0]
    assert in_words((one(1, 2),))[0] != in_words((other(1, 2),))[0]
