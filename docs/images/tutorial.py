"""Make the pictures of docs/tutorials/train.md: `python docs/images/tutorial.py FOLDER`.

FOLDER is where the tutorial's steps 1 to 7 were done. Needs `pip install playwright` and a browser:
`apt-get install -y chromium`. LabelMe's picture has a script of its own, tutorial_labelme.py.
"""

import io
import os
import re
import shutil
import subprocess
import sys
from pathlib import Path
from typing import Any

from PIL import Image
from playwright.sync_api import Page, sync_playwright

from upscore import data
from upscore.images.overlay import blend

HERE = Path(__file__).resolve().parent
HEIGHT = 220  # of the photos in a strip
STEPS = 20  # of the training on corrected photos
# What the page shows when all photos are labelled, a correction is kept, training has ended.
LABELLED = (
    "() => [...document.querySelectorAll('#strip li')].every((e) => e.dataset.status === 'done')"
)
KEPT = "() => !/not saved/.test(document.querySelector('#save-help').textContent)"
COMPARED = "() => /before/.test(document.querySelector('#tuning-text').textContent)"


def save(name: str, picture: Image.Image) -> None:
    """Write tutorial-NAME.jpg beside this script."""
    picture.convert("RGB").save(HERE / f"tutorial-{name}.jpg", quality=86, optimize=True)


def strip(pictures: list[Image.Image]) -> Image.Image:
    """Pictures side by side."""
    small = [p.resize((round(p.width * HEIGHT / p.height), HEIGHT)) for p in pictures]
    sheet = Image.new("RGB", (sum(p.width + 4 for p in small) - 4, HEIGHT), "white")
    left = 0
    for picture in small:
        sheet.paste(picture, (left, 0))
        left += picture.width + 4
    return sheet


def photos_and_masks() -> None:
    """What is in the folder, and what upscore makes of the outlines."""
    save("photos", strip([Image.open(p) for p in sorted(Path("photos").glob("*.jpg"))[2:7]]))
    found = data.find("photos", "all")
    pairs = [found.read(i) for i in (2, 9)]
    drawn = [(Image.fromarray(p), Image.fromarray(blend(p, m, found.palette))) for p, m in pairs]
    save("masks", strip([picture for pair in drawn for picture in pair]))


def results() -> None:
    """What training and prediction wrote."""
    save("curves", Image.open("runs/mine/curves.png"))
    save("validation", Image.open("runs/mine/validation.jpg"))
    save("predicted", strip([Image.open(p) for p in sorted(Path("found/overlays").iterdir())]))


def shot(page: Page | Any, name: str) -> None:
    """A photograph of a page, or of a part of it."""
    save(name, Image.open(io.BytesIO(page.screenshot())))


def report(page: Page) -> None:
    """The top of the report, and its worst photo."""
    page.set_viewport_size({"width": 900, "height": 520})
    page.goto(Path("runs/mine/report/report.html").resolve().as_uri())
    shot(page, "report")
    shot(page.locator("figure img").first, "worst")


def stroke(page: Page) -> None:
    """Paint a line above the coin as unknown."""
    page.get_by_role("radio", name="Brush").check(force=True)
    page.locator("#paint").select_option("unknown")
    box = page.locator(".pane").first.bounding_box()
    assert box is not None
    page.mouse.move(box["x"] + 0.45 * box["width"], box["y"] + 0.12 * box["height"])
    page.mouse.down()
    page.mouse.move(box["x"] + 0.55 * box["width"], box["y"] + 0.14 * box["height"], steps=9)
    page.mouse.up()


def opened(page: Page, address: str) -> None:
    """The page with the new photos labelled."""
    page.goto(address)
    page.wait_for_selector("html[data-ready]")
    page.set_input_files("#files", sorted(Path("new").iterdir()))
    page.wait_for_selector("#strip li:nth-child(4)")
    page.wait_for_function(LABELLED)
    page.wait_for_timeout(7000)  # until the line that tells of the last photo is gone


def serving(page: Page, address: str) -> None:
    """The page with a corrected photo, and what came of training on four of them."""
    page.set_viewport_size({"width": 1180, "height": 800})
    opened(page, address)
    for number in range(4):
        page.locator("#strip li").nth(number).get_by_role("button").first.click()
        stroke(page)
        if number == 0:
            shot(page, "serve")
        page.get_by_role("button", name="Save to the data folder").click()
        page.wait_for_function(KEPT)
    # As the button does, but with steps in place of a time, which is the same on every machine.
    page.request.post(f"{address}/v1/tuning?steps={STEPS}")
    opened(page, address)
    page.wait_for_function(COMPARED)
    shot(page.locator("#curves"), "teach")


def main(folder: str) -> None:
    """Write all of them."""
    os.chdir(folder)
    photos_and_masks()
    results()
    browser_path = shutil.which("chromium") or shutil.which("chromium-browser")
    command = [
        sys.executable,
        "-u",
        "-m",
        "upscore",
        "serve",
        "--model",
        "runs/mine",
        "--port",
        "0",
    ]
    with sync_playwright() as playwright:
        browser = playwright.chromium.launch(executable_path=browser_path, args=["--no-sandbox"])
        page = browser.new_page(reduced_motion="reduce")
        page.set_default_timeout(900_000)  # the training on corrected photos takes minutes
        report(page)
        with subprocess.Popen(command, stdout=subprocess.PIPE, text=True) as server:
            assert server.stdout is not None
            found = re.search(r"http://[\d.]+:\d+", server.stdout.readline())
            try:
                assert found is not None
                serving(page, found[0])
            finally:
                server.terminate()
        browser.close()


if __name__ == "__main__":
    main(*sys.argv[1:])
