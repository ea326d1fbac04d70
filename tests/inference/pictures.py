"""Small models in float64 and pictures for tests of tiles."""

import numpy as np

import tiny
import upscore
from upscore.inference.engines.torch import TorchEngine
from upscore.rasters.raster import Window


def spec_of(stride=8, encoder=tiny.ENCODER, width=16, **fields):
    return tiny.spec(tiny.ARCHITECTURES[stride], encoder, width, **fields)


def double(*arguments, **fields):
    """A segmenter that computes in float64, with random weights; arguments as of `spec_of`."""
    spec = spec_of(*arguments, **fields)
    return upscore.Segmenter(spec, TorchEngine(tiny.network(spec).double(), spec))


def picture(height, width, seed=0):
    """Smooth random colours, as photos have, with some noise."""
    rng = np.random.default_rng(seed)
    coarse = rng.integers(0, 256, (-(-height // 16), -(-width // 16), 3), np.uint8)
    smooth = upscore.images.resized(coarse, (height, width))
    return (smooth // 2 + rng.integers(0, 128, smooth.shape, np.uint8)).astype(np.uint8)


def windows(size, tall, wide):
    height, width = size
    return [
        Window(y, x, min(tall, height - y), min(wide, width - x))
        for y in range(0, height, tall)
        for x in range(0, width, wide)
    ]


def assembled(cut, size, tall, wide):
    """The labels of a picture, window by window, from the last to the first."""
    labels = np.full(size, 99, np.uint8)
    for window in reversed(windows(size, tall, wide)):
        top, left, height, width = window
        labels[top : top + height, left : left + width] = cut.labels(window)
    return labels
