"""Photograph every chapter of the explain page, light and dark: `python docs/images/explain.py`.

Needs `pip install playwright` and a browser: `apt-get install -y chromium`.
"""

import io
import shutil
import tempfile
from pathlib import Path

from PIL import Image
from playwright.sync_api import sync_playwright

from upscore.explanation.page import write_page

HERE = Path(__file__).parent
STYLE = ".setting { display: none } section { border: 0; padding: 1.5rem 1.5rem 0.5rem }"
# What is set in each chapter's picture, and the step at which its animation stands.
CHAPTERS = {
    "why": ("", None),
    "convolution": ("", None),
    "transpose": ("", None),
    "subkernels": ("&length=12&kernel=5&stride=3", 8),
    "zeros": ("", 8),
    "views": ("", None),
    "plane": ("", 40),
    "bilinear": ("", None),
    "sizes": ("&convention=caffe&layer=16,64,32,0,1,19,500", None),
    "network": ("&net=fcn8s", None),
}


def main() -> None:
    """Write explain-CHAPTER-light.png and -dark.png beside this script."""
    browser_path = shutil.which("chromium") or shutil.which("chromium-browser")
    with tempfile.TemporaryDirectory() as folder, sync_playwright() as playwright:
        url = write_page(Path(folder) / "page.html").as_uri()
        browser = playwright.chromium.launch(executable_path=browser_path, args=["--no-sandbox"])
        for scheme in ("light", "dark"):
            view = {"width": 940, "height": 900}
            page = browser.new_page(viewport=view, color_scheme=scheme, reduced_motion="reduce")
            for chapter, (setting, step) in CHAPTERS.items():
                page.goto("about:blank")
                page.goto(f"{url}#{chapter}{setting}")
                page.add_style_tag(content=STYLE)
                section = page.locator(f"#{chapter}")
                if step is not None:
                    slider = section.locator(".player input")
                    slider.fill(str(step))
                    slider.blur()
                page.wait_for_timeout(200)  # the enlarged photo is painted when it is decoded
                picture = Image.open(io.BytesIO(section.screenshot())).convert("RGB")
                small = picture.quantize(256, dither=Image.Dither.NONE)
                small.save(HERE / f"explain-{chapter}-{scheme}.png", optimize=True)
        browser.close()


if __name__ == "__main__":
    main()
