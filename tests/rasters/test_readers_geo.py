import warnings

import numpy as np
import pytest
import rasterio
import tifffile
from PIL import Image
from pixels import photo_of
from rasterio.enums import ColorInterp
from rasterio.errors import NotGeoreferencedWarning

from upscore import images
from upscore.errors import ImageError
from upscore.rasters import open_raster
from upscore.rasters.raster import Window
from upscore.rasters.readers.geo import GeoRaster

SIZE = 75, 93
WINDOWS = [
    Window(0, 0, *SIZE),
    Window(0, 0, 1, 1),
    Window(74, 92, 1, 1),
    Window(11, 30, 40, 63),
    Window(60, 0, 15, 93),
]


def values(bands, dtype, seed=0):
    rng = np.random.default_rng(seed)
    if np.dtype(dtype).kind == "f":
        return rng.normal(0, 1000, (*SIZE, bands)).astype(dtype)
    info = np.iinfo(dtype)
    return rng.integers(info.min, info.max, (*SIZE, bands), dtype, endpoint=True)


def write(path, pixels, mask=None, colours=None, palette=None, **profile):
    with warnings.catch_warnings():
        warnings.simplefilter("ignore", NotGeoreferencedWarning)
        height, width, count = pixels.shape
        profile = {"height": height, "width": width, "count": count} | profile
        with (
            rasterio.Env(GDAL_TIFF_INTERNAL_MASK=True),
            rasterio.open(path, "w", driver="GTiff", dtype=pixels.dtype, **profile) as file,
        ):
            if colours is not None:
                file.colorinterp = colours
            if palette is not None:
                file.write_colormap(1, palette)
            file.write(np.moveaxis(pixels, 2, 0))
            if mask is not None:
                file.write_mask(mask)
    return path


@pytest.mark.parametrize("dtype", [np.uint8, np.uint16, np.int16, np.int32, np.float32, np.float64])
@pytest.mark.parametrize("bands", [1, 3, 7])
@pytest.mark.parametrize(
    "layout",
    [
        {"interleave": "band"},
        {"interleave": "pixel", "blockysize": 7, "compress": "deflate"},
        {"tiled": True, "blockxsize": 32, "blockysize": 16, "interleave": "band"},
        {"tiled": True, "blockxsize": 16, "blockysize": 32, "compress": "lzw", "predictor": 2},
    ],
)
def test_windows_hold_what_is_stored(tmp_path, dtype, bands, layout):
    if layout.get("predictor") and np.dtype(dtype).kind == "f":
        layout = {**layout, "predictor": 3}
    pixels = values(bands, dtype)
    path = write(tmp_path / "a.tif", pixels, **layout)
    with open_raster(path) as raster:
        assert isinstance(raster, GeoRaster)
        assert (raster.size, raster.bands, raster.dtype) == (SIZE, bands, dtype)
        assert (raster.path, raster.georeference) == (path, None)
        for window in WINDOWS:
            top, left, height, width = window
            part = raster.read(window)
            assert part.dtype == dtype
            np.testing.assert_array_equal(
                part, pixels[top : top + height, left : left + width], strict=True
            )
            valid = raster.valid(window)
            assert valid is None or valid.all()
            if bands != 3 or dtype != np.uint8:
                photo = photo_of(raster, window, [(0, 1)] * bands)
                want = images.read_bands(path)[top : top + height, left : left + width]
                np.testing.assert_array_equal(photo, want, strict=True)


def test_no_data_of_a_measurement_is_nan_in_each_band(tmp_path):
    pixels = values(4, np.int16)
    pixels[:9, :5, 1] = -9999
    pixels[20:30, 20:40] = -9999
    path = write(tmp_path / "a.tif", pixels, nodata=-9999)
    with open_raster(path) as raster:
        window = Window(2, 1, 50, 60)
        assert raster.dtype == np.float32
        np.testing.assert_array_equal(
            photo_of(raster, window, [(0, 1)] * 4), images.read_bands(path)[2:52, 1:61], strict=True
        )
        valid = (pixels != -9999).any(axis=2)[2:52, 1:61]
        np.testing.assert_array_equal(raster.valid(window), valid)
        assert not valid.all()


