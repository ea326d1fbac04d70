"""Lay the demo's three overlays side by side: `python docs/images/demo.py`."""

from pathlib import Path

from PIL import Image

import upscore
from upscore.images import samples

HEIGHT = 320
PHOTOS = ("cat", "astronaut", "coffee")


def main() -> None:
    """Write demo.jpg beside this script."""
    predictor = upscore.Predictor()
    overlays = [predictor(samples()[name]).overlay() for name in PHOTOS]
    overlays = [o.resize((round(o.width * HEIGHT / o.height), HEIGHT)) for o in overlays]
    strip = Image.new("RGB", (sum(o.width for o in overlays), HEIGHT))
    left = 0
    for overlay in overlays:
        strip.paste(overlay, (left, 0))
        left += overlay.width
    strip.save(Path(__file__).with_suffix(".jpg"), quality=88)


if __name__ == "__main__":
    main()
