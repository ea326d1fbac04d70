"""Photos in, label maps out: `Predictor` for one photo in Python, `predict_files` for many."""

import glob
import time
from collections.abc import Callable, Iterable, Iterator
from dataclasses import dataclass, replace
from functools import cached_property, partial
from itertools import starmap
from os import PathLike
from pathlib import Path
from typing import Any, Literal

import numpy as np
import torch
import torch.nn.functional as F
from numpy.typing import NDArray
from PIL import Image
from rich.console import Console
from rich.progress import track

from upscore import images, overlay
from upscore.errors import ArgumentError
from upscore.heads import argmax
from upscore.io.atomic import replacing, write_json
from upscore.models import FCN, Spec, load, normalise

Photo = str | PathLike[str] | bytes | Image.Image | NDArray[np.uint8]
LongSide = int | Literal["trained"] | None

_JPEG_SIDE = 65_500


@torch.inference_mode()
def label_map(model: FCN, spec: Spec, photo: NDArray[np.uint8]) -> NDArray[np.uint8]:
    """The labels (H x W) of a photo (H x W x 3): network, then argmax at the photo's own size.

    For the network alone the photo is brought to `spec.long_side`, shrunk or enlarged.
    """
    long_side = spec.long_side
    height, width = photo.shape[:2]
    pixels = torch.from_numpy(np.require(photo, requirements=["C", "W"])).permute(2, 0, 1)[None]
    stride: int | None = model.stride
    if long_side is not None and max(height, width) != long_side:
        # To multiples of the stride: the scores then cover the photo exactly, whatever the ratio.
        scale = long_side / max(height, width) / model.stride
        sides = [max(1, round(side * scale)) * model.stride for side in (height, width)]
        pixels = F.interpolate(pixels, sides, mode="bilinear", antialias=True)
        stride = None
    pixels = pixels.to(_device_of(model)).contiguous(memory_format=torch.channels_last)
    scores = model(normalise(pixels, spec))
    labels = argmax(scores, size=(height, width), stride=stride)
    return np.asarray(labels[0].cpu())


@dataclass(frozen=True)
class Prediction:
    """A photo (uint8, H x W x 3, RGB) and its labels (uint8, H x W: places in `names`)."""

    photo: NDArray[np.uint8]
    labels: NDArray[np.uint8]
    names: tuple[str, ...]
    palette: tuple[tuple[int, int, int], ...]

    @cached_property
    def classes(self) -> dict[str, float]:
        """The classes found and their share of the area, 0 to 1, largest first."""
        counts = Image.fromarray(self.labels).histogram()
        found = [i for i, count in enumerate(counts) if count]
        found.sort(key=lambda i: -counts[i])
        return {self.names[i]: counts[i] / self.labels.size for i in found}

    def label_image(self) -> Image.Image:
        """The labels as a palette image."""
        return overlay.palette_image(self.labels, self.palette)

    def overlay(self, *, alpha: float = 0.5, legend: bool = True) -> Image.Image:
        """The photo tinted by class, with a legend below it."""
        picture = overlay.blend(self.photo, self.labels, self.palette, alpha=alpha)
        if not legend:
            return Image.fromarray(picture)
        return overlay.with_legend(
            picture, self.classes, dict(zip(self.names, self.palette, strict=True))
        )

    def save(self, folder: str | PathLike[str], name: str = "photo") -> tuple[Path, Path]:
        """Write `folder/labels/name.png` and `folder/overlays/name.jpg`, whole or not at all.

        The overlay of a photo too long for JPEG is a PNG.
        """
        picture = self.overlay()
        suffix = "jpg" if max(picture.size) <= _JPEG_SIDE else "png"
        labels_path = Path(folder, "labels", f"{name}.png")
        picture_path = Path(folder, "overlays", f"{name}.{suffix}")
        for path, image in ((labels_path, self.label_image()), (picture_path, picture)):
            path.parent.mkdir(parents=True, exist_ok=True)
            with replacing(path) as temporary:
                image.save(temporary, quality=90, subsampling=0)
        return labels_path, picture_path


