"""Training: it learns, it resumes exactly, its processes agree, and it refuses what is broken."""

import dataclasses
import json
import os
import shutil
import signal
import subprocess
import sys
import time
from collections import Counter
from functools import partial
from pathlib import Path

import numpy as np
import pytest
import torch
from accelerate import Accelerator
from safetensors.torch import load_file, save_file
from training_worker import TINY

import tiny
import upscore
from upscore import data, models
from upscore.data.masks import Decoder
from upscore.models.normalisation import Normalise
from upscore.models.weights import read_tensors
from upscore.training.batches import Crops, batches, drawn, repeat_factors
from upscore.training.losses import weight_of
from upscore.training.objective import (
    Objective,
    averaging,
    build_network,
    learner,
    median_frequency_weights,
    parameter_groups,
    set_rates,
)
from upscore.training.plan import spec_of
from upscore.training.recipe import RECIPES, Recipe
from upscore.training.run import RunError
from upscore.training.selection import select
from upscore.training.train import _averaged, _validate, fit

pytestmark = pytest.mark.slow

WORKER = Path(__file__).with_name("training_worker.py")
TINY_16 = dataclasses.replace(TINY, width=16)
SPEC = tiny.spec("fcn4s", TINY.encoder, TINY.width)


@pytest.fixture(scope="module")
def photos(tmp_path_factory):
    root = tmp_path_factory.mktemp("photos")
    tiny.data_set(root, train=4, val=3, void=8)
    return root


@pytest.fixture
def found(photos):
    return data.survey(data.find(photos, "train")), data.find(photos, "val")


def work(photos, out, steps, *options, processes=1):
    """Run the worker to its end, in one process or with torchrun."""
    start = [sys.executable]
    if processes > 1:
        start += ["-m", "torch.distributed.run", f"--nproc-per-node={processes}", "--standalone"]
    environment = {**os.environ, "OMP_NUM_THREADS": "1", "ACCELERATE_USE_CPU": "true"}
    command = [*start, str(WORKER), str(photos), str(out), str(steps), *options]
    done = subprocess.run(command, env=environment, capture_output=True, text=True)
    assert done.returncode == 0, done.stderr
    return read_tensors(out / "state", "state")


def test_overfits_four_photos(photos, tmp_path, found):
    root = tmp_path / "four"
    (root).mkdir()
    for split in ("train", "val"):  # scored on what it was trained on
        (root / split).symlink_to(photos / "train")
    (root / "classes.txt").symlink_to(photos / "classes.txt")
    recipe = dataclasses.replace(
        TINY_16,
        steps=100,
        evaluate_every=25,
        scale=(1.0, 1.0),
        flip=False,
        colour=0.0,
        ema=0.8,
    )
    training, validation = (data.find(root, split) for split in ("train", "val"))
    run = fit(recipe, data.survey(training), validation, tmp_path / "run", workers=0)
    assert run.best > 0.9
    assert run.history[-1]["loss"] < 0.3 * run.history[0]["loss"]
    for name in ("metrics.csv", "curves.png", "best/model.json", "last/model.json", "tensorboard"):
        assert (tmp_path / "run" / name).exists(), name
    labels = upscore.Predictor(tmp_path / "run")(training.samples[0].image).labels
    assert (labels == training.read(0)[1])[training.read(0)[1] != 255].mean() > 0.95
    select_between(run, validation)


def select_between(run, validation):
    """Earlier weights stay in best/ where they are surely better, whatever chance gave them."""
    learned, spec = models.load(run.folder / "last")
    nothing = build_network(TINY_16, spec.class_names)
    earlier, last = ({"step": 50 * i, "loss": 1.0, "mean_iou": 0.9 / i} for i in (1, 2))
    score = partial(_validate, Accelerator(cpu=True))
    for first, second, ended, kept in (
        (learned, nothing, 100, earlier),
        (nothing, learned, 100, last),
        (learned, learned, 100, last),
        (nothing, learned, 120, earlier),  # stopped early: the last are not finished
    ):
        run.history, run.last_kept = [earlier, last], False
        run.identity["recipe"]["steps"] = ended
        models.save(run.folder / "best", first, spec)
        weights = torch.tensor([0.5, 1.0, 2.0])[: len(spec.class_names)]
        select(run, second.eval(), spec, validation, weights, score, {})
        assert run.best == kept["mean_iou"]
        best, about = models.load(run.folder / "best")
        assert about.card["validation"] == kept
        wanted = (first if kept == earlier else second).state_dict()
        for name, value in best.state_dict().items():
            shift = about.card["weights_taken_back"] * (name == "classify_4.bias") * weights.log()
            assert torch.equal(value, wanted[name] - shift if shift.any() else wanted[name]), name
        before = (run.folder / "best" / "model.json").read_bytes()
        run.last_kept = False
        select(run, second, spec, validation, weights, score, {})  # as a finished run, resumed
        assert (run.folder / "best" / "model.json").read_bytes() == before
        assert run.best == kept["mean_iou"]


