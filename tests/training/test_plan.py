"""Plans: what a folder and a time make of a run, kept with it and followed by it."""

import dataclasses
import io
import json
import shutil
import time

import numpy as np
import pytest
import tifffile
from PIL import Image
from rich.console import Console
from training_worker import TINY

import tiny
import upscore
from upscore import data, images
from upscore.errors import ArgumentError, DataError, RunError
from upscore.training import length, timing
from upscore.training.plan import Plan, spec_of
from upscore.training.rates import find_rate, steepest
from upscore.training.recipe import Recipe
from upscore.training.run import Run
from upscore.training.timing import seconds_of

pytestmark = pytest.mark.slow

SMALL = {
    name: getattr(TINY, name)
    for name in ("encoder", "width", "pretrained", "frozen_norm", "batch_size", "crop", "precision")
}


@pytest.fixture(scope="module")
def folder(tmp_path_factory):
    """Photos to learn from and to test on, but none to validate on."""
    root = tmp_path_factory.mktemp("plan")
    tiny.data_set(root, train=10, test=3)
    return root


def test_photos_are_held_out_of_train_alone(folder):
    made = upscore.plan(folder, **SMALL)
    names = [sample.name for sample in made.training.dataset.samples]
    held = [sample.name for sample in made.validation.samples]
    assert sorted(names + held) == sorted(str(i) for i in range(10))
    assert len(held) == 2
    assert all(sample.image.parent.parent.name == "train" for sample in made.validation.samples)
    assert "held out of train" in made.split


def test_the_kinds_of_problems_that_are_accepted_are_kept_with_the_model(folder):
    survey = upscore.plan(folder, **SMALL, allow=["blurred"]).training
    assert spec_of(Recipe(), survey).card["allow"] == ["blurred"]


def test_notes_of_the_data_are_among_the_advice(folder, tmp_path):
    root = shutil.copytree(folder, tmp_path / "data")
    photo = next((root / "train" / "images").iterdir())
    exif = Image.Exif()
    exif[0x0112] = 3
    Image.fromarray(images.read(photo)).save(photo, exif=exif)
    made = upscore.plan(root, **SMALL)
    assert sum("EXIF" in line for line in made.advice) == 1


def with_val(folder, root):
    """A copy of the folder with six photos to validate on."""
    shutil.copytree(folder, root)
    tiny.discs(root / "val", 6)
    for i in range(6):  # other names than those of train
        for part in ("images", "masks"):
            (root / "val" / part / f"{i}.png").rename(root / "val" / part / f"v{i}.png")
    return root


def test_a_run_that_begins_from_a_model_has_its_network(folder):
    bundled = upscore.load("bundled").spec
    given = {"batch_size": 2, "pretrained": "bundled"}
    made = upscore.plan(folder, **given)
    assert made.recipe.encoder == bundled.encoder != Recipe().encoder
    assert made.reasons["encoder"] == "that of bundled"
    other = upscore.plan(folder, **given, width=32)
    assert (other.recipe.encoder, other.recipe.width) == (bundled.encoder, 32)
    assert other.reasons["width"] == "as given"


def test_folds_share_out_train_and_val(folder, tmp_path):
    root = with_val(folder, tmp_path / "data")
    held = [
        {sample.name for sample in upscore.plan(root, fold=f"{i}/3", **SMALL).validation.samples}
        for i in range(3)
    ]
    assert set.union(*held) == {str(i) for i in range(10)} | {f"v{i}" for i in range(6)}
    assert sum(map(len, held)) == 16
    assert len(upscore.plan(root, **SMALL).validation) == 6


def on_the_ground(path, side, kind=1):
    """Make a photo a GeoTIFF with pixels of `side` metres; of another kind, of no known unit."""
    keys = (1, 1, 0, 1, 1024, 0, 1, kind)
    tags = [(33550, "d", 3, (side, side, 0.0)), (33922, "d", 6, (0.0,) * 6)]
    tags.append((34735, "H", len(keys), keys))
    pixels = images.read(path)
    path.unlink()
    tifffile.imwrite(path.with_suffix(".tif"), pixels, photometric="rgb", extratags=tags)


