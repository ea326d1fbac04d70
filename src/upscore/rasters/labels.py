"""Labels and confidences of pictures larger than memory, from windows to one file."""

from collections.abc import Iterator, Sequence
from os import PathLike
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import ArrayLike, NDArray
from PIL import Image

from upscore.errors import ArgumentError, UnsupportedError
from upscore.images import MAX_PIXELS
from upscore.images.overlay import palette_image
from upscore.io.atomic import replacing
from upscore.rasters import chunks, cog
from upscore.rasters.layer import CONFIDENCE, VOID, Colour, Layer, Windows
from upscore.rasters.raster import Georeference, Window
from upscore.rasters.windows import check_values

SUFFIXES = (".tif", ".tiff", ".zarr", ".png")


def write_labels(
    path: str | PathLike[str],
    size: tuple[int, int],
    windows: Windows,
    *,
    class_names: Sequence[str],
    palette: Sequence[Colour],
    georeference: Georeference | None = None,
    scratch: str | PathLike[str] | None = None,
) -> None:
    """Write a label map from its windows, whole or not at all, in memory that windows bound.

    `.tif` is a cloud-optimised GeoTIFF: where the picture lies, a colour table, no-data 255,
    overviews by the most frequent class; class names are in the tag CLASS_NAMES and in the file
    `.tif.aux.xml`, from which GIS programs show them. `.zarr` is a zarr 3 array, a chunk a window,
    with all of that as attributes. `.png` has the palette alone; it is made in memory and so for
    pictures of up to `images.MAX_PIXELS`.

    Args:
        path: the file, whose suffix chooses the format.
        size: height and width of the picture.
        windows: windows that cover the picture once, and their labels, uint8, 255 for void. They
            may be of any size; read row by row of windows they are written fastest.
        class_names, palette: of each label from 0 up, at most 255.
        georeference: where the picture lies.
        scratch: a folder for the draft of a GeoTIFF; the output's own if None.

    Raises:
        ArgumentError: an unknown suffix, or windows that do not fit the picture.
        UnsupportedError: a PNG that is too large.
        OutputError: the file cannot be written.

    Example:
        >>> import tempfile, numpy as np
        >>> from pathlib import Path
        >>> from upscore.rasters.raster import Window
        >>> path = Path(tempfile.mkdtemp(), "labels.png")
        >>> windows = [(Window(0, 0, 1, 2), np.uint8([[0, 1]]))]
        >>> colours = [(0, 0, 0), (255, 0, 0)]
        >>> write_labels(path, (1, 2), windows, class_names=["a", "b"], palette=colours)
        >>> from PIL import Image
        >>> np.asarray(Image.open(path)).tolist()
        [[0, 1]]
    """
    if not 0 < len(class_names) == len(palette) <= VOID:
        raise ArgumentError(
            f"{len(class_names)} class names and {len(palette)} colours, "
            f"expected as many of the one as of the other, 1 to {VOID}"
        )
    layer = Layer("labels", tuple(class_names), tuple(palette))
    _write(Path(path), size, windows, georeference, layer, scratch)


def write_confidence(
    path: str | PathLike[str],
    size: tuple[int, int],
    windows: Windows,
    *,
    georeference: Georeference | None = None,
    scratch: str | PathLike[str] | None = None,
) -> None:
    """Write confidences in per cent (see `percent`) as `write_labels` writes labels.

    Band and attributes carry the scale 0.01, by which programs that know of scales show 0 to 1.
    """
    _write(Path(path), size, windows, georeference, CONFIDENCE, scratch)


def check_output(path: Path, size: tuple[int, int]) -> None:
    """Raise before any window is made what would be raised when they are written.

    UnsupportedError for a PNG that is too large, OutputError where a folder that is no zarr array
    would be replaced.
    """
    suffix = path.suffix.lower()
    if suffix == ".png" and size[0] * size[1] > MAX_PIXELS:
        raise UnsupportedError(
            f"{path}: {size[0]} x {size[1]} pixels are too many for a PNG (limit {MAX_PIXELS:,}); "
            "write a .tif"
        )
    if suffix == ".zarr":
        chunks.check_replaceable(path)


def percent(probabilities: ArrayLike) -> NDArray[np.uint8]:
    """Probabilities as whole per cents, NaN as 255: what maps of probability are in GIS.

    >>> percent([0.0, 0.876, 1.0, float("nan")]).tolist()
    [0, 88, 100, 255]
    """
    values = np.asarray(probabilities)
    return np.where(np.isnan(values), VOID, np.rint(100 * values)).astype(np.uint8)


def _write(
    path: Path,
    size: tuple[int, int],
    windows: Windows,
    georeference: Georeference | None,
    layer: Layer,
    scratch: str | PathLike[str] | None,
) -> None:
    if min(size) < 1:
        raise ArgumentError(f"a picture of {size[0]} x {size[1]} pixels: nothing to write")
    check_output(path, size)
    checked = _checked(size, windows)
    match path.suffix.lower():
        case ".tif" | ".tiff":
            cog.write(path, size, checked, georeference, layer, Path(scratch or path.parent))
        case ".zarr":
            chunks.write(path, size, checked, georeference, layer)
        case ".png":
            _write_png(path, size, checked, layer)
        case suffix:
            raise ArgumentError(f"{path}: {suffix or 'no suffix'}, expected {', '.join(SUFFIXES)}")


def _checked(size: tuple[int, int], windows: Windows) -> Iterator[tuple[Window, Any]]:
    """The windows, each checked as it comes, and in the end that they cover the picture."""
    covered = 0
    for window, values in windows:
        top, left, height, width = window
        inside = 0 <= top <= size[0] - height and 0 <= left <= size[1] - width
        if not inside or min(height, width) < 1:
            raise ArgumentError(f"{window} is not inside a picture of {size[0]} x {size[1]} pixels")
        check_values(window, values)
        covered += values.size
        yield window, values
    if covered != size[0] * size[1]:
        raise ArgumentError(f"windows cover {covered:,} of {size[0] * size[1]:,} pixels")


def _write_png(path: Path, size: tuple[int, int], windows: Windows, layer: Layer) -> None:
    whole = np.empty(size, np.uint8)
    for (top, left, height, width), values in windows:
        whole[top : top + height, left : left + width] = values
    colours = layer.palette
    image = palette_image(whole, colours) if colours else Image.fromarray(whole)
    with replacing(path) as temporary:
        image.save(temporary)