@pytest.mark.parametrize("nodata", [float("nan"), -3.4e38, None])
def test_no_data_of_floats(tmp_path, nodata):
    pixels = values(2, np.float32)
    pixels[3, 4] = np.nan if nodata is None else nodata
    pixels[5, 6, 0] = np.inf
    path = write(tmp_path / "a.tif", pixels, nodata=nodata)
    with open_raster(path) as raster:
        whole = Window(0, 0, *SIZE)
        photo = photo_of(raster, whole, [(0, 1)] * 2)
        np.testing.assert_array_equal(photo, images.read_bands(path), strict=True)
        assert np.isnan(photo).sum() == 3
        valid = raster.valid(whole)
        assert np.argwhere(~valid).tolist() == [[3, 4]]
        valid[:] = False  # it is the caller's
        assert raster.valid(whole).any()
        assert raster.valid(Window(3, 4, 1, 2)).tolist() == [[False, True]]


def test_no_data_of_a_picture_is_where_all_bands_have_it(tmp_path):
    pixels = values(3, np.uint8).clip(1)
    pixels[:, :4, 1:] = 0  # red
    pixels[:3] = 0
    path = write(tmp_path / "a.tif", pixels, nodata=0, photometric="rgb")
    with open_raster(path) as raster:
        valid = raster.valid(Window(0, 0, *SIZE))
        np.testing.assert_array_equal(valid, pixels.any(axis=2))
        photo = photo_of(raster, Window(0, 0, *SIZE), None)
    assert (photo[:3] == 255).all()
    np.testing.assert_array_equal(photo[3:], pixels[3:])


def test_internal_mask(tmp_path):
    pixels, mask = values(3, np.uint8), np.zeros(SIZE, bool)
    mask[10:50, 20:60] = True
    path = write(tmp_path / "a.tif", pixels, mask=mask, photometric="rgb", tiled=True)
    with open_raster(path) as raster:
        assert raster.bands == 3
        np.testing.assert_array_equal(raster.valid(Window(5, 7, 60, 60)), mask[5:65, 7:67])
        photo = photo_of(raster, Window(0, 0, *SIZE), None)
    np.testing.assert_array_equal(photo, np.where(mask[..., None], pixels, 255))


@pytest.mark.parametrize("colours", [1, 3])
def test_alpha_of_a_picture(tmp_path, colours):
    pixels = values(colours + 1, np.uint8)
    pixels[:5, :, -1] = 0
    kinds = [ColorInterp.red, ColorInterp.green, ColorInterp.blue] if colours == 3 else []
    kinds = [*(kinds or [ColorInterp.gray]), ColorInterp.alpha]
    path = write(tmp_path / "a.tif", pixels, colours=kinds, alpha="unassociated")
    window = Window(3, 2, 70, 90)
    with open_raster(path) as raster:
        photo, valid = photo_of(raster, window, None), raster.valid(window)
        assert raster.bands == 3
    np.testing.assert_array_equal(photo, images.read(path)[3:73, 2:92], strict=True)
    np.testing.assert_array_equal(valid, pixels[3:73, 2:92, -1] != 0)


def test_alpha_of_a_measurement_is_a_band(tmp_path):
    pixels = values(4, np.uint16)
    pixels[:5, :, -1] = 0
    rgba = [ColorInterp.red, ColorInterp.green, ColorInterp.blue, ColorInterp.alpha]
    path = write(tmp_path / "a.tif", pixels, colours=rgba, photometric="rgb", alpha="yes")
    with open_raster(path) as raster:
        photo = photo_of(raster, Window(0, 0, *SIZE), [(0, 1)] * 4)
    np.testing.assert_array_equal(photo[5:], images.read_bands(path)[5:], strict=True)
    assert np.isnan(photo[:5]).all()


def test_palette_and_its_no_data(tmp_path):
    pixels = values(1, np.uint8) % 4
    palette = {0: (9, 8, 7, 255), 1: (255, 0, 0, 255), 2: (0, 255, 3, 255), 3: (1, 2, 3, 255)}
    path = write(tmp_path / "a.tif", pixels, palette=palette, nodata=3)
    with open_raster(path) as raster:
        assert (raster.bands, raster.dtype) == (3, np.uint8)
        read, valid = (what(Window(1, 2, 30, 40)) for what in (raster.read, raster.valid))
    part = pixels[1:31, 2:42, 0]
    np.testing.assert_array_equal(valid, part != 3)
    wanted = np.array([palette[i][:3] for i in range(3)])
    np.testing.assert_array_equal(read[valid], wanted[part[valid]])


