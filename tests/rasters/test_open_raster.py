import subprocess
import sys

import numpy as np
import pytest
import rasterio
import tifffile
from PIL import Image
from pixels import photo_of

from upscore import images
from upscore.errors import ImageError
from upscore.rasters import open_raster
from upscore.rasters.raster import Window
from upscore.rasters.readers.geo import GeoRaster
from upscore.rasters.readers.picture import PictureRaster

PIXELS = np.random.default_rng(0).integers(0, 256, (41, 57, 4), np.uint8)


@pytest.mark.parametrize("suffix", ["png", "jpg", "webp", "bmp", "gif", "ppm", "tif"])
@pytest.mark.parametrize("mode", ["L", "LA", "P", "RGB", "RGBA"])
def test_small_photos_are_what_the_reader_of_photos_makes_of_them(tmp_path, suffix, mode):
    path = tmp_path / f"a.{suffix}"
    image = Image.fromarray(PIXELS, "RGBA")
    image = image.quantize(19) if mode == "P" else image.convert(mode)
    try:
        image.save(path)
    except OSError:
        pytest.skip("no such colours in such a file")
    with open_raster(path) as raster:
        photo = photo_of(raster, Window(0, 0, *raster.size), None)
        part = photo_of(raster, Window(40, 3, 1, 54), None)
    np.testing.assert_array_equal(photo, images.read(path), strict=True)
    np.testing.assert_array_equal(part, photo[40:, 3:])


@pytest.mark.parametrize("orientation", [1, 3, 6])
def test_photos_are_upright(tmp_path, orientation):
    path, exif = tmp_path / "a.JPG", Image.Exif()
    exif[0x112] = orientation
    Image.fromarray(PIXELS[..., :3]).save(path, exif=exif)
    with open_raster(path) as raster:
        photo = photo_of(raster, Window(0, 0, *raster.size), None)
    np.testing.assert_array_equal(photo, images.read(path), strict=True)


def test_grey_of_16_bits(tmp_path):
    path, values = tmp_path / "a.png", PIXELS[..., 0].astype(np.uint16) * 251 + 7
    Image.fromarray(values).save(path)
    with open_raster(path) as raster:
        whole = Window(0, 0, *raster.size)
        assert (raster.bands, raster.dtype) == (1, np.uint16)
        np.testing.assert_array_equal(raster.read(whole)[..., 0], values)
        np.testing.assert_array_equal(photo_of(raster, whole, None), images.read(path))
        np.testing.assert_array_equal(photo_of(raster, whole, [(0, 1)]), images.read_bands(path))


def test_arrays(tmp_path):
    path, values = tmp_path / "a.npy", PIXELS[..., [0, 1]] / np.float32(7)
    values[3, 4] = np.nan
    values[5, 6, 0] = np.inf
    np.save(path, values)
    with open_raster(path) as raster:
        whole = Window(0, 0, *raster.size)
        found = photo_of(raster, whole, [(0, 1)] * 2)
        np.testing.assert_array_equal(found, images.read_bands(path), strict=True)
        assert np.argwhere(~raster.valid(whole)).tolist() == [[3, 4]]
    np.save(path, PIXELS[..., :3])
    with open_raster(path) as raster:
        np.testing.assert_array_equal(photo_of(raster, whole, None), PIXELS[..., :3])


def test_a_window_belongs_to_its_reader(tmp_path):
    Image.fromarray(PIXELS[..., :3]).save(tmp_path / "a.png")
    with open_raster(tmp_path / "a.png") as raster:
        assert isinstance(raster, PictureRaster)
        whole = Window(0, 0, *raster.size)
        photo_of(raster, whole, None)[:] = 0
        np.testing.assert_array_equal(raster.read(whole), PIXELS[..., :3])