def test_killed_and_resumed_is_never_killed(photos, tmp_path):
    every = ("--evaluate-every", "4")  # so that a row of the table is of steps before and after
    _, expected = work(photos, tmp_path / "whole", 6, *every)
    out = tmp_path / "killed"
    command = [sys.executable, str(WORKER), str(photos), str(out), "6", *every]
    state = out / "state" / "state.json"
    for steps in (1, 3):  # twice: at the start, and after a first resumption
        process = subprocess.Popen(
            [*command, "--resume"], stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL
        )
        deadline = time.monotonic() + 120
        while not (state.exists() and read_tensors_or_none(out) >= steps):
            assert process.poll() is None or read_tensors_or_none(out) >= steps
            assert time.monotonic() < deadline
            time.sleep(0.01)
        process.send_signal(signal.SIGKILL)
        process.wait()
    (out / "state" / ".part-0123456789abcdef.json").write_text("{ half of a ")
    description, tensors = work(photos, out, 6, "--resume", *every)
    assert description["step"] == 6
    assert not list(out.rglob(".part-*"))
    assert tensors.keys() == expected.keys()
    for name, value in expected.items():
        assert torch.equal(tensors[name], value), name
    for name in ("best", "last"):
        weights = [next((tmp_path / r / name).glob("*.safetensors")) for r in ("whole", "killed")]
        assert weights[0].name == weights[1].name  # the name is the hash
    tables = [(tmp_path / r / "metrics.csv").read_text() for r in ("whole", "killed")]
    assert tables[0] == tables[1]


def read_tensors_or_none(out):
    """The step of a state that is being written while we look."""
    try:
        return read_tensors(out / "state", "state")[0]["step"]
    except models.CheckpointError:  # between the new JSON and the old weights' removal
        return -1


def first_moments(tensors):
    return {name: value for name, value in tensors.items() if name.endswith("exp_avg")}


def test_two_processes_take_the_gradients_of_one(photos, tmp_path):
    """AdamW's first moment after one step is a tenth of the gradient."""
    encoder = tmp_path / "encoder.safetensors"
    import timm

    torch.manual_seed(1)
    save_file(timm.create_model(TINY.encoder).state_dict(), encoder)
    frozen = ("--frozen-from", str(encoder))
    one = first_moments(work(photos, tmp_path / "one", 1, *frozen)[1])
    description, two = work(photos, tmp_path / "two", 1, *frozen, processes=2)
    assert one.keys() == first_moments(two).keys() != set()
    scale = max(value.abs().max() for value in one.values())
    for name, value in one.items():
        torch.testing.assert_close(two[name], value, rtol=1e-3, atol=1e-5 * float(scale))
    whole = read_tensors(tmp_path / "one" / "state", "state")[0]
    assert description["history"][0]["mean_iou"] == pytest.approx(
        whole["history"][0]["mean_iou"], abs=1e-3
    )

    apart = first_moments(work(photos, tmp_path / "apart", 1, *frozen, "--alone", processes=2)[1])
    worst = max(float((apart[n] - one[n]).abs().max()) for n in one)
    assert worst > 1e-2 * float(scale)  # without the all-reduce this test would fail


