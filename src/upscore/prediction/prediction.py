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
    """A photo (uint8, H x W x 3, RGB) and its labels (uint8, H x W: places in `class_names`)."""

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
        """The labels as a palette image."""
        return overlay.palette_image(self.labels, self.palette)

    def overlay(self, *, alpha: float = 0.5, legend: bool = True) -> Image.Image:
        """The photo tinted by class, with a legend below it."""
        picture = overlay.blend(self.photo, self.labels, self.palette, alpha=alpha)
        if not legend:
            return Image.fromarray(picture)
        return overlay.with_legend(
            picture, self.areas, dict(zip(self.class_names, self.palette, strict=True))
        )

    def save(self, folder: str | PathLike[str], name: str = "photo") -> tuple[Path, Path]:
        """Write `folder/labels/name.png` and `folder/overlays/name.jpg`, whole or not at all.

        The overlay of a photo too long for JPEG is a PNG.
        """
        suffix, picture = self.encoded_overlay()
        labels_path = Path(folder, "labels", f"{name}.png")
        picture_path = Path(folder, "overlays", f"{name}.{suffix}")
        for path, content in ((labels_path, self.encoded_labels()), (picture_path, picture)):
            make_folder(path.parent)
            write_bytes(path, content)
        return labels_path, picture_path

    def encoded_labels(self) -> bytes:
        """The labels as the bytes of a palette PNG."""
        return _encoded(self.label_image(), "png")

    def encoded_overlay(self) -> tuple[str, bytes]:
        """The overlay as the bytes of a JPEG, or of a PNG where it is too long, and the suffix."""
        picture = self.overlay()
        suffix = "jpg" if max(picture.size) <= _JPEG_SIDE else "png"
        return suffix, _encoded(picture, suffix)


def _encoded(image: Image.Image, suffix: str) -> bytes:
    stream = BytesIO()
    image.save(stream, "jpeg" if suffix == "jpg" else suffix, quality=90, subsampling=0)
    return stream.getvalue()
