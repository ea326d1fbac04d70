"""Grey of other than 8 bits as a picture, and what is no picture."""

import numpy as np
import pytest
import tifffile
from pixels import photo_of

from upscore import images
from upscore.errors import ImageError
from upscore.rasters import open_raster
from upscore.rasters.raster import Window

RNG = np.random.default_rng(0)
RGBA = RNG.integers(0, 256, (41, 67, 4), np.uint8)


@pytest.mark.parametrize("dtype", [np.float32, np.float64])
def test_grey_in_floats_is_from_0_to_1(tmp_path, dtype):
    path, grey = tmp_path / "a.tif", RNG.random((41, 67)).astype(dtype)
    tifffile.imwrite(path, grey)
    with open_raster(path) as raster:
        photo = photo_of(raster, Window(0, 0, 41, 67), None)
    np.testing.assert_array_equal(
        photo, np.rint(grey * 255).astype(np.uint8)[..., None].repeat(3, 2)
    )
    if dtype == np.float32:  # Pillow has no grey of float64
        np.testing.assert_array_equal(photo, images.read(path))


def test_grey_that_was_not_measured_is_white_and_has_no_say(tmp_path):
    path, grey = tmp_path / "a.tif", RNG.random((41, 67), np.float32)
    grey[5, 6] = np.nan
    tifffile.imwrite(path, grey)
    with open_raster(path) as raster:
        photo = photo_of(raster, Window(0, 0, 41, 67), None)
    assert photo[5, 6].tolist() == [255] * 3
    assert photo[5, 7, 0] == np.rint(grey[5, 7] * 255)


@pytest.mark.parametrize(
    ("pixels", "message"),
    [
        (RGBA[..., :2], r"2 bands of uint8, and the model takes pictures.*gdal_translate"),
        (RGBA[..., :3].astype(np.uint16), "3 bands of uint16"),
        (RGBA[..., :3].astype(np.float32), "3 bands of float32"),
        (RGBA[..., :1].astype(np.float32), r"grey values from 0\.0 to 255\.0, but 0 to 1"),
        (RGBA[..., :1].astype(np.int32) - 9, "grey values from -9 to 246, but 0 to 65535"),
    ],
)
def test_what_is_no_picture(tmp_path, pixels, message):
    path = tmp_path / "a.npy"
    np.save(path, pixels)
    if pixels.dtype.kind == "i":  # arrays are measurements in float32
        path = tmp_path / "a.tif"
        tifffile.imwrite(path, pixels[..., 0])
    elif pixels.shape[2] == 2:
        path = tmp_path / "a.tif"
        tifffile.imwrite(path, pixels, extrasamples=["unspecified"], photometric="minisblack")
    elif pixels.dtype.kind == "u":
        path = tmp_path / "a.tif"
        tifffile.imwrite(path, pixels, photometric="rgb")
    with open_raster(path) as raster, pytest.raises(ImageError, match=rf"a\.\w+: .*{message}"):
        photo_of(raster, Window(0, 0, *raster.size), None)