def test_the_ground_that_photos_were_taken_at_is_kept(tmp_path):
    tiny.data_set(tmp_path, train=5)
    photos = tmp_path / "train" / "images"
    found = []
    for i, side in enumerate((0.5, 0.25, 2.0)):
        on_the_ground(photos / f"{i}.png", side)
        found.append(spec_of(Recipe(), data.survey(data.find(tmp_path, "train"))).resolution)
    assert found == [None, None, 0.5]  # most of five are three
    on_the_ground(photos / "3.png", 9.0, kind=3)  # which tells nothing
    assert spec_of(Recipe(), data.survey(data.find(tmp_path, "train"))).resolution == 0.5


@pytest.mark.parametrize("resolution", [None, 0.25])
def test_the_table_has_the_ground_where_it_is_known(folder, resolution):
    photos = data.survey(data.find(folder, "train"))
    made = Plan(Recipe(), {}, photos, None, "all", 1.0, resolution=resolution)
    console = Console(record=True, width=120, file=io.StringIO())
    made.print(console)
    assert ("0.25 m a pixel" in console.export_text()) == (resolution is not None)


def test_a_time_sets_the_steps(folder, monkeypatch):
    monkeypatch.setattr(timing, "measure", lambda *_: timing.Timing(step=0.5, photo=0.0))
    short, long = (upscore.plan(folder, time=time, **SMALL) for time in ("1m", "10m"))
    for made, seconds in ((short, 60), (long, 600)):
        steps = 0.9 * (seconds - length.AROUND) / (length.CAUTION * 0.5)
        assert made.recipe.steps == pytest.approx(steps, rel=0.1)
        assert made.seconds < seconds
    assert "a step takes 0.50 s" in short.reasons["steps"]
    assert upscore.plan(folder, time="10m", steps=7, **SMALL).recipe.steps == 7
    with pytest.raises(ArgumentError, match=r"time is too short.*a step 0\.5 s.*more \(--time\)"):
        upscore.plan(folder, time="5s", **SMALL)


@pytest.mark.parametrize(("held", "photo"), [(1449, 0.15), (20, 0.7)])
def test_scoring_leaves_time_to_learn(folder, monkeypatch, held, photo):
    """However many validation photos there are, and however large they are shown."""
    survey = data.survey(data.find(folder))
    validation = survey.part([i % 10 for i in range(held)]).dataset
    recipe = Recipe(**SMALL)
    monkeypatch.setattr(timing, "measure", lambda *_: timing.Timing(0.5, photo))
    until = time.monotonic() + 120
    options = {"fixed": (), "workers": 0}
    made, why, seconds = length.fitted(
        recipe, {}, spec_of(recipe, survey), survey, validation, until, **options
    )
    assert made.steps * 0.5 > 0.4 * 120
    assert seconds < 120
    assert made.validation_photos < held
    assert f"{photo:.2f} s" in why["validation_photos"]


def test_reading_photos_once_counts_in_the_time(folder, monkeypatch):
    found = []
    for decoding in (0.0, 30.0):
        took = timing.Timing(0.5, 0.0, 0.0, decoding)
        monkeypatch.setattr(timing, "measure", lambda *_, took=took: took)
        found.append(upscore.plan(folder, time="2m", **SMALL).recipe.steps)
    assert found[0] - found[1] == pytest.approx(30 * 0.9 / (length.CAUTION * 0.5), abs=2)


def test_photos_of_about_the_mean_size_are_timed(tmp_path):
    tiny.data_set(tmp_path, train=5)
    for i, side in enumerate((8, 50, 52, 64, 90)):
        path = tmp_path / "train" / "images" / f"{i}.png"
        Image.open(path).resize((side, side)).save(path)
    photos = data.find(tmp_path, "train")
    assert timing._of_mean_size(photos)[:2] == [3, 2]  # the mean is 3600 pixels: 60 x 60


