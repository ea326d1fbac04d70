"""Pictures labelled window by window, from files to files."""

import csv
import json
import os
import signal
import subprocess
import sys
import time
import zlib

import numpy as np
import pytest
import tifffile

import tiny
import upscore
import upscore.images
from upscore.inference.tiles import Tiles

rasterio = pytest.importorskip("rasterio")
zarr = pytest.importorskip("zarr")
from upscore.prediction.scenes.photo import RasterPhoto  # noqa: E402
from upscore.prediction.scenes.predict import predict_scenes  # noqa: E402
from upscore.prediction.scenes.scene import _changed  # noqa: E402
from upscore.rasters.raster import Window  # noqa: E402

pytestmark = pytest.mark.slow

UTM = {"crs": "EPSG:32633", "transform": rasterio.Affine(0.5, 0, 500_000, 0, -0.5, 5_000_000)}
CAT = upscore.images.read(upscore.images.samples()["cat"])


def write(path, pixels, **profile):
    """A GeoTIFF in tiles."""
    height, width, count = pixels.shape
    tiled = {"tiled": True, "blockxsize": 256, "blockysize": 256, "compress": "deflate"}
    shape = {"height": height, "width": width, "count": count, "dtype": pixels.dtype}
    with rasterio.open(path, "w", driver="GTiff", **shape, **tiled, **(UTM | profile)) as file:
        file.write(pixels.transpose(2, 0, 1))
    return path


def labels_of(path):
    with rasterio.open(path) as file:
        return file.read(1)