def pillow(path, mode, **options):
    image = Image.fromarray(values(4, np.uint8), "RGBA")
    image = image.quantize(17) if mode == "P" else image.convert(mode)
    image.save(path, **options)


@pytest.mark.parametrize("mode", ["1", "L", "LA", "P", "RGB", "RGBA", "CMYK"])
@pytest.mark.parametrize("compression", ["raw", "tiff_lzw", "jpeg"])
def test_tiff_pictures_are_what_the_reader_of_photos_makes_of_them(tmp_path, mode, compression):
    if compression == "jpeg" and mode not in ("L", "RGB"):
        pytest.skip("no JPEG of such colours")
    path = tmp_path / "a.tif"
    pillow(path, mode, compression=compression)
    with open_raster(path) as raster:
        assert isinstance(raster, GeoRaster)
        photo = photo_of(raster, Window(0, 0, *raster.size), None)
    np.testing.assert_array_equal(photo, images.read(path), strict=True)


@pytest.mark.parametrize("dtype", [np.uint8, np.uint16])
@pytest.mark.parametrize("photometric", ["minisblack", "miniswhite"])
def test_grey(tmp_path, dtype, photometric):
    path = tmp_path / "a.tif"
    tifffile.imwrite(path, values(1, dtype)[..., 0], photometric=photometric)
    with open_raster(path) as raster:
        photo = photo_of(raster, Window(0, 0, *raster.size), None)
    np.testing.assert_array_equal(photo, images.read(path), strict=True)


@pytest.mark.parametrize("orientation", range(1, 9))
def test_orientation(tmp_path, orientation):
    path, exif = tmp_path / "a.tif", Image.Exif()
    exif[0x112] = orientation
    pillow(path, "RGB", exif=exif)
    want = images.read(path)
    with open_raster(path) as raster:
        assert raster.size == want.shape[:2]
        for top, left, height, width in [(0, 0, *raster.size), (0, 5, 70, 9), (71, 3, 4, 60)]:
            photo = photo_of(raster, Window(top, left, height, width), None)
            np.testing.assert_array_equal(photo, want[top : top + height, left : left + width])


def test_blocks_that_a_sparse_file_lacks(tmp_path):
    path = tmp_path / "a.tif"
    with warnings.catch_warnings():
        warnings.simplefilter("ignore", NotGeoreferencedWarning)
        options = {"tiled": True, "sparse_ok": True, "bigtiff": "yes", "nodata": 255}
        with rasterio.open(
            path, "w", "GTiff", 100_000, 100_000, 1, dtype="uint8", **options
        ) as file:
            file.write(np.full((1, 256, 256), 7, np.uint8), window=((512, 768), (256, 512)))
    assert path.stat().st_size < 5_000_000
    with open_raster(path) as raster:
        assert raster.size == (100_000, 100_000)
        window = Window(500, 250, 20, 20)
        valid = np.zeros((20, 20), bool)
        valid[12:, 6:] = True
        np.testing.assert_array_equal(raster.valid(window), valid)
        np.testing.assert_array_equal(raster.read(window)[..., 0], np.where(valid, 7, 255))
        assert not raster.valid(Window(99_999, 99_000, 1, 1000)).any()


@pytest.mark.parametrize("where", ["first", "truncated"])
def test_a_broken_block(tmp_path, where):
    path, pixels = tmp_path / "a.tif", values(1, np.uint8)
    write(path, pixels, tiled=True, blockxsize=32, blockysize=32, compress="deflate")
    data = bytearray(path.read_bytes())
    with tifffile.TiffFile(path) as file:
        offsets, counts = file.pages[0].dataoffsets, file.pages[0].databytecounts
    if where == "first":
        data[offsets[0] : offsets[0] + counts[0]] = b"\xff" * counts[0]
        broken, good = Window(0, 0, 10, 10), Window(40, 40, 35, 53)
    else:
        del data[offsets[-1] :]
        broken, good = Window(70, 90, 3, 2), Window(0, 0, 64, 64)
    path.write_bytes(data)
    with open_raster(path) as raster:
        top, left, height, width = broken
        place = f"rows {top} to {top + height}, columns {left} to {left + width}"
        for _ in range(2):
            with pytest.raises(ImageError, match=rf"a\.tif: {place} .*copy the file again"):
                raster.read(broken)
            top, left, height, width = good
            np.testing.assert_array_equal(
                raster.read(good), pixels[top : top + height, left : left + width]
            )


