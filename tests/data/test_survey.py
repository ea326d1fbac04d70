"""Surveys: one look into every file tells all that training needs to know."""

from collections import Counter

import numpy as np
import pytest
from PIL import Image
from test_check import ids, spoil_photo
from test_check import sound as sound  # a fixture
from test_dataset import mask

from upscore import data, images
from upscore.data.progress import progress_bar


def test_class_pixels(sound):
    found = data.survey(data.find(sound, mapping={"ignore": "b"}))
    assert found.class_pixels.tolist() == [
        [(ids(i) == old).sum() for old in (0, 2)] for i in range(4)
    ]


def test_sizes_are_height_and_width_and_long_side_their_median(tmp_path):
    sizes = [(30, 20), (10, 50), (41, 7)]
    for i, (height, width) in enumerate(sizes):
        for part in ("images", "masks"):
            mask(tmp_path / "train" / part / f"{i}.png", np.zeros((height, width), np.uint8))
    (tmp_path / "classes.txt").write_text("ground\n")
    found = data.survey(data.find(tmp_path))
    assert found.sizes.tolist() == list(map(list, sizes))
    assert found.long_side == 41


def test_a_turned_photo_has_the_size_that_is_seen(sound):
    exif = Image.Exif()
    exif[0x0112] = 6
    (sound / "train/images/t1.png").unlink()
    Image.new("RGB", (40, 50)).save(sound / "train/images/t1.jpg", exif=exif)
    found = data.survey(data.find(sound))
    assert not found.problems
    assert found.sizes[1].tolist() == [40, 50]


@pytest.mark.parametrize(
    ("orientation", "size", "noted"),
    [(1, (50, 40), False), (3, (50, 40), True), (2, (50, 40), True), (6, (40, 50), False)],
)
def test_a_turn_that_no_size_shows_is_noted(sound, orientation, size, noted):
    exif = Image.Exif()
    exif[0x0112] = orientation
    (sound / "train/images/t1.png").unlink()
    Image.new("RGB", size).save(sound / "train/images/t1.jpg", exif=exif)
    found = data.survey(data.find(sound))
    assert not found.problems
    assert len(found.notes) == noted
    assert all("turned or mirrored by their EXIF data, such as t1.jpg" in n for n in found.notes)


def test_every_file_is_opened_exactly_once(sound, monkeypatch):
    opened = Counter()
    plain = images.decode.stream_of

    def count(source):
        opened[source] += 1
        return plain(source)

    dataset = data.find(sound)
    monkeypatch.setattr(images.decode, "stream_of", count)
    data.survey(dataset)
    files = [file for sample in dataset.samples for file in (sample.image, sample.mask)]
    assert opened == dict.fromkeys(files, 1)


def test_a_broken_file_is_a_row_of_zeros(sound):
    spoil_photo(sound)
    mask(sound / "train/masks/t2.png", ids() + np.uint8(1))
    found = data.survey(data.find(sound))
    assert [problem.kind for problem in found.problems] == ["unreadable", "no such class"]
    assert found.sizes[1].tolist() == [0, 0]
    assert found.class_pixels[2].tolist() == [0, 0, 0]
    assert found.class_pixels[1].sum() == 2000
    assert found.long_side == 50


def test_a_fault_that_is_allowed_does_not_hide_another(sound):
    small = Image.fromarray(ids() * np.uint8(100)).resize((33, 27), Image.Resampling.BILINEAR)
    mask(sound / "train/masks/t1.png", small.resize((50, 40), Image.Resampling.NEAREST))
    for allowed, expected in (((), "blurred"), (("blurred",), "no such class")):
        [problem] = data.survey(data.find(sound), allow=allowed).problems
        assert problem.kind == expected


def test_an_empty_split_has_no_rows(sound):
    for path in (sound / "train").glob("*/*"):
        path.unlink()
    found = data.survey(data.find(sound))
    assert found.class_pixels.shape == (0, 3)
    assert found.sizes.shape == (0, 2)
    with pytest.raises(data.DataError, match="no photo of 'train' can be read"):
        found.long_side  # noqa: B018


@pytest.mark.parametrize("terminal", [False, True])
def test_a_progress_bar_is_drawn_on_a_terminal_alone(sound, monkeypatch, capfd, terminal):
    monkeypatch.setattr("rich.console.Console.is_terminal", terminal)
    with progress_bar("checking train") as progress:
        data.check(data.find(sound), progress=progress)
    out, err = capfd.readouterr()
    assert not out
    assert ("checking train" in err and "4/4" in err) is terminal
    assert terminal or not err