class Bright:
    """A model of three classes: dark, middling and bright cells of 8 pixels."""

    name = "bright"

    def scores(self, photos):
        n, height, width, bands = photos.shape
        cells = photos.reshape(n, height // 8, 8, width // 8, 8, bands).mean((2, 4, 5)) / 255
        return np.stack([0.5 - cells, 0 * cells, cells - 0.6], axis=1).astype(np.float32)


class Dark(Bright):
    """The same, and all of it dark."""

    def scores(self, photos):
        return super().scores(0 * photos)


@pytest.fixture
def bright():
    colours = ((0, 0, 0), (128, 128, 128), (255, 255, 255))
    names = ("dark", "middling", "bright")
    return upscore.Segmenter(tiny.spec(names=names, palette=colours), Bright())


@pytest.fixture
def noise():
    """A picture of blotches of 40 pixels."""
    rng = np.random.default_rng(0)
    coarse = rng.integers(0, 256, (30, 40, 3), np.uint8)
    return coarse.repeat(40, 0).repeat(40, 1)[:1150, :1530]


def test_the_labels_are_those_of_the_whole_picture(tmp_path):
    path = write(tmp_path / "cat.tif", CAT)
    summary = predict_scenes(
        [path], tmp_path / "out", confidence=True, polygons=["geojson"], progress=False
    )
    (record,) = summary.ok
    found = labels_of(tmp_path / "out" / record["labels"])
    expected = upscore.load().at(None).labels(CAT)
    assert (found == expected).mean() > 0.9999
    with rasterio.open(tmp_path / "out" / record["labels"]) as file:
        assert file.transform == UTM["transform"]
        assert file.crs == rasterio.CRS.from_string(UTM["crs"])
        assert file.nodata == 255
    assert record["exact"]
    assert record["areas"]["cat"] == pytest.approx((expected == 2).mean(), abs=1e-3)
    with (tmp_path / "out" / record["table"]).open() as file:
        rows = {row["class"]: row for row in csv.DictReader(file)}
    assert float(rows["cat"]["square_metres"]) == int(rows["cat"]["pixels"]) / 4
    sure = labels_of(tmp_path / "out" / record["confidence"])
    assert sure.max() <= 100
    assert sure[found == 2].mean() > 80
    polygons = json.loads((tmp_path / "out" / record["geojson"]).read_text())["features"]
    assert sum(p["properties"]["pixels"] for p in polygons) == (found != 0).sum()
    assert upscore.images.read(tmp_path / "out" / record["overlay"]).shape[1] == CAT.shape[1]
    assert not list((tmp_path / "out" / "labels").glob(".*"))


def test_the_labels_do_not_depend_on_the_windows(tmp_path, bright, noise):
    path = write(tmp_path / "noise.tif", noise)
    for tile in (512, 1024):
        predict_scenes([path], tmp_path / str(tile), bright, tile=tile, scale=0.7, progress=False)
    one, other = (labels_of(tmp_path / str(tile) / "labels" / "noise.tif") for tile in (512, 1024))
    assert (one == other).all()
    assert set(np.unique(one)) == {0, 1, 2}


@pytest.mark.parametrize("suffix", ["zarr", "png"])
def test_other_formats(tmp_path, bright, noise, suffix):
    path = write(tmp_path / "noise.tif", noise)
    for name in ("tif", suffix):
        predict_scenes([path], tmp_path / name, bright, format=name, progress=False)
    expected = labels_of(tmp_path / "tif" / "labels" / "noise.tif")
    with upscore.rasters.open_raster(tmp_path / suffix / "labels" / f"noise.{suffix}") as raster:
        assert raster.size == expected.shape
    assert (tmp_path / suffix / "summary.json").exists()


def test_what_was_not_measured_is_void(tmp_path, bright, noise):
    noise[:600] = 0
    noise[600:] |= 1
    path = write(tmp_path / "noise.tif", noise, nodata=0)
    asked = []
    bright.engine.scores = lambda photos: asked.append(photos.shape) or Bright.scores(None, photos)
    (record,) = predict_scenes([path], tmp_path / "out", bright, tile=512, progress=False).ok
    found = labels_of(tmp_path / "out" / record["labels"])
    assert (found[:600] == 255).all()
    assert (found[600:] != 255).all()
    assert record["pixels"].keys() <= {"dark", "middling", "bright"}
    assert sum(record["pixels"].values()) == 550 * 1530


def test_a_broken_window_costs_only_itself(tmp_path, bright, noise):
    path = write(tmp_path / "noise.tif", noise)
    with rasterio.open(path) as file:  # rasterio tells where each block lies
        offset = int(file.get_tag_item("BLOCK_OFFSET_5_3", "TIFF", bidx=1))
    with path.open("r+b") as file:
        file.seek(offset)
        file.write(b"broken" * 20)
    good = write(tmp_path / "other.tif", noise)
    summary = predict_scenes([path, good], tmp_path / "out", bright, tile=512, progress=False)
    (failed,) = summary.failed
    assert "1 blocks of 256 pixels could not be read and are void" in failed["error"]
    assert "rows 768 to 1024, columns 1280 to 1530" in failed["error"]
    found, whole = (labels_of(tmp_path / "out" / "labels" / f"{n}.tif") for n in ("noise", "other"))
    assert (found[768:1024, 1280:] == 255).all()
    assert (found == 255).sum() == 256 * 250
    far = np.ones(found.shape, bool)
    far[760:1032, 1272:] = False  # beside it, scores are blended with those of blank cells
    assert (found == whole)[far].all()


class Unplugging(Bright):
    """Takes the picture away, as a share that drops, when a window is finished."""

    def __init__(self, path, store):
        self.path, self.store = path, store

    def scores(self, photos):
        if self.path.exists() and list(self.store.glob("labels_*")):
            self.path.rename(self.path.with_name("away"))
        return super().scores(photos)


def test_a_picture_that_vanishes_is_an_error_and_its_finished_windows_stay(tmp_path, bright, noise):
    path = tmp_path / "noise.zarr"
    pixels = np.tile(noise, (3, 2, 1))[:2400, :2400]  # more than is shown at once
    array = zarr.create_array(path, shape=pixels.shape, chunks=(256, 256, 3), dtype="u1")
    array[:] = pixels
    store = tmp_path / "out" / "labels" / ".noise.tif.part"
    model = upscore.Segmenter(bright.spec, Unplugging(path, store))
    (failed,) = predict_scenes([path], tmp_path / "out", model, tile=512, progress=False).failed
    assert "noise.zarr: rows" in failed["error"]
    assert "cannot be read" in failed["error"]
    finished = list(store.glob("labels_*"))
    assert 0 < len(finished) < 25
    for file in finished:
        assert 255 not in zlib.decompress(file.read_bytes())


def test_a_file_that_vanishes_is_not_taken_for_broken(tmp_path, noise):
    path = write(tmp_path / "noise.tif", noise)
    with upscore.rasters.open_raster(path) as raster:
        photo = RasterPhoto(raster, None)
        photo.read(Window(0, 0, 256, 256))
        os.truncate(path, 1000)
        path.unlink()
        with pytest.raises(upscore.images.ImageError, match="No such file"):
            photo.read(Window(512, 512, 512, 512))
        assert not photo.broken


def test_an_array_that_changed_is_another_picture(tmp_path):
    array = zarr.create_array(tmp_path / "a.zarr", shape=(9, 9), chunks=(3, 3), dtype="u1")
    array[:] = 1
    before = _changed(tmp_path / "a.zarr")
    assert _changed(tmp_path / "a.zarr") == before
    array[0, 0] = 2
    assert _changed(tmp_path / "a.zarr") != before


def unfinished(path, out, *options, **named):
    """Label all windows of a picture, and stop there."""

    def stop(scene):
        raise KeyboardInterrupt

    with pytest.MonkeyPatch.context() as patch:
        patch.setattr("upscore.prediction.scenes.predict.write_results", stop)
        with pytest.raises(KeyboardInterrupt):
            predict_scenes([path], out, *options, progress=False, **named)


@pytest.mark.release
def test_windows_are_taken_up_whatever_memory_is_free(tmp_path, capsys, monkeypatch):
    path = write(tmp_path / "cat.tif", CAT)
    unfinished(path, tmp_path / "out", tile=512)
    with monkeypatch.context() as patch:
        patch.setattr(Tiles, "labels", None)  # nothing is left to label
        unfinished(path, tmp_path / "out")
    plan = tmp_path / "out" / "labels" / ".cat.tif.part" / "plan.json"
    assert json.loads(plan.read_text())["tile"] == 512
    (record,) = predict_scenes([path], tmp_path / "out", tile=1024, progress=False).ok
    assert (record["tile"], record["discarded"]) == (1024, True)
    assert "cat.tif: the windows that were finished" in capsys.readouterr().err


def test_of_two_segmenters_nothing_is_mixed(tmp_path, bright):
    path = write(tmp_path / "cat.tif", CAT)
    unfinished(path, tmp_path / "out", bright, tile=512)
    bright.engine = Dark()
    predict_scenes([path], tmp_path / "out", bright, tile=512, progress=False)
    assert (labels_of(tmp_path / "out" / "labels" / "cat.tif") == 0).all()


def test_what_an_earlier_run_could_not_read_is_still_reported(tmp_path, noise):
    """The second of two windows is void as a whole, and finished when the run is stopped."""
    path = write(tmp_path / "noise.tif", noise[:512, :1024])
    with rasterio.open(path) as file:
        places = [f"BLOCK_OFFSET_{x}_{y}" for x in (2, 3) for y in (0, 1)]
        offsets = [int(file.get_tag_item(place, "TIFF", bidx=1)) for place in places]
    with path.open("r+b") as file:
        for offset in offsets:
            file.seek(offset)
            file.write(b"broken" * 20)

    unfinished(path, tmp_path / "out", tile=512)
    (failed,) = predict_scenes([path], tmp_path / "out", tile=512, progress=False).failed
    assert not failed["discarded"]
    assert "4 blocks of 256 pixels" in failed["error"]
    assert "rows 0 to 256, columns 512 to 768" in failed["error"]
    assert (labels_of(tmp_path / "out" / "labels" / "noise.tif")[:, 512:] == 255).all()


RUN = """
import sys, time
from upscore.inference.tiles import Tiles
from upscore.prediction.scenes.predict import predict_scenes
labels = Tiles.labels
def slowly(self, *arguments):
    time.sleep(0.5)
    return labels(self, *arguments)
Tiles.labels = slowly
predict_scenes([sys.argv[1]], sys.argv[2], tile=512, progress=False)
"""


@pytest.mark.skipif(os.name == "nt", reason="needs SIGKILL")
def test_a_killed_run_goes_on_with_what_is_missing(tmp_path, monkeypatch):
    path = write(tmp_path / "cats.tif", np.tile(CAT, (3, 3, 1)))
    predict_scenes([path], tmp_path / "whole", tile=512, progress=False)
    child = subprocess.Popen([sys.executable, "-c", RUN, str(path), str(tmp_path / "out")])
    store = tmp_path / "out" / "labels" / ".cats.tif.part"
    until = time.monotonic() + 60
    while len(list(store.glob("labels_*"))) < 3 and time.monotonic() < until:
        time.sleep(0.02)
    child.send_signal(signal.SIGKILL)
    child.wait()
    finished = len(list(store.glob("labels_*")))
    assert 3 <= finished < 6
    assert not (tmp_path / "out" / "labels" / "cats.tif").exists()
    asked, labels = [], Tiles.labels
    monkeypatch.setattr(Tiles, "labels", lambda *a: asked.append(a) or labels(*a))
    predict_scenes([path], tmp_path / "out", tile=512, progress=False)
    assert len(asked) == 6 - finished
    found, whole = (labels_of(tmp_path / o / "labels" / "cats.tif") for o in ("out", "whole"))
    assert (found == whole).all()


LARGE = """
import resource, sys
resource.setrlimit(resource.RLIMIT_DATA, (2 << 30, 2 << 30))
from upscore.prediction.scenes.predict import predict_scenes
summary = predict_scenes([sys.argv[1]], sys.argv[2], scale=0.5, progress=False)
assert not summary.failed, summary.failed
status = open("/proc/self/status").read()
print(int(status.split("VmHWM:")[1].split()[0]) >> 10)
"""


@pytest.mark.skipif(sys.platform != "linux", reason="needs a limit of memory")
@pytest.mark.parametrize("side", [30_000, pytest.param(60_000, marks=pytest.mark.release)])
def test_a_picture_larger_than_memory(side, tmp_path):
    path = tmp_path / "large.tif"
    shape = {"height": side, "width": side, "count": 3, "dtype": "uint8", "nodata": 0}
    tiled = {"tiled": True, "sparse_ok": True, "compress": "deflate", "bigtiff": "yes"}
    cat = np.maximum(CAT, 1).transpose(2, 0, 1)
    with rasterio.open(path, "w", driver="GTiff", **shape, **tiled, **UTM) as file:
        for top, left in ((0, 0), (side - 332, side - 500)):
            file.write(cat, window=rasterio.windows.Window(left, top, 500, 332))
    command = [sys.executable, "-c", LARGE, str(path), str(tmp_path / "out")]
    child = subprocess.run(command, capture_output=True, text=True, timeout=500)
    assert child.returncode == 0, child.stderr
    with rasterio.open(tmp_path / "out" / "labels" / "large.tif") as file:
        assert file.shape == (side, side)
        corner = file.read(1, window=rasterio.windows.Window(side - 600, side - 600, 600, 600))
    assert (corner[:268] == 255).all()
    assert (corner[268:, 100:] == 2).mean() > 0.4
    assert int(child.stdout) < 2048  # megabytes


@pytest.mark.parametrize(
    ("options", "message"),
    [
        ({"tile": 100}, "multiple of 512"),
        ({"format": "bmp"}, "format must be tif, zarr, png"),
        ({"polygons": ["shp"]}, "polygons must be"),
        ({"polygons": ["gpkg"], "format": "png"}, "made of a GeoTIFF"),
    ],
)
def test_arguments_that_do_not_fit(tmp_path, bright, options, message):
    path = write(tmp_path / "cat.tif", CAT)
    with pytest.raises(upscore.UpscoreError, match=message):
        predict_scenes([path], tmp_path / "out", bright, progress=False, **options)


def test_a_bad_file_is_reported_and_the_rest_goes_on(tmp_path, bright):
    good = write(tmp_path / "cat.tif", CAT)
    (tmp_path / "bad.tif").write_bytes(b"nothing")
    missing = tmp_path / "missing.tif"
    summary = predict_scenes(
        [tmp_path / "bad.tif", missing, good], tmp_path / "out", bright, progress=False
    )
    assert [len(summary.ok), len(summary.failed)] == [1, 2]
    assert all(record["file"] in record["error"] for record in summary.failed)


def far(path):
    """A picture of pixels of 50 km."""
    write(path, CAT, transform=rasterio.Affine(50_000, 0, 0, 0, -50_000, 0))


def nowhere(path):
    """A picture that reaches beyond the oval of a map of the world."""
    place = rasterio.Affine(100_000, 0, -18_000_000, 0, -100_000, 9_000_000)
    write(path, CAT[:180, :360], crs="ESRI:54009", transform=place)


def unmeasured(path):
    """A picture that does not say how large its pixels are."""
    tifffile.imwrite(path, CAT, photometric="rgb")


def foreign(path):
    """A picture whose windows would go into a folder of something else."""
    write(path, CAT)
    (path.parent / "out" / "labels" / ".bad.tif.part").mkdir(parents=True)
    (path.parent / "out" / "labels" / ".bad.tif.part" / "thesis.txt").write_text("precious")


def huge(path):
    """A picture of more pixels than a PNG may have."""
    with rasterio.open(
        path, "w", "GTiff", 10_001, 10_000, 3, dtype="uint8", sparse_ok=True, tiled=True, **UTM
    ):
        pass


@pytest.mark.parametrize(
    ("make", "options", "message"),
    [
        (far, {"resolution": "1m"}, "are the limits"),
        (unmeasured, {"resolution": "1m"}, "how large its pixels are on the ground"),
        (nowhere, {"polygons": ["geojson"], "scale": 1}, "WGS 84 has no coordinates"),
        (foreign, {}, "no plan.json"),
        (huge, {"format": "png"}, "too many for a PNG"),
    ],
)
def test_what_one_picture_causes_ends_no_other(tmp_path, bright, make, options, message):
    good = write(tmp_path / "cat.tif", CAT)
    make(tmp_path / "bad.tif")
    paths = [tmp_path / "bad.tif", good]
    summary = predict_scenes(paths, tmp_path / "out", bright, progress=False, **options)
    (failed,) = summary.failed
    assert message in failed["error"]
    assert str(tmp_path / "bad.tif") in failed["error"]
    assert [record["file"] for record in summary.ok] == [str(good)]
    assert not (tmp_path / "out" / "labels" / ".bad.png.part").exists()  # refused at once


def test_a_folder_of_something_else_is_refused_before_a_window_is_labelled(tmp_path, bright):
    path = write(tmp_path / "cat.tif", CAT)
    thesis = tmp_path / "out" / "labels" / "cat.zarr" / "thesis.txt"
    thesis.parent.mkdir(parents=True)
    thesis.write_text("precious")
    with pytest.raises(upscore.UpscoreError, match="is no zarr array"):
        predict_scenes([path], tmp_path / "out", bright, format="zarr", progress=False)
    assert thesis.exists()
    assert not (tmp_path / "out" / "labels" / ".cat.zarr.part").exists()


def command(*arguments):
    """Run `upscore predict` in a process of its own."""
    words = [sys.executable, "-m", "upscore", "predict", *map(str, arguments)]
    return subprocess.run(words, capture_output=True, text=True, timeout=120)


def test_the_command(tmp_path):
    path = write(tmp_path / "cat.tif", CAT)
    (tmp_path / "bad.tif").write_bytes(b"nothing")
    out = tmp_path / "out"
    done = command(path, tmp_path / "bad.tif", "-o", out, "--tile", "auto", "--resolution", "50cm")
    assert done.returncode == 1
    assert "bad.tif: " in done.stderr
    assert "Traceback" not in done.stderr
    assert "Warning" not in done.stderr
    assert "scale 1: 0.5 m a pixel, as asked; the picture has 0.5" in done.stdout
    assert json.loads((out / "summary.json").read_text())["ok"] == 1
    for arguments, message in (
        (["--scale", "2"], "need --tile"),
        (["--tile", "big"], "expected auto or a number of pixels"),
        (["--tile", "auto", "--long-side", "300"], "--scale or --resolution"),
        (["--tile", "auto", "--jobs", "2"], "--jobs"),
    ):
        refused = command(path, "-o", out, *arguments)
        assert refused.returncode == 2
        assert message in refused.stderr
