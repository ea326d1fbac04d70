import numpy as np
import pytest
import rasterio
import zarr
from pixels import photo_of

from upscore.errors import ImageError
from upscore.rasters import open_raster
from upscore.rasters.areas import pixel_area
from upscore.rasters.labels import write_labels
from upscore.rasters.raster import Georeference, Window

SIZE = 37, 61
UTM = rasterio.crs.CRS.from_epsg(32632)
WINDOWS = [Window(0, 0, *SIZE), Window(36, 60, 1, 1), Window(7, 13, 30, 20)]


def values(bands, dtype=np.uint8):
    return np.random.default_rng(0).integers(0, 200, (*SIZE, bands)).astype(dtype)


def create(path, stored, chunks, names=None, **options):
    array = zarr.create_array(
        path, shape=stored.shape, chunks=chunks, dtype=stored.dtype, dimension_names=names,
        **options,
    )  # fmt: skip
    array[:] = stored
    return array


def check(path, pixels):
    with open_raster(path) as raster:
        assert (raster.size, raster.bands, raster.dtype) == (SIZE, pixels.shape[2], pixels.dtype)
        for window in WINDOWS:
            top, left, height, width = window
            part = pixels[top : top + height, left : left + width]
            np.testing.assert_array_equal(raster.read(window), part, strict=True)
        return raster.georeference


@pytest.mark.parametrize("zarr_format", [2, 3])
@pytest.mark.parametrize("dtype", [np.uint8, np.uint16, np.int16, np.float32, bool])
@pytest.mark.parametrize(
    ("bands", "shape"), [(1, "yx"), (1, "yxc"), (3, "yxc"), (3, "cyx"), (30, "yxc")]
)
def test_axes_by_their_lengths(tmp_path, zarr_format, dtype, bands, shape):
    pixels = values(bands, dtype)
    stored = {"yx": pixels[..., 0], "yxc": pixels, "cyx": np.moveaxis(pixels, 2, 0)}[shape]
    create(tmp_path / "a.zarr", stored, (16,) * stored.ndim, zarr_format=zarr_format)
    assert check(tmp_path / "a.zarr", pixels) is None


@pytest.mark.parametrize(
    ("names", "index"),
    [
        (("x", "y"), (0, 1)),
        (("Band", "X", "Y"), (2, 0, 1)),
        (("x", "c", "y"), (0, 2, 1)),
        (("t", "c", "z", "y", "x"), (None, 2, None, 1, 0)),
    ],
)
def test_axes_by_their_names(tmp_path, names, index):
    pixels = values(1 if len(names) == 2 else 3)
    stored = pixels[..., 0] if len(names) == 2 else pixels
    order = ["xyc".index(name[0].lower().replace("b", "c")) for name in names if name not in "tz"]
    stored = stored.transpose([[1, 0, 2][i] for i in order])
    for axis, name in enumerate(names):
        if name in "tz":
            stored = np.stack([stored, stored * 0], axis)
    create(tmp_path / "a.zarr", stored, (9,) * stored.ndim, names)
    check(tmp_path / "a.zarr", pixels)


def test_axes_of_xarray(tmp_path):
    pixels = values(3)
    attributes = {"_ARRAY_DIMENSIONS": ["x", "y", "band"]}
    stored = pixels.transpose(1, 0, 2)
    create(tmp_path / "a.zarr", stored, (9, 9, 3), zarr_format=2, attributes=attributes)
    check(tmp_path / "a.zarr", pixels)


def test_what_was_not_measured(tmp_path):
    pixels = values(2, np.float32)
    pixels[3, 4], pixels[5, 6, 0] = np.nan, np.inf
    create(tmp_path / "a.zarr", pixels, (16, 16, 2))
    with open_raster(tmp_path / "a.zarr") as raster:
        window = Window(0, 0, *SIZE)
        assert np.argwhere(~raster.valid(window)).tolist() == [[3, 4]]
        photo = photo_of(raster, window, [(0, 1)] * 2)
        wanted = np.where(np.isfinite(pixels), pixels, np.float32(np.nan))
        np.testing.assert_array_equal(photo, wanted, strict=True)


@pytest.mark.parametrize("ome", [True, False])
def test_ome(tmp_path, ome):
    pixels = values(3)
    group = zarr.create_group(tmp_path / "slide.zarr", zarr_format=3 if ome else 2)
    for level in range(2):
        step = 1 << level
        part = np.moveaxis(pixels, 2, 0)[None, :, ::step, ::step]
        array = group.create_array(str(level), shape=part.shape, dtype="uint8", chunks=(1, 1, 9, 9))
        array[:] = part
    axes = [{"name": name, "type": "space", "unit": "micrometer"} for name in "tcyx"]
    steps = [{"type": "scale", "scale": [1, 1, 0.5, 0.25]}]
    datasets = [{"path": str(i), "coordinateTransformations": steps} for i in range(2)]
    scales = {"multiscales": [{"axes": axes, "datasets": datasets}]}
    group.attrs.update({"ome": scales} if ome else scales)
    place = check(tmp_path / "slide.zarr", pixels)
    assert place.transform == pytest.approx((0.25e-6, 0, 0, 0, 0.5e-6, 0))
    assert (place.crs, place.resolution) == (None, pytest.approx(0.25e-6))


