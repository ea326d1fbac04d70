"""GDAL, through rasterio, in bounded memory."""

import warnings
from collections.abc import Iterator
from contextlib import contextmanager
from typing import Any

from upscore.errors import MissingPackageError, OutputError

_CACHE = 64 << 20  # bytes of blocks; GDAL's own choice is a twentieth of the machine's memory
_STRIP = 32 << 20  # pixels that overviews are made of at a time, of the picture's whole width


@contextmanager
def bounded(width: int) -> Iterator[Any]:
    """Yield rasterio; the memory that GDAL takes does not depend on a picture's height.

    It does on its width, where overviews are made: beyond a million pixels, 0.5 KB a column.
    What GDAL cannot write becomes an OutputError. Pictures without a georeference raise no warning.
    """
    try:
        import rasterio
        from rasterio._err import CPLE_BaseError
        from rasterio.errors import NotGeoreferencedWarning, RasterioError
    except ModuleNotFoundError:
        raise MissingPackageError("this needs rasterio: pip install 'upscore[rasters]'") from None
    rows = max(64, min(1024, 1 << (_STRIP // width).bit_length() - 1)) if width else 64
    with warnings.catch_warnings():
        warnings.simplefilter("ignore", NotGeoreferencedWarning)
        options = {"GDAL_CACHEMAX": _CACHE, "GDAL_NUM_THREADS": 2, "GDAL_OVR_CHUNKYSIZE": rows}
        try:
            with rasterio.Env(**options):
                yield rasterio
        except (CPLE_BaseError, RasterioError) as error:
            raise OutputError(f"GDAL failed: {error}") from error
