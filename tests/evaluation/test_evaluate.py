import json
import re
import shutil
from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest
import torch
from PIL import Image
from sklearn.metrics import confusion_matrix

import tiny
from upscore import Segmenter, data, definition, evaluate, load, models
from upscore.evaluation import metrics
from upscore.evaluation.confusion import confusion_of
from upscore.inference.engines.torch import TorchEngine
from upscore.models.checkpoint import BUNDLED

pytestmark = pytest.mark.slow

SHARED = Path(__file__).parents[3] / "shared" / "data" / "voc-animals"


@pytest.fixture(scope="module")
def folder(tmp_path_factory):
    """Five photos of several sizes, with masks of three classes and void."""
    root = tmp_path_factory.mktemp("data")
    rng = np.random.default_rng(0)
    for part in ("images", "masks"):
        (root / "val" / part).mkdir(parents=True)
    (root / "classes.txt").write_text("\n".join(tiny.NAMES))
    for i, (height, width) in enumerate([(40, 60), (33, 51), (64, 32), (1, 7), (50, 50)]):
        mask = np.kron(rng.choice([0, 1, 2, 255], (9, 9)), np.ones((9, 9)))[:height, :width]
        photo = rng.integers(0, 255, (height, width, 3), np.uint8)
        Image.fromarray(photo).save(root / "val" / "images" / f"{i}.png")
        Image.fromarray(mask.astype(np.uint8)).save(root / "val" / "masks" / f"{i}.png")
    return root


@pytest.fixture(scope="module")
def model(tmp_path_factory):
    return tiny.saved(tmp_path_factory.mktemp("model"))


def test_the_matrix_is_that_of_the_definition_and_scikit_learn(folder, model):
    network, spec = models.load(model)
    dataset = data.find(folder, "val")
    expected = np.zeros((3, 3), np.int64)
    for i in range(len(dataset)):
        photo, mask = dataset.read(i)
        x = models.normalise(torch.from_numpy(photo.transpose(2, 0, 1)[None]), spec)
        with torch.inference_mode():
            scores = network(x)[0].numpy().astype(np.float64)
        labels = definition.upsample_linear(scores, mask.shape, stride=8).argmax(0)
        valid = mask != 255
        expected += confusion_matrix(mask[valid], labels[valid], labels=range(3))
    found, images = confusion_of(load(model), dataset, range(len(dataset)))
    np.testing.assert_array_equal(found, expected)
    np.testing.assert_array_equal(images.sum(0)[:, 0], np.diagonal(expected))
    np.testing.assert_array_equal(images.sum(0)[:, 1], expected.sum(1))
    np.testing.assert_array_equal(images.sum(0)[:, 2], expected.sum(0))


@pytest.mark.parametrize("long_side", [None, 40])
@pytest.mark.parametrize("tta", [(), "flip, scales"])
def test_counts_without_labels_are_those_of_labels(folder, model, long_side, tta):
    segmenter = load(model).at(long_side).with_tta(tta)
    dataset = data.find(folder, "val")
    counted, images = confusion_of(segmenter, dataset, range(5))
    labelled, with_boundary = confusion_of(segmenter, dataset, range(5), boundary=True)
    np.testing.assert_array_equal(counted, labelled)
    np.testing.assert_array_equal(images, with_boundary[..., :3])


def test_shares_of_the_images_add_up(folder, model):
    segmenter = load(model)
    dataset = data.find(folder, "val")
    whole, images = confusion_of(segmenter, dataset, range(5), boundary=True)
    parts = [confusion_of(segmenter, dataset, range(r, 5, 2), boundary=True) for r in (0, 1)]
    np.testing.assert_array_equal(parts[0][0] + parts[1][0], whole)
    np.testing.assert_array_equal(parts[1][1], images[1::2])
    assert images.shape == (5, 3, 5)
    nothing, none = confusion_of(segmenter, dataset, range(0))
    assert not nothing.any()
    assert none.shape == (0, 3, 3)


def test_a_model_in_training_mode_is_refused(folder, model):
    network, spec = models.load(model)
    training = Segmenter(spec, TorchEngine(network.train(), spec))
    with pytest.raises(ValueError, match=r"training mode.*model\.eval"):
        confusion_of(training, data.find(folder, "val"), [0])