@pytest.mark.release
def test_processes_share_a_planned_batch_and_speak_once(photos, tmp_path):
    start = (sys.executable, "-m", "torch.distributed.run", "--nproc-per-node=3", "--standalone")
    names = ("encoder", "width", "pretrained", "frozen_norm", "crop", "precision")
    settings = [f"--set={name}={getattr(TINY, name)}" for name in names]
    command = [*start, "-m", "upscore", "train", str(photos), "-o", str(tmp_path / "run")]
    environment = {**os.environ, "OMP_NUM_THREADS": "1", "ACCELERATE_USE_CPU": "true"}
    command += ["--steps=1", *settings]
    done = subprocess.run(command, env=environment, capture_output=True, text=True)
    assert done.returncode == 0, done.stderr
    assert done.stdout.count("validation: mIoU") == done.stdout.count("next: ") == 1
    kept = json.loads((tmp_path / "run" / "plan.json").read_text())
    assert kept["recipe"]["batch_size"] == 6
    assert kept["reasons"]["batch_size"] == "no fewer than 4, shared evenly by 3 processes"
    command = [word.replace("--steps=1", "--time=1s") for word in command]
    command[command.index("-o") + 1] = str(tmp_path / "hasty")
    done = subprocess.run(command, env=environment, capture_output=True, text=True, timeout=300)
    assert done.returncode != 0
    assert done.stderr.count("the time is too short") >= 1


def test_steps_see_the_same_photos_however_they_are_shared_and_resumed(found):
    recipe = dataclasses.replace(TINY, batch_size=2)
    options = {"workers": 0}
    whole = list(batches(found[0], recipe, range(6), rank=0, world=1, **options))
    tail = list(batches(found[0], recipe, range(4, 6), rank=0, world=1, **options))
    for (images, target), (again, target_again) in zip(whole[4:], tail, strict=True):
        assert torch.equal(images, again)
        assert torch.equal(target, target_again)
    halves = [list(batches(found[0], recipe, range(6), rank=r, world=2, **options)) for r in (0, 1)]
    for step in range(6):
        together = torch.cat([halves[rank][step][0] for rank in (0, 1)])
        assert torch.equal(together, whole[step][0])
    assert not torch.equal(whole[0][0], whole[2][0])  # the next epoch is another order
    with pytest.raises(ValueError, match=r"2 photos cannot be shared evenly by 3 .*batch_size=3"):
        batches(found[0], recipe, range(1), rank=0, world=3, **options)


def test_the_order_of_an_epoch_is_drawn_once(found, monkeypatch):
    recipe = dataclasses.replace(TINY, batch_size=2, seed=3)
    orders = []

    def note(factors, generator):
        orders.append(drawn(factors, generator))
        return orders[-1]

    monkeypatch.setattr("upscore.training.batches.drawn", note)
    list(batches(found[0], recipe, range(6), rank=0, world=1, workers=0))
    expected = [drawn(np.ones(4), np.random.default_rng([3, epoch])) for epoch in range(3)]
    np.testing.assert_array_equal(orders, expected)


def test_fewer_photos_than_a_batch_fill_one(found):
    (images, _), *rest = batches(
        found[0], dataclasses.replace(TINY, batch_size=7), range(1), rank=0, world=1, workers=0
    )
    assert len(images) == 7
    assert not rest


def test_repeat_factors_by_hand():
    pixels = np.array([[9, 1, 0], [9, 0, 0], [9, 0, 3], [9, 1, 0]])
    # Shares 1, 1/2 and 1/4 of the photos: sqrt(1/2 / 1/4) for the last class, 1 for the others.
    np.testing.assert_allclose(repeat_factors(pixels, 0.5), [1, 1, np.sqrt(2), 1])
    np.testing.assert_array_equal(repeat_factors(pixels, 0.0), np.ones(4))


@pytest.mark.parametrize("seed", range(5))
def test_an_epoch_draws_photos_by_their_factors(seed):
    rng = np.random.default_rng(seed)
    assert sorted(drawn(np.ones(101), rng)) == list(range(101))
    times = np.bincount(drawn(np.array([1.0] * 90 + [3.0] * 10), rng), minlength=100)
    assert times.sum() == 100
    assert set(times[:90]) == {0, 1}  # 100 places for 120 wanted: five sixths of a factor each
    assert set(times[90:]) <= {2, 3}


def test_rare_photos_are_shown_more_often(found):
    plain, rare = (
        Crops(found[0], dataclasses.replace(TINY, repeat_rare=share)) for share in (0.0, 1.0)
    )
    present = found[0].class_pixels > 0
    assert set(plain.factors) == {1.0}
    expected = np.where(present, 1 / np.sqrt(present.mean(axis=0).clip(1e-9)), 1).max(axis=1)
    np.testing.assert_allclose(rare.factors, expected)


