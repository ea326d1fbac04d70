"""Files as annotation tools write them, and masks as text to compare with."""

import json
from pathlib import Path

import numpy as np
from PIL import Image

from upscore import data

H, W = 6, 8
SQUARE = [[1, 1], [4, 1], [4, 4], [1, 4]]  # rows and columns 1 to 3


def photo(path: Path, shape=(H, W)) -> Path:
    path.parent.mkdir(parents=True, exist_ok=True)
    pixels = np.random.default_rng(sum(path.name.encode())).integers(0, 256, (*shape, 3), np.uint8)
    Image.fromarray(pixels).save(path)
    return path


def mask(path: Path, pixels) -> Path:
    path.parent.mkdir(parents=True, exist_ok=True)
    Image.fromarray(np.asarray(pixels, np.uint8)).save(path)
    return path


def write(path: Path, content) -> Path:
    path.parent.mkdir(parents=True, exist_ok=True)
    path.write_text(content if isinstance(content, str) else json.dumps(content))
    return path


def drawn(found: data.Dataset, i: int = 0) -> str:
    """A mask, one digit a pixel: `.` for class 0, `#` for void."""
    signs = {0: ".", 255: "#"}
    return "\n".join("".join(signs.get(int(v), str(v)) for v in row) for row in found.read(i)[1])


def picture(text: str) -> str:
    """A mask written in a test, without its indentation."""
    return "\n".join(line.strip() for line in text.strip().splitlines())


def kinds(root: Path, split: str = "all", **options) -> list[tuple[str, str]]:
    problems = data.check(data.find(root, split, **options))
    assert all(problem.message and problem.remedy for problem in problems)
    return [(problem.file.name, problem.kind) for problem in problems]
