import dataclasses
import json
import os
import weakref
from pathlib import Path

import numpy as np
import pytest
import torch
from PIL import Image

import tiny
from upscore import Predictor, Segmenter, definition, images, load, models
from upscore.images import overlay
from upscore.prediction.batch import predict_files

pytestmark = pytest.mark.slow


@pytest.fixture(scope="module")
def model(tmp_path_factory):
    return tiny.saved(tmp_path_factory.mktemp("model"))


def photo(height: int, width: int, seed: int = 0) -> np.ndarray:
    coarse = np.random.default_rng(seed).integers(0, 255, (4, 5, 3), np.uint8)
    return np.array(Image.fromarray(coarse).resize((width, height), Image.Resampling.BICUBIC))


@pytest.mark.parametrize("size", [(1, 1), (1, 7), (7, 1), (333, 517), (32, 64)])
def test_any_size_gives_labels_of_that_size(model, size, tmp_path):
    pixels = photo(*size)
    predictor = Predictor(model)
    prediction = predictor(pixels)
    assert (prediction.labels.dtype, prediction.labels.shape) == (np.uint8, size)
    network, spec = models.load(model)
    x = models.normalise(torch.from_numpy(pixels.transpose(2, 0, 1)[None]), spec)
    with torch.inference_mode():
        scores = network(x)[0].double().numpy()
    expected = definition.upsample_linear(scores, size, stride=8)
    top = np.sort(expected, axis=0)
    clear = top[-1] - top[-2] > 1e-5
    np.testing.assert_array_equal(prediction.labels[clear], expected.argmax(0)[clear])
    assert sum(prediction.areas.values()) == pytest.approx(1)

    labels, picture = prediction.save(tmp_path, "deep/er")
    assert labels == tmp_path / "labels" / "deep" / "er.png"
    with Image.open(labels) as image:
        assert image.mode == "P"
        np.testing.assert_array_equal(np.asarray(image), prediction.labels)
        assert image.getpalette()[:9] == [c for colour in tiny.PALETTE[:3] for c in colour]
    with Image.open(picture) as image:
        assert image.width >= size[1]
        assert image.height > size[0]  # the legend


def test_every_way_to_give_a_photo_gives_the_same(model, tmp_path):
    predictor = Predictor(model)
    pixels = photo(40, 52)
    path = tmp_path / "photo.png"
    Image.fromarray(pixels).save(path)
    expected = predictor(pixels).labels
    frozen = pixels[:]
    frozen.flags.writeable = False
    for given in (path, str(path), path.read_bytes(), Image.fromarray(pixels), frozen):
        np.testing.assert_array_equal(predictor(given).labels, expected)
    exif = Image.Exif()
    exif[0x0112] = 6  # to be turned
    Image.fromarray(pixels).save(tmp_path / "turned.png", exif=exif)
    turned = tmp_path / "turned.png"
    np.testing.assert_array_equal(predictor.read(Image.open(turned)), predictor.read(turned))
    with pytest.raises(images.ImageError, match="more than the limit of 100"):
        Predictor(model, max_pixels=100)(Image.fromarray(pixels))
    mirrored = predictor(pixels[:, ::-1]).labels  # negative strides
    np.testing.assert_array_equal(mirrored, predictor(pixels[:, ::-1].copy()).labels)


@pytest.mark.parametrize(
    "wrong", [np.zeros((4, 4), np.uint8), np.zeros((4, 4, 3)), np.zeros((0, 4, 3), np.uint8)]
)
def test_arrays_that_are_no_photo_are_refused(model, wrong):
    with pytest.raises(images.ImageError, match="uint8 of H x W x 3"):
        Predictor(model)(wrong)


@pytest.mark.parametrize("long_side", [None, 100, 64])
def test_shrinking_keeps_edges_in_place(long_side):
    pixels = np.zeros((150, 400, 3), np.uint8)
    pixels[60:, 120:] = 255
    model = tiny.halves(stride=4)
    labels = model.at(long_side).labels(pixels)
    shown = long_side or 400
    assert max(model.engine.seen[0]) == shown + -shown % 32
    assert labels.shape == (150, 400)
    columns, rows = np.flatnonzero(labels[120]), np.flatnonzero(labels[:, 300])
    assert abs(int(columns[0]) - 120) <= 4
    assert abs(int(rows[0]) - 60) <= 4
    assert len(columns) == 400 - columns[0]


def test_a_model_says_to_what_size_photos_are_shrunk(tmp_path):
    tiny.saved(tmp_path, tiny.spec(long_side=96))
    for given, expected in (("trained", 96), (64, 64), (None, 200)):
        spec, engine = Predictor(tmp_path, long_side=given).segmenter.spec, tiny.Halves(8)
        two = {"class_names": spec.class_names[:2], "palette": spec.palette[:2]}  # of Halves
        predictor = Predictor(Segmenter(dataclasses.replace(spec, **two), engine))
        assert predictor(np.zeros((130, 200, 3), np.uint8)).labels.shape == (130, 200)
        assert max(engine.seen[0]) == expected + -expected % 32


