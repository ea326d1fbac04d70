"""Pictures larger than memory: read and written by windows."""

from upscore.rasters.open import open_raster

__all__ = ["open_raster"]
