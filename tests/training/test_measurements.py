"""Photos of several bands of measurements, all the way: plan, training, prediction, export."""

import dataclasses
import shutil

import numpy as np
import onnxruntime
import pytest
import tifffile
import torch
from training_worker import TINY

import upscore
from upscore import data, images, models
from upscore.errors import ArgumentError, DataError, ImageError
from upscore.inference.ensemble import Ensemble
from upscore.prediction.batch import predict_files

pytestmark = pytest.mark.slow

SIZE = 64


def make(root, count, *, form="tif", bands=5, seed=0):
    """A disc that one band alone shows, among other bands of noise on scales of their own."""
    rng = np.random.default_rng(seed)
    rows, columns = np.mgrid[:SIZE, :SIZE]
    scales = np.array([1, 300, 20_000, 5, 50_000][:bands])
    for part in ("images", "masks"):
        (root / part).mkdir(parents=True)
    for i in range(count):
        y, x = rng.integers(16, SIZE - 16, 2)
        disc = np.hypot(rows - y, columns - x) < 14
        photo = rng.normal(0.3, 0.05, (SIZE, SIZE, bands))
        photo[..., bands - 2] += 0.5 * disc
        photo = (photo * scales).astype(np.float32)
        if form == "npy":
            np.save(root / "images" / f"{i}.npy", photo)
        else:
            name = root / "images" / f"{i}.tif"
            tifffile.imwrite(name, photo, photometric="minisblack", planarconfig="contig")
        np.save(root / "masks" / f"{i}.npy", disc.astype(np.int64))


@pytest.fixture(scope="module")
def folder(tmp_path_factory):
    root = tmp_path_factory.mktemp("bands")
    make(root / "train", 8)
    make(root / "val", 3, seed=1)
    (root / "classes.txt").write_text("ground\ndisc\n")
    return root


@pytest.fixture(scope="module")
def run(folder, tmp_path_factory):
    out = tmp_path_factory.mktemp("run")
    upscore.train(folder, out, recipe=TINY, steps=60, show=False)
    return out


def test_a_folder_of_bands_says_so(folder):
    found = data.find(folder, "train")
    assert found.bands == 5
    assert "photos of measurements in 5 bands" in found.about
    photo, mask = found.read(0)
    assert (photo.dtype, photo.shape, mask.dtype) == (np.float32, (SIZE, SIZE, 5), np.uint8)
    assert data.check(found) == []


def test_each_band_is_normalised_by_what_was_measured(folder):
    survey = data.survey(data.find(folder, "train"))
    ranges, mean, std = survey.normalisation
    for (low, high), scale in zip(ranges, (1, 300, 20_000, 5, 50_000), strict=True):
        assert 0.05 * scale < low < 0.3 * scale < high < 1.1 * scale
    assert all(0.1 < value < 0.9 for value in mean)
    assert all(0.05 < value < 0.5 for value in std)


def test_it_learns_what_one_band_shows(folder, run):
    result = upscore.evaluate(folder, run, progress=False)
    assert result.scores.iou[1] > 0.6
    spec = models.read_checkpoint(run).spec
    assert spec.bands == 5


def test_engines_and_exports_agree(folder, run, tmp_path):
    photo = images.read_bands(folder / "val" / "images" / "0.tif")[None]
    photo[:, 10:20, 30:45, 3] = np.nan
    expected = upscore.load(run, "torch").scores(photo)
    assert expected.isfinite().all()
    for engine in ("onnxruntime", "openvino"):
        found = upscore.load(run, engine).scores(photo)
        np.testing.assert_allclose(found, expected.numpy(), atol=1e-3)
    upscore.export(run, tmp_path / "model.onnx", data=folder)
    session = onnxruntime.InferenceSession(tmp_path / "model.onnx")
    assert session.get_inputs()[0].type == "tensor(float)"
    np.testing.assert_allclose(session.run(None, {"photos": photo})[0], expected.numpy(), atol=1e-3)
    upscore.export(run, tmp_path / "model.pt2", size=(SIZE, SIZE), data=folder)
    with pytest.raises(ArgumentError, match="5 bands of measurements: give a folder"):
        upscore.export(run, tmp_path / "other.onnx")
    with pytest.raises(ArgumentError, match="measurements need float32"):
        upscore.load(run, precision="bfloat16")


def test_half_precision_keeps_what_normalises(folder, run, tmp_path):
    """A band may have a mean far above its spread: its range must not be rounded."""
    checkpoint = models.read_checkpoint(run)
    ranges = ((20_007.3, 20_031.7), *checkpoint.spec.ranges[1:])
    network, spec = models.load(run)
    models.save(tmp_path / "model", network, dataclasses.replace(spec, ranges=ranges))
    data_there = tmp_path / "data"
    shutil.copytree(folder / "val", data_there / "val")
    (data_there / "classes.txt").write_text("ground\ndisc\n")
    for file in (data_there / "val" / "images").iterdir():
        photo = images.read_bands(file)
        photo[..., 0] = 20_010 + 15 * photo[..., 1] / photo[..., 1].max()
        tifffile.imwrite(file, photo, photometric="minisblack", planarconfig="contig")
    file = tmp_path / "half.onnx"
    parity = upscore.export(tmp_path / "model", file, precision="float16", data=data_there)
    assert parity.measures[0].value > 0.999