class Predictor:
    """A loaded model that turns photos into predictions.

    Args:
        model: "bundled", a folder with a model.json, or the folder of a training run.
        device: where the network runs; a GPU where there is one, if not given.
        long_side: photos are shrunk or enlarged to this long side (pixels) for the network; the
            labels still have the photo's own size. None: never. Not given: what the model says,
            by the size of the photos it was trained on.
        max_pixels: larger photos are refused before they are decoded.

    Example:
        >>> import upscore
        >>> predictor = upscore.Predictor()  # doctest: +SKIP
        >>> prediction = predictor("photo.jpg")  # doctest: +SKIP
        >>> prediction.classes  # doctest: +SKIP
        {'background': 0.61, 'cat': 0.39}
        >>> prediction.overlay().show()  # doctest: +SKIP
    """

    def __init__(
        self,
        model: str | Path = "bundled",
        *,
        device: str | torch.device | None = None,
        long_side: LongSide = "trained",
        max_pixels: int = images.MAX_PIXELS,
    ) -> None:
        self.model, self.spec = load_for(device, model, long_side)
        self.max_pixels = max_pixels

    def __call__(self, photo: Photo) -> Prediction:
        """Predict one photo: a path, a file's bytes, a Pillow image, or uint8 H x W x 3 RGB.

        Raises:
            ImageError: the file is no usable photo; an array is not uint8 of H x W x 3.
        """
        pixels = self.read(photo)
        labels = label_map(self.model, self.spec, pixels)
        return Prediction(pixels, labels, self.spec.classes, self.spec.palette)

    def read(self, photo: Photo) -> NDArray[np.uint8]:
        """The pixels of a photo, decoded within the limits of this predictor."""
        if isinstance(photo, Image.Image):
            return images.rgb(photo)
        if not isinstance(photo, np.ndarray):
            return images.read(photo, max_pixels=self.max_pixels)
        if photo.dtype != np.uint8 or photo.ndim != 3 or photo.shape[2] != 3 or not photo.size:
            raise images.ImageError(
                f"a photo given as an array must be uint8 of H x W x 3 (RGB, 0..255), "
                f"not {photo.dtype} of {' x '.join(map(str, photo.shape))}"
            )
        return photo


@dataclass(frozen=True)
class Summary:
    """What `predict_files` did: one record a file, as in summary.json."""

    model: str
    classes: tuple[str, ...]
    files: tuple[dict[str, Any], ...]
    seconds: float

    @property
    def ok(self) -> tuple[dict[str, Any], ...]:
        """Records of the photos that were labelled."""
        return tuple(record for record in self.files if "error" not in record)

    @property
    def failed(self) -> tuple[dict[str, Any], ...]:
        """Records of the files that could not be: their `file` and `error`."""
        return tuple(record for record in self.files if "error" in record)

    def to_dict(self) -> dict[str, Any]:
        """Plain JSON values."""
        return {
            "model": self.model,
            "classes": list(self.classes),
            "ok": len(self.ok),
            "failed": len(self.failed),
            "seconds": self.seconds,
            "files": list(self.files),
        }


def predict_files(
    paths: Iterable[str | PathLike[str]],
    out: str | PathLike[str],
    model: str | Path = "bundled",
    *,
    device: str | torch.device | None = None,
    long_side: LongSide = "trained",
    max_pixels: int = images.MAX_PIXELS,
    progress: bool = True,
) -> Summary:
    """Label photos and write `out/labels/*.png`, `out/overlays/*.jpg` and `out/summary.json`.

    Reading, the network and writing overlap; a handful of photos is in memory at any time. A file
    that cannot be used is recorded and the rest goes on.

    Args:
        paths: files, folders (searched all the way down) and glob patterns.
        out: folder for the results; existing ones are replaced.
        model, device, long_side, max_pixels: as for `Predictor`.
        progress: show a progress bar on standard error.

    Raises:
        ValueError: no path was given, or the model cannot be loaded.
        OSError: `out` cannot be written.
    """
    out = Path(out)
    started = time.perf_counter()
    predictor = Predictor(model, device=device, long_side=long_side, max_pixels=max_pixels)
    named = list(_named(_found(paths, out)))
    if not named:
        raise ArgumentError("no photos were given: name files, folders or patterns such as *.jpg")
    out.mkdir(parents=True, exist_ok=True)

    def read(job: _Job) -> None:
        if job.path.is_dir():
            raise images.ImageError(f"{job.path}: there is no photo in this folder")
        job.photo = predictor.read(job.path)

    def label(job: _Job) -> None:
        job.prediction = predictor(job.photo)

    def write(job: _Job) -> None:
        labels, picture = job.prediction.save(out, job.name)
        job.record |= _areas(job.prediction)
        job.record["labels"] = labels.relative_to(out).as_posix()
        job.record["overlay"] = picture.relative_to(out).as_posix()

    work = map_ahead(partial(_step, read), starmap(_Job, named))
    work = map_ahead(partial(_step, write), map(partial(_step, label), work))
    console = Console(stderr=True)
    shown = track(work, "Predicting", len(named), console=console, disable=not progress)
    records = tuple(job.record | {"seconds": job.seconds} for job in shown)
    summary = Summary(str(model), predictor.spec.classes, records, time.perf_counter() - started)
    write_json(out / "summary.json", summary.to_dict())
    return summary


