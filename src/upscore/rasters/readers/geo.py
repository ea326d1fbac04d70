"""What GDAL reads: GeoTIFF, COG and dozens of other formats."""

from collections.abc import Iterator
from contextlib import contextmanager
from math import cos, hypot, radians
from pathlib import Path
from typing import Any, Self

import numpy as np
from numpy.typing import NDArray
from PIL import Image

from upscore import images
from upscore.errors import ImageError
from upscore.rasters.gdal import bounded
from upscore.rasters.raster import Georeference, Window

# Formats of local files. Not VRT, WMS, ERS, PCIDSK and the like, which open what they name.
DRIVERS = (
    "GTiff", "JPEG", "PNG", "BMP", "GIF", "WEBP", "JP2OpenJPEG", "HFA", "ENVI", "EHdr", "AAIGrid",
    "netCDF", "HDF5", "NITF", "RMF", "SRTMHGT", "USGSDEM", "SAGA", "RST", "KEA",
)  # fmt: skip
_TIFF = (b"II*\0", b"MM\0*", b"II+\0", b"MM\0+")
_METRES_A_DEGREE = 111_320.0  # along a meridian or the equator, to half a per cent
_PALETTE = 256
_MOST_BLOCK = 4 * images.MAX_PIXELS  # bytes that are decoded at once, for whatever window


def check_mask(path: Path) -> None:
    """Raise ImageError where a mask lies beside a file, as `a.tif.msk`, that is no TIFF.

    GDAL opens it by itself, in any format, also those that open what they name.
    """
    name = f"{path.name}.msk".lower()  # GDAL does not tell capitals from small letters
    try:
        for mask in path.absolute().parent.iterdir():
            if mask.name.lower() == name and mask.is_file():
                with mask.open("rb") as file:
                    if file.read(4) not in _TIFF:
                        raise ImageError(
                            f"{path}: the mask beside it, {mask.name}, is no TIFF; remove it"
                        )
    except OSError as error:
        raise ImageError(f"{path}: a mask beside it cannot be read ({error})") from error


class GeoRaster:
    """A file that rasterio opens. For one thread at a time.

    Transparent colours are laid over white. In measurements of several bands, no-data values are
    NaN, which makes whole numbers float32, and alpha is a band too.
    """

    def __init__(self, path: Path) -> None:
        self._file = _opened(path)
        try:
            with _reading(f"{path}: GDAL cannot read its header") as rasterio:
                self._describe(path, rasterio)
        except BaseException:
            self.close()
            raise

    def _describe(self, path: Path, rasterio: Any) -> None:
        file = self._file
        self.path, self.size = path, (file.height, file.width)
        alpha = rasterio.enums.ColorInterp.alpha
        self._bands = list(file.indexes)
        self._opaque = [i for i in self._bands if file.colorinterp[i - 1] != alpha]
        if not self._opaque:
            within = "; it holds several pictures: save one as GeoTIFF" * bool(file.subdatasets)
            raise ImageError(f"{path}: it has no band of pixels{within}")
        self._stored: np.dtype[Any] = np.result_type(*file.dtypes)
        if self._stored.kind not in "uif":
            raise ImageError(f"{path}: values of {self._stored}, expected whole or real numbers")
        _check_block(file, path, self._stored.itemsize)
        picture = self._stored == np.uint8 and len(self._opaque) in (1, 3)
        self._alpha = picture and len(self._bands) > len(self._opaque)
        self._palette = _palette(file) if self._bands == [1] else None
        self.bands = 3 if self._alpha or self._palette is not None else len(self._bands)
        self._nodata = None
        if self.bands > 1 and self._stored != np.uint8:
            self._nodata = _nodata(file.nodatavals, self._stored)
        promoted = self._nodata is not None and self._stored.kind != "f"
        self.dtype = np.dtype(np.float32) if promoted else self._stored
        all_valid = rasterio.enums.MaskFlags.all_valid
        self._all_valid = all(all_valid in file.mask_flag_enums[i - 1] for i in self._opaque)
        self._latest: tuple[Window, NDArray[Any]] | None = None
        self.georeference = _georeference(file, rasterio)

    def read(self, window: Window) -> NDArray[Any]:
        """The pixels of a window, height x width x bands."""
        self._latest = None
        values = self._values("read", window, self._bands)
        if self._palette is not None:
            colours: NDArray[np.uint8] = self._palette[values[0]]
            return colours
        pixels = np.ascontiguousarray(np.moveaxis(values, 0, 2))
        if self._alpha:
            bands = self._opaque + [i for i in self._bands if i not in self._opaque][:1]
            return images.rgb(Image.fromarray(pixels[..., [i - 1 for i in bands]]))
        if self._nodata is not None:
            pixels = np.where(pixels == self._nodata, np.nan, pixels).astype(self.dtype)
        if self.dtype.kind == "f":
            self._latest = window, np.isfinite(pixels).any(axis=2)
        return pixels

    def valid(self, window: Window) -> NDArray[np.bool_] | None:
        """Where any band holds a measurement, by no-data value, alpha or mask; None: everywhere."""
        if self._all_valid and self.dtype.kind != "f":
            return None
        good = np.ones((window.height, window.width), bool)
        if not self._all_valid:
            good &= (self._values("read_masks", window, self._opaque) != 0).any(axis=0)
        if self.dtype.kind == "f":
            if self._latest is None or self._latest[0] != window:
                self.read(window)
            assert self._latest is not None
            good &= self._latest[1]
        return good

    def _values(self, method: str, window: Window, bands: list[int]) -> NDArray[Any]:
        """What one of rasterio's methods reads of a window, bands first.

        After an error the file is opened again: GDAL gives the block that was broken, asked for it
        once more, with whatever its buffer holds and without an error.
        """
        top, left, height, width = window
        where = f"rows {top} to {top + height}, columns {left} to {left + width}"
        remedy = "; copy the file again from its source"
        try:
            with _reading(f"{self.path}: {where} cannot be read", remedy):
                read = getattr(self._file, method)
                values: NDArray[Any] = read(
                    bands, window=((top, top + height), (left, left + width))
                )
        except ImageError:
            self._file.close()
            self._file = _opened(self.path)
            raise
        return values

    def close(self) -> None:
        """Let go of the file."""
        self._file.close()

    def __enter__(self) -> Self:
        return self

    def __exit__(self, *_: object) -> None:
        self.close()


