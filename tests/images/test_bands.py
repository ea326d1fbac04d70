"""Photos that are measurements: every file kind keeps its values, and bad files are refused."""

from io import BytesIO

import numpy as np
import pytest
import tifffile

from tiny import png
from upscore import images
from upscore.images import ImageError

RNG = np.random.default_rng(0)
DEEP = RNG.integers(0, 60_000, (20, 30, 5)).astype(np.uint16)
GREY = DEEP[..., 0]


def npy(array):
    stream = BytesIO()
    np.save(stream, array)
    return stream.getvalue()


def tiff(array, **options):
    stream = BytesIO()
    tifffile.imwrite(stream, array, **options)
    return stream.getvalue()


BANDS_FIRST = np.moveaxis(DEEP, 2, 0).copy()
FILES = {
    "npy, bands last": npy(DEEP),
    "npy, bands first": npy(BANDS_FIRST),
    "npy, doubles": npy(DEEP.astype(np.float64)),
    "tiff, bands last": tiff(DEEP, planarconfig="contig", photometric="minisblack"),
    "tiff, planes": tiff(BANDS_FIRST, planarconfig="separate", photometric="minisblack"),
    "tiff, a page a band": tiff(BANDS_FIRST, photometric="minisblack"),
    "tiff, imagej": tiff(BANDS_FIRST, imagej=True, metadata={"axes": "CYX"}),
    "tiff, lzw": tiff(DEEP, planarconfig="contig", photometric="minisblack", compression="lzw"),
    "tiff, big": tiff(DEEP, planarconfig="contig", photometric="minisblack", bigtiff=True),
}


@pytest.mark.parametrize("file", FILES)
def test_all_bands_are_read(file):
    assert images.bands_of(FILES[file]) == 5
    found = images.read_bands(FILES[file], 5)
    assert found.dtype == np.float32
    assert np.array_equal(found, DEEP)


@pytest.mark.parametrize("source", [png(GREY), tiff(GREY), npy(GREY), npy(GREY.astype(np.float32))])
def test_deep_grey_is_one_band(source, tmp_path):
    assert images.bands_of(source) == 1
    path = tmp_path / "photo"
    path.write_bytes(source)
    for where in (source, path, str(path)):
        assert np.array_equal(images.read_bands(where), GREY[..., None])


BYTES = (DEEP >> 8).astype(np.uint8)
RGB, RGBA = BYTES[..., :3], BYTES[..., :4]


@pytest.mark.parametrize(
    ("source", "bands"),
    [
        (png(RGB), None),
        (png(RGBA), None),
        (tiff(RGB, photometric="rgb"), None),
        (tiff(RGBA, photometric="rgb", extrasamples=["unassalpha"]), None),
        (tiff(RGBA, photometric="rgb", extrasamples=["unspecified"]), 4),
        (tiff(RGBA, photometric="separated"), None),
        (tiff(BYTES[..., 0]), None),
        (tiff(BYTES, planarconfig="contig", photometric="minisblack"), 5),
        (tiff(DEEP[..., :3], photometric="rgb"), 3),
        (tiff(RGB, planarconfig="contig", photometric="minisblack"), 3),
        (tiff(np.stack([RGB] * 4), photometric="rgb"), None),
        (npy(RGB), None),
        (npy(BYTES[..., 0]), None),
        (npy(RGBA), 4),
    ],
)
def test_what_a_screen_shows_is_a_picture(source, bands):
    assert images.bands_of(source) == bands
    if bands is None:
        assert images.read(source).shape == (20, 30, 3)
    else:
        assert images.read_bands(source).shape == (20, 30, bands)


def test_pictures_in_numpy_files():
    assert np.array_equal(images.read(npy(RGB)), RGB)
    assert images.size(npy(RGB)) == (30, 20)


def test_the_first_of_several_slices():
    stack = np.stack([DEEP[..., 0], DEEP[..., 1]])
    source = tiff(stack, imagej=True, metadata={"axes": "ZYX"})
    assert np.array_equal(images.read_bands(source, 1)[..., 0], stack[0])


def test_what_was_not_measured_is_nan():
    values = np.array([[1.5, np.nan], [np.inf, -np.inf]])
    found = images.read_bands(npy(values))[..., 0]
    assert np.array_equal(found, [[1.5, np.nan], [np.nan, np.nan]], equal_nan=True)


