"""Checks: every way to spoil a data set is reported by file, with what to do."""

import json

import numpy as np
import pytest
from PIL import Image
from test_dataset import mask, pair, photo

from upscore import data
from upscore.data.measure import ramp_share

SHAPE = (40, 50)


def ids(seed=0) -> np.ndarray:
    """A mask of three classes in blobs."""
    coarse = np.random.default_rng(seed).integers(0, 3, (4, 5)).astype(np.uint8)
    return np.kron(coarse, np.ones((10, 10), np.uint8))


@pytest.fixture
def sound(tmp_path):
    for i in range(4):
        pair(tmp_path / "train", f"t{i}", ids(i))
    pair(tmp_path / "val", "v", ids(9))
    (tmp_path / "classes.txt").write_text("a\nb\nc\n")
    return tmp_path


def kinds(problems):
    return [(problem.file.name, problem.kind) for problem in problems]


def check(root, **options):
    return data.check(data.find(root), **options)


def test_sound_data_have_no_problems(sound):
    seen = []
    assert check(sound, progress=lambda *now: seen.append(now)) == []
    assert seen == [(1, 4), (2, 4), (3, 4), (4, 4)]


def spoil_photo_alone(root):
    (root / "train/masks/t1.png").unlink()
    return [("t1.png", "no partner")]


def spoil_mask_alone(root):
    (root / "train/images/t1.png").unlink()
    return [("t1.png", "no partner")]


def spoil_two_of_a_stem(root):
    photo(root / "train/images/t1.jpg", SHAPE)
    return [("t1.png", "ambiguous")]


def spoil_size(root):
    photo(root / "train/images/t1.png", (20, 50))
    return [("t1.png", "sizes differ")]


def spoil_id(root):
    mask(root / "train/masks/t1.png", ids() + np.uint8(1))
    return [("t1.png", "no such class")]


def spoil_binary(root):
    mask(root / "train/masks/t1.png", (ids() > 0) * np.uint8(255))
    return [("t1.png", "binary")]


def spoil_by_blurring(root):
    (root / "classes.txt").write_text("\n".join(map(str, range(41))))
    for i in range(4):
        mask(root / f"train/masks/t{i}.png", ids(i) * np.uint8(20))
    small = Image.fromarray(ids() * np.uint8(20)).resize((33, 27), Image.Resampling.BILINEAR)
    mask(root / "train/masks/t1.png", small.resize((50, 40), Image.Resampling.NEAREST))
    return [("t1.png", "blurred")]


def spoil_by_blurring_colours(root):
    for i in range(4):
        colours = np.array([[0, 0, 0], [128, 0, 0], [0, 128, 0]], np.uint8)[ids(i)]
        mask(root / f"train/masks/t{i}.png", colours)
    small = Image.fromarray(colours).resize((33, 27), Image.Resampling.BICUBIC)
    mask(root / "train/masks/t3.png", small.resize((50, 40), Image.Resampling.BICUBIC))
    return [("t3.png", "blurred")]


def spoil_by_blurring_binary(root):
    (root / "classes.txt").write_text("a\nb\n")
    for i in range(4):
        mask(root / f"train/masks/t{i}.png", (ids(i) > 0) * np.uint8(255))
    small = Image.fromarray((ids() > 0) * np.uint8(255)).resize((10, 8), 2)
    mask(root / "train/masks/t0.png", small.resize((50, 40), 2))
    return [("t0.png", "blurred")]


def spoil_photo(root):
    path = root / "train/images/t1.png"
    path.write_bytes(path.read_bytes()[:300])
    return [("t1.png", "unreadable")]


def spoil_mask(root):
    (root / "train/masks/t1.png").write_bytes(b"")
    return [("t1.png", "unreadable")]


def spoil_both(root):
    (root / "train/images/t1.png").write_bytes(b"GIF89a")
    (root / "train/masks/t1.png").write_text("<html>")
    return [("t1.png", "unreadable"), ("t1.png", "unreadable")]


SPOILERS = [value for name, value in sorted(globals().items()) if name.startswith("spoil_")]


@pytest.mark.parametrize("spoil", SPOILERS)
def test_each_fault_is_reported_and_can_be_skipped(sound, spoil):
    expected = spoil(sound)
    problems = check(sound)
    assert kinds(problems) == expected
    assert all(problem.message and problem.remedy for problem in problems)
    assert all(str(problem.file) in str(problem) for problem in problems)
    # What the report lists can be handed back as a skip list, and then all is well.
    listing = sound / "skip.txt"
    listing.write_text(data.skip_list(data.find(sound), problems))
    assert data.check(data.find(sound, skip=data.read_skip_list(listing))) == []


def test_skipping_by_stem_name_or_path(sound):
    for entry in ("t1", "t1.png", "train/masks/t1.png", sound / "train" / "images" / "t1.png"):
        assert len(data.find(sound, skip=[entry])) == 3
    assert len(data.find(sound, skip=["val/masks/t1.png"])) == 4


