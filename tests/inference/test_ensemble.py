"""Several models as one: their classes, sizes, strides and engines, and what loading them says."""

import json

import numpy as np
import pytest
from test_tta import check_places, positions, segmenter

import tiny
import upscore
from upscore.errors import ArgumentError, CheckpointError
from upscore.inference.ensemble import Ensemble

pytestmark = pytest.mark.slow


@pytest.fixture(scope="module")
def pair(tmp_path_factory):
    root = tmp_path_factory.mktemp("models")
    specs = tiny.spec("fcn16s"), tiny.spec(long_side=96)
    return [tiny.saved(root / str(seed), spec, seed=seed) for seed, spec in enumerate(specs)]


@pytest.mark.parametrize("sides", [(None, None), (200, None), (120, 300)])
@pytest.mark.parametrize("strides", [(4, 8), (32, 8), (8, 8)])
@pytest.mark.parametrize("tta", ["", "flip,scales"])
def test_scores_of_every_member_name_their_place(sides, strides, tta):
    photo = positions(202, 250)
    members = [segmenter(*pair) for pair in zip(strides, sides, strict=True)]
    # Cells at the edge of a coarse grid reach far: where they are looked at, all hold positions.
    model = Ensemble(members).with_tta(tta)
    assert model.spec.stride == min(strides)
    scores = model.scores(photo)
    assert scores.shape == (1, 3, -(-202 // min(strides)), -(-250 // min(strides)))
    reach = 2 * max(strides) // min(strides)
    check_places(scores, (min(strides),) * 2, edge=reach)
    coarse = model.coarse(photo)
    finest = max((m.coarse(photo).cells for m in members), key=np.prod)
    assert coarse.cells == finest
    largest = max(m.coarse(photo).steps[0] for m in members)
    check_places(coarse.scores, coarse.steps, edge=int(np.ceil(2 * largest / coarse.steps[0])))


def test_every_member_has_one_vote():
    class Says:
        name = "says"

        def __init__(self, *scores):
            self.given = np.array(scores, np.float32).reshape(1, 3, 1, 1)

        def scores(self, photos):
            n, height, width, _ = photos.shape
            return np.tile(self.given, (n, 1, height // 8, width // 8))

    spec = segmenter(8).spec
    sure = upscore.Segmenter(spec, Says(0, 3, 0))
    others = [upscore.Segmenter(spec, Says(1, 0, 0)) for _ in range(2)]
    photo = tiny.batch(1, 40, 50)[0]
    assert (Ensemble([sure, *others]).labels(photo) == 1).all()
    # The mean of the scores would make this one win against any number of others.
    loud = upscore.Segmenter(spec, Says(0, 300, 0))
    many = [upscore.Segmenter(spec, Says(4, 0, 0))] * 3
    assert (Ensemble([loud, *many]).labels(photo) == 0).all()
    # Views of one member do not add to its votes.
    assert (Ensemble([loud.with_tta("flip,flip-ud,scales"), *many]).labels(photo) == 0).all()
    # Nor an ensemble's members to its.
    assert (Ensemble([Ensemble([loud] * 5), *many]).labels(photo) == 0).all()


def test_a_list_is_an_ensemble(pair):
    batch = tiny.batch(2, 70, 101)
    together = upscore.load(pair)
    assert isinstance(together, upscore.Segmenter)
    assert together.engine.name == "onnxruntime"
    assert together.spec.architecture == "fcn8s"
    alone = [upscore.load(folder) for folder in pair]
    assert [m.spec for m in together.members] == [m.spec for m in alone]
    np.testing.assert_array_equal(together.labels(batch), Ensemble(alone).labels(batch))
    np.testing.assert_array_equal(together.labels(batch), upscore.load(pair[::-1]).labels(batch))
    for labels in (m.labels(batch) for m in alone):
        assert (together.labels(batch) != labels).any()
    twice = upscore.load([pair[0], pair[0]])
    assert (twice.labels(batch) != alone[0].labels(batch)).mean() < 1e-3
    assert not isinstance(upscore.load(pair[:1]), Ensemble)
    np.testing.assert_array_equal(upscore.load(pair[:1]).scores(batch), alone[0].scores(batch))


def test_its_engine_is_all_of_theirs(pair):
    batch = tiny.batch(1, 64, 96)
    mixed = Ensemble([upscore.load(pair[0], "torch"), upscore.load(pair[1], "onnxruntime")])
    assert mixed.engine.name == "torch + onnxruntime"
    scores = mixed.scores(batch)
    assert isinstance(scores, np.ndarray)
    np.testing.assert_allclose(scores, upscore.load(pair).scores(batch), rtol=1e-4, atol=1e-4)
    np.testing.assert_array_equal(mixed.engine.scores(batch), scores)
    torchs = upscore.load(pair, "torch").scores(batch)
    np.testing.assert_allclose(torchs, scores, rtol=1e-4, atol=1e-4)


def test_sizes_and_views_are_those_of_all(pair):
    model = upscore.load(pair)
    assert [m.spec.long_side for m in model.members] == [None, 96]
    assert [m.spec.long_side for m in model.at(64).members] == [64, 64]
    assert model.tta == "none"
    assert model.with_tta("flip").at(None).tta == "flip"
    assert [m.tta for m in model.with_tta("flip").members] == ["flip", "flip"]
    nested = Ensemble([model.with_tta("scales"), model.members[0]])
    assert len(nested.members) == 3
    assert nested.tta == "scales=0.75/1/1.25 or none"
    with pytest.raises(ArgumentError, match="long_side must be at least 1"):
        model.at(0)


def test_models_that_do_not_go_together_are_refused(pair, tmp_path):
    names = (*tiny.NAMES[:2], "lake")
    other = tiny.saved(tmp_path / "other", tiny.spec(names=names))
    with pytest.raises(ArgumentError, match=r"other lacks dog and adds lake\n.*\n.*, lake\n"):
        upscore.load([pair[0], other])
    shuffled = tiny.saved(tmp_path / "shuffled", tiny.spec(names=tiny.NAMES[::-1]))
    with pytest.raises(ArgumentError, match="shuffled has them in another order"):
        upscore.load([pair[0], pair[1], shuffled])
    with pytest.raises(ArgumentError, match="model 2 lacks dog"):
        Ensemble([upscore.load(pair[0]), upscore.load(other)])
    with pytest.raises(ArgumentError, match="an ensemble of no models"):
        upscore.load([])
    with pytest.raises(CheckpointError, match="nowhere"):
        upscore.load([pair[0], tmp_path / "nowhere"])


def test_prediction_and_evaluation_take_models_and_views(pair, tmp_path):
    photo = tiny.batch(1, 50, 70)[0]
    expected = upscore.load(pair).with_tta("flip").labels(photo)
    predictor = upscore.Predictor(pair, tta=("flip",))
    np.testing.assert_array_equal(predictor(photo).labels, expected)
    again = upscore.Predictor(predictor.segmenter)  # none given: those it has
    np.testing.assert_array_equal(again(photo).labels, expected)

    from PIL import Image

    for part, picture in (("images", photo), ("masks", expected)):
        (tmp_path / "val" / part).mkdir(parents=True)
        Image.fromarray(picture).save(tmp_path / "val" / part / "a.png")
    (tmp_path / "classes.txt").write_text("\n".join(tiny.NAMES))
    values = tmp_path / "scores.json"
    result = upscore.evaluate(tmp_path, pair, tta="flip", json_file=values, progress=False)
    assert result.scores.pixel_accuracy == 1
    assert result.model == f"{pair[0]}, {pair[1]}"
    protocol = json.loads(values.read_text())["protocol"]
    assert protocol["test_time_augmentation"] == "flip"
    assert protocol["model"].startswith("fcn16s, test_efficientnet, width 16 + fcn8s")
    assert protocol["resolution"].endswith(
        "left as they are or resized to a long side of 96 pixels"
    )
    alone = upscore.evaluate(tmp_path, pair, progress=False)
    assert alone.scores.pixel_accuracy < 1
    assert alone.protocol["test_time_augmentation"] == "none"