@pytest.mark.parametrize("bands", [2, 3, 5])
def test_photos_have_the_bands_that_a_model_takes(tmp_path, bands):
    values = PIXELS[..., [0] * bands].astype(np.float32)
    np.save(tmp_path / "a.npy", values)
    with open_raster(tmp_path / "a.npy") as raster:
        with pytest.raises(ImageError, match=rf"a\.npy: it has {bands} bands, .* takes 4"):
            photo_of(raster, Window(0, 0, 3, 3), [(0, 1)] * 4)
        with pytest.raises(ImageError, match=rf"{bands} bands of float32.*8-bit colour"):
            photo_of(raster, Window(0, 0, 3, 3), None)


@pytest.mark.parametrize(
    "address",
    [
        "https://example.org/a.tif",
        "s3://bucket/a.tif",
        "http:/example.org/a.tif",
        "/vsicurl/https://example.org/a.tif",
        "/vsizip/a.zip/a.tif",
        "file:///a.tif",
    ],
)
def test_addresses_are_refused(address):
    with pytest.raises(ImageError, match="only files on this machine"):
        open_raster(address)


VRT = (
    '<VRTDataset rasterXSize="9" rasterYSize="9"><VRTRasterBand dataType="Byte" band="1">'
    "<SimpleSource><SourceFilename>{}</SourceFilename></SimpleSource></VRTRasterBand></VRTDataset>"
)
WMS = (
    '<GDAL_WMS><Service name="TMS"><ServerUrl>http://127.0.0.1:9/</ServerUrl></Service>'
    "<DataWindow><UpperLeftX>0</UpperLeftX><UpperLeftY>0</UpperLeftY><LowerRightX>9</LowerRightX>"
    "<LowerRightY>9</LowerRightY><SizeX>9</SizeX><SizeY>9</SizeY></DataWindow></GDAL_WMS>"
)


@pytest.mark.parametrize("name", ["a.vrt", "a.xml", "a.tif"])
@pytest.mark.parametrize("text", [VRT, WMS], ids=["VRT", "WMS"])
def test_files_that_name_other_files_are_refused(tmp_path, name, text):
    Image.fromarray(PIXELS[..., :3]).save(tmp_path / "secret.tif")
    (tmp_path / name).write_text(text.format(tmp_path / "secret.tif"))
    with pytest.raises(ImageError, match=rf"{name}: GDAL cannot open it"):
        open_raster(tmp_path / name)


@pytest.mark.parametrize("name", ["a.tif.msk", "A.TIF.MSK"])
@pytest.mark.parametrize("text", [VRT, WMS], ids=["VRT", "WMS"])
def test_a_mask_that_names_other_files_is_refused(tmp_path, name, text):
    for picture in ("secret.tif", "a.tif"):
        Image.fromarray(PIXELS[..., :3]).save(tmp_path / picture)
    (tmp_path / name).write_text(text.format(tmp_path / "secret.tif"))
    with pytest.raises(ImageError, match=rf"a\.tif: the mask beside it, {name}, is no TIFF"):
        open_raster(tmp_path / "a.tif")


@pytest.mark.filterwarnings("ignore::rasterio.errors.NotGeoreferencedWarning")
def test_a_mask_beside_the_file_is_taken(tmp_path):
    Image.fromarray(PIXELS[..., :3]).save(tmp_path / "a.tif")
    with (
        rasterio.Env(GDAL_TIFF_INTERNAL_MASK=False),
        rasterio.open(tmp_path / "a.tif", "r+") as file,
    ):
        file.write_mask(PIXELS[..., 3] & 128)
    assert (tmp_path / "a.tif.msk").exists()
    with open_raster(tmp_path / "a.tif") as raster:
        valid = raster.valid(Window(0, 0, *raster.size))
    np.testing.assert_array_equal(valid, PIXELS[..., 3] & 128 != 0)


@pytest.mark.parametrize("name", ["https:a.tif", "zip:a.tif", "NETCDF:a.tif"])
def test_a_file_whose_name_looks_like_an_address(tmp_path, monkeypatch, name):
    tifffile.imwrite(tmp_path / name, PIXELS[..., :3], photometric="rgb")
    monkeypatch.chdir(tmp_path)
    with open_raster(name) as raster:
        assert isinstance(raster, GeoRaster)
        np.testing.assert_array_equal(raster.read(Window(0, 0, *raster.size)), PIXELS[..., :3])