def test_classes_that_cannot_be_learned_or_scored_are_named(folder, tmp_path, capsys):
    root = with_val(folder, tmp_path / "data")
    (root / "classes.txt").write_text("ground\ndisc\nsquare\nstar\n")
    for path in (root / "val" / "masks").iterdir():
        mask = np.array(Image.open(path))
        Image.fromarray(np.where(mask == 1, 0, mask)).save(path)
    made = upscore.plan(root, **SMALL)
    assert "in no mask to learn from, so never found: star" in made.advice
    upscore.train(root, tmp_path / "run", **SMALL, steps=1, workers=0, log=(), show=False)
    said = " ".join(capsys.readouterr().err.split())  # lines are broken to the terminal's width
    assert "in none of the photos that sizes were tried on: disc, star" in said


def test_masks_that_are_void_everywhere_teach_nothing(folder, tmp_path):
    root = shutil.copytree(folder, tmp_path / "data")
    for path in (root / "train" / "masks").iterdir():
        Image.fromarray(np.full((64, 64), 255, np.uint8)).save(path)
    with pytest.raises(DataError, match="void"):
        upscore.plan(root, **SMALL)


def test_what_cannot_be_is_said_before_the_work(folder, tmp_path, monkeypatch):
    (tmp_path / "state").mkdir()
    (tmp_path / "state" / "state.json").write_text("{}")
    monkeypatch.setattr("upscore.training.train.plan", None)  # to call it would be an error
    with pytest.raises(RunError, match=r"holds a run already: go on with it \(--resume\)"):
        upscore.train(folder, tmp_path, **SMALL)


def test_half_precision_needs_a_gpu(folder, tmp_path):
    with pytest.raises(ArgumentError, match="'fp16', which needs a GPU"):
        upscore.plan(folder, **SMALL | {"precision": "fp16"})


@pytest.mark.parametrize(("once", "seconds"), [(50.0, 110), (2.0, 60)])
def test_compiling_kernels_does_not_count(folder, monkeypatch, once, seconds):
    """Here it is only said to have taken so long: a run gets that time on top of its own."""
    monkeypatch.setattr(timing, "measure", lambda *_: timing.Timing(0.5, 0.0, once))
    made = upscore.plan(folder, time="1m", **SMALL)
    steps = 0.9 * (seconds - length.AROUND) / (length.CAUTION * 0.5)
    assert made.recipe.steps == pytest.approx(steps, rel=0.1)
    assert ("50 s of compiling kernels" in made.reasons["steps"]) == (once == 50.0)


def test_validations_take_a_tenth_of_the_time_at_most(folder, monkeypatch):
    """With a step as long as the labelling of a photo, 2 photos and a sheet of 2 take 4 steps."""
    survey = data.survey(data.find(folder))
    recipe = Recipe(**SMALL, steps=1000)
    spec = spec_of(recipe, survey)
    monkeypatch.setattr(timing, "measure", lambda *_: timing.Timing(step=1.0, photo=1.0))
    held = survey.part([0, 1]).dataset
    made, _, _ = length.fitted(recipe, {}, spec, survey, held, None, fixed=())
    assert 1000 / made.evaluate_every <= 12
    recipe = dataclasses.replace(recipe, steps=80)
    made, _, seconds = length.fitted(recipe, {}, spec, survey, held, None, fixed=())
    assert made.evaluate_every == 40  # two of them: 8 of 80 s
    assert seconds == pytest.approx(80 + 2 * 4 + 5.375 * 2 + length.AROUND)
    given, _, _ = length.fitted(recipe, {}, spec, survey, held, None, fixed=("evaluate_every",))
    assert given.evaluate_every == recipe.evaluate_every


