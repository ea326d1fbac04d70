"""What a model is given of a window."""

from upscore.rasters.photos import as_photo


def photo_of(raster, window, ranges):
    return as_photo(raster.read(window), raster.valid(window), ranges, raster.path)