def test_a_third_of_the_crops_shows_what_few_photos_hold(found):
    """Though only one photo in a hundred holds it."""
    survey = found[0]
    one = int(np.flatnonzero(survey.class_pixels[:, 1])[0])
    empty = survey.part([one] * 100)
    empty.class_pixels[1:, 1:] = 0  # 99 of the photos count as if nothing were marked in them
    for foreground, low, high in ((0.0, 1, 20), (0.33, 80, 190)):
        crops = Crops(empty, dataclasses.replace(TINY, foreground=foreground))
        shown = []
        crops.decoded = Noted(crops.decoded, shown)
        for item in range(400):
            assert crops[item][1].shape == (TINY.crop, TINY.crop)
        assert low < shown.count(0) < high  # a hundredth of 400, or a third


class Noted:
    """Decoded photos that note which were asked for."""

    def __init__(self, decoded, shown):
        self.decoded, self.shown = decoded, shown

    def __getitem__(self, photo):
        self.shown.append(photo)
        return self.decoded[photo]


def test_channels_that_are_classes_are_not_taken_for_other_classes(tmp_path):
    """In the paper's form each channel of the decoder is a class."""
    spec = tiny.spec("fcn4s", TINY.encoder, "classes")
    tiny.saved(tmp_path / "model", spec, seed=1)
    recipe = dataclasses.replace(TINY, width="classes", pretrained=str(tmp_path / "model"))
    theirs = tiny.network(spec, seed=1).state_dict()
    for names, taken in ((spec.class_names, True), (spec.class_names[::-1], False)):
        ours = build_network(recipe, names).state_dict()
        assert torch.equal(ours["score_32.weight"], theirs["score_32.weight"]) is taken
        key = next(name for name in theirs if name.startswith("encoder.") and "weight" in name)
        assert torch.equal(ours[key], theirs[key])


