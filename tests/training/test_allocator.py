import platform
import subprocess
import sys

import pytest

pytestmark = pytest.mark.slow

CODE = """
import resource, sys
import numpy as np
from upscore.training.allocator import keep_freed

if sys.argv[1] == "keep":
    keep_freed()
faults = lambda: resource.getrusage(resource.RUSAGE_SELF).ru_minflt
for _ in range(3):
    before = faults()
    np.ones(1 << 26, np.uint8)
    print(faults() - before)
"""


def page_faults(mode):
    run = [sys.executable, "-c", CODE, mode]
    return [int(n) for n in subprocess.check_output(run, text=True).split()]


@pytest.mark.skipif(platform.libc_ver()[0] != "glibc", reason="glibc's allocator")
def test_memory_asked_for_again_is_at_hand():
    assert min(page_faults("hand back")) > 10
    first, *again = page_faults("keep")
    assert first > 10
    assert max(again) < 10
