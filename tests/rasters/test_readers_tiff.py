"""TIFF files as tifffile reads them by windows, where rasterio is not installed."""

import numpy as np
import pytest
import tifffile
from pixels import photo_of

from upscore import images
from upscore.errors import ImageError
from upscore.rasters.raster import Window
from upscore.rasters.readers.tiff import TiffRaster

SIZE = 75, 93
WINDOWS = [
    Window(0, 0, *SIZE),
    Window(74, 92, 1, 1),
    Window(11, 30, 40, 63),
    Window(60, 0, 15, 93),
]
_NODATA = 42113


def values(bands, dtype):
    rng = np.random.default_rng(0)
    if np.dtype(dtype).kind == "f":
        return rng.normal(0, 1000, (*SIZE, bands)).astype(dtype)
    info = np.iinfo(dtype)
    return rng.integers(info.min, info.max, (*SIZE, bands), dtype, endpoint=True)


def write(path, pixels, planar=False, nodata=None, **options):
    bands = pixels.shape[2]
    stored = np.moveaxis(pixels, 2, 0) if planar else pixels
    tags = [] if nodata is None else [(_NODATA, "s", 0, str(nodata), True)]
    tifffile.imwrite(
        path,
        stored if bands > 1 else pixels[..., 0],
        photometric="rgb" if bands == 3 else "minisblack",
        planarconfig=None if bands == 1 else "separate" if planar else "contig",
        extratags=tags,
        metadata=None,
        **options,
    )
    return path


@pytest.mark.parametrize("dtype", [np.uint8, np.uint16, np.int16, np.float32, np.float64])
@pytest.mark.parametrize("bands", [1, 3, 5])
@pytest.mark.parametrize("planar", [False, True])
@pytest.mark.parametrize(
    "layout",
    [
        {},
        {"rowsperstrip": 7},
        {"rowsperstrip": 8, "compression": "zlib", "predictor": True},
        {"tile": (16, 32)},
        {"tile": (32, 16), "compression": "lzw", "byteorder": ">"},
    ],
)
def test_windows_hold_what_is_stored(tmp_path, dtype, bands, planar, layout):
    pixels = values(bands, dtype)
    path = write(tmp_path / "a.tif", pixels, planar, **layout)
    with TiffRaster(path) as raster:
        assert (raster.size, raster.bands, raster.dtype) == (SIZE, bands, dtype)
        for window in WINDOWS:
            top, left, height, width = window
            part = pixels[top : top + height, left : left + width]
            np.testing.assert_array_equal(raster.read(window), part)
            valid = raster.valid(window)
            assert valid is None or valid.all()
        photo = photo_of(raster, WINDOWS[0], [(0, 1)] * bands)
    np.testing.assert_array_equal(photo, images.read_bands(path), strict=True)


@pytest.mark.parametrize("dtype", [np.uint16, np.float32])
@pytest.mark.parametrize("nodata", [0, 7, "nan"])
def test_no_data(tmp_path, dtype, nodata):
    pixels = values(1, dtype)
    pixels[4:9, 5:50] = 0 if nodata == "nan" and dtype == np.uint16 else np.float64(nodata)
    path = write(tmp_path / "a.tif", pixels, nodata=nodata, tile=(16, 16))
    with TiffRaster(path) as raster:
        photo = photo_of(raster, Window(0, 0, *SIZE), [(0, 1)])
    np.testing.assert_array_equal(photo, images.read_bands(path), strict=True)


def test_no_data_of_a_measurement_is_nan_in_each_band(tmp_path):
    pixels = values(5, np.int16)
    pixels[:9, :5, 1] = -9999
    pixels[20:30, 20:40] = -9999
    path = write(tmp_path / "a.tif", pixels, nodata=-9999)
    with TiffRaster(path) as raster:
        photo = photo_of(raster, Window(0, 0, *SIZE), [(0, 1)] * 5)
    np.testing.assert_array_equal(photo, images.read_bands(path), strict=True)


def test_jpeg(tmp_path):
    path = tmp_path / "a.tif"
    smooth = np.add.outer(np.arange(75), np.arange(93)).astype(np.uint8)
    tifffile.imwrite(path, np.dstack([smooth] * 3), compression="jpeg", tile=(32, 32))
    with TiffRaster(path) as raster:
        photo = photo_of(raster, Window(3, 5, 60, 70), None)
    np.testing.assert_array_equal(photo, images.read(path)[3:63, 5:75])


@pytest.mark.parametrize("where", ["broken", "truncated"])
@pytest.mark.parametrize("compression", [None, "zlib"])
def test_a_broken_block(tmp_path, where, compression):
    path, pixels = tmp_path / "a.tif", values(1, np.uint8)
    write(path, pixels, tile=(32, 32), compression=compression)
    data = bytearray(path.read_bytes())
    with tifffile.TiffFile(path) as file:
        offset, count = (
            file.pages[0].dataoffsets[-1],
            file.pages[0].databytecounts[-1],
        )
    if where == "truncated":
        del data[offset + count // 2 :]
    elif compression:
        data[offset : offset + count] = b"\xff" * count
    else:
        pytest.skip("nothing tells")
    path.write_bytes(data)
    with TiffRaster(path) as raster:
        for _ in range(2):
            message = r"a\.tif: rows 70 to 73, columns 90 to 92 cannot be read .*copy the file"
            with pytest.raises(ImageError, match=message):
                raster.read(Window(70, 90, 3, 2))
            np.testing.assert_array_equal(raster.read(Window(0, 0, 64, 64)), pixels[:64, :64])


@pytest.mark.parametrize(
    ("bands", "photometric", "message"),
    [
        (1, "miniswhite", "MINISWHITE need rasterio"),
        (4, "separated", "SEPARATED need rasterio"),
        (4, "rgb", "RGB need rasterio"),
    ],
)
def test_colours_that_are_left_to_rasterio(tmp_path, bands, photometric, message):
    pixels = np.squeeze(values(bands, np.uint8))
    options = {"extrasamples": ["unassalpha"]} if photometric == "rgb" else {}
    tifffile.imwrite(tmp_path / "a.tif", pixels, photometric=photometric, **options)
    with pytest.raises(ImageError, match=rf"a\.tif: .*{message}: pip install"):
        TiffRaster(tmp_path / "a.tif")


def test_blocks_that_a_sparse_file_lacks(tmp_path):
    path = tmp_path / "a.tif"
    write(path, np.full((*SIZE, 1), 7, np.uint16), tile=(32, 32), nodata=9)
    with tifffile.TiffFile(path, mode="r+") as file:
        tags = file.pages[0].tags
        counts = list(tags["TileByteCounts"].value)
        tags["TileByteCounts"].overwrite([0, *counts[1:]])
    with TiffRaster(path) as raster:
        window = Window(30, 30, 4, 4)
        wanted = np.full((4, 4), 7)
        wanted[:2, :2] = 9
        np.testing.assert_array_equal(raster.read(window)[..., 0], wanted)
        np.testing.assert_array_equal(raster.valid(window), wanted == 7)


@pytest.mark.parametrize("data", [b"", b"II*\0", b"Dear diary", b"II*\0\x08\0\0\0\0\0\0\0\0\0"])
def test_what_is_no_picture(tmp_path, data):
    (tmp_path / "a.tif").write_bytes(data)
    with pytest.raises(ImageError, match=r"a\.tif: (tifffile cannot open it|.*no picture)"):
        TiffRaster(tmp_path / "a.tif")
