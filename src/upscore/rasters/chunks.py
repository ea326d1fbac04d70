"""A result as a zarr array, a chunk a window."""

import secrets
import shutil
from itertools import chain
from pathlib import Path
from typing import Any

from upscore.errors import MissingPackageError, OutputError
from upscore.rasters.layer import VOID, Layer, Windows
from upscore.rasters.raster import Georeference


def write(
    path: Path,
    size: tuple[int, int],
    windows: Windows,
    georeference: Georeference | None,
    layer: Layer,
) -> None:
    """Write an array, chunked as the first window is; it gets its name when it is whole."""
    check_replaceable(path)
    temporary = path.with_name(f".part-{secrets.token_hex(8)}.zarr")
    old = temporary.with_suffix(".old")
    try:
        windows = iter(windows)
        first = next(windows)
        array = _create(temporary, size, first[0][2:], georeference, layer)
        for (top, left, height, width), values in chain([first], windows):
            array[top : top + height, left : left + width] = values
        if path.exists():  # A folder, unlike a file, cannot be replaced in one step.
            path.rename(old)
        temporary.rename(path)
        shutil.rmtree(old, ignore_errors=True)
    except OSError as error:
        if isinstance(error, OutputError):
            raise
        raise OutputError(error.errno, f"cannot be written: {error.strerror}", str(path)) from error
    finally:
        shutil.rmtree(temporary, ignore_errors=True)


def check_replaceable(path: Path) -> None:
    """Raise OutputError where something is at the path that is no zarr array."""
    if path.exists() and not (path / "zarr.json").exists():
        raise OutputError(f"{path}: exists and is no zarr array; name another output")


def _create(
    path: Path,
    size: tuple[int, int],
    chunk: tuple[int, int],
    georeference: Georeference | None,
    layer: Layer,
) -> Any:
    """Make an array (zarr 3, uint8) that is void everywhere."""
    attributes = {
        "class_names": layer.class_names,
        "palette": layer.palette,
        "scale": layer.scale,
        "transform": georeference and georeference.transform,
        "crs": georeference and georeference.crs,
        "resolution": georeference and georeference.resolution,
    }
    return _zarr().create_array(
        path,
        shape=size,
        chunks=chunk,
        dtype="uint8",
        fill_value=VOID,
        dimension_names=("y", "x"),
        attributes=attributes,
    )


def _zarr() -> Any:
    try:
        import zarr
    except ModuleNotFoundError:
        raise MissingPackageError("this needs zarr: pip install 'upscore[rasters]'") from None
    return zarr
