"""A model in use: what it knows, and an engine that runs its network."""

from collections.abc import Iterator, Sequence
from dataclasses import replace
from fractions import Fraction
from typing import Any, Protocol

import numpy as np
from numpy.typing import NDArray

from upscore import images
from upscore.arrays import as_numpy
from upscore.errors import ArgumentError, CheckpointError, ImageError
from upscore.heads.argmax import argmax
from upscore.inference.fusion import Coarse, fused, resampled
from upscore.inference.tta import Augmentation, Tta, augmentation
from upscore.models.spec import COARSEST, Spec

Bytes = NDArray[np.uint8]
Photos = NDArray[Any]  # uint8 of RGB, or float32 of as many bands as the spec has
ALONE = Augmentation()
MOST_SHOWN = 4 * images.MAX_PIXELS  # to the network, of one photo


class Engine(Protocol):
    """What runs a network."""

    @property
    def name(self) -> str:
        """What to call it: "onnxruntime", "torch", ..."""

    def scores(self, photos: Photos) -> Any:
        """Coarse scores N x C x H/s x W/s of photos N x H x W x B, H and W multiples of 32."""


class PoolingEngine(Engine, Protocol):
    """An engine that can hold fixed what the network's global poolings find."""

    def pooled(self, photos: Photos) -> tuple[Any, ...]:
        """What each mean over all rows and columns of the photos finds; () where there is none."""

    def scores(self, photos: Photos, pooled: Sequence[Any] = ()) -> Any:
        """As of any engine; with `pooled`, the network takes that instead of its own poolings."""