def test_an_overlay_too_long_for_jpeg_is_a_png(model, tmp_path):
    _, picture = Predictor(model)(np.zeros((1, 65_501, 3), np.uint8)).save(tmp_path, "long")
    with Image.open(picture) as image:
        assert (image.format, image.width) == ("PNG", 65_501)


def test_a_huge_photo_is_refused_before_decoding(model, tmp_path):
    path = tmp_path / "big.png"
    Image.new("L", (50, 50)).save(path)
    with pytest.raises(images.ImageError, match=r"big\.png: 50 x 50 pixels.*limit of 1,000"):
        Predictor(model, max_pixels=1000)(path)


def test_a_photo_that_would_be_shown_too_large_is_reported_by_name(model, tmp_path):
    files = {"wide.png": (40_000, 50), "small.png": (9, 9)}
    for name, size in files.items():
        Image.new("RGB", size).save(tmp_path / name)
    own = load(model)
    large = Segmenter(dataclasses.replace(own.spec, zoom=16.0), own.engine)
    summary = predict_files([tmp_path / name for name in files], tmp_path / "out", large)
    assert [Path(record["file"]).name for record in summary.ok] == ["small.png"]
    (record,) = summary.failed
    assert record["error"].startswith(f"{tmp_path / 'wide.png'}: the network would be shown")