UTM = 32632


@pytest.mark.parametrize(
    ("crs", "transform", "metres"),
    [
        (UTM, (0.5, 0, 500_000, 0, -0.5, 5_600_000), 0.5),
        (UTM, (0.3, 0.4, 500_000, 0.4, -0.3, 5_600_000), 0.5),  # rotated
        (2263, (2, 0, 900_000, 0, -2, 200_000), 2 * 1200 / 3937),  # feet of the US
        (4326, (1e-5, 0, 10, 0, -1e-5, 60 + SIZE[0] / 2 * 1e-5), 1.1132 / 2),
        (4326, (1e-5, 0, 10, 0, -1e-5, SIZE[0] / 2 * 1e-5), 1.1132),
        (None, (0.5, 0, 500_000, 0, -0.5, 5_600_000), None),
    ],
)
def test_georeference(tmp_path, crs, transform, metres):
    path = tmp_path / "a.tif"
    place = {"transform": rasterio.Affine(*transform)}
    if crs is not None:
        place["crs"] = rasterio.crs.CRS.from_epsg(crs)
    write(path, values(3, np.uint8), **place, photometric="rgb")
    with open_raster(path) as raster:
        found = raster.georeference
    assert found.transform == pytest.approx(transform)
    assert found.resolution == (metres and pytest.approx(metres, rel=1e-6))
    if crs is None:
        assert found.crs is None
    else:
        assert rasterio.crs.CRS.from_wkt(found.crs) == place["crs"]
    # The model's scale, found from photos in training, is measured in the same way.
    assert images.resolution(path) == (metres and pytest.approx(metres, rel=1e-6))


def header(path, width, height, rows_per_strip=None, tile=None, compression=8):
    """A TIFF of grey bytes that promises much and holds nothing."""
    entries = {256: (4, width), 257: (4, height), 258: (3, 8), 259: (3, compression), 262: (3, 1)}
    entries |= {277: (3, 1)}
    if tile is None:
        entries |= {278: (4, rows_per_strip), 273: (4, 8), 279: (4, 4)}
    else:
        entries |= {322: (4, tile), 323: (4, tile), 324: (4, 8), 325: (4, 4)}
    data = b"".join(
        tag.to_bytes(2, "little")
        + kind.to_bytes(2, "little")
        + (1).to_bytes(4, "little")
        + value.to_bytes(4, "little")
        for tag, (kind, value) in sorted(entries.items())
    )
    path.write_bytes(
        b"II*\0" + (8).to_bytes(4, "little") + len(entries).to_bytes(2, "little") + data + bytes(4)
    )
    return path


def test_a_header_that_promises_a_million_by_a_million(tmp_path):
    path = header(tmp_path / "a.tif", 10**6, 10**6, tile=512)
    with open_raster(path) as raster:
        assert raster.size == (10**6, 10**6)
        with pytest.raises(ImageError, match="cannot be read"):
            raster.read(Window(999_000, 999_000, 512, 512))


@pytest.mark.parametrize("side", [40_000, 10**6])
@pytest.mark.parametrize("compression", [1, 8])
def test_one_huge_strip_is_read_row_by_row(tmp_path, side, compression):
    path = header(tmp_path / "a.tif", side, side, side, compression=compression)
    with open_raster(path) as raster, pytest.raises(ImageError, match="cannot be read"):
        raster.read(Window(side - 9, side - 9, 9, 9))


@pytest.mark.parametrize("side", [32_000, 10**6])
def test_one_huge_tile_is_refused(tmp_path, side):
    with pytest.raises(ImageError, match=r"a\.tif"):
        open_raster(header(tmp_path / "a.tif", side, side, tile=side))


def test_complex_values_are_refused(tmp_path):
    path = write(tmp_path / "a.tif", values(1, np.float32).astype(np.complex64))
    with pytest.raises(ImageError, match=r"a\.tif: .*complex64, expected whole or real"):
        open_raster(path)