def test_a_plan_asks_for_the_names_of_classes(folder, tmp_path):
    root = shutil.copytree(folder, tmp_path / "data")
    (root / "classes.txt").unlink()
    made = upscore.plan(root, **SMALL)
    assert made.training.dataset.class_names == ("class_0", "class_1", "class_2")
    assert made.advice == (
        f"no classes.txt: classes named by their ids; write {root / 'classes.txt'} to name them",
    )


@pytest.mark.parametrize(
    ("text", "seconds"), [("90s", 90), ("20m", 1200), ("1.5h", 5400), (7, 7), ("8", 8)]
)
def test_times(text, seconds):
    assert seconds_of(text) == seconds


@pytest.mark.parametrize("text", ["", "0m", "-5s", "soon", "5 days"])
def test_what_is_no_time_is_refused(text):
    with pytest.raises(ValueError, match="expected seconds, or 90s"):
        seconds_of(text)


def test_unknown_fields_are_listed(folder):
    with pytest.raises(ValueError, match=r"a recipe has no epochs; it has architecture, encoder"):
        upscore.plan(folder, epochs=3)


def test_a_folder_without_train_is_refused(folder, tmp_path):
    shutil.copytree(folder / "test", tmp_path / "data" / "test")
    shutil.copy(folder / "classes.txt", tmp_path / "data")
    with pytest.raises(DataError, match="no split 'train' to learn from; it has test"):
        upscore.plan(tmp_path / "data", **SMALL)


def test_a_plan_is_followed_and_kept(folder, tmp_path, monkeypatch):
    out = tmp_path / "run"
    options = SMALL | {"steps": 4}
    run = upscore.train(folder, out, workers=0, log=(), show=False, **options)
    kept = json.loads((out / "plan.json").read_text())
    assert kept["recipe"]["steps"] == 4
    assert kept["reasons"]["steps"] == "as given"
    assert len(kept["validation"]) == 2
    assert set(kept["training"]) == set(run.identity["photos"])
    card = json.loads((out / "best" / "model.json").read_text())["card"]
    assert len(card["validation_at_sizes"]) == 4
    assert (out / "validation.jpg").is_file()
    # Resuming follows the plan that is kept, whatever the data and the clock would ask for today.
    monkeypatch.setattr(timing, "measure", lambda *_: timing.Timing(step=1.0, photo=100.0))
    again = upscore.train(folder, out, resume=True, time="9h", workers=0, log=(), show=False)
    assert again.identity == run.identity
    assert Run.begun_with(out)[0].steps == 4


def test_resuming_needs_no_word_about_the_data(folder, tmp_path):
    root, out = tmp_path / "data", tmp_path / "run"
    shutil.copytree(folder / "train" / "images", root / "img")
    shutil.copytree(folder / "train" / "masks", root / "gt")
    shutil.copy(folder / "classes.txt", root)
    (root / "img" / "3.png").write_bytes(b"broken")
    options = {"workers": 0, "log": (), "show": False}
    reading = {
        "layout": data.Patterns("img/*.png", "gt/{stem}.png"),
        "skip": ["3"],
        "mapping": {"ground": ["ground"], "thing": ["*"]},
        "fold": "1/3",
    }
    run = upscore.train(root, out, **reading, **options, **SMALL | {"steps": 1})
    assert json.loads((out / "plan.json").read_text())["skip"] == ["3"]
    for again in ({}, reading):
        resumed = upscore.train(root, out, resume=True, **again, **options)
        assert resumed.identity == run.identity
    for other, message in (
        ({"skip": ["4"]}, r"run was begun with skip = \['3'\], not \['4'\]: leave skip out"),
        ({"layout": "voc"}, "layout = {'images': 'img/\\*.png', .*not 'voc'"),
        ({"mapping": {"thing": ["*"]}}, r"mapping = {'ground': \['ground'\].*not {'thing'"),
        ({"fold": "0/3"}, "fold = '1/3', not '0/3'"),
    ):
        with pytest.raises(RunError, match=message):
            upscore.train(root, out, resume=True, **other, **options)


