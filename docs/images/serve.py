"""Photograph the page of `upscore serve` at work: `python docs/images/serve.py`.

Needs `pip install playwright` and a browser: `apt-get install -y chromium`.
"""

import io
import re
import shutil
import subprocess
import sys
import tempfile
from pathlib import Path

from PIL import Image
from playwright.sync_api import sync_playwright

from upscore.images.bundled import samples

HERE = Path(__file__).parent
VIEW = {"width": 1280, "height": 860}
LOADED = (
    "() => [...document.querySelectorAll('#strip li')].every((e) => e.dataset.status === 'done')"
)


def main() -> None:
    """Write serve-page.jpg beside this script."""
    browser_path = shutil.which("chromium") or shutil.which("chromium-browser")
    with tempfile.TemporaryDirectory() as folder, sync_playwright() as playwright:
        options = ["--port", "0", "--corrections", f"{folder}/corrected"]
        command = [sys.executable, "-u", "-m", "upscore", "serve", *options]
        with subprocess.Popen(command, stdout=subprocess.PIPE, text=True) as server:
            address = re.search(r"http://[\d.]+:\d+", server.stdout.readline())[0]
            browser = playwright.chromium.launch(
                executable_path=browser_path, args=["--no-sandbox"]
            )
            page = browser.new_page(viewport=VIEW, reduced_motion="reduce")
            page.goto(address)
            page.wait_for_selector("html[data-ready]")
            page.set_input_files("#files", list(samples().values()))
            page.wait_for_selector("#strip li:nth-child(3)")
            page.wait_for_function(LOADED)
            page.get_by_role("radio", name="Brush").check(force=True)
            page.locator("#paint").select_option("unknown")
            box = page.locator(".pane").first.bounding_box()
            page.mouse.move(box["x"] + 0.1 * box["width"], box["y"] + 0.3 * box["height"])
            page.mouse.down()
            page.mouse.move(box["x"] + 0.2 * box["width"], box["y"] + 0.4 * box["height"], steps=9)
            page.mouse.up()
            page.wait_for_timeout(7000)  # until the line that tells of the last photo is gone
            picture = Image.open(io.BytesIO(page.screenshot())).convert("RGB")
            picture.save(HERE / "serve-page.jpg", quality=88, optimize=True)
            browser.close()
            server.terminate()


if __name__ == "__main__":
    main()