def test_predictions_from_files_and_arrays(folder, run, tmp_path):
    source = folder / "val" / "images"
    predictor = upscore.Predictor(run)
    pixels = images.read_bands(source / "0.tif")
    expected = predictor(source / "0.tif")
    assert expected.photo.shape == (SIZE, SIZE, 3)
    for same in (pixels, np.moveaxis(pixels, 2, 0), pixels.astype(float)):
        assert np.array_equal(predictor(same).labels, expected.labels)
    with pytest.raises(ImageError, match="5 bands were expected, and this one has 3"):
        predictor(np.zeros((40, 40, 3), np.uint8))
    np.save(tmp_path / "few.npy", np.zeros((40, 40, 4), np.float32))
    files = [source, tmp_path / "few.npy"]
    summary = predict_files(files, tmp_path / "out", run, progress=False)
    assert len(summary.ok) == 3
    assert "5 bands were expected, and this one has 4" in summary.failed[0]["error"]


def test_models_of_pictures_and_of_bands_do_not_mix(folder, run):
    with pytest.raises(ArgumentError, match="photos must be float32 of N x H x W x 5"):
        upscore.load(run).labels(np.zeros((40, 40, 3), np.uint8))
    with pytest.raises(ArgumentError, match="must take the same photos"):
        Ensemble([upscore.load(run), upscore.load()])
    encoder = models.load("bundled")[1].encoder
    start = {"encoder": encoder, "pretrained": "bundled"}
    with pytest.raises(ArgumentError, match="begin with ImageNet weights"):
        upscore.train(folder, run / "x", recipe=TINY, show=False, **start)


def test_numpy_files_and_mixed_folders(tmp_path):
    make(tmp_path / "npy", 2, form="npy")
    assert data.find(tmp_path / "npy", "all", class_names=("a", "b")).bands == 5
    make(tmp_path / "mixed", 2, bands=2)
    np.save(tmp_path / "mixed" / "images" / "1.npy", np.zeros((SIZE, SIZE, 3), np.float32))
    (tmp_path / "mixed" / "images" / "1.tif").unlink()
    with pytest.raises(DataError, match=r"in 2 bands.*in 3 bands"):
        data.find(tmp_path / "mixed", "all", class_names=("a", "b"))


def test_train_and_val_have_photos_of_one_kind(folder, tmp_path):
    shutil.copytree(folder, tmp_path / "data")
    make(tmp_path / "other", 3, bands=2)
    shutil.rmtree(tmp_path / "data" / "val")
    (tmp_path / "other").rename(tmp_path / "data" / "val")
    with pytest.raises(DataError, match="train are measurements in 5 bands, those of val"):
        upscore.plan(tmp_path / "data")


def test_an_odd_photo_can_be_skipped(folder, tmp_path):
    shutil.copytree(folder, tmp_path / "data")
    np.save(tmp_path / "data" / "train" / "images" / "odd.npy", np.zeros((SIZE, SIZE, 2)))
    np.save(tmp_path / "data" / "train" / "masks" / "odd.npy", np.zeros((SIZE, SIZE)))
    with pytest.raises(DataError, match="all photos must be of one kind"):
        data.find(tmp_path / "data")
    assert data.find(tmp_path / "data", skip=["odd"]).bands == 5


def test_a_model_of_pictures_is_not_scored_on_bands(folder):
    with pytest.raises(DataError, match="the model takes pictures, and these are measurements"):
        upscore.evaluate(folder, mapping={"background": ["*"]}, progress=False)


def test_upsampling_layers_of_a_model_of_bands(run):
    assert len(upscore.explain(run).layers) == 3


def test_values_that_stand_for_nothing_are_named(tmp_path):
    make(tmp_path, 3)
    for file in (tmp_path / "images").iterdir():
        photo = images.read_bands(file)
        photo[:8] = -3.4e38
        tifffile.imwrite(file, photo, photometric="minisblack", planarconfig="contig")
    survey = data.survey(data.find(tmp_path, "all", class_names=("a", "b")))
    with pytest.raises(DataError, match="replace them by NaN"):
        survey.normalisation  # noqa: B018


def test_augmentation_keeps_what_was_measured():
    photo = np.full((200, 200, 1), 7, np.float32)
    photo[::9, ::9] = np.nan
    shown, _ = data.TrainTransform(25, (0.125, 0.125), colour=0.0)(
        photo, np.zeros((200, 200), np.uint8), torch.Generator().manual_seed(0)
    )
    torch.testing.assert_close(shown, torch.full_like(shown, 7))


def test_augmentation_of_bands_follows_that_of_pictures():
    """Scales, crops, flips and turns of measurements are those of bytes."""
    rng = np.random.default_rng(0)
    photo = rng.integers(0, 256, (50, 70, 3)).astype(np.uint8)
    mask = rng.integers(0, 2, (50, 70)).astype(np.uint8)
    transform = data.TrainTransform(40, colour=0.0, flip_ud=True, rotate=30)
    for seed in range(8):
        bytes_, ids = transform(photo, mask, torch.Generator().manual_seed(seed))
        floats, same = transform(
            photo.astype(np.float32), mask, torch.Generator().manual_seed(seed)
        )
        assert floats.dtype == torch.float32
        assert torch.equal(ids, same)
        assert (floats - bytes_.float()).abs().max() <= 2


def test_brightness_and_contrast_of_bands():
    photo = np.random.default_rng(0).normal(-500, 200, (30, 30, 2)).astype(np.float32)
    mask = np.zeros((30, 30), np.uint8)
    plain = data.TrainTransform(30, (1, 1), flip=False, colour=0.0)
    means, stds = [], []
    for seed in range(40):
        before, _ = plain(photo, mask, torch.Generator().manual_seed(seed))
        after, _ = data.TrainTransform(30, (1, 1), flip=False, colour=0.3)(
            photo, mask, torch.Generator().manual_seed(seed)
        )
        means.append(float((after.mean() - before.mean()) / 200))
        stds.append(float(after[0].std() / before[0].std()))
    assert -0.31 < min(means) < -0.1 < 0.1 < max(means) < 0.31
    assert 0.69 < min(stds) < 0.9 < 1.1 < max(stds) < 1.31
