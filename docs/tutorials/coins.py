"""Make a small data set to practise on: `python coins.py` writes photos/ and new/.

scikit-image comes with a photo of 24 Greek coins from Pompeii (Brooklyn Museum, no known copyright
restrictions). It is cut into 24 photos. 20 of them get outlines as a person draws them in LabelMe;
here a program draws them. 4 are kept as new photos, without outlines.
"""

import json
from pathlib import Path

import numpy as np
from PIL import Image
from scipy.ndimage import binary_fill_holes
from skimage import data, filters, measure, segmentation

ROWS, COLUMNS, ENLARGE = 4, 6, 2
NEW = {3, 10, 13, 20}  # one in each row


def find_coins(photo: np.ndarray) -> np.ndarray:
    """Which pixels are coins: what is surely dark or bright grows until it meets an edge."""
    sure = np.zeros(photo.shape, int)
    sure[photo < 30], sure[photo > 150] = 1, 2
    coins = binary_fill_holes(segmentation.watershed(filters.sobel(photo), sure) == 2)
    regions = measure.label(coins)
    large = [region.label for region in measure.regionprops(regions) if region.area > 500]
    return np.isin(regions, large)


def outlines(coins: np.ndarray) -> list[list[list[float]]]:
    """The corners of each coin's outline in the enlarged photo, x and y."""
    found = measure.find_contours(np.pad(coins, 1).astype(float), 0.5)
    thinned = [measure.approximate_polygon(outline, 0.4) for outline in found if len(outline) > 12]
    # The last corner is the first again. The padding shifts by one pixel, and LabelMe counts from a
    # pixel's corner, half a pixel from its centre.
    return [((ring[:-1, ::-1] - 0.5) * ENLARGE).round(1).tolist() for ring in thinned]


def note(name: str, photo: Image.Image, corners: list[list[list[float]]]) -> dict[str, object]:
    """What LabelMe would have written."""
    shape = {"label": "coin", "shape_type": "polygon", "group_id": None, "flags": {}}
    return {
        "version": "5.5.0",
        "flags": {},
        "shapes": [shape | {"points": points} for points in corners],
        "imagePath": name,
        "imageData": None,
        "imageHeight": photo.height,
        "imageWidth": photo.width,
    }


def main() -> None:
    """Write photos/coin-*.jpg with their outlines, and new/coin-*.jpg."""
    whole = data.coins()[:300]
    coins = find_coins(whole)
    height, width = whole.shape[0] // ROWS, whole.shape[1] // COLUMNS
    for folder in ("photos", "new"):
        Path(folder).mkdir(exist_ok=True)
    for number in range(ROWS * COLUMNS):
        top, left = number // COLUMNS * height, number % COLUMNS * width
        piece = np.s_[top : top + height, left : left + width]
        photo = Image.fromarray(whole[piece])
        photo = photo.resize((ENLARGE * width, ENLARGE * height), Image.Resampling.BICUBIC)
        path = Path("new" if number in NEW else "photos", f"coin-{number:02}.jpg")
        photo.save(path, quality=92)
        if number not in NEW:
            text = json.dumps(note(path.name, photo, outlines(coins[piece])), indent=1)
            path.with_suffix(".json").write_text(text)


if __name__ == "__main__":
    main()
