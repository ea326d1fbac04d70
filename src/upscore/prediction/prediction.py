"""What comes of a photo: its labels, as an array and as pictures."""

from dataclasses import dataclass
from functools import cached_property
from io import BytesIO
from os import PathLike
from pathlib import Path

import numpy as np
from numpy.typing import NDArray
from PIL import Image

from upscore.images import overlay
from upscore.io.atomic import make_folder, write_bytes

_JPEG_SIDE = 65_500  # the longest side that a JPEG can have, in round numbers


@dataclass(frozen=True)
class Prediction:
    """A photo and its labels.

    Attributes:
        photo: uint8, H x W x 3, RGB.
        labels: uint8, H x W: places in `class_names`.
        class_names: the model's classes.
        palette: one RGB colour for each class, 0 to 255.
    """

    photo: NDArray[np.uint8]
    labels: NDArray[np.uint8]
    class_names: tuple[str, ...]
    palette: tuple[tuple[int, int, int], ...]

    @cached_property
    def areas(self) -> dict[str, float]:
        """The classes found and their share of the area, 0 to 1, largest first."""
        counts = Image.fromarray(self.labels).histogram()
        found = [i for i, count in enumerate(counts) if count]
        found.sort(key=lambda i: -counts[i])
        return {self.class_names[i]: counts[i] / self.labels.size for i in found}

    def label_image(self) -> Image.Image:
        """Return the labels as a palette image.

        Returns:
            A Pillow image whose pixels are class ids.
        """
        return overlay.palette_image(self.labels, self.palette)

    def overlay(self, *, alpha: float = 0.5, legend: bool = True) -> Image.Image:
        """Return the photo tinted by class.

        Args:
            alpha: how opaque the colours are, 0 to 1.
            legend: add a legend below.

        Returns:
            A Pillow image.
        """
        picture = overlay.blend(self.photo, self.labels, self.palette, alpha=alpha)
        if not legend:
            return Image.fromarray(picture)
        return overlay.with_legend(
            picture, self.areas, dict(zip(self.class_names, self.palette, strict=True))
        )

    def save(self, folder: str | PathLike[str], name: str = "photo") -> tuple[Path, Path]:
        """Write `folder/labels/name.png` and `folder/overlays/name.jpg`, whole or not at all.

        Args:
            folder: where to write; made if it is not there.
            name: of the files, without suffix.

        Returns:
            The two files. The overlay of a photo too long for JPEG is a PNG.

        Raises:
            OutputError: a file cannot be written.
        """
        suffix, picture = self.encoded_overlay()
        labels_path = Path(folder, "labels", f"{name}.png")
        picture_path = Path(folder, "overlays", f"{name}.{suffix}")
        for path, content in ((labels_path, self.encoded_labels()), (picture_path, picture)):
            make_folder(path.parent)
            write_bytes(path, content)
        return labels_path, picture_path

    def encoded_labels(self) -> bytes:
        """Return the labels as a file's bytes.

        Returns:
            A palette PNG whose pixels are class ids.
        """
        return _encoded(self.label_image(), "png")

    def encoded_overlay(self) -> tuple[str, bytes]:
        """Return the overlay as a file's bytes.

        Returns:
            The suffix and the content: "jpg", or "png" where the photo is too long for JPEG.
        """
        picture = self.overlay()
        suffix = "jpg" if max(picture.size) <= _JPEG_SIDE else "png"
        return suffix, _encoded(picture, suffix)


def _encoded(image: Image.Image, suffix: str) -> bytes:
    stream = BytesIO()
    image.save(stream, "jpeg" if suffix == "jpg" else suffix, quality=90, subsampling=0)
    return stream.getvalue()