@pytest.mark.parametrize("long_side", [None, 32])
def test_photos_that_fit_only_when_shrunk_are_kept_so(found, monkeypatch, long_side):
    """Crops are the same but for what resizing twice changes, and a photo is decoded once."""
    survey = found[0]
    recipe = dataclasses.replace(
        TINY, long_side=long_side, scale=(0.4, 0.5) if long_side is None else (0.8, 1.0)
    )
    whole = Crops(survey, recipe)
    bytes_of_all = int(survey.sizes.prod(axis=1).sum()) * 4
    monkeypatch.setattr("upscore.training.decoded.KEPT", bytes_of_all // 3)
    small = Crops(survey, recipe)
    assert (whole.decoded.shrinks, small.decoded.shrinks) == (False, True)
    for item in range(4):
        (image, mask), (image_again, mask_again) = whole[item], small[item]
        known = mask != 255
        assert torch.equal(known, mask_again != 255)
        assert (mask == mask_again)[known].float().mean() > 0.95
        assert (image.float() - image_again.float()).abs().mean() < 8
    assert all(max(mask.shape) == 32 for (_, mask), _ in small.decoded._kept.values())
    monkeypatch.setattr("upscore.training.decoded.KEPT", bytes_of_all // 5)
    assert not Crops(survey, recipe).decoded.keeps


def test_a_run_can_go_on_from_a_model(tmp_path):
    """Everything that fits is taken over, and what finds a class by the class's name."""
    tiny.saved(tmp_path / "model", SPEC, seed=1)
    recipe = dataclasses.replace(TINY, pretrained=str(tmp_path / "model"))
    theirs = tiny.network(SPEC, seed=1).state_dict()
    same = build_network(recipe, SPEC.class_names).state_dict()
    assert all(torch.equal(same[name], value) for name, value in theirs.items())
    other = build_network(recipe, ("cow", *SPEC.class_names[::-1])).state_dict()
    for name, value in theirs.items():
        if name.startswith("classify"):
            assert torch.equal(other[name][1:], value.flip(0)), name
        else:
            assert torch.equal(other[name], value), name
    with pytest.raises(ValueError, match="has the encoder test_efficientnet, this run resnet18"):
        build_network(dataclasses.replace(recipe, encoder="resnet18"), "abc")


def test_frozen_parts_stay(tmp_path, found):
    import timm

    save_file(timm.create_model(TINY.encoder).state_dict(), tmp_path / "e.safetensors")
    recipe = dataclasses.replace(
        TINY,
        pretrained=str(tmp_path / "e.safetensors"),
        frozen_norm=True,
        freeze=("conv_stem", "blocks.0"),
        steps=2,  # the very first step has a rate of zero
    )
    before = build_network(recipe, "abc").state_dict()
    fit(recipe, *found, tmp_path / "run", workers=0)
    after = read_tensors(tmp_path / "run" / "state", "state")[1]
    changed = {name for name in before if not torch.equal(before[name], after[f"network.{name}"])}
    assert changed
    norms = [n for n in before if n.startswith("encoder.") and ("running" in n or ".bn" in n)]
    assert norms
    assert not changed & set(norms)
    assert not [
        n
        for n in changed
        if n.startswith(("encoder.network.conv_stem", "encoder.network.blocks.0"))
    ]


def test_validation_comes_every_few_steps_and_at_the_end(tmp_path, found):
    recipe = dataclasses.replace(TINY, steps=5, evaluate_every=2)
    run = fit(recipe, *found, tmp_path, workers=0)
    assert [row["step"] for row in run.history] == [2, 4, 5]
    assert [row["epoch"] for row in run.history] == [2, 4, 5]  # four photos, four a step
    assert read_tensors(tmp_path / "state", "state")[0]["step"] == 5


@pytest.mark.parametrize("name", ["steps", "evaluate_every", "batch_size", "accumulate", "crop"])
def test_counts_of_nothing_are_refused(name):
    with pytest.raises(ValueError, match=f"{name} must be at least 1, not 0"):
        Recipe(**{name: 0})


@pytest.mark.parametrize("scale", [(0.5, 1, 2), (2.0, 1.0), (0, 1)])
def test_a_scale_is_a_pair(scale):
    with pytest.raises(ValueError, match="scale must be a pair"):
        Recipe(scale=scale)


@pytest.mark.parametrize(
    ("name", "value"),
    [("crop", "large"), ("crop", 32.5), ("flip", 1), ("loss", 2), ("scale", 2), ("ema", "high")],
)
def test_values_of_another_kind_are_refused(name, value):
    with pytest.raises(ValueError, match=f"{name} is {value!r}, but a value such as"):
        Recipe(**{name: value})


@pytest.mark.parametrize(
    "change",
    [
        *({"long_side": "big"}, {"width": -5}, {"width": 8.0}, {"class_weights": "off"}),
        *({"precision": "half"}, {"scale": ("a", "b")}, {"seed": -1}),
    ],
)
def test_values_that_cannot_be_are_refused(change):
    with pytest.raises(ValueError, match=next(iter(change))):
        Recipe(**change)


def test_frozen_norm_needs_something_to_keep():
    with pytest.raises(ValueError, match="frozen_norm"):
        build_network(dataclasses.replace(TINY, frozen_norm=True), "abc")


def test_objective_is_the_plain_composition():
    """Sum over pixels of all stages' losses, against interpolate and cross_entropy."""
    torch.manual_seed(0)
    network = build_network(TINY, "abc")
    weights = torch.tensor([1.0, 2.0, 3.0])
    objective = Objective(network, TINY, Normalise(SPEC), weights).eval()
    images = torch.randint(0, 256, (2, 3, 64, 64), dtype=torch.uint8)
    target = torch.randint(0, 3, (2, 64, 64), dtype=torch.uint8)
    target[0, :40] = 255
    loss = objective(images, target)
    losses = [
        torch.nn.functional.cross_entropy(
            torch.nn.functional.interpolate(scores, scale_factor=s, mode="bilinear"),
            target.long(),
            weight=weights,
            ignore_index=255,
            reduction="sum",
        )
        for s, scores in zip(
            network.strides, network.stages(models.normalise(images, SPEC)), strict=True
        )
    ]
    expected = losses[-1] + TINY.auxiliary * sum(losses[:-1])
    torch.testing.assert_close(loss, expected, rtol=1e-5, atol=1e-3)
    assert float(weight_of(target, weights)) == float(weights[target[target != 255].long()].sum())


def test_the_averaged_network_is_what_its_weights_say(found):
    """On a CPU too, where depthwise convolutions run by a function of their own."""
    survey, _ = found
    recipe = dataclasses.replace(TINY, precision="bf16")
    model, _ = learner(recipe, spec_of(recipe, survey), survey, torch.device("cpu"))
    averaged = _averaged(model.network, 0.9).module
    with torch.no_grad():
        for parameter in model.network.parameters():
            parameter += 1  # the network goes on learning
    fresh = build_network(recipe, "abc")
    fresh.load_state_dict(averaged.state_dict())
    images = torch.randn(1, 3, 64, 64)
    with torch.inference_mode(), torch.autocast("cpu", torch.bfloat16):
        torch.testing.assert_close(averaged(images), fresh.eval()(images), atol=0.05, rtol=0.05)


def test_rates_rise_and_fall():
    network = build_network(TINY, "ab")
    optimizer = torch.optim.AdamW(parameter_groups(network, TINY))
    recipe = dataclasses.replace(TINY, warmup=0.1, power=1.0)
    for progress, share in ((0.0, 0.0), (0.05, 0.5), (0.1, 1.0), (0.55, 0.5), (1.0, 0.0)):
        set_rates(optimizer, recipe, progress)
        for group in optimizer.param_groups:
            assert group["lr"] == pytest.approx(group["peak"] * share)
    assert {group["peak"] for group in optimizer.param_groups} == {3e-3, 1e-2}
    trained = sum(len(group["params"]) for group in optimizer.param_groups)
    assert trained == len(list(network.parameters()))


def test_median_frequency_weights_by_hand():
    pixels = np.array([[60, 40, 0, 0], [90, 0, 10, 0]])
    # Frequencies 150/200, 40/100, 10/100; their median is 40/100; the last class is in no image.
    expected = np.sqrt([0.4 / 0.75, 1.0, 4.0, 1.0])
    np.testing.assert_allclose(median_frequency_weights(pixels), expected, rtol=1e-6)


def test_what_is_frozen_is_folded_and_learns_the_same(found):
    """The path through convolutions alone gives the loss and the gradients of the plain one."""
    recipe, survey = Recipe(width=8, precision="no"), found[0]
    spec = spec_of(recipe, survey)
    model, _ = learner(recipe, spec, survey, torch.device("cpu"))
    plain = Objective(build_network(recipe, "abc"), recipe, Normalise(spec)).train()
    folded = [m for m in model.modules() if isinstance(m, torch.nn.BatchNorm2d)]
    assert all("forward" in norm.__dict__ for norm in folded)
    images = torch.randint(0, 256, (2, 3, 64, 64), dtype=torch.uint8)
    target = torch.randint(0, 3, (2, 64, 64), dtype=torch.uint8)
    losses = [objective(images, target) for objective in (model, plain)]
    torch.testing.assert_close(*losses, rtol=1e-4, atol=1e-3)
    for loss in losses:
        loss.backward()
    for (name, one), other in zip(model.named_parameters(), plain.parameters(), strict=True):
        if other.grad is not None:
            assert (one.grad - other.grad).abs().max() <= 2e-3 * other.grad.abs().max(), name
    model, _ = learner(TINY, spec_of(TINY, survey), survey, torch.device("cpu"))
    norms = [m for m in model.modules() if isinstance(m, torch.nn.BatchNorm2d)]
    assert not any("forward" in norm.__dict__ for norm in norms)


def test_averaging_forgets_the_start():
    update = averaging(0.99)
    average, count = torch.zeros(1), torch.zeros((), dtype=torch.long)
    for seen in range(1, 400):
        update([average], [torch.ones(1)], seen)
        update([count], [torch.tensor(seen)], seen)
    assert average.item() == pytest.approx(1, abs=0.02)
    assert count.item() == 399


@pytest.mark.parametrize("name", RECIPES)
def test_recipes_build_and_freeze_what_they_name(name):
    recipe = RECIPES[name]
    network = build_network(recipe, "abc")
    names = [n for n, _ in network.encoder.network.named_parameters()]
    for start in recipe.freeze:
        assert any(n.startswith(start) for n in names), start
    most = 3_500_000 if name == "camvid" else 5_000_000
    assert sum(p.numel() for p in network.parameters()) <= most


def test_an_existing_run_is_not_overwritten(tmp_path, found):
    recipe = dataclasses.replace(TINY, steps=1)
    fit(recipe, *found, tmp_path, workers=0)
    before = {p: p.stat().st_mtime_ns for p in tmp_path.rglob("*.safetensors")}
    with pytest.raises(RunError, match="holds a run already"):
        fit(recipe, *found, tmp_path, workers=0)
    with pytest.raises(RunError, match="steps = 1, not 2"):
        fit(dataclasses.replace(recipe, steps=2), *found, tmp_path, resume=True, workers=0)
    training = found[0].dataset
    fewer = data.survey(dataclasses.replace(training, samples=training.samples[1:]))
    with pytest.raises(RunError, match="other photos"):
        fit(recipe, fewer, found[1], tmp_path, resume=True, workers=0)
    assert before == {p: p.stat().st_mtime_ns for p in tmp_path.rglob("*.safetensors")}


def test_a_folder_that_cannot_be_written_is_said_at_once(tmp_path, found):
    (tmp_path / "file").write_text("")
    with pytest.raises(RunError, match="cannot write into"):
        fit(TINY, *found, tmp_path / "file" / "run", workers=0)


def test_a_disk_that_is_nearly_full_is_said_at_once(tmp_path, found, monkeypatch):
    monkeypatch.setattr("shutil.disk_usage", lambda path: type("Usage", (), {"free": 1 << 20}))
    with pytest.raises(RunError, match="1 MiB free"):
        fit(TINY, *found, tmp_path / "run", workers=0)


@pytest.mark.release
def test_a_disk_that_fills_up_leaves_the_last_good_state(tmp_path, photos):
    """A file size limit stands in for the full disk: writes fail in the middle of a file."""
    work(photos, tmp_path / "run", 1)
    before = load_file(next((tmp_path / "run" / "state").glob("*.safetensors")))
    code = (
        "import resource, signal, runpy, sys\n"
        "signal.signal(signal.SIGXFSZ, signal.SIG_IGN)\n"
        "resource.setrlimit(resource.RLIMIT_FSIZE, (100_000, 100_000))\n"
        "import torch; from upscore.models.weights import write_tensors\n"
        "write_tensors(sys.argv[1], 'state', {'x': torch.zeros(10**6)}, {})\n"
    )
    failed = subprocess.run(
        [sys.executable, "-c", code, str(tmp_path / "run" / "state")],
        capture_output=True,
        text=True,
    )
    assert failed.returncode == 1
    assert "OSError" in failed.stderr
    _, after = read_tensors(tmp_path / "run" / "state", "state")
    assert before.keys() == after.keys()
    assert not list((tmp_path / "run").rglob(".part-*"))


def test_broken_data_stop_training_unless_skipped(tmp_path, photos):
    root = tmp_path / "data"
    shutil.copytree(photos, root)
    (root / "train" / "images" / "0.png").write_bytes(b"not a picture")
    options = {f.name: getattr(TINY, f.name) for f in dataclasses.fields(Recipe)} | {"steps": 1}
    with pytest.raises(data.DataError, match=r"0\.png") as error:
        upscore.train(root, tmp_path / "run", workers=0, **without_mapping(options))
    listed = tmp_path / "run" / "skip.txt"
    assert str(listed) in str(error.value)
    skip = data.read_skip_list(listed)
    run = upscore.train(root, tmp_path / "run", skip=skip, workers=0, **without_mapping(options))
    assert len(run.identity["photos"]) == 3


def test_a_photo_of_two_splits_is_listed_once_and_stays_in_the_later_one(tmp_path, photos):
    root = shutil.copytree(photos, tmp_path / "data")
    for part in ("images", "masks"):
        shutil.copy(root / "train" / part / "0.png", root / "val" / part / "twin.png")
    with pytest.raises(data.DataError, match=r"1 problem \(1 duplicate\)"):
        upscore.plan(root, out=tmp_path / "run")
    assert data.read_skip_list(tmp_path / "run" / "skip.txt") == ("train/images/0.png",)


@pytest.mark.parametrize("weights", ["none", "sqrt-median"])
def test_every_mask_is_decoded_once_before_the_first_batch(photos, tmp_path, monkeypatch, weights):
    """But for the few from which `find` recognises the encoding; those bypass the decoder."""
    decoded = Counter()
    plain = Decoder.pixels

    def count(decoder, path):
        decoded[path] += 1
        return plain(decoder, path)

    def stop(*arguments):
        raise KeyboardInterrupt

    monkeypatch.setattr(Decoder, "pixels", count)
    monkeypatch.setattr(data.Dataset, "read", stop)
    options = without_mapping(vars(TINY)) | {"class_weights": weights, "repeat_rare": 0.5}
    with pytest.raises(KeyboardInterrupt):
        upscore.train(photos, tmp_path / "run", workers=0, **options)
    assert decoded == dict.fromkeys(photos.glob("*/masks/*.png"), 1)


def without_mapping(options):
    return {name: value for name, value in options.items() if name != "mapping"}


def test_unknown_recipes_are_listed(tmp_path):
    with pytest.raises(ValueError, match="no recipe 'best'; there are voc-animals"):
        upscore.train(tmp_path, tmp_path / "run", "best")
