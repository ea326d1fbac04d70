"""What OpenVINO's engines leave behind in the process."""

import subprocess
import sys

import pytest

pytest.importorskip("openvino")

# The first engine goes before the second, and then a child of this process ends.
ENGINES = """
import gc, signal, subprocess, sys, time
import upscore
signal.signal(signal.SIGCHLD, lambda *_: print("told", flush=True))
first = upscore.load(engine="openvino")
second = upscore.load(engine="openvino")
del first
gc.collect()
del second
gc.collect()
spare = [bytearray(1 << 20) for _ in range(200)]  # what was freed is used for something else
del spare
subprocess.run([sys.executable, "-c", ""])
"""


def test_engines_may_go_in_any_order():
    done = subprocess.run([sys.executable, "-c", ENGINES], capture_output=True, text=True)
    assert done.returncode == 0, done.stderr
    assert "told" in done.stdout
