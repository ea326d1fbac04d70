"""Which files are meant by folders and patterns."""

import pytest

from upscore.prediction.listing import named_photos
from upscore.prediction.video import VIDEO_SUFFIXES
from upscore.rasters.open import SUFFIXES


@pytest.fixture
def folder(tmp_path):
    names = ("a.jpg", "a.tif", "below/b.PNG", "c.jp2", "d.svs", "e.img", "f.mp4", "notes.txt")
    hidden = (".g.jpg", ".below/g.jpg", "below/.part/g.jpg")
    arrays = ("h.zarr/zarr.json", "h.zarr/0/i.png", "below/j.zarr/zarr.json")
    results = ("labels/a.tif", "overlays/a.jpg", "confidence/a.tif", "confidence/h.zarr/zarr.json")
    for name in (*names, *hidden, *arrays, *results):
        (tmp_path / name).parent.mkdir(parents=True, exist_ok=True)
        (tmp_path / name).touch()
    return tmp_path


def found(given, folder, *suffixes):
    pairs = list(named_photos([given], folder, *suffixes))
    assert len({name for _, name in pairs}) == len(pairs)
    return [path.relative_to(folder).as_posix() for path, _ in pairs]


def test_folders_are_searched_for_what_is_read_there(folder):
    read = ["a.jpg", "a.tif", "below/b.PNG", "h.zarr/0/i.png"]
    assert found(folder, folder) == [*read, "c.jp2"]  # for the reader to say what to do
    pictures = [
        "a.jpg",
        "a.tif",
        "below/b.PNG",
        "below/j.zarr",
        "c.jp2",
        "d.svs",
        "e.img",
        "h.zarr",
    ]
    assert found(folder, folder, SUFFIXES) == pictures
    assert found(folder, folder, VIDEO_SUFFIXES) == ["f.mp4"]


def test_photos_that_are_not_read_are_passed_on_where_they_are_not_converted(tmp_path):
    for name in ("a.HEIC", "a.jpg", "b.heic", "c.jfif", "c.mp4"):
        (tmp_path / name).touch()
    assert found(tmp_path, tmp_path) == ["a.jpg", "c.jfif", "b.heic"]
    assert found(tmp_path, tmp_path, VIDEO_SUFFIXES) == ["c.mp4"]


def test_an_array_is_a_picture_wherever_it_is_named(folder):
    assert found(folder / "h.zarr", folder, SUFFIXES) == ["h.zarr"]
    assert found(folder / "*.zarr", folder, SUFFIXES) == ["h.zarr"]
    assert found(folder / "confidence" / "*.zarr", folder, SUFFIXES) == ["confidence/*.zarr"]
