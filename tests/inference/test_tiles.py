"""Labels window by window are those of the whole picture, whatever the windows."""

from dataclasses import replace

import numpy as np
import pytest
from pictures import assembled, double, picture, spec_of, windows

import upscore
from upscore.errors import ArgumentError
from upscore.inference import halo, views
from upscore.inference import tiles as module
from upscore.inference.ensemble import Ensemble
from upscore.inference.tiles import tiles
from upscore.rasters.raster import Window

pytestmark = pytest.mark.slow


@pytest.fixture(autouse=True)
def _no_picture_fits_one_call(monkeypatch):
    monkeypatch.setattr(views, "WHOLE", 0)
    monkeypatch.setattr(halo, "_ACROSS", 64)


@pytest.fixture(scope="module")
def model():
    return double()


def whole(segmenter, photo, ratio=1.0):
    """The labels of a picture in one call of the network."""
    spec = replace(segmenter.spec, long_side=None, zoom=ratio)
    return upscore.Segmenter(spec, segmenter.engine, segmenter.augmentation).labels(photo)


@pytest.mark.parametrize("size", [(1, 1), (33, 400), (301, 333)])
@pytest.mark.parametrize("side", [(64, 96), (200, 177)])
def test_windows_are_parts_of_the_whole(model, size, side):
    photo = picture(*size)
    cut = tiles(model, photo)
    assert cut.exact
    np.testing.assert_array_equal(assembled(cut, size, *side), whole(model, photo))


@pytest.mark.parametrize("ratio", [0.37, 1.3])
def test_windows_of_a_resized_picture_do_not_depend_on_each_other(model, ratio):
    photo = picture(307, 411)
    cut = tiles(model, photo, ratio=ratio)
    labels = assembled(cut, (307, 411), 307, 411)
    np.testing.assert_array_equal(assembled(cut, (307, 411), 100, 77), labels)
    # Of the whole but for the rounding of bytes, where a picture is resized in blocks.
    assert (labels != whole(model, photo, ratio)).mean() < 1e-3


@pytest.mark.parametrize(("stride", "width"), [(2, 16), (4, "classes"), (32, "classes")])
def test_of_every_stride(stride, width):
    model, photo = double(stride, "test_resnet", width), picture(150, 101)
    cut = tiles(model, photo)
    np.testing.assert_array_equal(assembled(cut, (150, 101), 64, 50), whole(model, photo))


def test_tiles_are_multiples_of_the_blocks(model):
    photo = picture(700, 1100)
    cut = tiles(model, photo, tile=512)
    found = list(cut.windows())
    assert found == windows((700, 1100), 512, 512)
    labels = np.zeros((700, 1100), np.uint8)
    for top, left, height, width in found:
        labels[top : top + height, left : left + width] = cut.labels(
            Window(top, left, height, width)
        )
    np.testing.assert_array_equal(labels, whole(model, photo))
    assert tiles(model, photo).tile % 512 == 0


@pytest.mark.parametrize("free", [0, 1 << 30, 1 << 40])
@pytest.mark.parametrize(
    ("ratio", "tta"), [(1, ()), (10, ()), (1, "scales=0.5/2"), (16, "scales=2")]
)
def test_windows_are_bounded_in_memory_whatever_they_are_shown_at(
    model, monkeypatch, free, ratio, tta
):
    monkeypatch.setattr(module, "free_memory", lambda: free)
    cut = tiles(model.with_tta(tta), picture(60, 40), ratio=ratio)
    shown = cut.tile * ratio * (2 if tta else 1) + 2 * cut.halo
    assert shown**2 * module._BYTES <= min(max(free / 2, 0.7e9), 4e9)
    assert cut.tile % 512 == 0 or 512 % cut.tile == 0


@pytest.mark.parametrize("ratio", [1.0, 0.8])
def test_a_picture_that_fits_is_seen_once(model, monkeypatch, ratio):
    photo = picture(301, 333)
    expected = assembled(tiles(model, photo, ratio=ratio), (301, 333), 301, 333)
    monkeypatch.setattr(views, "WHOLE", 400 * 400)
    calls, scores = [], model.engine.scores
    cut = tiles(model, photo, ratio=ratio)
    monkeypatch.setattr(
        model.engine, "scores", lambda *given: calls.append(1) or scores(*given), raising=False
    )
    np.testing.assert_array_equal(assembled(cut, (301, 333), 64, 100), expected)
    assert len(calls) == 1


def test_a_halo_one_step_too_small_fails(model, monkeypatch):
    photo = picture(401, 333)
    expected = model.scores(photo[None])[0].numpy()

    def error():
        source = views.View(model, tiles(model, photo)._photo, 1.0, None)
        found = source.scores(((20, 24), (20, 24)))[0].numpy()
        return np.abs(found - expected[:, 20:24, 20:24]).max() / expected.std()

    assert error() < 1e-12
    enough = views.halo_of(model)
    monkeypatch.setattr(views, "halo_of", lambda segmenter: enough - 32)
    assert error() > 1e-9


