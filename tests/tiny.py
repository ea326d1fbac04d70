"""Tiny models and data sets, built in one place.

A network of random weights, the same each time, and what describes it. `saved` writes both as
training does, and `upscore.load` opens the folder:

>>> import tempfile, tiny, upscore
>>> with tempfile.TemporaryDirectory() as folder:
...     model = upscore.load(tiny.saved(folder, tiny.spec(long_side=96)), "torch")
>>> model.spec.architecture, model.spec.class_names, model.spec.long_side
('fcn8s', ('ground', 'cat', 'dog'), 96)

A checkpoint holds the network's graph, which takes seconds to trace. Networks of the same
architecture, encoder, width, class names and normalisation are traced once in a process, so take
the default spec where a test asks for no other. Tests that only read a model can share it: save it
in a fixture with `scope="module"`.

An engine without weights, for tests of what happens around the network:

>>> model = tiny.halves(stride=4)
>>> model.labels(tiny.batch(2, 30, 40)).shape, model.engine.seen
((2, 30, 40), [(32, 64)])

A data set of discs and squares, as many photos in each split as asked for:

>>> with tempfile.TemporaryDirectory() as folder:
...     tiny.data_set(folder, train=4, val=3)
...     upscore.data.find(folder, "val").class_names
('ground', 'disc', 'square')
"""

import io
from pathlib import Path

import numpy as np
from PIL import Image

from upscore import Segmenter, models
from upscore.models.spec import STRIDES, Spec

NAMES = ("ground", "cat", "dog")
PALETTE = ((0, 0, 0), (200, 40, 0), (0, 0, 200), (9, 9, 9))
ENCODER = "test_efficientnet"  # timm's own for tests; it has features at a stride of 2
ARCHITECTURES = {stride: name for name, stride in STRIDES.items()}


def spec(architecture="fcn8s", encoder=ENCODER, width=16, names=NAMES, **fields):
    """What describes a network; `fields` are more fields of a `Spec`, by name."""
    mean, std = (0.5, 0.4, 0.3), (0.2, 0.3, 0.4)  # a channel that is mixed up shows
    usual = {"palette": PALETTE[: len(names)], "mean": mean, "std": std}
    return Spec(architecture, encoder, width, names, **(usual | fields))


SPEC = spec()


def network(spec=SPEC, seed=0):
    """The network that a spec describes, in evaluation mode."""
    import torch  # here: processes that only need an engine start faster without it

    from upscore.models.architectures import build_for

    torch.manual_seed(seed)
    return build_for(spec).eval()


def saved(folder, spec=SPEC, *, seed=0, dtype=None):
    """The folder, with a checkpoint in it."""
    models.save(folder, network(spec, seed), spec, dtype=dtype)
    return folder


class Halves:
    """An engine of two classes: cells darker and brighter than the middle.

    stride: the side of a cell in pixels.
    seen: heights and widths of the photos that it was shown.
    """

    name = "halves"

    def __init__(self, stride):
        self.stride, self.seen = stride, []

    def scores(self, photos):
        n, height, width, _ = photos.shape
        self.seen.append((height, width))
        s = self.stride
        bright = photos.reshape(n, height // s, s, width // s, s, 3).mean((2, 4, 5)) - 127.5
        return np.stack([-bright, bright], 1).astype(np.float32)


def halves(stride):
    """A model of `Halves` whose labels are 0 where it is dark and 1 where it is bright."""
    return Segmenter(spec(ARCHITECTURES[stride], names=("dark", "light")), Halves(stride))


def batch(n, height, width):
    """Photos of noise: N x H x W x 3."""
    return np.random.default_rng(height).integers(0, 256, (n, height, width, 3), np.uint8)


def png(pixels):
    """A picture as the bytes of a PNG file."""
    stream = io.BytesIO()
    Image.fromarray(pixels).save(stream, "png")
    return stream.getvalue()


def data_set(root, *, void=0, **splits):
    """A folder of so many `discs` for each split, and the classes' names."""
    for split, count in splits.items():
        discs(Path(root, split), count, void=void)
    Path(root, "classes.txt").write_text("ground\ndisc\nsquare\n")


def discs(folder, count, *, void=0):
    """Photos of a bright disc or square on noise, and masks: 0 ground, 1 disc, 2 square."""
    rng, size = np.random.default_rng(count), 64
    rows, columns = np.mgrid[:size, :size]
    for part in ("images", "masks"):
        (folder / part).mkdir(parents=True)
    for i in range(count):
        y, x = rng.integers(20, size - 20, 2)
        disc = np.hypot(rows - y, columns - x) < 15
        square = np.maximum(abs(rows - y), abs(columns - x)) < 13
        mask = np.where(disc, 1, 0) if i % 2 else np.where(square, 2, 0)
        colours = np.array([[60, 60, 60], [230, 40, 40], [40, 60, 230]])
        photo = np.clip(colours[mask] + rng.normal(0, 12, (size, size, 3)), 0, 255)
        mask[: void * (i % 4)] = 255  # another share of every photo
        Image.fromarray(photo.astype(np.uint8)).save(folder / "images" / f"{i}.png")
        Image.fromarray(mask.astype(np.uint8)).save(folder / "masks" / f"{i}.png")
