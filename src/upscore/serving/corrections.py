"""Photos with corrected labels, as a folder that `upscore train` takes as it is."""

import hashlib
from io import BytesIO
from pathlib import Path
from threading import Lock
from typing import Any

import numpy as np
from PIL import Image

from upscore import images
from upscore.errors import ImageError, RequestError
from upscore.io.atomic import make_folder, write_bytes
from upscore.models.spec import Spec

_VOID = 255
_CLASSES = "classes.txt"


class Corrections:
    """A folder of `images/`, `masks/` and `classes.txt`, or None, which keeps nothing."""

    def __init__(self, folder: Path | None) -> None:
        self.folder, self._lock = folder, Lock()

    def describe(self) -> dict[str, Any]:
        """Where it is and how many photos it has."""
        if self.folder is None:
            return {"folder": None, "photos": 0}
        photos = sum(1 for path in self.folder.glob("masks/*.png"))
        return {"folder": str(self.folder.resolve()), "photos": photos}

    def save(self, photo: bytes, labels: bytes, spec: Spec, max_pixels: int) -> dict[str, Any]:
        """Keep a photo and its labels under a name that is the photo's hash.

        The photo is kept as its pixels, upright: without place, camera and whatever else its file
        says. The same photo again replaces its labels.

        Raises:
            RequestError: nothing is kept here, or the folder holds other classes.
            ImageError: the photo or the labels cannot be read, or do not fit each other.
            OutputError: the folder cannot be written.
        """
        if self.folder is None:
            raise RequestError(409, "this server keeps no corrections: start it with --corrections")
        if spec.bands is not None:
            raise RequestError(409, "corrections of photos of measurements are not kept yet")
        pixels = images.read(photo, max_pixels=max_pixels)
        mask = _mask(labels, pixels.shape[:2], spec)
        with self._lock:
            self._claim(spec)
        name = hashlib.sha256(photo).hexdigest()[:16]
        for kind, values in (("images", pixels), ("masks", mask)):
            write_bytes(make_folder(self.folder / kind) / f"{name}.png", _png(values))
        return {"name": name, **self.describe()}

    def _claim(self, spec: Spec) -> None:
        """Write the classes, or see that those of the folder are the model's."""
        assert self.folder is not None
        path = make_folder(self.folder) / _CLASSES
        lines = [
            " ".join((name, *map(str, colour)))
            for name, colour in zip(spec.class_names, spec.palette, strict=True)
        ]
        if len(set(spec.palette)) < len(lines):  # colours in the file must differ
            lines = list(spec.class_names)
        text = "\n".join(lines) + "\n"
        if not path.exists():
            write_bytes(path, text.encode())
        elif path.read_text(encoding="utf-8") != text:
            raise RequestError(
                409,
                f"{path} names other classes than this model: start the server with another "
                "folder for --corrections",
            )


def _mask(data: bytes, size: tuple[int, ...], spec: Spec) -> Any:
    """Class ids from a PNG whose grey, red or palette values they are."""
    height, width = size
    with images.opened(data, max_pixels=height * width) as image:
        if image.mode not in ("L", "P", "RGB", "RGBA"):
            raise ImageError(f"labels must be 8 bits of grey, palette or RGB, not {image.mode}")
        values = np.array(image)
    ids = values if values.ndim == 2 else np.ascontiguousarray(values[:, :, 0])
    if ids.shape != (height, width):
        raise ImageError(
            f"labels of {ids.shape[1]} x {ids.shape[0]} pixels for a photo of {width} x {height}"
        )
    unknown = set(np.unique(ids).tolist()) - {*range(len(spec.class_names)), _VOID}
    if unknown:
        raise ImageError(
            f"labels hold {min(unknown)}: expected 0 to {len(spec.class_names) - 1}, or {_VOID} "
            "for what is not known"
        )
    return ids


def _png(values: Any) -> bytes:
    stream = BytesIO()
    Image.fromarray(values).save(stream, "png")
    return stream.getvalue()
