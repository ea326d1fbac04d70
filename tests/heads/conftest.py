"""Kernels that check every index."""

import os
import subprocess
import sys

import pytest


@pytest.fixture
def with_checked_indices(tmp_path):
    """Run the tests of a file whose names match, in a process whose kernels check every index."""

    def run(file, names):
        environment = {**os.environ, "NUMBA_BOUNDSCHECK": "1", "NUMBA_CACHE_DIR": str(tmp_path)}
        command = [sys.executable, "-m", "pytest", "-q", "-p", "no:cacheprovider", file]
        command += ["-k", names]
        done = subprocess.run(command, env=environment, capture_output=True, text=True, check=False)
        assert done.returncode == 0, done.stdout

    return run
