import subprocess
import sys

import psutil
import pytest

from upscore.io import memory

LIMITED = """
import resource, sys
from pathlib import Path
from upscore.io.memory import free_memory
spare, kind, field = 100 << 20, getattr(resource, sys.argv[1]), int(sys.argv[2])
pages = int(Path("/proc/self/statm").read_text().split()[field])
limit = pages * resource.getpagesize() + spare
resource.setrlimit(kind, (limit, limit))
print(free_memory() - spare)
"""


@pytest.mark.skipif(sys.platform != "linux", reason="counts pages by /proc")
@pytest.mark.parametrize(("kind", "field"), [("RLIMIT_AS", 0), ("RLIMIT_DATA", 5)])
def test_what_is_left_of_a_limit_is_free(kind, field):
    command = [sys.executable, "-c", LIMITED, kind, str(field)]
    done = subprocess.run(command, capture_output=True, text=True, check=True)
    assert abs(int(done.stdout)) < 1 << 20  # but for what asking takes


def test_other_systems_are_asked_by_psutil(tmp_path, monkeypatch):
    monkeypatch.setattr(memory, "_MACHINE", tmp_path / "none")
    monkeypatch.setattr(memory, "_CGROUPS", ())
    monkeypatch.setattr(memory, "_process_limits", lambda: ())
    assert 0 < memory.free_memory() <= psutil.virtual_memory().total
