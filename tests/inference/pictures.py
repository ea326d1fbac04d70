"""Small models in float64 and pictures for tests of tiles."""

import numpy as np
import torch

import upscore
from upscore import models
from upscore.inference.engines.torch import TorchEngine
from upscore.models.spec import STRIDES, Spec
from upscore.rasters.raster import Window

NAMES = ("ground", "cat", "dog")
PALETTE = ((0, 0, 0), (200, 0, 0), (0, 0, 200))
ARCHITECTURES = {stride: name for name, stride in STRIDES.items()}


def spec_of(stride, encoder="", width=16, ranges=None):
    bands = 3 if ranges is None else len(ranges)
    mean, std = (0.5,) * bands, (0.3,) * bands
    return Spec(ARCHITECTURES[stride], encoder, width, NAMES, PALETTE, mean, std, ranges=ranges)


def double(stride=8, encoder="test_efficientnet", width=16, ranges=None):
    """A segmenter that computes in float64, with random weights."""
    torch.manual_seed(0)
    spec = spec_of(stride, encoder, width, ranges)
    network = models.build(
        spec.architecture, 3, encoder=encoder, width=width, bands=spec.bands or 3
    )
    return upscore.Segmenter(spec, TorchEngine(network.eval().double(), spec))


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
