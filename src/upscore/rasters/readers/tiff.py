"""TIFF files without GDAL: through tifffile, tile by tile or strip by strip."""

from collections.abc import Iterator
from pathlib import Path
from typing import Any, Self

import numpy as np
from numpy.typing import NDArray

from upscore.errors import ImageError, MissingPackageError
from upscore.images import MAX_PIXELS, tiff
from upscore.rasters.raster import Georeference, Window

_MOST_BANDS = 1024
_PLAIN = ("MINISBLACK", "RGB", "YCBCR")  # photometric interpretations


class TiffRaster:
    """The first page of a TIFF file, of which the tiles or strips under a window are decoded.

    In floats, and in measurements of several bands, which become floats, no-data values are NaN.
    """

    georeference: Georeference | None = None

    def __init__(self, path: Path) -> None:
        try:
            import tifffile
        except ModuleNotFoundError:
            raise MissingPackageError(
                f"{path}: reading it needs rasterio: pip install 'upscore[rasters]'"
            ) from None
        self.path = path
        try:
            self._file: Any = tifffile.TiffFile(path, _multifile=False)
        except Exception as error:  # broken bytes raise nearly anything
            raise ImageError(f"{path}: tifffile cannot open it ({error})") from error
        try:
            self._page: Any = _first(path, self._file)
            self._describe()
        except BaseException:
            self.close()
            raise

    def _describe(self) -> None:
        page: Any = self._page
        path = self.path
        self.size, self.bands = (page.imagelength, page.imagewidth), page.samplesperpixel
        self._stored = np.dtype(page.dtype or "V")
        across, down = page.tilewidth or page.imagewidth, page.tilelength or page.rowsperstrip
        self._segment = min(down, page.imagelength), across
        if page.imagedepth > 1 or self.bands > _MOST_BANDS or self._stored.kind not in "uif":
            raise ImageError(f"{path}: {page.shape} of {page.dtype}: no picture of rows x columns")
        alpha = any(extra in tiff.ALPHA for extra in page.extrasamples)
        if self._stored == np.uint8 and (alpha or page.photometric.name not in _PLAIN):
            raise ImageError(
                f"{path}: transparency and colours of {page.photometric.name} need rasterio: "
                "pip install 'upscore[rasters]'"
            )
        self._nodata = tiff.nodata(page)
        several = self._nodata is not None and self.bands > 1 and self._stored != np.uint8
        self.dtype = np.dtype(np.float32) if several and self._stored.kind != "f" else self._stored
        self._latest: tuple[Window, NDArray[np.bool_]] | None = None
        if self._segment[0] * across > MAX_PIXELS:
            raise ImageError(
                f"{path}: it is stored in one piece of {self._segment[0]} rows; save it in tiles "
                "(gdal_translate -co TILED=YES), or install rasterio: "
                "pip install 'upscore[rasters]'"
            )

    def read(self, window: Window) -> NDArray[Any]:
        """The pixels of a window, height x width x bands."""
        top, left, height, width = window
        # Blocks that a sparse file lacks hold the no-data value, or 0.
        pixels: Any = np.full((height, width, self.bands), self._nodata or 0, self._stored)
        try:
            for row, column, band, values in self._segments(window):
                y, x = max(row, top), max(column, left)
                part = values[y - row : top + height - row, x - column : left + width - column]
                bands = slice(band, band + part.shape[2])
                pixels[y - top : y - top + part.shape[0], x - left :][:, : part.shape[1], bands] = (
                    part
                )
        except Exception as error:  # broken bytes make decoders raise nearly anything
            raise ImageError(
                f"{self.path}: rows {top} to {top + height}, columns {left} to {left + width} "
                f"cannot be read ({error}); copy the file again from its source"
            ) from error
        if self.dtype.kind == "f":
            if self._nodata is not None:
                pixels = np.where(pixels == self._nodata, np.nan, pixels).astype(self.dtype)
            valid: NDArray[np.bool_] = np.isfinite(pixels).any(axis=2)
            self._latest = window, valid
        elif self._nodata is not None:
            self._latest = window, (pixels != self._nodata).any(axis=2)
        read: NDArray[Any] = pixels
        return read

    def _segments(self, window: Window) -> Iterator[tuple[int, int, int, NDArray[Any]]]:
        """First row, column and band, and the values, of each tile or strip under a window."""
        page, (tall, wide) = self._page, self._segment
        top, left, height, width = window
        down, across = -(-self.size[0] // tall), -(-self.size[1] // wide)
        planes = self.bands if page.planarconfig == 2 and self.bands > 1 else 1
        for plane in range(planes):
            for row in range(top // tall, -(-(top + height) // tall)):
                for column in range(left // wide, -(-(left + width) // wide)):
                    i = (plane * down + row) * across + column
                    if page.databytecounts[i] == 0:  # of a sparse file
                        continue
                    self._file.filehandle.seek(page.dataoffsets[i])
                    data = self._file.filehandle.read(page.databytecounts[i])
                    values, _, shape = page.decode(data, i, jpegtables=page.jpegtables)
                    yield row * tall, column * wide, plane, values[0, : shape[1], : shape[2]]

    def valid(self, window: Window) -> NDArray[np.bool_] | None:
        """Where any band is finite and not the no-data value; None: everywhere."""
        if self.dtype.kind != "f" and self._nodata is None:
            return None
        if self._latest is None or self._latest[0] != window:
            self.read(window)
        assert self._latest is not None
        return self._latest[1].copy()

    def close(self) -> None:
        """Let go of the file."""
        self._file.close()

    def __enter__(self) -> Self:
        return self

    def __exit__(self, *_: object) -> None:
        self.close()


def _first(path: Path, file: Any) -> Any:
    try:
        return file.pages[0]
    except Exception as error:
        raise ImageError(f"{path}: it has no page that can be read ({error})") from error
