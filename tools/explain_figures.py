"""Make the pictures of the explain page's first chapter.

    python tools/explain_figures.py

They are the bundled model's own answers for the photo of the cat that comes with the package,
written into the package so that the page needs neither torch nor the model.
"""

from collections.abc import Callable
from pathlib import Path
from statistics import median
from time import perf_counter
from typing import Any

import numpy as np
import torch
from numpy.typing import NDArray
from PIL import Image
from torch.nn.functional import interpolate

import upscore
from upscore import models
from upscore.explanation.page import PHOTO
from upscore.images import read, samples
from upscore.io.atomic import replacing, write_json

EYE = (slice(88, 128), slice(150, 206))  # rows and columns of the cat's eye


def make(folder: Path = PHOTO, source: str | Path = "bundled") -> None:
    """Write the photo, the model's answers for it at each stride, and the facts, to `folder`."""
    folder.mkdir(parents=True, exist_ok=True)
    photo = read(samples()["cat"])
    height, width = photo.shape[:2]
    model, spec = models.load(source)
    with torch.inference_mode():
        images = torch.from_numpy(photo.copy()).permute(2, 0, 1)[None]
        stages = [s[0] for s in model.stages(models.normalise(images, spec))]

    labels = upscore.argmax(stages[-1].numpy(), size=(height, width), stride=model.strides[-1])
    counts = np.bincount(labels.ravel(), minlength=len(spec.class_names))
    shown = int(np.argmax(np.where(_is_background(spec.palette), 0, counts)))
    facts = {
        "height": height,
        "width": width,
        "classes": list(spec.class_names),
        "shown": spec.class_names[shown],
        "stages": {str(s): stages[i].shape[1:] for i, s in enumerate(model.strides)},
        "caption": (
            f"Chelsea, a photo from scikit-image, seen by upscore's {spec.architecture} after each "
            f"of its stages. Colours: {_legend(spec.class_names, counts, spec.palette)}."
        ),
        "timing": timing(),
    }
    for stride, scores in zip(model.strides, stages, strict=True):
        array = scores.numpy()
        probability = scores.softmax(0)[shown].numpy()
        _palette_png(folder / f"coarse{stride}.png", array.argmax(0), spec.palette)
        full = upscore.argmax(array, size=(height, width), stride=stride)
        _palette_png(folder / f"labels{stride}.png", full, spec.palette)
        _save(folder / f"score{stride}.png", Image.fromarray((probability * 255).astype(np.uint8)))
    _save(folder / "photo.jpg", Image.fromarray(photo), quality=80)
    _save(folder / "eye.png", Image.fromarray(photo[EYE]))
    write_json(folder / "facts.json", facts)


def timing() -> str:
    """Time the usual last step and the fused one in turn, and say it in a sentence."""
    generator = torch.Generator().manual_seed(0)
    noise = torch.randn((1, 19, 16, 32), generator=generator)
    scores = interpolate(noise, (128, 256), mode="bicubic")
    size = (1024, 2048)

    def usual() -> object:
        return interpolate(scores, size, mode="bilinear").argmax(1)

    def fused() -> object:
        return upscore.argmax(scores, size=size)

    usual(), fused()  # compile and warm up
    rounds = [(_seconds(usual), _seconds(fused)) for _ in range(7)]
    slow, fast = (1000 * median(column) for column in zip(*rounds, strict=True))
    return (
        f"When these figures were made, on {torch.get_num_threads()} CPU threads, smooth scores of "
        f"19 × 128 × 256 became 1024 × 2048 labels in {slow:.0f} ms with PyTorch’s interpolate and "
        f"argmax, and in {fast:.1f} ms with upscore.argmax, {median(a / b for a, b in rounds):.0f} "
        "times as fast: it compares the classes as it goes and writes nothing but the labels."
    )


def _seconds(function: Callable[[], object]) -> float:
    """Return how long one call takes."""
    start = perf_counter()
    function()
    return perf_counter() - start


def _is_background(palette: tuple[tuple[int, int, int], ...]) -> NDArray[np.bool_]:
    """Return which classes are drawn black, and so not drawn over the photo."""
    return np.array([not any(colour) for colour in palette])


def _legend(
    classes: tuple[str, ...], counts: NDArray[np.int64], palette: tuple[tuple[int, int, int], ...]
) -> str:
    """Return the names of the classes in the label map, most frequent first."""
    present = [i for i in np.argsort(-counts) if counts[i] and not _is_background(palette)[i]]
    return ", ".join(classes[i] for i in present)


def _palette_png(
    path: Path, labels: NDArray[np.integer], palette: tuple[tuple[int, int, int], ...]
) -> None:
    """Write a label map as a palette PNG in which the background is transparent."""
    image = Image.fromarray(labels.astype(np.uint8))
    colours = np.array(palette, np.float64)  # each as bright as can be, to show over the photo
    colours *= 230 / np.maximum(colours.max(1, keepdims=True), 1)
    image.putpalette(bytes(colours.astype(np.uint8)))
    opacity = bytes(0 if clear else 255 for clear in _is_background(palette))
    _save(path, image, transparency=opacity, optimize=True)


def _save(path: Path, image: Image.Image, **options: Any) -> None:
    """Write an image whole or not at all."""
    with replacing(path) as temporary:
        image.save(temporary, **options)


if __name__ == "__main__":
    make()