def test_an_empty_split(sound):
    for path in (sound / "train").glob("*/*"):
        path.unlink()
    [problem] = check(sound)
    assert (problem.kind, problem.file) == ("empty split", sound)


def test_a_name_that_is_listed_but_not_there(tmp_path):
    photo(tmp_path / "JPEGImages/a.jpg")
    mask(tmp_path / "SegmentationClass/a.png", np.zeros((2, 3), np.uint8))
    photo(tmp_path / "JPEGImages/of another task.jpg")
    (tmp_path / "ImageSets/Segmentation").mkdir(parents=True)
    (tmp_path / "ImageSets/Segmentation/train.txt").write_text("a\nb\n")
    assert kinds(check(tmp_path)) == [("b", "missing")]


def test_the_same_photo_in_two_splits(sound):
    (sound / "val/images/v.png").write_bytes((sound / "train/images/t2.png").read_bytes())
    problems = check(sound, against=[data.find(sound, "val")])
    assert kinds(problems) == [("t2.png", "duplicate")]
    assert "'val'" in problems[0].message
    assert check(sound, against=[data.find(sound, "val")], allow=["duplicate"]) == []


def test_kinds_can_be_allowed(sound):
    spoil_binary(sound)
    assert check(sound, allow=["binary"]) == []
    with pytest.raises(ValueError, match="no such kind of problem: blurry; you can allow no partn"):
        check(sound, allow=["blurry"])


@pytest.mark.parametrize("kind", ["empty split", "unreadable", "sizes differ", "no such class"])
def test_kinds_that_no_reader_gets_past_cannot_be_allowed(sound, kind):
    with pytest.raises(ValueError, match=f"{kind}.* cannot be allowed, .*; you can allow no part"):
        check(sound, allow=["blurred", kind])


def test_a_shape_that_breaks_when_it_is_drawn_cannot_be_allowed(tmp_path):
    photo(tmp_path / "a.png", SHAPE)
    shape = {"label": "a", "shape_type": "mask", "points": [[0, 0], [1, 1]], "mask": "no picture"}
    file = {"imagePath": "a.png", "imageHeight": 40, "imageWidth": 50, "shapes": [shape]}
    (tmp_path / "a.json").write_text(json.dumps(file))
    found = data.find(tmp_path, "all")
    assert found.problems == ()
    assert kinds(data.check(found, allow=["bad shape"])) == [("a.json", "bad shape")]


def test_ids_saved_as_jpeg(sound):
    (sound / "classes.txt").write_text("\n".join(map(str, range(41))))
    for i in range(4):
        (sound / f"train/masks/t{i}.png").unlink()
        mask(sound / f"train/masks/t{i}.jpg", ids(i) * np.uint8(20))
    problems = check(sound, allow=["blurred"])
    assert [problem.file.name for problem in problems] == [f"t{i}.jpg" for i in range(4)]
    assert all("as PNG" in problem.remedy for problem in problems)


def test_a_turned_photo_is_explained(sound):
    path = sound / "train/images/t1.jpg"
    (sound / "train/images/t1.png").unlink()
    exif = Image.Exif()
    exif[0x0112] = 6
    Image.new("RGB", SHAPE[::-1]).save(path, exif=exif)
    [problem] = check(sound)
    assert "EXIF" in problem.remedy


def test_a_huge_mask_is_refused_by_its_header(sound):
    """20000 x 20000 pixels in 50 kB: decoding it would take 400 MB."""
    Image.new("1", (20_000, 20_000)).save(sound / "train/masks/t1.png")
    problems = check(sound)
    assert kinds(problems) == [("t1.png", "unreadable")]
    assert problems[0].message == "20000 x 20000 pixels, more than the limit of 100,000,000"
    assert "cut or shrink" in problems[0].remedy


def test_thin_structures_and_nearest_resizing_are_not_blur(sound):
    squares = np.kron(np.indices((20, 25)).sum(0) % 2 * 2, np.ones((2, 2))).astype(np.uint8)
    squares[:, [10, 30]] = 1  # poles, of a class between those to their left and right
    assert 0.03 < ramp_share(squares) < 0.05
    mask(sound / "train/masks/t1.png", squares)
    resized = Image.fromarray(ids(2)).resize((31, 23), Image.Resampling.NEAREST)
    mask(sound / "train/masks/t2.png", resized.resize((50, 40), Image.Resampling.NEAREST))
    assert check(sound) == []


def test_report(sound):
    spoil_id(sound)
    spoil_photo_alone(sound)
    pair(sound / "train", "t2", ids() + np.uint8(1))
    text = data.report(check(sound), shown=1)
    assert text.startswith("2 problems (1 no partner, 1 no such class):\n")
    assert text.endswith("\n  and 1 more")


def test_an_error_in_progress_stops_the_check(sound):
    def stop(done, total):
        raise KeyboardInterrupt

    with pytest.raises(KeyboardInterrupt):
        check(sound, progress=stop)