def test_an_evaluation_scores_what_was_held_out(folder, tmp_path):
    undivided = tmp_path / "data"
    shutil.copytree(folder / "train", undivided)
    shutil.copy(folder / "classes.txt", undivided)
    for root in (folder, undivided):
        out = tmp_path / f"run of {root.name}"
        run = upscore.train(root, out, workers=0, log=(), show=False, **SMALL | {"steps": 1})
        held = {str(i) for i in range(10)} - set(run.identity["photos"])
        assert set(upscore.evaluate(root, out, progress=False).image_names) == held
    # Data with a val of their own are scored on that.
    shutil.copytree(folder, tmp_path / "other")
    tiny.discs(tmp_path / "other" / "val", 3)
    assert len(upscore.evaluate(tmp_path / "other", out, progress=False).image_names) == 3


def test_an_evaluation_scores_the_fold_that_was_held_out(folder, tmp_path):
    root = with_val(folder, tmp_path / "data")
    names = {str(i) for i in range(10)} | {f"v{i}" for i in range(6)}
    runs = [tmp_path / f"run {i}" for i in range(2)]
    for i, out in enumerate(runs):
        options = SMALL | {"steps": 1, "fold": f"{i}/3"}
        run = upscore.train(root, out, workers=0, log=(), show=False, **options)
        held = names - set(run.identity["photos"])
        result = upscore.evaluate(root, out, progress=False)
        assert set(result.image_names) == held
        assert result.protocol["split"] == "held out in training, of train and val"
    with pytest.raises(DataError, match="the models held out different photos"):
        upscore.evaluate(root, runs, progress=False)
    assert len(upscore.evaluate(root, runs, split="test", progress=False).image_names) == 3
    gone = min(held)
    for path in root.glob(f"*/*/{gone}.png"):
        path.unlink()
    with pytest.raises(DataError, match=f"1 of them are not here, such as {gone}"):
        upscore.evaluate(root, runs[1], progress=False)


def test_three_photos_are_all_learned_from(folder, tmp_path):
    root = tmp_path / "data"
    shutil.copytree(folder, root)
    for path in (root / "train").glob("*/[3-9].png"):
        path.unlink()
    run = upscore.train(
        root, tmp_path / "run", workers=0, log=(), show=False, **SMALL | {"steps": 2}
    )
    assert np.isnan(run.best)
    assert len(run.identity["photos"]) == 3
    spec = upscore.load(tmp_path / "run").spec
    assert spec.class_names == ("ground", "disc", "square")
    assert spec.card["held_out"] == []
    with pytest.raises(DataError, match="none was held out to score it"):
        upscore.evaluate(root, tmp_path / "run", progress=False)
    result = upscore.evaluate(root, tmp_path / "run", split="test", progress=False)
    assert len(result.image_names) == 3


def test_a_model_that_learned_nothing_is_said_so_in_red(folder, tmp_path, capsys):
    options = SMALL | {"steps": 1, "encoder_rate": 0.0, "decoder_rate": 0.0}
    upscore.train(folder, tmp_path / "run", workers=0, log=(), show=False, **options)
    said = " ".join(capsys.readouterr().err.split())
    assert "no better than naming the commonest class" in said
    assert "--time" in said


def test_early_stopping(folder, tmp_path):
    options = SMALL | {"steps": 40, "evaluate_every": 1, "patience": 2}
    options |= {"encoder_rate": 0.0, "decoder_rate": 0.0}  # never better than the first
    run = upscore.train(folder, tmp_path / "run", workers=0, log=(), show=False, **options)
    assert [row["step"] for row in run.history] == [1, 2, 3]
    again = upscore.train(folder, tmp_path / "run", resume=True, workers=0, log=(), show=False)
    assert again.history == run.history  # it had ended