def test_classes_are_matched_by_name(folder, model, tmp_path):
    network, spec = models.load(model)
    plain = evaluate(folder, model, progress=False)
    order = [2, 0, 3, 1]  # the model of the data's classes and one more, shuffled
    names = ("dog", "ground", "fish", "cat")
    other = replace(spec, class_names=names, palette=tiny.PALETTE)
    shuffled = tiny.network(other)
    state = network.state_dict()
    for key in (key for key in state if key.startswith("classify_")):
        spare = state[key].new_full((1, *state[key].shape[1:]), 0 if "weight" in key else -1e9)
        state[key] = torch.cat([state[key], spare])[order]
    shuffled.load_state_dict(state)
    models.save(tmp_path, shuffled, other)
    result = evaluate(folder, tmp_path, progress=False)
    np.testing.assert_array_equal(result.confusion[np.ix_([1, 3, 0], [1, 3, 0])], plain.confusion)
    assert result.scores.mean_iou == pytest.approx(plain.scores.mean_iou)
    assert result.protocol["classes_left_out_of_the_mean"] == ["fish"]


def test_photos_are_scored_at_the_long_side_asked_for(folder, tmp_path):
    tiny.saved(tmp_path, tiny.spec(long_side=96))
    own = {max(data.find(folder, "val").read(i)[0].shape[:2]) for i in range(5)}
    seen = set()

    class Looking:
        name = "looking"

        def scores(self, photos):
            seen.add(max(photos.shape[1:3]))
            return engine.scores(photos)

    engine = load(tmp_path).engine
    looking = Segmenter(load(tmp_path).spec, Looking())
    for given, sides in (("trained", {96}), (32, {32}), (None, own)):
        seen.clear()
        result = evaluate(folder, looking, long_side=given, progress=False)
        assert seen == {side + -side % 32 for side in sides}
        asked = re.findall(r"long side of (\d+) pixels", result.protocol["resolution"])
        assert asked == [str(side) for side in sides if given]


def test_a_model_brings_its_own_mapping(folder, tmp_path):
    card = {"mapping": {"other": ["*"], "cat": ["cat"]}}
    model = tiny.saved(tmp_path, tiny.spec(names=("other", "cat"), card=card))
    result = evaluate(folder, model, progress=False)
    assert result.protocol["mapping"] == card["mapping"]
    counted = sum((data.find(folder, "val").read(i)[1] != 255).sum() for i in range(5))
    assert result.confusion.sum() == counted
    given = {"other": ["dog"], "ignore": ["ground"], "cat": ["cat"]}
    result = evaluate(folder, model, mapping=given, progress=False)
    assert result.protocol["mapping"] == given
    assert 0 < result.confusion.sum() < counted


@pytest.mark.parametrize("card", [{}, {"mapping": {"pet": ["hamster"]}}])
def test_unknown_classes_are_an_error_that_names_both_lists(folder, tmp_path, card):
    model = tiny.saved(tmp_path, tiny.spec(names=("ground", "pet"), card=card))
    with pytest.raises(data.DataError) as error:
        evaluate(folder, model, progress=False)
    message = str(error.value)
    assert "does not know 2 of the data's classes: cat, dog" in message
    assert "data:  ground, cat, dog" in message
    assert "model: ground, pet" in message
    assert "mapping" in message


def test_what_would_be_left_out_in_silence_is_an_error(folder, model, tmp_path):
    for part in ("images", "masks"):
        (tmp_path / "val" / part).mkdir(parents=True)
        for path in (folder / "val" / part).iterdir():
            (tmp_path / "val" / part / path.name).write_bytes(path.read_bytes())
    (tmp_path / "classes.txt").write_text("\n".join(tiny.NAMES))
    (tmp_path / "val" / "masks" / "3.png").unlink()
    with pytest.raises(data.DataError, match=r"1 problem \(1 no partner\):\n.*3\.png.*\na score"):
        evaluate(tmp_path, model, progress=False)
    assert evaluate(tmp_path, model, skip=["3"], progress=False).protocol["images"] == 4
    photo = tmp_path / "val" / "images" / "1.png"
    photo.write_bytes(photo.read_bytes()[:500])
    with pytest.raises(ValueError, match=r"1\.png: cannot be decoded"):
        evaluate(tmp_path, model, skip=["3"], progress=False)


