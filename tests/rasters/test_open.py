"""Which reader a picture gets, and what it costs to open a large one."""

import subprocess
import sys
import warnings

import numpy as np
import pytest
import rasterio
import tifffile
import zarr
from PIL import Image
from rasterio.errors import NotGeoreferencedWarning

import upscore.images.decode
from upscore import images
from upscore.errors import ImageError
from upscore.rasters import open_raster
from upscore.rasters.raster import Window
from upscore.rasters.readers.geo import GeoRaster
from upscore.rasters.readers.picture import PictureRaster
from upscore.rasters.readers.tiff import TiffRaster

RNG = np.random.default_rng(0)
PIXELS = RNG.integers(0, 256, (41, 67, 3), np.uint8)


def saved(path, pixels=PIXELS, orientation=1, **options):
    """A photo, with its EXIF orientation."""
    exif = Image.Exif()
    exif[0x112] = orientation
    Image.fromarray(pixels).save(path, exif=exif, **options)
    return path


@pytest.mark.parametrize("name", ["a.jpg", "a.png"])
@pytest.mark.parametrize("orientation", [1, 3, 5, 6])
def test_a_photo_too_large_to_decode_is_read_by_gdal(tmp_path, monkeypatch, name, orientation):
    """The limit is lowered, wherever it is a default too."""
    path = saved(tmp_path / name, orientation=orientation, subsampling=0)
    want = images.read(path)
    limit = PIXELS.shape[0] * PIXELS.shape[1] - 1
    monkeypatch.setattr(images, "MAX_PIXELS", limit)
    for function in (images.size, images.bands_of, upscore.images.decode.opened.__wrapped__):
        if function.__kwdefaults__:
            monkeypatch.setitem(function.__kwdefaults__, "max_pixels", limit)
    with open_raster(path) as raster:
        assert not isinstance(raster, PictureRaster)
        assert raster.size == want.shape[:2]
        window = Window(3, 5, 20, 30)
        found = raster.read(window).astype(int)
    # GDAL brings a JPEG decoder of its own, which may round in another way.
    assert np.abs(found - want[3:23, 5:35]).max() <= (name == "a.jpg")


def test_a_large_png_is_not_decoded_to_look_for_its_orientation(tmp_path, monkeypatch):
    path = tmp_path / "a.png"
    Image.fromarray(PIXELS).save(path)  # its EXIF could stand behind the pixels
    monkeypatch.setattr(images, "MAX_PIXELS", 1)
    monkeypatch.setattr("PIL.PngImagePlugin.PngImageFile.load", lambda _: pytest.fail("decoded"))
    with open_raster(path) as raster:
        assert isinstance(raster, GeoRaster)


def test_tiff_files_of_a_codec_that_gdal_lacks(tmp_path):
    path = tmp_path / "a.tif"
    # GDAL's own build decides what it lacks; this one is in none.
    tifffile.imwrite(path, PIXELS, photometric="rgb", compression="jpegxr", tile=(16, 32))
    with open_raster(path) as raster:
        assert isinstance(raster, TiffRaster)
        found = raster.read(Window(5, 7, 30, 50))
    np.testing.assert_array_equal(found, tifffile.imread(path)[5:35, 7:57], strict=True)


def test_gdals_reason_is_given_where_nothing_opens_a_tiff_file(tmp_path):
    path = tmp_path / "a.tif"
    path.write_bytes(b"II*\0" + bytes(99))
    with pytest.raises(ImageError, match=r"a\.tif: GDAL cannot open it"):
        open_raster(path)


@pytest.mark.parametrize(
    ("shape", "size", "bands"),
    [
        ((3, 20, 30), (20, 30), 3),
        ((20, 30, 3), (20, 30), 3),
        ((20, 20, 30), (20, 20), 30),  # square: as images.as_bands
        ((30, 20, 20), (20, 20), 30),
    ],
)
def test_the_bands_of_a_nameless_zarr_array_are_those_of_other_arrays(tmp_path, shape, size, bands):
    values = RNG.integers(0, 999, shape, np.uint16)
    zarr.create_array(tmp_path / "a.zarr" / "inner", data=values, chunks=(7, 7, 7))
    with open_raster(tmp_path / "a.zarr" / "inner") as raster:
        assert (raster.size, raster.bands) == (size, bands)
        found = raster.read(Window(0, 0, *size))
    np.testing.assert_array_equal(found, images.as_bands(values))


def test_the_scales_of_an_ome_zarr_picture_multiply(tmp_path):
    axes = [{"name": name, "type": "space", "unit": "micrometer"} for name in "yx"]
    level = {"path": "0", "coordinateTransformations": [{"type": "scale", "scale": [0.5, 0.25]}]}
    common = [{"type": "scale", "scale": [4, 2]}]
    scales = {"axes": axes, "datasets": [level], "coordinateTransformations": common}
    group = zarr.open_group(tmp_path / "a.zarr", mode="w", attributes={"multiscales": [scales]})
    group.create_array("0", shape=(5, 6), chunks=(5, 6), dtype="u1")
    with open_raster(tmp_path / "a.zarr") as raster:
        assert raster.georeference.resolution == pytest.approx(0.5e-6)
        assert raster.georeference.transform == pytest.approx((0.5e-6, 0, 0, 0, 2e-6, 0))


CHILD = """
import resource, sys
import numpy, rasterio, PIL.Image, tifffile
import upscore.images
from upscore.rasters import open_raster
from upscore.rasters.raster import Window
used = int(open("/proc/self/statm").read().split()[0]) * resource.getpagesize()
resource.setrlimit(resource.RLIMIT_AS, (used + (512 << 20),) * 2)
with open_raster(sys.argv[1]) as raster:
    for top, left in (0, 0), (30_000, 59_000), (59_000, 59_000), (12, 7), (29_500, 29_500):
        window = Window(top, left, 1000, 1000)
        valid = raster.valid(window)
        print(raster.read(window).sum(), valid.sum())
"""


@pytest.mark.skipif(sys.platform != "linux", reason="limits of address space as Linux has them")
@pytest.mark.parametrize("layout", [{"tiled": True, "blockysize": 512}, {"blockysize": 1}])
def test_sixty_thousand_by_sixty_thousand_in_half_a_gigabyte(tmp_path, layout):
    """More than the process has with its libraries, 10.8 GB of pixels, of which 0.3 are there."""
    path, ones = tmp_path / "a.tif", np.ones((3, 512, 512), np.uint8)
    shape = {"height": 60_000, "width": 60_000, "count": 3, "dtype": "uint8", "nodata": 0}
    options = {"sparse_ok": True, "bigtiff": "yes", "compress": "deflate", "interleave": "pixel"}
    with warnings.catch_warnings():
        warnings.simplefilter("ignore", NotGeoreferencedWarning)
        with rasterio.open(path, "w", "GTiff", **shape, **options, **layout) as file:
            file.write(ones[:, :, :200], window=((0, 512), (0, 200)))
            file.write(ones, window=((59_488, 60_000), (59_488, 60_000)))
    found = subprocess.run(
        [sys.executable, "-c", CHILD, path],
        capture_output=True,
        text=True,
        check=False,
        timeout=120,
    )
    assert found.returncode == 0, found.stderr
    corners = [512 * 200, 0, 512 * 512, 500 * 193, 0]
    assert found.stdout.split() == [str(n) for valid in corners for n in (3 * valid, valid)]
