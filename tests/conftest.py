"""What tests of several folders share."""

import shutil
from pathlib import Path

import pytest

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