def test_kinds_of_problems_that_training_accepted_are_accepted(tmp_path):
    points = [[1, 1], [9, 1], [9, 9]]
    shapes = [
        {"label": label, "shape_type": kind, "points": points}
        for label, kind in [("cat", "polygon"), ("dog", "line")]
    ]
    note = {"imagePath": "a.png", "imageHeight": 40, "imageWidth": 50, "shapes": shapes}
    (tmp_path / "val").mkdir()
    (tmp_path / "val" / "a.json").write_text(json.dumps(note))
    Image.new("RGB", (50, 40)).save(tmp_path / "val" / "a.png")
    names = ("background", "cat", "dog")
    plain = tiny.saved(tmp_path / "plain", tiny.spec(names=names))
    with pytest.raises(data.DataError, match="a line has no area to draw"):
        evaluate(tmp_path, plain, progress=False)
    card = {"allow": ["bad shape"]}
    accepting = tiny.saved(tmp_path / "accepting", tiny.spec(names=names, card=card))
    assert evaluate(tmp_path, accepting, progress=False).confusion.sum() == 40 * 50


def test_json_and_report(folder, model, tmp_path):
    report = tmp_path / "new" / "report"
    result = evaluate(
        folder, model, json_file=tmp_path / "scores.json", report=report, progress=False
    )
    written = json.loads((tmp_path / "scores.json").read_text())
    assert written == json.loads(json.dumps(result.to_dict()))
    assert written["mean_iou"] == pytest.approx(metrics.scores(result.confusion).mean_iou)
    low, high = written["mean_iou_95"]
    assert low <= written["mean_iou"] <= high
    assert written["classes"]["cat"]["true_pixels"] == int(result.confusion[1].sum())
    assert written["protocol"]["images"] == 5
    names = sorted(path.name for path in report.iterdir())
    assert names == ["confusion.png", "report.html", *(f"worst-{i}.jpg" for i in range(1, 6))]
    page = (report / "report.html").read_text()
    assert f"{written['mean_iou']:.3f}" in page
    links = re.findall(r"(?:src|href|url)\s*[=(]\s*[\"']?([^\"')>]{0,30})", page)
    assert len(links) == 6
    assert all(link.startswith("data:image/") for link in links)


def test_one_photo_has_no_interval(folder, tmp_path):
    for part in ("images", "masks"):
        (tmp_path / part).mkdir()
        shutil.copy(folder / "val" / part / "0.png", tmp_path / part)
    (tmp_path / "classes.txt").write_text("\n".join((*tiny.NAMES, "fish")))
    spec = tiny.spec(names=(*tiny.NAMES, "fish"))
    result = evaluate(
        tmp_path, tiny.saved(tmp_path / "model", spec), report=tmp_path, progress=False
    )
    assert np.isnan(result.interval).all()
    assert result.to_dict()["mean_iou_95"] == [None, None]
    page = (tmp_path / "report.html").read_text()
    assert "no 95 % interval: it needs two images or more" in page
    assert "(1 image)" in page
    assert "No mask has fish" in page


def test_the_command_says_which_photos_it_scored(folder, model, tmp_path, capsys):
    from upscore.cli import scoring

    scoring.evaluate(folder, [str(model)])
    said = capsys.readouterr().out
    assert re.search(r"95 % interval [\d.]+ to [\d.]+, too narrow to trust with 5 images\)", said)
    assert "5 images\nscored: val of the data\n" in said
    assert "in no mask" not in said
    for part in ("images", "masks"):
        shutil.copytree(folder / "val" / part, tmp_path / part)
    (tmp_path / "classes.txt").write_text("\n".join(tiny.NAMES))
    for path in (tmp_path / "masks").iterdir():
        with Image.open(path) as mask:
            size = mask.size
        Image.new("L", size, 1).save(path)
    scoring.evaluate(tmp_path, [str(model)])
    said = capsys.readouterr().out
    assert "5 images\nscored: all photos, as the folder is not divided" in said
    assert "in no mask: ground, dog; where predicted" in said


def test_the_worst_images_come_first(folder, model):
    result = evaluate(folder, model, progress=False)
    chosen = result.worst(3)
    iou = result.image_iou[chosen]
    assert list(iou) == sorted(iou)
    assert iou[-1] <= np.nanmin(np.delete(result.image_iou, chosen))


@pytest.mark.skipif(not SHARED.is_dir(), reason=f"needs the photos in {SHARED}")
@pytest.mark.skipif(not (BUNDLED / "model.json").is_file(), reason="no bundled model yet")
def test_the_bundled_model_scores_on_voc():
    segmenter = load("bundled")
    dataset = data.find(SHARED, "val", mapping=segmenter.spec.card["mapping"])
    confusion, _ = confusion_of(segmenter, dataset, range(0, len(dataset), 12))
    assert metrics.scores(confusion).mean_iou > 0.65