@pytest.mark.parametrize("name", ["a.tif", "a.png", "a.img", "a.svs", "a.npy"])
def test_what_is_no_picture(tmp_path, name):
    path = tmp_path / name
    with pytest.raises(ImageError, match=rf"{name}: no such file"):
        open_raster(path)
    path.touch()
    with pytest.raises(ImageError, match=rf"{name}: the file is empty"):
        open_raster(path)
    path.write_text("Dear diary")
    with pytest.raises(ImageError, match=rf"{name}: "):
        open_raster(str(path))
    path.unlink()
    path.mkdir()
    with pytest.raises(ImageError, match=rf"{name}: a folder, and no zarr array"):
        open_raster(path)


@pytest.mark.parametrize("suffix", ["tif", "png", "jpg"])
@pytest.mark.parametrize("share", [0.01, 0.5])
def test_truncated(tmp_path, suffix, share):
    path = tmp_path / f"a.{suffix}"
    Image.fromarray(PIXELS[..., :3]).save(path)
    data = path.read_bytes()
    path.write_bytes(data[: int(len(data) * share)])

    def read():
        with open_raster(path) as raster:
            raster.read(Window(0, 0, *raster.size))

    with pytest.raises(ImageError, match=rf"a\.{suffix}: "):
        read()


def test_an_array_that_is_too_large_says_what_to_do(tmp_path):
    np.lib.format.open_memmap(tmp_path / "a.npy", "w+", np.uint8, (10_001, 10_000))
    with pytest.raises(ImageError, match=r"a\.npy: .*100,000,000 pixels; save it as a \.zarr"):
        open_raster(tmp_path / "a.npy")


ABSENT = """
import sys
sys.modules |= dict.fromkeys(sys.argv[2].split())
from upscore.errors import MissingPackageError
from upscore.rasters import open_raster
from upscore.rasters.raster import Window
try:
    with open_raster(sys.argv[1]) as raster:
        window = Window(0, 0, *raster.size)
        print(type(raster).__name__, raster.read(window).sum(dtype=int))
except MissingPackageError as error:
    print(error)
"""


def without(packages, path):
    command = [sys.executable, "-c", ABSENT, path, packages]
    done = subprocess.run(command, capture_output=True, text=True)
    assert done.returncode == 0, done.stderr
    return done.stdout.strip()


def test_without_rasterio(tmp_path):
    path = tmp_path / "a.tif"
    tifffile.imwrite(path, PIXELS[..., 0].astype(np.uint16), photometric="minisblack")
    total = PIXELS[..., 0].sum(dtype=int)
    assert without("rasterio", path) == f"TiffRaster {total}"
    tifffile.imwrite(path, PIXELS[..., :3], photometric="rgb")
    total = PIXELS[..., :3].sum(dtype=int)
    assert without("rasterio", path) == f"PictureRaster {total}"
    assert without("rasterio tifffile", path) == f"PictureRaster {total}"
    (tmp_path / "a.img").write_bytes(b"EHFA_HEADER_TAG\0")
    said = without("rasterio", tmp_path / "a.img")
    assert said.endswith("a.img: reading it needs rasterio: pip install 'upscore[rasters]'")


@pytest.mark.parametrize(
    ("name", "package", "extra"), [("a.svs", "openslide", "slides"), ("a.zarr", "zarr", "rasters")]
)
def test_without_the_package_that_reads_it(tmp_path, name, package, extra):
    path = tmp_path / name
    if extra == "slides":
        path.write_bytes(b"II*\0")
    else:
        path.mkdir()
    said = without(package, path)
    assert said.startswith(f"{path}: ")
    assert said.endswith(f"pip install 'upscore[{extra}]'")