@pytest.mark.parametrize("text", ["-9999", "-3.4028234663852886e+38", "-9999.0\0"])
def test_gdals_value_of_no_data(text):
    values = np.array([[0.25, float(text.strip("\0"))]], np.float32)
    source = tiff(values, extratags=[(42113, "s", 0, text, True)])
    found = images.read_bands(source)[..., 0]
    assert np.array_equal(found, [[0.25, np.nan]], equal_nan=True)


def test_no_data_of_whole_numbers():
    source = tiff(np.array([[7, 65535]], np.uint16), extratags=[(42113, "s", 0, "65535", True)])
    found = images.read_bands(source)[..., 0]
    assert np.array_equal(found, [[7, np.nan]], equal_nan=True)


OME = """<?xml version="1.0"?><OME xmlns="http://www.openmicroscopy.org/Schemas/OME/2016-06">
<Image ID="Image:0"><Pixels ID="Pixels:0" DimensionOrder="XYZCT" Type="uint16" SizeX="9" SizeY="8"
SizeZ="1" SizeC="1" SizeT="1"><Channel ID="Channel:0:0" SamplesPerPixel="1"/><TiffData IFD="0"
PlaneCount="1"><UUID FileName="secret.ome.tif">urn:uuid:1</UUID></TiffData></Pixels></Image>
</OME>"""


def test_a_file_cannot_name_others(tmp_path):
    """OME-TIFF says in which files its planes are: a stranger could name any."""
    secret, ours = np.full((8, 9), 777, np.uint16), np.full((8, 9), 5, np.uint16)
    tifffile.imwrite(tmp_path / "secret.ome.tif", secret, metadata={"axes": "YX"})
    tifffile.imwrite(tmp_path / "ours.ome.tif", ours, description=OME, metadata=None)
    assert tifffile.imread(tmp_path / "ours.ome.tif").max() != 5  # tifffile by itself obeys
    assert images.read_bands(tmp_path / "ours.ome.tif").max() == 5
    assert images.bands_of(tmp_path / "ours.ome.tif") == 1


@pytest.mark.parametrize(
    ("shape", "expected"),
    [
        ((16, 16, 40), (16, 16, 40)),  # more bands than rows, but square
        ((40, 16, 16), (16, 16, 40)),
        ((4, 30, 50), (30, 50, 4)),
        ((30, 50, 4), (30, 50, 4)),
        ((30, 50), (30, 50, 1)),
    ],
)
def test_where_the_bands_are(shape, expected):
    values = np.arange(np.prod(shape), dtype=np.float32).reshape(shape)
    assert images.as_bands(values).shape == expected
    assert images.as_bands(values, expected[2]).shape == expected
    assert images.bands_of(npy(values)) == expected[2]


class Harmful:
    def __reduce__(self):
        return print, ("unpickled",)


@pytest.mark.parametrize(
    ("source", "message"),
    [
        (npy(DEEP)[:200], "cannot be decoded"),
        (npy(DEEP)[:20], "cannot be decoded"),
        (FILES["tiff, bands last"][:300], "cannot be decoded"),
        (npy(np.array([[Harmful()]], object)), "values of object"),
        (npy(np.zeros((2, 3, 4, 5))), "rows x columns x bands"),
        (npy(np.zeros((0, 3))), "rows x columns x bands"),
        (npy(np.zeros((1100, 1200, 1300), np.uint8)), "1024 bands are the most"),
        (npy(DEEP.astype(complex)), "complex128"),
        (b"", "empty"),
    ],
)
def test_what_is_no_photo_is_refused(source, message, capsys):
    with pytest.raises(ImageError, match=message):
        images.read_bands(source)
    assert "unpickled" not in capsys.readouterr().out


def test_the_number_of_bands_is_checked():
    with pytest.raises(ImageError, match="4 bands were expected, and this one has 5"):
        images.read_bands(npy(DEEP), 4)


@pytest.mark.parametrize("file", ["npy, bands last", "tiff, bands last", "tiff, a page a band"])
def test_size_is_bounded(file):
    with pytest.raises(ImageError, match="more than the limit of 599"):
        images.read_bands(FILES[file], max_pixels=599)
    assert images.read_bands(FILES[file], max_pixels=600).shape == (20, 30, 5)


def test_a_header_that_lies_allocates_nothing():
    stream = BytesIO()
    shape = {"descr": "<f8", "fortran_order": False, "shape": (2, 10**12)}
    np.lib.format.write_array_header_1_0(stream, shape)
    for read in (images.read, images.read_bands):
        with pytest.raises(ImageError, match="more than the limit"):
            read(stream.getvalue())


