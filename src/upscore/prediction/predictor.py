"""One photo in, its prediction out."""

from os import PathLike
from typing import Any

import numpy as np
from numpy.typing import NDArray
from PIL import Image

from upscore import images
from upscore.errors import ImageError
from upscore.inference.engines import EngineName, Precision
from upscore.inference.load import LongSide, Models, segmenter_of
from upscore.inference.segmenter import Segmenter
from upscore.inference.tta import Tta
from upscore.prediction.prediction import Prediction

Photo = str | PathLike[str] | bytes | Image.Image | NDArray[Any]


class Predictor:
    """A loaded model that turns photos into predictions.

    Args:
        model: "bundled", a folder with a model.json, the folder of a training run, a list of
            these (an ensemble), or a `Segmenter` of your own.
        engine: as for `upscore.load`, which chooses it if not given.
        device: as for `upscore.load`.
        precision: as for `upscore.load`.
        long_side: photos are resized for the network so that the longer side has this many pixels;
            the labels still have the photo's own size. None: never. Not given: what the model
            says, by the size of the photos it was trained on.
        tta: test-time augmentation: "flip", "flip-ud", "scales", several of them, or none; see
            `Segmenter.with_tta`.
        max_pixels: larger photos are refused before they are decoded.

    Raises:
        CheckpointError: the model cannot be loaded.
        MissingPackageError: the engine's package is not installed.
        ArgumentError: an option that does not exist or does not fit the others.

    Examples:
        >>> import upscore, upscore.images
        >>> predictor = upscore.Predictor()
        >>> prediction = predictor(upscore.images.samples()["cat"])
        >>> list(prediction.areas)
        ['cat', 'background']
        >>> prediction.overlay().save("overlay.jpg")  # doctest: +SKIP
    """

    def __init__(
        self,
        model: Models | Segmenter = "bundled",
        *,
        engine: EngineName = "auto",
        device: str | None = None,
        precision: Precision = "float32",
        long_side: LongSide = "trained",
        tta: Tta = (),
        max_pixels: int = images.MAX_PIXELS,
    ) -> None:
        self.segmenter = segmenter_of(
            model,
            engine=engine,
            device=device,
            precision=precision,
            long_side=long_side,
            tta=tta,
        )
        self.max_pixels = max_pixels

    def __call__(self, photo: Photo) -> Prediction:
        """Predict one photo.

        Args:
            photo: a path, a file's bytes, a Pillow image, or an array: uint8 H x W x 3 RGB; for a
                model of measurements, numbers of any type, H x W or with the bands first or last.

        Returns:
            A `Prediction`: the labels, at the photo's own size, and what can be made of them.

        Raises:
            ImageError: the file is no usable photo, or the array none that the model takes.
        """
        pixels = self.read(photo)
        spec, labels = self.segmenter.spec, self.segmenter.labels(pixels)
        shown = images.preview(pixels, spec.ranges)
        return Prediction(shown, labels, spec.class_names, spec.palette)

    def read(self, photo: Photo) -> NDArray[Any]:
        """Return the pixels of a photo as the model takes them.

        Args:
            photo: as for a call.

        Returns:
            uint8 H x W x 3 RGB, or float32 H x W x B for a model of measurements.

        Raises:
            ImageError: the file is no usable photo, or the array none that the model takes.
        """
        bands = self.segmenter.spec.bands
        if bands is not None:
            if isinstance(photo, str | PathLike | bytes):
                return images.read_bands(photo, bands, max_pixels=self.max_pixels)
            return images.as_bands(np.asarray(photo), bands)
        if isinstance(photo, Image.Image):
            return images.from_pillow(photo, max_pixels=self.max_pixels)
        if not isinstance(photo, np.ndarray):
            return images.read(photo, max_pixels=self.max_pixels)
        if photo.dtype != np.uint8 or photo.ndim != 3 or photo.shape[2] != 3 or not photo.size:
            raise ImageError(
                f"a photo given as an array must be uint8 of H x W x 3 (RGB, 0..255), "
                f"not {photo.dtype} of {' x '.join(map(str, photo.shape))}"
            )
        return photo