def test_bad_files_are_reported_and_the_rest_goes_on(model, tmp_path):
    folder, out = tmp_path / "in", tmp_path / "out"
    folder.mkdir()
    Image.fromarray(photo(30, 40)).save(folder / "good.jpg")
    Image.fromarray(photo(31, 41)).save(folder / "zoo.webp")
    (folder / "empty.jpg").touch()
    (folder / "text.png").write_text("no photo")
    whole = (folder / "good.jpg").read_bytes()
    (folder / "truncated.jpg").write_bytes(whole[: len(whole) // 2])
    Image.new("1", (3000, 3000)).save(folder / "bomb.png")
    summary = predict_files(
        [folder, tmp_path / "gone.jpg", str(tmp_path / "*.tif")],
        out,
        model,
        max_pixels=1_000_000,
        progress=False,
    )
    assert [Path(r["file"]).name for r in summary.ok] == ["good.jpg", "zoo.webp"]
    errors = {Path(r["file"]).name: r["error"] for r in summary.failed}
    assert {name: error.partition(": ")[2] for name, error in errors.items()} == {
        "bomb.png": "3000 x 3000 pixels, more than the limit of 1,000,000; label it by windows "
        "(upscore predict --tile auto), shrink it, or raise the limit (max_pixels) if the file can "
        "be trusted",
        "empty.jpg": "the file is empty (0 bytes); copy it again from its source",
        "gone.jpg": "no such file",
        "text.png": errors["text.png"].partition(": ")[2],
        "truncated.jpg": errors["truncated.jpg"].partition(": ")[2],
        "*.tif": "no such file",
    }
    written = json.loads((out / "summary.json").read_text())
    assert (written["ok"], written["failed"]) == (2, 6)
    good = next(record for record in written["files"] if record["file"].endswith("good.jpg"))
    assert good["size"] == [40, 30]
    assert sum(good["pixels"].values()) == 1200
    assert set(good["seconds"]) == {"read", "label", "write"}
    labels = np.asarray(Image.open(out / good["labels"]))
    for name, share in good["areas"].items():
        assert good["pixels"][name] == (labels == tiny.NAMES.index(name)).sum()
        assert share == pytest.approx(good["pixels"][name] / 1200)
    everything = sorted(p.relative_to(out).as_posix() for p in out.rglob("*") if p.is_file())
    assert everything == [
        *("labels/good.png", "labels/zoo.png", "manifest.jsonl"),
        *("overlays/good.jpg", "overlays/zoo.jpg", "summary.json"),
    ]


def test_photos_that_share_a_name_keep_their_own_results(model, tmp_path):
    for name in ("a/cat.png", "a/deep/cat.png", "a/cat.JPG", "b/Cat.png", "a/.hidden.png"):
        (tmp_path / name).parent.mkdir(parents=True, exist_ok=True)
        Image.fromarray(photo(8, 8)).save(tmp_path / name)
    out = tmp_path / "a" / "out"
    given = [tmp_path / "a", tmp_path / "a" / "cat.png", str(tmp_path / "b" / "*.png")]
    for _ in range(2):  # the results of the first run are no photos of the second
        summary = predict_files(given, out, model, progress=False)
        found = {Path(r["file"]).relative_to(tmp_path).as_posix(): r["labels"] for r in summary.ok}
        assert found == {
            "a/cat.JPG": "labels/cat.png",
            "a/cat.png": "labels/cat-2.png",
            "a/deep/cat.png": "labels/deep/cat.png",
            "b/Cat.png": "labels/Cat-3.png",
        }


def test_results_may_lie_beside_the_photos(model, tmp_path, monkeypatch):
    Image.fromarray(photo(8, 8)).save(tmp_path / "cat.png")
    monkeypatch.chdir(tmp_path)
    for _ in range(2):
        summary = predict_files([tmp_path], ".", model, progress=False)
        assert [record["labels"] for record in summary.files] == ["labels/cat.png"]


def test_a_folder_that_cannot_be_made_is_said_at_once(model, tmp_path):
    Image.fromarray(photo(8, 8)).save(tmp_path / "cat.png")
    with pytest.raises(OSError, match=r"cat\.png"):
        predict_files([tmp_path], tmp_path / "cat.png", model, progress=False)


def test_an_empty_folder_is_reported(model, tmp_path):
    (tmp_path / "empty").mkdir()
    summary = predict_files([tmp_path / "empty"], tmp_path / "out", model, progress=False)
    assert [record["error"] for record in summary.failed] == [
        f"{tmp_path / 'empty'}: there is no photo in this folder"
    ]


def test_an_empty_working_folder_is_reported(model, tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    summary = predict_files(["."], tmp_path / "out", model, progress=False)
    assert [record["error"] for record in summary.files] == [".: there is no photo in this folder"]


def test_patterns_leave_earlier_results_out_and_name_each_photo_once(model, tmp_path, monkeypatch):
    Image.fromarray(photo(8, 8)).save(tmp_path / "cat.png")
    monkeypatch.chdir(tmp_path)
    for _ in range(2):
        given = ["**/*.png", tmp_path / "cat.png"]
        summary = predict_files(given, "out", model, progress=False)
        assert [record["labels"] for record in summary.files] == ["labels/cat.png"]


def test_a_name_that_is_no_utf8_reaches_the_summary(model, tmp_path):
    path = os.fsencode(tmp_path) + b"/caf\xe9.png"
    Image.fromarray(photo(8, 8)).save(tmp_path / "cafe.png")
    os.rename(tmp_path / "cafe.png", path)
    predict_files([os.fsdecode(path)], tmp_path / "out", model, progress=False)
    written = json.loads((tmp_path / "out" / "summary.json").read_text("utf-8"))
    assert os.fsencode(written["files"][0]["file"]) == path
    assert (tmp_path / "out" / written["files"][0]["labels"]).is_file()


def test_orientation_reaches_the_labels(model, tmp_path):
    exif = Image.Exif()
    exif[0x0112] = 6
    Image.fromarray(photo(20, 50)).save(tmp_path / "turned.jpg", exif=exif)
    assert Predictor(model)(tmp_path / "turned.jpg").labels.shape == (50, 20)


def test_memory_does_not_grow_with_the_number_of_files(model, tmp_path, monkeypatch):
    for i in range(40):
        Image.fromarray(photo(8, 8, i)).save(tmp_path / f"{i}.png")
    alive: list[weakref.ref] = []
    most = []
    read = images.read

    def counting(*args, **kwargs):
        most.append(sum(r() is not None for r in alive))
        pixels = read(*args, **kwargs)
        alive.append(weakref.ref(pixels))
        return pixels

    monkeypatch.setattr(images, "read", counting)
    summary = predict_files([tmp_path], tmp_path / "out", model, progress=False)
    assert len(summary.ok) == len(most) == 40
    assert max(most) <= 8


def test_nothing_given_is_an_error(model, tmp_path):
    with pytest.raises(ValueError, match="no photos were given"):
        predict_files([], tmp_path / "out", model, progress=False)
    with pytest.raises(ValueError, match="long_side must be at least 1"):
        Predictor(model, long_side=0)


def test_blend_tints_all_but_black_and_draws_contours():
    pixels = np.full((3, 6, 3), 100, np.uint8)
    labels = np.zeros((3, 6), np.uint8)
    labels[:, 3:5] = 1
    labels[:, 5] = 255
    mixed = overlay.blend(pixels, labels, tiny.PALETTE, alpha=0.25)
    assert mixed[0].tolist() == [
        *([[100, 100, 100]] * 2),
        [255, 255, 255],
        [125, 85, 75],
        [255, 255, 255],
        [100, 100, 100],
    ]


def test_legend_names_what_was_found():
    picture = np.zeros((50, 300, 3), np.uint8)
    bare = overlay.with_legend(picture, {}, {})
    assert bare.size == (300, 50)
    few = overlay.with_legend(picture, {"cat": 0.5}, {"cat": (200, 40, 0)})
    assert (200, 40, 0) in {colour for _, colour in few.crop((0, 50, 300, few.height)).getcolors()}
    many = {f"class {i}": 0.1 for i in range(10)}
    assert overlay.with_legend(picture, many, dict.fromkeys(many, (1, 2, 3))).height > few.height
