"""What tests of several folders share."""

import os
import re
import shutil
import signal
import subprocess
import sys
import tempfile
import time
from pathlib import Path

import httpx2 as httpx
import pytest

from upscore.images import samples

# Chromium asks for nothing from elsewhere by itself.
QUIET = (
    "--no-sandbox",
    "--disable-gpu",
    "--disable-quic",
    "--no-first-run",
    "--disable-background-networking",
    "--disable-component-update",
    "--disable-sync",
    "--force-color-profile=srgb",
    "--use-fake-device-for-media-stream",
)


@pytest.fixture(scope="module")
def browser():
    """Chromium: the system's, or the one that Playwright has installed."""
    sync_api = pytest.importorskip("playwright.sync_api", reason="needs pip install playwright")
    path = shutil.which("chromium") or shutil.which("chromium-browser")
    with sync_api.sync_playwright() as playwright:
        if path is None and not Path(playwright.chromium.executable_path).exists():
            pytest.skip("needs a browser: make browser")
        started = playwright.chromium.launch(executable_path=path, args=list(QUIET))
        yield started
        started.close()


class Server:
    """`upscore serve --port 0 ...`, its address and what it prints."""

    def __init__(self, folder, *arguments, **environment):
        handle, name = tempfile.mkstemp(dir=folder, suffix=".log")
        self._log = Path(name)
        command = [sys.executable, "-m", "upscore", "serve", "--port", "0", *arguments]
        self.process = subprocess.Popen(
            command,
            cwd=folder,
            stdin=subprocess.DEVNULL,
            stdout=handle,
            stderr=subprocess.STDOUT,
            env=os.environ | environment,
        )
        os.close(handle)
        while not (found := re.search(r"at http://(\S+):(\d+) \(", self.log)):
            assert self.process.poll() is None, self.log
            time.sleep(0.05)
        self.port = int(found[2])
        self.url = f"http://127.0.0.1:{self.port}"
        self.client = httpx.Client(base_url=self.url, timeout=60)
        self.client.get("/healthz")

    @property
    def log(self):
        """All that it has printed."""
        return self._log.read_text()

    @property
    def memory(self):
        """Bytes that the process holds."""
        return int(Path(f"/proc/{self.process.pid}/statm").read_text().split()[1]) * 4096

    def stop(self, sig=signal.SIGTERM, seconds=60):
        """Send a signal and wait; the exit code."""
        self.process.send_signal(sig)
        return self.process.wait(seconds)

    def close(self):
        self.client.close()
        if self.process.poll() is None:
            self.process.kill()
            self.process.wait()


@pytest.fixture(scope="session")
def launch():
    """Starts a server in a folder; whoever calls it closes it."""
    return Server


@pytest.fixture
def serve(tmp_path):
    """Start servers that end with the test."""
    servers = []

    def start(*arguments, **environment):
        servers.append(Server(tmp_path, *arguments, **environment))
        return servers[-1]

    yield start
    for server in servers:
        server.close()


@pytest.fixture(scope="module")
def server(tmp_path_factory):
    """One server with the bundled model, for all tests of a file."""
    started = Server(tmp_path_factory.mktemp("server"))
    yield started
    started.close()


@pytest.fixture(scope="session")
def photos():
    """The package's photos as files' bytes, by name."""
    return {name: path.read_bytes() for name, path in samples().items()}


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