@pytest.mark.parametrize(
    "attributes",
    [
        {},
        {"ome": 3},
        {"ome": {"multiscales": []}},
        {"multiscales": [{"axes": ["y", "x"], "datasets": [{"path": "0"}]}]},
        {"multiscales": [{"axes": [{"name": "x"}], "datasets": [{"path": "none"}]}]},
    ],
)
def test_groups_that_are_no_pictures(tmp_path, attributes):
    group = zarr.create_group(tmp_path / "a.zarr")
    group.create_array("0", shape=SIZE, dtype="uint8")
    group.attrs.update(attributes)
    with pytest.raises(ImageError, match=r"a\.zarr: a group that is no OME-Zarr picture; name"):
        open_raster(tmp_path / "a.zarr")
    with open_raster(tmp_path / "a.zarr" / "0") as raster:
        assert raster.size == SIZE


def test_labels_are_read_back_with_their_place(tmp_path):
    labels = values(1)[..., 0] % 2
    windows = [(Window(0, 0, *SIZE), labels)]
    place = Georeference((0.5, 0, 500_000, 0, -0.5, 5_600_000), UTM.to_wkt(), 0.5)
    classes = {"class_names": ["a", "b"], "palette": [(0, 0, 0), (9, 9, 9)]}
    write_labels(tmp_path / "a.zarr", SIZE, windows, georeference=place, **classes)
    assert check(tmp_path / "a.zarr", labels[..., None]) == place
    write_labels(tmp_path / "b.zarr", SIZE, windows, **classes)
    assert check(tmp_path / "b.zarr", labels[..., None]) is None


@pytest.mark.parametrize(
    ("crs", "expected"),
    [
        ("EPSG:32632", UTM.to_wkt()),
        ("EPSG:999999", None),
        ("PROJCS[...]", None),
        ("http://127.0.0.1:9/crs", None),
        ("", None),
        (32632, None),
    ],
)
def test_coordinate_systems_are_well_known_text(tmp_path, crs, expected):
    attributes = {"transform": [0.5, 0, 500_000, 0, -0.5, 5_600_000], "crs": crs}
    create(tmp_path / "a.zarr", values(1)[..., 0], (9, 9), attributes=attributes)
    place = check(tmp_path / "a.zarr", values(1))
    assert place.crs == expected
    assert pixel_area(place) == (0.25 if expected else None)


@pytest.mark.parametrize(
    "transform", [3, [1, 2], ["a"] * 6, [None] * 6, [1, 0, 0, 0, float("inf"), 0]]
)
def test_a_place_that_makes_no_sense_is_none(tmp_path, transform):
    attributes = {"transform": transform, "resolution": "fine"}
    create(tmp_path / "a.zarr", values(1)[..., 0], (9, 9), attributes=attributes)
    assert check(tmp_path / "a.zarr", values(1)) is None


def test_a_broken_chunk(tmp_path):
    create(tmp_path / "a.zarr", values(1)[..., 0], (16, 16))
    (tmp_path / "a.zarr" / "c" / "0" / "0").write_bytes(b"broken")
    with open_raster(tmp_path / "a.zarr") as raster:
        message = r"a\.zarr: rows 3 to 13, columns 2 to 22 cannot be read .*copy it again"
        with pytest.raises(ImageError, match=message):
            raster.read(Window(3, 2, 10, 20))
        part = raster.read(Window(16, 0, 21, 61))
    np.testing.assert_array_equal(part, values(1)[16:])


def test_a_chunk_that_is_not_there_is_the_fill_value(tmp_path):
    zarr.create_array(
        tmp_path / "a.zarr", shape=(10**6, 10**6), chunks=(512, 512), dtype="f4", fill_value=np.nan
    )
    with open_raster(tmp_path / "a.zarr") as raster:
        assert raster.size == (10**6, 10**6)
        assert not raster.valid(Window(999_990, 0, 10, 10)).any()


@pytest.mark.parametrize("broken", [None, "", "{"])
def test_folders_that_are_no_arrays(tmp_path, broken):
    (tmp_path / "a.zarr").mkdir()
    if broken is not None:
        (tmp_path / "a.zarr" / "zarr.json").write_text(broken)
    with pytest.raises(ImageError, match=r"a\.zarr: zarr cannot open it"):
        open_raster(tmp_path / "a.zarr")


@pytest.mark.parametrize(
    ("shape", "chunks", "dtype", "message"),
    [
        ((9,), (9,), "u1", "1 axes without names"),
        ((2, 3, 4, 5), (2, 3, 4, 5), "u1", "4 axes without names"),
        ((2000, 5000, 3000), (1, 9, 9), "u1", "1024 bands are the most"),
        ((0, 9), (1, 9), "u1", "rows x columns x bands expected"),
        ((9, 9), (9, 9), "c8", "complex64"),
        ((10**6, 10**6), (10**6, 10**6), "u1", "smaller ones"),
    ],
)
def test_arrays_that_are_no_pictures(tmp_path, shape, chunks, dtype, message):
    zarr.create_array(tmp_path / "a.zarr", shape=shape, chunks=chunks, dtype=dtype)
    with pytest.raises(ImageError, match=rf"a\.zarr: .*{message}"):
        open_raster(tmp_path / "a.zarr")
