"""A model in use: what it knows, and an engine that runs its network."""

from dataclasses import replace
from typing import Any, Protocol

import numpy as np
from numpy.typing import NDArray
from PIL import Image

from upscore.arrays import framework
from upscore.errors import ArgumentError, CheckpointError
from upscore.heads.argmax import argmax
from upscore.models.spec import COARSEST, Spec

Bytes = NDArray[np.uint8]


class Engine(Protocol):
    """What runs a network."""

    @property
    def name(self) -> str:
        """What to call it: "onnxruntime", "torch", ..."""

    def scores(self, photos: Bytes) -> Any:
        """Coarse scores N x C x H/s x W/s of photos N x H x W x 3, H and W multiples of 32."""


class Segmenter:
    """A model in use: its `Spec` and an engine that turns photos into coarse class scores.

    `upscore.load` makes one. Everything that uses a model takes a Segmenter, so that the same
    resizing and the same head surround every engine.

    >>> import upscore, upscore.images
    >>> segmenter = upscore.load()
    >>> photo = upscore.images.read(upscore.images.samples()["cat"])
    >>> labels = segmenter.labels(photo)
    >>> segmenter.spec.class_names[labels[150, 220]]
    'cat'
    """

    def __init__(self, spec: Spec, engine: Engine) -> None:
        self.spec, self.engine = spec, engine

    def at(self, long_side: int | None) -> "Segmenter":
        """Return this model with photos resized to another long side for the network, or not."""
        if long_side is not None and long_side < 1:
            raise ArgumentError(f"long_side must be at least 1 pixel or None, not {long_side}")
        return Segmenter(replace(self.spec, long_side=long_side, zoom=1.0), self.engine)

    def scores(self, photos: Bytes) -> Any:
        """Return the coarse scores of photos as they stand, without resizing.

        Photos are padded at the bottom and right to a multiple of 32 pixels by repeating the last
        row and column; the scores of the padding are cut off.

        photos: uint8, N x H x W x 3, RGB.
        Returns float32, N x C x ⌈H/s⌉ x ⌈W/s⌉ for the stride s of the spec: an array, or a tensor
        of the torch engine. Score (i, j) is centred on image position ((i + 0.5) s, (j + 0.5) s).
        """
        _check(photos)
        height, width = photos.shape[1:3]
        down, right = -height % COARSEST, -width % COARSEST
        if down or right:
            photos = np.pad(photos, ((0, 0), (0, down), (0, right), (0, 0)), mode="edge")
        scores = self.engine.scores(np.ascontiguousarray(photos))
        if scores.shape[1] != len(self.spec.class_names):
            raise CheckpointError(
                f"the network gives scores of {scores.shape[1]} classes, and the model names "
                f"{len(self.spec.class_names)}: its files do not belong together"
            )
        stride = self.spec.stride
        return scores[..., : -(-height // stride), : -(-width // stride)]

    def labels(self, photos: Bytes) -> Bytes:
        """Return the labels of a photo (H x W x 3) or of photos of one size (N x H x W x 3).

        Equivalent: resize to `spec.long_side`, `scores`, and `upscore.argmax` at the photos' own
        size. uint8, H x W or N x H x W: places in `spec.class_names`.
        """
        batch = photos if photos.ndim == 4 else photos[None]
        _check(batch)
        size = batch.shape[1:3]
        shown = self.resized(batch)
        # Resized photos are covered by their scores exactly, whatever the ratio of the sizes.
        stride = self.spec.stride if shown is batch else None
        labels = argmax(self.scores(shown), size=(size[0], size[1]), stride=stride)
        found: Bytes = framework(labels).numpy(labels)
        return found if photos.ndim == 4 else found[0]

    def resized(self, photos: Bytes) -> Bytes:
        """Return N photos at the size that the spec asks for, in whole cells of the scores.

        Antialiased, as Pillow's `Image.resize` with `Resampling.BILINEAR`.
        """
        long_side, stride = self.spec.long_side, self.spec.stride
        height, width = photos.shape[1:3]
        scale = self.spec.zoom if long_side is None else long_side / max(height, width)
        if scale == 1:
            return photos
        height, width = (max(1, round(side * scale / stride)) * stride for side in (height, width))
        resized = np.empty((len(photos), height, width, 3), np.uint8)
        for photo, target in zip(photos, resized, strict=True):
            image = Image.fromarray(np.ascontiguousarray(photo))
            target[...] = np.asarray(image.resize((width, height), Image.Resampling.BILINEAR))
        return resized


def _check(photos: Bytes) -> None:
    """Raise ArgumentError unless these are photos."""
    if photos.dtype != np.uint8 or photos.ndim != 4 or photos.shape[3] != 3 or not photos.size:
        raise ArgumentError(
            f"photos must be uint8 of N x H x W x 3 (RGB, 0..255), not {photos.dtype} of "
            f"{' x '.join(map(str, photos.shape))}"
        )