def test_an_undivided_folder_is_divided_by_groups(folder, tmp_path):
    shutil.copytree(folder / "train", tmp_path / "data")
    shutil.copy(folder / "classes.txt", tmp_path / "data")
    for part in ("images", "masks"):
        for i in range(10):
            path = tmp_path / "data" / part / f"{i}.png"
            path.rename(path.with_name(f"patient{i // 2}_{i}.png"))
    made = upscore.plan(tmp_path / "data", group_by="patient[0-9]", **SMALL)
    held = {sample.name[:8] for sample in made.validation.samples}
    kept = {sample.name[:8] for sample in made.training.dataset.samples}
    assert held
    assert not held & kept


def test_group_by_needs_something_to_divide(folder, tmp_path):
    shutil.copytree(folder, tmp_path / "data")
    tiny.discs(tmp_path / "data" / "val", 3)
    with pytest.raises(ValueError, match="has its own val"):
        upscore.plan(tmp_path / "data", group_by="x", **SMALL)


def test_a_recipe_keeps_its_own_choices(folder):
    recipe = Recipe(**SMALL, steps=30, evaluate_every=7)
    made = upscore.plan(folder, recipe=recipe)
    assert made.recipe == recipe
    assert upscore.plan(folder, recipe=recipe, time="1h").recipe.evaluate_every == 7


def test_a_run_that_diverges_says_so(folder, tmp_path):
    options = SMALL | {"steps": 20, "decoder_rate": 1e30}
    with pytest.raises(RunError, match="lower rates"):
        upscore.train(folder, tmp_path / "run", workers=0, log=(), show=False, **options)


def test_parts_of_a_batch_add_up(folder, tmp_path):
    """The weights after two steps are the same, however many parts a batch is worked through in."""
    from upscore.models.weights import read_tensors
    from upscore.training.train import fit

    half = dataclasses.replace(TINY, steps=2, frozen_norm=False, encoder="test_convnext")
    survey = data.survey(data.find(folder))
    states = []
    for parts in (1, 4):
        out = tmp_path / str(parts)
        fit(dataclasses.replace(half, accumulate=parts), survey, None, out, workers=0, log=())
        states.append(read_tensors(out / "state", "state")[1])
    moments = [name for name in states[0] if name.endswith("exp_avg")]
    scale = max(float(states[0][name].abs().max()) for name in moments)
    for name in moments:
        np.testing.assert_allclose(states[1][name], states[0][name], atol=1e-4 * scale)


def test_loggers_that_are_not_there_are_named(folder, tmp_path):
    with pytest.raises(ValueError, match="no logger 'paper'; Accelerate knows"):
        upscore.train(folder, tmp_path / "a", log=["paper"], show=False, **SMALL | {"steps": 1})
    with pytest.raises(ImportError, match="pip install mlflow"):
        upscore.train(folder, tmp_path / "b", log=["mlflow"], show=False, **SMALL | {"steps": 1})


def test_the_best_rate_is_where_the_loss_falls_fastest(folder, tmp_path):
    rates = np.geomspace(1e-5, 1, 50)
    losses = 1 / (1 + (rates / 1e-2) ** 2) + 5 * (rates > 0.5)
    assert 5e-3 < steepest(rates, losses) < 2e-2
    made = upscore.plan(folder, **SMALL | {"steps": 1})
    rate = find_rate(made, tmp_path / "rate.png")
    assert 1e-5 <= rate <= 0.3
    assert (tmp_path / "rate.png").stat().st_size > 1000


@pytest.mark.parametrize(
    ("found", "median"),
    [([None] * 3, None), ([0.5, None], None), ([0.2, None, 0.4], 0.4), ([3.0, 1.0, 2.0], 2.0)],
)
def test_metres_a_pixel_are_known_where_most_photos_tell(monkeypatch, found, median):
    from types import SimpleNamespace as Space

    from upscore import images
    from upscore.training.plan import _resolution

    monkeypatch.setattr(images, "resolution", lambda image: image)
    samples = [Space(image=side) for side in found]
    assert _resolution(Space(dataset=Space(samples=samples))) == median