@contextmanager
def _reading(what: str, remedy: str = "") -> Iterator[Any]:
    """Yield rasterio; what GDAL cannot read becomes an ImageError."""
    with bounded(0) as rasterio:
        from rasterio._err import CPLE_BaseError

        try:
            yield rasterio
        except (CPLE_BaseError, rasterio.errors.RasterioError, ValueError, MemoryError) as error:
            raise ImageError(f"{what} ({error.__cause__ or error}){remedy}") from error


def _check_block(file: Any, path: Path, itemsize: int) -> None:
    """Raise ImageError where a single pixel would cost too much memory."""
    rows, columns = max(file.block_shapes, key=lambda shape: shape[0] * shape[1])
    together = file.count if str(file.profile.get("interleave")) == "pixel" else 1
    if rows * columns * together * itemsize > _MOST_BLOCK:
        raise ImageError(
            f"{path}: it is stored in pieces of {rows} x {columns} pixels; save it in tiles "
            "(gdal_translate -co TILED=YES)"
        )


def _nodata(values: Any, dtype: np.dtype[Any]) -> NDArray[Any] | None:
    """The no-data value of each band, NaN (which is no value) for none; None where no band has."""
    if all(value is None for value in values):
        return None
    filled: NDArray[Any] = np.array([np.nan if value is None else value for value in values])
    return filled.astype(dtype) if dtype.kind == "f" else filled


def _opened(path: Path) -> Any:
    with _reading(f"{path}: GDAL cannot open it") as rasterio:
        # The whole path: a name such as "https:a.tif" would be taken for an address.
        return rasterio.io.DatasetReader(str(path.absolute()), driver=list(DRIVERS))


def _palette(file: Any) -> NDArray[np.uint8] | None:
    """The colours of a band's values, 256 x 3; None where these are values themselves."""
    if file.dtypes[0] != "uint8":
        return None
    try:
        colours = file.colormap(1)
    except ValueError:
        return None
    found = np.array([colours.get(i, (0, 0, 0, 255)) for i in range(_PALETTE)], np.uint8)
    opaque: NDArray[np.uint8] = images.rgb(Image.fromarray(found[None]))[0]
    return opaque


def _georeference(file: Any, rasterio: Any) -> Georeference | None:
    """Where the file says that it lies; None where it does not."""
    if file.transform.is_identity:
        return None
    a, b, c, d, e, f = file.transform[:6]
    if file.crs is None:
        return Georeference((a, b, c, d, e, f))
    # The side of a pixel: of a rotated picture the length of a step along a row.
    if file.crs.is_projected:
        resolution = hypot(a, d) * file.crs.linear_units_factor[1]
    elif file.crs.is_geographic:
        latitude = f + d * file.width / 2 + e * file.height / 2
        resolution = hypot(a * cos(radians(latitude)), d) * _METRES_A_DEGREE
    else:
        resolution = None
    return Georeference((a, b, c, d, e, f), file.crs.to_wkt(), resolution)