def test_measurements_that_are_missing_stay_missing():
    ranges = (0.0, 1000.0), (-5.0, 5.0)
    model = double(ranges=ranges, mean=(0.5, 0.4), std=(0.2, 0.3))
    rng = np.random.default_rng(0)
    photo = (rng.random((210, 190, 2)) * (1000, 10) - (0, 5)).astype(np.float32)
    photo[50:90, 30:120] = np.nan
    cut = tiles(model, photo)
    np.testing.assert_array_equal(assembled(cut, (210, 190), 64, 50), whole(model, photo))
    for ratio in (0.6, 1.5):
        cut = tiles(model, photo, ratio=ratio)
        labels = assembled(cut, (210, 190), 100, 64)
        assert (labels != whole(model, photo, ratio)).mean() < 1e-3


@pytest.mark.parametrize(
    ("tta", "ratio"),
    [("flip", 1.0), ("flip,flip-ud", 0.7), ("scales=0.5/1", 1.0), ("flip-ud,scales=0.8/1.3", 0.7)],
)
def test_views_are_fused_within_every_window(model, tta, ratio):
    model, photo = model.with_tta(tta), picture(203, 170)
    cut = tiles(model, photo, ratio=ratio)
    assert cut.exact
    labels = assembled(cut, (203, 170), 203, 170)
    assert (assembled(cut, (203, 170), 64, 96) != labels).mean() < 1e-4
    assert (labels != whole(model, photo, ratio)).mean() < 2e-3


def test_models_are_fused_within_every_window(model):
    other = double(16, "test_resnet").with_tta("flip,scales=1/1.25")
    pair, photo = Ensemble([other, Ensemble([model, other])]), picture(203, 170)
    cut = tiles(pair, photo)
    assert cut.exact
    assert cut.halo == max(tiles(one, photo).halo for one in pair.members)
    labels = assembled(cut, (203, 170), 203, 170)
    assert (assembled(cut, (203, 170), 64, 96) != labels).mean() < 1e-4
    assert (labels != pair.at(None).labels(photo)).mean() < 2e-3


def test_confidence_is_that_of_the_whole(model):
    photo = picture(201, 150)
    cut = tiles(model, photo)
    scores = model.scores(photo[None])
    labels, margin = upscore.argmax(scores, (201, 150), stride=8, return_confidence="margin")
    for window in windows((201, 150), 64, 77):
        top, left, height, width = window
        part = np.s_[top : top + height, left : left + width]
        found, confidence = cut.labels(window, "margin")
        np.testing.assert_array_equal(found, labels[0].numpy()[part])
        np.testing.assert_allclose(confidence, margin[0].numpy()[part], atol=1e-6)


@pytest.mark.parametrize("engine", ["onnxruntime", "openvino"])
def test_the_bundled_model_differs_by_rounding_alone(engine):
    model = upscore.load(engine=engine)
    photo = upscore.images.read(upscore.images.samples()["cat"])
    photo = np.tile(photo[:150], (1, 4, 1))[:, :1700]
    height, width = photo.shape[:2]
    cut = tiles(model, photo)
    assert cut.exact
    assert 512 <= cut.halo <= 768
    scores = np.asarray(model.scores(photo[None]))
    labels, margin = upscore.argmax(scores, (height, width), stride=4, return_confidence="margin")
    for window in (Window(0, 0, height, 300), Window(100, 1100, 50, 200)):
        top, left, tall, wide = window
        part = np.s_[0, top : top + tall, left : left + wide]
        differs = cut.labels(window) != labels[part]
        assert margin[part][differs].max(initial=0) < 1e-3


def test_what_cannot_be_is_said(model):
    photo = picture(40, 50)
    with pytest.raises(ArgumentError, match=r"ratio must be from 0.001 to 16, not 0"):
        tiles(model, photo, ratio=0)
    with pytest.raises(ArgumentError, match="tile must be a multiple of 512 pixels, not 100"):
        tiles(model, photo, tile=100)
    with pytest.raises(ArgumentError, match="photos must be uint8 of N x H x W x 3"):
        tiles(model, photo.astype(np.float32))
    with pytest.raises(ArgumentError, match="0 x 50 pixels has none"):
        tiles(model, photo[:0])
    cut = tiles(model, photo)
    for window in (
        Window(0, 0, 41, 5),
        Window(-1, 0, 5, 5),
        Window(0, 50, 1, 1),
        Window(0, 0, 0, 1),
    ):
        with pytest.raises(ArgumentError, match="is no window of a picture of 40 x 50 pixels"):
            cut.labels(window)


class Global:
    """An engine whose every score depends on the whole photo, by nothing that can be cut."""

    name = "global"

    def scores(self, photos):
        cells = photos[:, 4::8, 4::8].astype(np.float32)
        return (cells + np.sin(cells.sum((1, 2), keepdims=True))).transpose(0, 3, 1, 2)


def test_networks_without_a_finite_field_are_blended(model):
    finite = model
    model, photo = upscore.Segmenter(spec_of(8), Global()).at(96), picture(400, 300)
    cut = tiles(model, photo)
    assert not cut.exact
    labels = assembled(cut, (400, 300), 400, 300)
    np.testing.assert_array_equal(assembled(cut, (400, 300), 100, 133), labels)
    assert (labels != whole(model, photo)).any()
    small = photo[:80, :90]
    np.testing.assert_array_equal(
        assembled(tiles(model, small), (80, 90), 64, 64), whole(model, small)
    )
    assert not tiles(Ensemble([finite, model]), photo).exact
