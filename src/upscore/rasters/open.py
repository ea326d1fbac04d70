"""Open a picture of any size to read it by windows."""

import re
import sys
from importlib.util import find_spec
from os import PathLike
from pathlib import Path

from upscore import images
from upscore.errors import ImageError, MissingPackageError
from upscore.rasters.raster import Raster

# Suffixes of scanned slides, which OpenSlide reads best (https://openslide.org/formats/).
SLIDES = (".svs", ".ndpi", ".mrxs", ".scn", ".vms", ".vmu", ".bif", ".svslide", ".dcm")
SUFFIXES = images.SUFFIXES | {*SLIDES, ".jp2", ".img", ".zarr"}  # what folders are searched for
_TIFF = (".tif", ".tiff")
_ORDINARY = images.SUFFIXES - set(_TIFF)
_ZARR = ("zarr.json", ".zarray", ".zgroup")


def open_raster(path: str | PathLike[str]) -> Raster:
    """Open a picture to read it by windows, none of which needs the whole decoded.

    A .zarr folder is read by zarr (of an OME-Zarr group the finest level), a scanned slide by
    OpenSlide, an ordinary photo of up to 100 million pixels whole, exactly as `upscore.images.read`
    does, and all else by GDAL, or by tifffile a TIFF file that GDAL cannot open. Photos are turned
    upright. Where rasterio is not installed, a TIFF file is read by tifffile, a small picture
    whole. For one thread at a time.

    Raises:
        ImageError: the file is missing, broken, or none of these; or its name is an address.
        MissingPackageError: the package that reads it is not installed.

    >>> from upscore.images import samples
    >>> with open_raster(samples()["cat"]) as raster:
    ...     raster.size, raster.bands
    ((300, 451), 3)
    """
    if re.match(r"[A-Za-z][A-Za-z0-9+.-]+:/|/vsi", str(path)):
        raise ImageError(f"{path}: only files on this machine are read; download it first")
    path = Path(path)
    if not path.exists():
        raise ImageError(f"{path}: no such file")
    if path.is_dir():
        return _folder(path)
    if path.stat().st_size == 0:
        raise ImageError(f"{path}: the file is empty (0 bytes); copy it again from its source")
    suffix = path.suffix.lower()
    if suffix in SLIDES:
        from upscore.rasters.readers.slide import SlideRaster

        return SlideRaster(path)
    if suffix in _ORDINARY and _is_small(path):
        return _photo(path)
    if suffix == ".npy":
        raise ImageError(
            f"{path}: an array of more than {images.MAX_PIXELS:,} pixels; save it as a .zarr"
        )
    if find_spec("rasterio") is not None:
        from upscore.rasters.readers.geo import GeoRaster, check_mask
        from upscore.rasters.readers.turned import upright

        check_mask(path)
        try:
            return upright(GeoRaster(path))
        except ImageError as error:
            try:  # tifffile knows other codecs, such as JPEG XL
                if suffix in _TIFF:
                    return _segmented(path)
            except (ImageError, MissingPackageError):
                pass
            raise error
    if suffix in _TIFF:
        return _tiff(path)
    raise MissingPackageError(f"{path}: reading it needs rasterio: pip install 'upscore[rasters]'")


def _folder(path: Path) -> Raster:
    """A zarr array or group, which may have any name."""
    if path.suffix.lower() != ".zarr" and not any((path / name).is_file() for name in _ZARR):
        raise ImageError(f"{path}: a folder, and no zarr array; name a file in it")
    from upscore.rasters.readers.zarr import ZarrRaster

    return ZarrRaster(path)


def _photo(path: Path) -> Raster:
    from upscore.rasters.readers.picture import PictureRaster

    return PictureRaster(path)


def _tiff(path: Path) -> Raster:
    """A TIFF file without GDAL."""
    if _is_small(path) and images.bands_of(path) is None:
        return _photo(path)
    return _segmented(path)


def _segmented(path: Path) -> Raster:
    from upscore.rasters.readers.tiff import TiffRaster

    return TiffRaster(path)


def _is_small(path: Path) -> bool:
    """Whether a photo can be decoded whole."""
    width, height = images.size(path, max_pixels=sys.maxsize)
    return width * height <= images.MAX_PIXELS
