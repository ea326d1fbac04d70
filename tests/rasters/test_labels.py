import json
import os
import signal
import subprocess
import sys
import warnings
from xml.etree import ElementTree as ET

import numpy as np
import pytest
import rasterio
import zarr
from PIL import Image
from rasterio.errors import NotGeoreferencedWarning
from rio_cogeo import cog_validate

from upscore import images
from upscore.errors import ArgumentError, MissingPackageError, OutputError, UnsupportedError
from upscore.images.overlay import VOID_COLOUR
from upscore.rasters.labels import percent, write_confidence, write_labels
from upscore.rasters.raster import Georeference, Window

pytestmark = pytest.mark.slow

NAMES = ["background", "wood & <water>", "straße"]
COLOURS = [(0, 0, 0), (0, 90, 0), (90, 1, 2)]
CLASSES = {"class_names": NAMES, "palette": COLOURS}
UTM = rasterio.crs.CRS.from_epsg(32632)
PLACE = Georeference((0.5, 0, 500_000, 0, -0.5, 5_600_000), UTM.to_wkt(), 0.5)


def blobs(height, width, seed=0):
    rng = np.random.default_rng(seed)
    coarse = rng.choice([0, 1, 2, 255], (height // 16 + 1, width // 16 + 1))
    return np.repeat(np.repeat(coarse, 16, 0), 16, 1)[:height, :width].astype(np.uint8)


def windows(labels, height, width=None):
    """Windows in rows from the top, of views that are not contiguous."""
    for top in range(0, labels.shape[0], height):
        for left in range(0, labels.shape[1], width or height):
            part = labels[top : top + height, left : left + (width or height)]
            yield Window(top, left, *part.shape), part


@pytest.mark.parametrize(
    ("size", "tile"),
    [((1500, 1777), 512), ((1500, 1777), 700), ((1, 3000), 999), ((3001, 2), 512), ((5, 7), 512)],
)
@pytest.mark.parametrize("place", [PLACE, None])
def test_geotiff(tmp_path, size, tile, place):
    labels = blobs(*size)
    path = tmp_path / "labels.tif"
    write_labels(path, size, windows(labels, tile), georeference=place, **CLASSES)
    assert sorted(os.listdir(tmp_path)) == ["labels.tif", "labels.tif.aux.xml"]
    assert validated(path) == (True, [], [])
    with opened(path) as file:
        np.testing.assert_array_equal(file.read(1), labels)
        assert file.dtypes == ("uint8",)
        assert (file.crs, file.nodata) == (UTM if place else None, 255)
        assert file.transform[:6] == (PLACE.transform if place else (1, 0, 0, 0, 1, 0))
        assert file.profile["compress"] == "deflate"
        colours = file.colormap(1)
        assert [colours[i] for i in range(3)] == [(*colour, 255) for colour in COLOURS]
        assert colours[255] == (*VOID_COLOUR, 0)
        assert json.loads(file.tags()["CLASS_NAMES"]) == NAMES
        assert len(file.overviews(1)) == sum(max(size) > 512 << i for i in range(9))


def without_warning(function, *arguments, **options):
    """What rasterio says of a picture that lies nowhere is no error here."""
    with warnings.catch_warnings():
        warnings.simplefilter("ignore", NotGeoreferencedWarning)
        return function(*arguments, **options)


def opened(path):
    return without_warning(rasterio.open, path)


def validated(path):
    return without_warning(cog_validate, path, strict=True)


def test_overviews_show_what_is_most_frequent(tmp_path):
    labels = np.ones((1024, 1024), np.uint8)
    labels[::2, ::2] = 2  # which the nearest would show everywhere
    labels[:512, :512] = 255
    labels[0, 0] = 2
    write_labels(tmp_path / "a.tif", labels.shape, windows(labels, 512), **CLASSES)
    with opened(tmp_path / "a.tif") as file:
        small = file.read(1, out_shape=(512, 512))
    expected = np.ones((512, 512), np.uint8)
    expected[:256, :256] = 255
    expected[0, 0] = 2  # What is void does not count.
    np.testing.assert_array_equal(small, expected)


def test_class_names_are_where_gis_programs_look(tmp_path):
    labels = blobs(20, 30)
    write_labels(tmp_path / "a.tif", labels.shape, windows(labels, 512), **CLASSES)
    tree = ET.parse(tmp_path / "a.tif.aux.xml")
    assert [element.text for element in tree.iter("Category")] == NAMES
    rows = [[value.text for value in row] for row in tree.iter("Row")]
    assert rows[1:] == [["1", NAMES[1], "0", "90", "0"], ["2", "straße", "90", "1", "2"]]


def test_confidences(tmp_path):
    values = percent(np.random.default_rng(0).random((600, 700), np.float32))
    values[3, 4] = 255
    write_confidence(tmp_path / "a.tif", values.shape, windows(values, 512), georeference=PLACE)
    assert validated(tmp_path / "a.tif") == (True, [], [])
    with rasterio.open(tmp_path / "a.tif") as file:
        np.testing.assert_array_equal(file.read(1), values)
        assert (file.scales, file.nodata, file.crs) == ((0.01,), 255, UTM)
        with pytest.raises(ValueError, match="NULL color table"):
            file.colormap(1)
    write_confidence(tmp_path / "a.png", values.shape, windows(values, 512))
    np.testing.assert_array_equal(np.asarray(Image.open(tmp_path / "a.png")), values)
    assert sorted(os.listdir(tmp_path)) == ["a.png", "a.tif"]


def test_zarr(tmp_path):
    labels = blobs(500, 333)
    path = tmp_path / "a.zarr"
    for seed in (1, 0):  # The second replaces the first.
        labels = blobs(500, 333, seed)
        write_labels(path, labels.shape, windows(labels, 128), georeference=PLACE, **CLASSES)
        assert os.listdir(tmp_path) == ["a.zarr"]
    array = zarr.open_array(path, mode="r")
    np.testing.assert_array_equal(array[:], labels)
    assert (array.metadata.zarr_format, array.chunks, array.fill_value) == (3, (128, 128), 255)
    assert array.metadata.dimension_names == ("y", "x")
    assert array.attrs["class_names"] == NAMES
    assert [tuple(colour) for colour in array.attrs["palette"]] == COLOURS
    assert tuple(array.attrs["transform"]) == PLACE.transform
    assert rasterio.crs.CRS.from_wkt(array.attrs["crs"]) == UTM


def test_no_folder_but_an_array_is_replaced(tmp_path):
    (tmp_path / "a.zarr").mkdir()
    (tmp_path / "a.zarr" / "thesis.txt").write_text("precious")
    with pytest.raises(OutputError, match="is no zarr array"):
        write_labels(tmp_path / "a.zarr", (4, 4), windows(blobs(4, 4), 4), **CLASSES)
    assert os.listdir(tmp_path / "a.zarr") == ["thesis.txt"]


def test_png(tmp_path):
    labels = blobs(50, 61)
    write_labels(tmp_path / "a.png", labels.shape, windows(labels, 16, 30), **CLASSES)
    with Image.open(tmp_path / "a.png") as image:
        np.testing.assert_array_equal(np.asarray(image), labels)
        assert image.getpalette()[3:9] == [0, 90, 0, 90, 1, 2]
    side = int(images.MAX_PIXELS**0.5) + 1
    with pytest.raises(UnsupportedError, match=r"too many for a PNG .* write a .tif"):
        write_labels(tmp_path / "b.png", (side, side), [], **CLASSES)


@pytest.mark.parametrize("name", ["a.tif", "a.zarr", "a.png"])
def test_what_does_not_fit_leaves_nothing(tmp_path, name):
    labels = blobs(40, 50)

    def refused(parts, message, error=ArgumentError):
        with pytest.raises(error, match=message):
            write_labels(tmp_path / name, (40, 50), parts, **CLASSES)
        assert os.listdir(tmp_path) == []

    def broken():
        yield Window(0, 0, 20, 50), labels[:20]
        raise RuntimeError("on fire")

    refused([(Window(0, 0, 20, 50), labels[:20])], "windows cover 1,000 of 2,000 pixels")
    refused([], "windows cover 0 of 2,000 pixels")
    refused([(Window(1, 0, 40, 50), labels)], "not inside a picture of 40 x 50 pixels")
    refused([(Window(0, 0, 40, 50), labels.astype(int))], r"int64 \(40, 50\) .* expected uint8")
    refused([(Window(0, 0, 40, 50), labels[1:])], r"uint8 \(39, 50\)")
    refused(broken(), "on fire", RuntimeError)


def test_arguments_that_do_not_fit(tmp_path):
    with pytest.raises(ArgumentError, match=r".jpg, expected .tif"):
        write_labels(tmp_path / "a.jpg", (4, 4), [], **CLASSES)
    with pytest.raises(ArgumentError, match="2 class names and 1 colours"):
        write_labels(tmp_path / "a.tif", (4, 4), [], class_names="ab", palette=COLOURS[:1])
    with pytest.raises(ArgumentError, match="0 x 4 pixels: nothing"):
        write_labels(tmp_path / "a.tif", (0, 4), [], **CLASSES)


@pytest.mark.parametrize(("package", "name"), [("rasterio", "a.tif"), ("zarr", "a.zarr")])
def test_a_missing_package_is_named(tmp_path, monkeypatch, package, name):
    monkeypatch.setitem(sys.modules, package, None)
    labels = blobs(4, 5)
    with pytest.raises(MissingPackageError, match=rf"{package}: pip install 'upscore\[rasters\]'"):
        write_labels(tmp_path / name, (4, 5), windows(labels, 4), **CLASSES)
    assert os.listdir(tmp_path) == []


WRITER = """
import resource, sys, numpy as np
from upscore.rasters.labels import write_labels
from upscore.rasters.raster import Window
path, height, width, limit = sys.argv[1], *map(int, sys.argv[2:])
if limit:
    import signal
    signal.signal(signal.SIGXFSZ, signal.SIG_IGN)
    resource.setrlimit(resource.RLIMIT_FSIZE, (limit, limit))
tile = np.kron(np.random.default_rng(0).integers(0, 3, (64, 64)), np.ones((32, 32))).astype("u1")
def windows():
    for top in range(0, height, 2048):
        for left in range(0, width, 2048):
            part = tile[: min(2048, height - top), : min(2048, width - left)]
            print("window", flush=True)
            yield Window(top, left, *part.shape), part
try:
    write_labels(path, (height, width), windows(), class_names="abc", palette=[(1, 2, 3)] * 3)
except Exception as error:
    print(type(error).__name__)
# ru_maxrss would count what the parent held when this process began.
status = open("/proc/self/status").read()
print(int(status.split("VmHWM:")[1].split()[0]) // 1024)
"""


def writing(path, height, width, limit=0):
    command = [sys.executable, "-c", WRITER, str(path), str(height), str(width), str(limit)]
    return subprocess.Popen(command, stdout=subprocess.PIPE, text=True)


@pytest.mark.parametrize(
    "size", [pytest.param((20_000, 20_000), marks=pytest.mark.release), (1024, 200_000)]
)
def test_memory_is_bounded_by_windows(tmp_path, size):
    """Of pictures of 400 and 200 MB; the process takes 60 MB before it begins."""
    output, _ = writing(tmp_path / "a.tif", *size).communicate()
    assert int(output.split()[-1]) < 330
    with opened(tmp_path / "a.tif") as file:
        assert file.shape == size


def test_a_killed_writer_leaves_the_old_file_and_the_next_one_tidies_up(tmp_path):
    path = tmp_path / "a.tif"
    path.write_text("old")
    child = writing(path, 30_000, 30_000)
    for _ in range(20):
        child.stdout.readline()
    child.send_signal(signal.SIGKILL)
    child.communicate()
    assert path.read_text() == "old"
    left = set(os.listdir(tmp_path))
    assert left == {"a.tif", ".a.draft.tif"}
    labels = blobs(100, 200)
    write_labels(path, labels.shape, windows(labels, 64), **CLASSES)
    assert sorted(os.listdir(tmp_path)) == ["a.tif", "a.tif.aux.xml"]
    with opened(path) as file:
        np.testing.assert_array_equal(file.read(1), labels)


@pytest.mark.parametrize("limit", [50_000, 400_000])
def test_a_full_disk_is_an_error(tmp_path, limit):
    output, _ = writing(tmp_path / "a.tif", 8000, 8000, limit).communicate()
    assert output.split()[-2] == "OutputError"
    assert os.listdir(tmp_path) == []