class Segmenter:
    """A model in use: its `Spec` and an engine that turns photos into coarse class scores.

    `upscore.load` makes one. Everything that uses a model takes a Segmenter, so that the same
    resizing and the same head surround every engine.

    Args:
        spec: what the model is: classes, stride, the size of photos it wants.
        engine: what runs the network: an object with a `name`, and `scores`, which takes photos
            N x H x W x B, H and W multiples of 32, and returns float32 N x C x H/s x W/s.
        tta: test-time augmentation; use `with_tta` to set it.

    Examples:
        >>> import upscore, upscore.images
        >>> segmenter = upscore.load()
        >>> photo = upscore.images.read(upscore.images.samples()["cat"])
        >>> labels = segmenter.labels(photo)
        >>> segmenter.spec.class_names[labels[150, 220]]
        'cat'
    """

    def __init__(self, spec: Spec, engine: Engine, tta: Augmentation = ALONE) -> None:
        self.spec, self.engine, self.augmentation = spec, engine, tta

    @property
    def members(self) -> tuple["Segmenter", ...]:
        """The models that this one is: itself alone, or those of an ensemble."""
        return (self,)

    @property
    def tta(self) -> str:
        """The test-time augmentation, as `with_tta` takes it, or "none"."""
        return " or ".join(dict.fromkeys(str(member.augmentation) for member in self.members))

    def at(self, long_side: int | None) -> "Segmenter":
        """Return this model with photos resized to another size for the network.

        Args:
            long_side: pixels of the photos' longer side, or None to leave photos as they are.

        Returns:
            A new Segmenter; this one stays as it is.

        Raises:
            ArgumentError: `long_side` is below 1.
        """
        if long_side is not None and long_side < 1:
            raise ArgumentError(f"long_side must be at least 1 pixel or None, not {long_side}")
        return Segmenter(
            replace(self.spec, long_side=long_side, zoom=1.0), self.engine, self.augmentation
        )

    def with_tta(self, tta: Tta) -> "Segmenter":
        """Return this model with test-time augmentation: several views of a photo, one answer.

        Args:
            tta: "flip" shows the photo and its left-right mirror image, "flip-ud" the up-down one,
                "scales" the photo at 0.75, 1 and 1.25 times the size the network is else shown,
                "scales=0.5/1/2" at others. Names, or one text with commas between them; together
                they multiply: ("flip", "scales") are six views. It replaces what was set before;
                () is none.

        Returns:
            A new Segmenter; this one stays as it is.

        Raises:
            ArgumentError: no such augmentation.

        Examples:
            >>> import upscore
            >>> upscore.load().with_tta(("flip", "scales")).tta
            'flip, scales=0.75/1/1.25'
        """
        return Segmenter(self.spec, self.engine, augmentation(tta))

    def scores(self, photos: Photos) -> Any:
        """Return the coarse scores of photos as they stand, not resized to `spec.long_side`.

        Photos are padded at the bottom and right to a multiple of 32 pixels by repeating the last
        row and column; the scores of the padding are cut off.

        Args:
            photos: uint8, N x H x W x 3, RGB; of a model of measurements float32, N x H x W x B.

        Returns:
            float32, N x C x ⌈H/s⌉ x ⌈W/s⌉ for the stride s of the spec: an array, or a tensor of
            the torch engine. Score (i, j) is centred on image position ((i + 0.5) s, (j + 0.5) s).
            Of several views or models they are the logarithms of the mean probabilities, an array.

        Raises:
            ArgumentError: the photos are not as the model takes them.
        """
        coarse = self.at(None).coarse(photos)
        stride = self.spec.stride
        if coarse.stride == stride:
            return coarse.scores
        height, width = (-(-side // stride) for side in coarse.size)
        return resampled(coarse, (height, width), (Fraction(stride), Fraction(stride)))

    def coarse(self, photos: Photos) -> Coarse:
        """Return the scores that `labels` are made of.

        Photos are shown to the network as the spec and `tta` ask for.

        Args:
            photos: uint8, N x H x W x 3, RGB; of a model of measurements float32, N x H x W x B.

        Returns:
            A named tuple: `scores` N x C x h x w, the photos' `size`, and the `stride` of their
            grid or None where they cover the photos exactly. Of several scales, on the grid of the
            one nearest to 1.

        Raises:
            ArgumentError: the photos are not as the model takes them.
        """
        check_photos(photos, self.spec)
        return fused(self._views(photos))

    def _views(self, photos: Photos) -> Iterator[Coarse]:
        """The scores of each view, first that on whose grid all are brought."""
        height, width = photos.shape[1:3]
        for scale in sorted(self.augmentation.scales, key=lambda scale: abs(scale - 1)):
            shown = self.resized(photos, scale)
            # Resized photos are covered by their scores exactly, whatever the ratio of the sizes.
            stride = self.spec.stride if shown is photos else None
            for scores in self._mirrored(shown):
                yield Coarse(scores, (height, width), stride)

    def _mirrored(self, photos: Photos) -> Iterator[Any]:
        """The scores of photos as they stand, and of their mirror images, mirrored back."""
        height, width = photos.shape[1:3]
        down, right = -height % COARSEST, -width % COARSEST
        if down or right:
            photos = np.pad(photos, ((0, 0), (0, down), (0, right), (0, 0)), mode="edge")
        stride = self.spec.stride
        cells = np.s_[..., : -(-height // stride), : -(-width // stride)]
        for axes in self.augmentation.mirrors:
            # The padding is mirrored too, to the other side: so the cells of all images coincide.
            yield self.seen(photos, axes)[cells]

    def seen(self, photos: Photos, axes: tuple[int, ...] = (), pooled: Sequence[Any] = ()) -> Any:
        """Return the scores of photos that need no padding, seen mirrored, and mirrored back.

        Args:
            photos: N x H x W x B, H and W multiples of 32.
            axes: axes of the photos to mirror, 1 for up-down and 2 for left-right.
            pooled: what the network's global poolings find, of an engine that can be given it.

        Returns:
            float32, N x C x H/s x W/s.

        Raises:
            CheckpointError: the network has another number of classes than the spec names.
        """
        given = (pooled,) if pooled else ()
        scores = self.engine.scores(np.ascontiguousarray(np.flip(photos, axes)), *given)
        if scores.shape[1] != len(self.spec.class_names):
            raise CheckpointError(
                f"the network gives scores of {scores.shape[1]} classes, and the model names "
                f"{len(self.spec.class_names)}: its files do not belong together"
            )
        if not axes:
            return scores
        return np.flip(as_numpy(scores), tuple(axis + 1 for axis in axes))

    def pooled(self, photos: Photos, axes: tuple[int, ...] = ()) -> tuple[Any, ...]:
        """Return what the network's global poolings find in the photos that `seen` shows it.

        Args:
            photos: N x H x W x B, H and W multiples of 32.
            axes: axes of the photos to mirror, as for `seen`.

        Returns:
            One array for each pooling; () where the network has none, or the engine cannot tell.
        """
        find = getattr(self.engine, "pooled", None)
        found: tuple[Any, ...] = find(np.ascontiguousarray(np.flip(photos, axes))) if find else ()
        return found

    def labels(self, photos: Photos) -> Bytes:
        """Return the labels of one photo, or of several photos of one size.

        Equivalent to resizing to `spec.long_side`, `scores`, and `upscore.argmax` at the photos'
        own size; with `tta`, of several such scores made one.

        Args:
            photos: uint8, H x W x 3 or N x H x W x 3, RGB; of a model of measurements float32, with
                B bands last.

        Returns:
            uint8, H x W or N x H x W: places in `spec.class_names`.

        Raises:
            ArgumentError: the photos are not as the model takes them.
        """
        batch = photos if photos.ndim == 4 else photos[None]
        scores, size, stride = self.coarse(batch)
        labels = argmax(scores, size=size, stride=stride)
        found: Bytes = as_numpy(labels)
        return found if photos.ndim == 4 else found[0]

    def labels_and_confidence(self, photos: Photos) -> tuple[Bytes, NDArray[np.float32]]:
        """Return the labels of photos of one size, and the probability of each label.

        Equivalent to the argmax and the maximum of the softmax of what `labels` takes the argmax
        of.

        Args:
            photos: uint8, N x H x W x 3, RGB; of a model of measurements float32, N x H x W x B.

        Returns:
            Labels uint8 and probabilities float32, both N x H x W.

        Raises:
            ArgumentError: the photos are not as the model takes them.
        """
        scores, size, stride = self.coarse(photos)
        found = argmax(scores, size=size, stride=stride, return_confidence="probability")
        labels, confidence = map(as_numpy, found)
        return labels, confidence

    def resized(self, photos: Photos, scale: float = 1.0) -> Photos:
        """Return photos at the size that the spec asks for, times `scale`, in whole cells.

        Antialiased, as Pillow's `Image.resize` with `Resampling.BILINEAR`. Photos that have this
        size come back as they are.

        Args:
            photos: N x H x W x B.
            scale: what to multiply that size with.

        Returns:
            Photos N x H' x W' x B, H' and W' multiples of the stride where they were resized.

        Raises:
            ImageError: the result is larger than the photos and has more than 400 million pixels.
        """
        stride = self.spec.stride
        height, width = photos.shape[1:3]
        long_side = self.spec.long_side
        ratio = self.spec.zoom if long_side is None else long_side / max(height, width)
        ratio *= scale
        if ratio == 1:
            return photos
        height, width = (max(1, round(side * ratio / stride)) * stride for side in (height, width))
        if ratio > 1 and height * width > MOST_SHOWN:
            most = int(max(height, width) * (MOST_SHOWN / (height * width)) ** 0.5 / scale)
            raise ImageError(
                f"the network would be shown this photo at {width} x {height} pixels, more than "
                f"the limit of {MOST_SHOWN:,}: give a long_side (--long-side) below {most}"
            )
        return np.stack([images.resized(photo, (height, width)) for photo in photos])


def check_photos(photos: Photos, spec: Spec) -> None:
    """Raise ArgumentError unless these are photos as the model takes them."""
    dtype, bands = ("uint8", 3) if spec.bands is None else ("float32", spec.bands)
    if photos.dtype != dtype or photos.ndim != 4 or photos.shape[3] != bands or not photos.size:
        what = "3 (RGB, 0..255)" if spec.bands is None else f"{bands} (bands of measured values)"
        raise ArgumentError(
            f"photos must be {dtype} of N x H x W x {what}, not {photos.dtype} of "
            f"{' x '.join(map(str, photos.shape))}"
        )