def test_previews_show_each_band_from_black_to_white():
    photo = np.array([[[0, 10, 5], [100, 20, 5], [50, 15, 9]]], np.float32)
    shown = images.preview(photo, ((0, 100), (10, 20), (5, 6)))
    assert shown.tolist() == [[[0, 0, 0], [255, 255, 0], [128, 128, 255]]]
    assert images.preview(photo[..., :1], ((0, 100),)).tolist() == [[[0] * 3, [255] * 3, [128] * 3]]
    assert images.preview(RGB, None) is RGB


@pytest.mark.parametrize("size", [(7, 11), (40, 60), (20, 30)])
def test_resizing_bands_is_resizing_pictures(size):
    whole = images.resized(RGB, size).astype(int)
    values = images.resized(RGB.astype(np.float32), size)
    assert values.dtype == np.float32
    assert values.shape == whole.shape
    assert abs(values - whole).max() <= 1  # Pillow rounds bytes after each axis


@pytest.mark.parametrize("scale", [1 / 8, 0.6, 2])
def test_pixels_that_were_not_measured_do_not_spread(scale):
    rng = np.random.default_rng(0)
    photo = rng.normal(1000, 1, (160, 200, 2)).astype(np.float32)
    holes = photo.copy()
    holes[rng.random((160, 200)) < 0.01] = np.nan
    holes[:40, :40] = np.nan
    size = round(160 * scale), round(200 * scale)
    whole, found = images.resized(photo, size), images.resized(holes, size)
    corner = found[: int(30 * scale), : int(30 * scale)]
    assert np.isnan(corner).all()
    rest = found[round(48 * scale) :, round(48 * scale) :]
    assert np.isnan(rest).mean() < 0.02
    assert np.nanmax(abs(rest - whole[-rest.shape[0] :, -rest.shape[1] :])) < 8


def test_sizes_from_headers():
    assert images.size(FILES["npy, bands first"]) == (30, 20)
    assert images.size(FILES["tiff, planes"]) == (30, 20)
    assert images.size(png(GREY)) == (30, 20)


def test_grey_photos_have_no_band_to_look_for():
    thin = np.zeros((5, 300), np.uint16)
    assert images.as_bands(thin).shape == (5, 300, 1)
    with pytest.raises(ImageError, match="5 bands were expected, and this one has 1"):
        images.as_bands(thin, 5)


def geotiff(kind, *tags, side=0.5, tie=(0, 0, 0, 500_000, 5_600_000, 0), height=20):
    """A GeoTIFF with square pixels and these keys (number, value)."""
    keys = sorted([(1024, kind), *tags])
    directory = [1, 1, 0, len(keys), *(n for key, value in keys for n in (key, 0, 1, value))]
    extra = [
        (33550, "d", 3, (side, side, 0), True),
        (33922, "d", 6, tie, True),
        (34735, "H", len(directory), directory, True),
    ]
    return tiff(np.zeros((height, 30), np.uint8), photometric="minisblack", extratags=extra)


@pytest.mark.parametrize(
    ("source", "metres"),
    [
        (geotiff(1), 0.5),
        (geotiff(1, (3076, 9001)), 0.5),
        (geotiff(1, (3076, 9002)), 0.5 * 0.3048),
        (geotiff(1, (3076, 9003)), 0.5 * 1200 / 3937),
        (geotiff(1, (3076, 9036)), None),  # a unit that is not known here
        (geotiff(3), None),
        (geotiff(2, side=0.1, tie=(0, 0, 0, 10, 61, 0)), 0.1 * 111_320 / 2),
        (geotiff(2, side=0.1, tie=(0, 10, 0, 10, -60, 0)), 0.1 * 111_320 / 2),
        (geotiff(1, side=0), None),
        (geotiff(1, side=float("nan")), None),
        (geotiff(2, tie=(0, 0, 0, 0, float("inf"), 0)), None),
        (tiff(np.zeros((9, 9), np.uint8), photometric="minisblack"), None),
        (tiff(DEEP), None),
        (png(GREY), None),
        (npy(DEEP), None),
    ],
)
def test_metres_a_pixel(source, metres):
    assert images.resolution(source) == (metres and pytest.approx(metres, rel=1e-9))


def test_metres_a_pixel_of_what_is_no_picture(tmp_path):
    with pytest.raises(ImageError, match=r"a\.tif: no such file"):
        images.resolution(tmp_path / "a.tif")
    with pytest.raises(ImageError, match="empty"):
        images.resolution(b"")
