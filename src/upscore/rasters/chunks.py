"""A result as a zarr array, a chunk a window."""

import secrets
import shutil
from itertools import chain
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from upscore.errors import ArgumentError, MissingPackageError, OutputError
from upscore.rasters.layer import VOID, Layer, Windows
from upscore.rasters.raster import Georeference, Window
from upscore.rasters.windows import check_values


def create(
    path: Path,
    size: tuple[int, int],
    chunk: tuple[int, int],
    georeference: Georeference | None,
    layer: Layer,
) -> Any:
    """Make an array (zarr 3, uint8) that is void everywhere, for any number of processes to `put`.

    Raises OutputError where something is at the path already.
    """
    if path.exists():
        raise OutputError(f"{path}: exists already")
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


def put(path: Path, window: Window, values: NDArray[np.uint8]) -> None:
    """Write a window of an array that `create` made.

    The window must be made of whole chunks: processes that write different windows then write
    different files.
    """
    check_values(window, values)
    array = _zarr().open_array(path, mode="r+")
    starts, ends = window[:2], (window.top + window.height, window.left + window.width)
    spans = zip(starts, ends, array.chunks, array.shape, strict=True)
    if any(start % step or (end % step and end != edge) for start, end, step, edge in spans):
        raise ArgumentError(f"{window} is not made of whole chunks of {array.chunks}")
    _set(array, window, values)


def write(
    path: Path,
    size: tuple[int, int],
    windows: Windows,
    georeference: Georeference | None,
    layer: Layer,
) -> None:
    """Write an array, chunked as the first window is; it gets its name when it is whole."""
    if path.exists() and not (path / "zarr.json").exists():
        raise OutputError(f"{path}: exists and is no zarr array; name another output")
    temporary = path.with_name(f".part-{secrets.token_hex(8)}.zarr")
    try:
        windows = iter(windows)
        first = next(windows)
        array = create(temporary, size, first[0][2:], georeference, layer)
        for window, values in chain([first], windows):
            _set(array, window, values)
        if path.exists():  # A folder, unlike a file, cannot be replaced in one step.
            shutil.rmtree(path)
        temporary.rename(path)
    except OSError as error:
        if isinstance(error, OutputError):
            raise
        raise OutputError(error.errno, f"cannot be written: {error.strerror}", str(path)) from error
    finally:
        shutil.rmtree(temporary, ignore_errors=True)


def _set(array: Any, window: Window, values: NDArray[np.uint8]) -> None:
    top, left, height, width = window
    array[top : top + height, left : left + width] = values


def _zarr() -> Any:
    try:
        import zarr
    except ModuleNotFoundError:
        raise MissingPackageError("this needs zarr: pip install 'upscore[rasters]'") from None
    return zarr