class _Job:
    """A photo on its way through the stages, and what becomes its line in the summary."""

    photo: NDArray[np.uint8]
    prediction: Prediction

    def __init__(self, path: Path, name: str) -> None:
        self.path, self.name = path, name
        self.record: dict[str, Any] = {"file": str(path)}
        self.seconds: dict[str, float] = {}


def _step(stage: Callable[[_Job], None], job: _Job) -> _Job:
    """Run and time one stage of a job that has not failed; what a photo causes stays its own."""
    if "error" in job.record:
        return job
    start = time.perf_counter()
    try:
        stage(job)
    except (images.ImageError, RuntimeError, MemoryError) as error:  # torch: out of memory
        job.record["error"] = str(error) or type(error).__name__
    job.seconds[stage.__name__] = round(time.perf_counter() - start, 4)
    return job


def _areas(prediction: Prediction) -> dict[str, Any]:
    """Size and area per class, as shares and in pixels, for the summary."""
    height, width = prediction.labels.shape
    shares = prediction.classes
    return {
        "size": [width, height],
        "classes": shares,
        "pixels": {name: round(share * width * height) for name, share in shares.items()},
    }


def _found(paths: Iterable[str | PathLike[str]], out: Path) -> Iterator[tuple[Path, Path]]:
    """Every photo that the paths mean, each once, and what to call it.

    A folder's photos are called by their place in it. What cannot be found is passed on as it is,
    for the reader to report. Hidden files and earlier results are no photos.
    """
    results = {(out / kind).resolve() for kind in ("labels", "overlays")}
    seen: set[Path] = set()
    for given in paths:
        path = Path(given)
        if path.is_dir():
            pairs = [(p, p.relative_to(path)) for p in sorted(path.rglob("*"))]
            pairs = [pair for pair in pairs if _is_photo(*pair, results)]
        else:
            matches = [] if path.exists() else sorted(glob.glob(str(given), recursive=True))
            pairs = [(p, Path(p.name)) for p in map(Path, matches) if p.is_file()]
        pairs = [pair for pair in pairs or [(path, Path(path.name))] if pair[0] not in seen]
        seen.update(p for p, _ in pairs)
        yield from pairs


def _is_photo(path: Path, inside: Path, results: set[Path]) -> bool:
    hidden = any(part.startswith(".") for part in inside.parts)
    known = path.suffix.lower() in images.SUFFIXES and not hidden
    return known and path.is_file() and results.isdisjoint(path.resolve().parents)


def _named(found: Iterable[tuple[Path, Path]]) -> Iterator[tuple[Path, str]]:
    """Give each photo its own name for the results: a.jpg and a.png become a and a-2."""
    taken: set[str] = set()
    for path, relative in found:
        name = stem = relative.with_suffix("").as_posix()
        number = 1
        while name.lower() in taken:  # some file systems do not tell A from a
            number += 1
            name = f"{stem}-{number}"
        taken.add(name.lower())
        yield path, name


def load_for(
    device: str | torch.device | None, model: str | Path, long_side: LongSide
) -> tuple[FCN, Spec]:
    """A model on the device asked for, else a GPU where there is one, and its spec so sized."""
    if isinstance(long_side, int) and long_side < 1:
        raise ArgumentError(f"long_side must be at least 1 pixel or None, not {long_side}")
    where = torch.device(device or ("cuda" if torch.cuda.is_available() else "cpu"))
    network, spec = load(model, where)
    network.to(memory_format=torch.channels_last)
    return network, spec if long_side == "trained" else replace(spec, long_side=long_side)


def _device_of(model: FCN) -> torch.device:
    return next(model.parameters()).device
