"""Dice, Jaccard and Tversky against the libraries whose conventions they name."""

from inspect import signature

import pytest
import segmentation_models_pytorch as smp
import torch
from torch.nn import functional as F

import upscore

SIZE = (33, 41)


@pytest.fixture
def batch():
    generator = torch.Generator().manual_seed(0)
    scores = 3 * torch.randn((3, 5, 7, 9), generator=generator)
    target = torch.randint(4, (3, *SIZE), generator=generator)  # class 4 is nowhere
    target[0][target[0] == 2] = 1  # nor is 2 in the first image
    return scores.double().requires_grad_(), target


def full(scores):
    return F.interpolate(scores, SIZE, mode="bilinear")


def check(ours, theirs, scores):
    """Value and gradient are the library's."""
    (found,) = torch.autograd.grad(ours, scores)
    (expected,) = torch.autograd.grad(theirs, scores)
    torch.testing.assert_close(ours, theirs, check_dtype=False)
    torch.testing.assert_close(found, expected)


SMP = {"smooth": 0, "absent": "zero"}


@pytest.mark.parametrize(
    ("name", "theirs", "ours"),
    [
        ("DiceLoss", {}, (upscore.dice, {})),
        (
            "DiceLoss",
            {"smooth": 2.0, "classes": [0, 2]},
            (upscore.dice, {"smooth": 4, "classes": [0, 2]}),
        ),
        ("JaccardLoss", {}, (upscore.jaccard, {})),
        (
            "TverskyLoss",
            {"alpha": 0.3, "beta": 0.7},
            (upscore.tversky, {"alpha": 0.3, "beta": 0.7}),
        ),
    ],
)
def test_segmentation_models_pytorch(name, theirs, ours, batch):
    scores, target = batch
    function, options = ours
    settings = SMP | options
    expected = getattr(smp.losses, name)("multiclass", **theirs)(full(scores), target)
    check(function(scores, target, **settings), expected, scores)


@pytest.mark.parametrize("name", ["dice", "jaccard"])
def test_segmentation_models_pytorch_multilabel_with_pixels_to_ignore(name, batch):
    scores, target = batch
    labels = F.one_hot(target, 5).movedim(-1, 1)
    labels[:, :, :, :9] = 255
    theirs = {"dice": smp.losses.DiceLoss, "jaccard": smp.losses.JaccardLoss}[name]
    arguments = {"ignore_index": 255} if name == "dice" else {}
    if not arguments:  # JaccardLoss ignores nothing
        labels[labels == 255] = 0
    expected = theirs("multilabel", **arguments)(full(scores), labels)
    found = getattr(upscore, name)(scores, labels, activation="sigmoid", **SMP)
    check(found, expected, scores)


def monai_dice(scores, target, *, jaccard=False, batched=False):
    """DiceLoss(softmax=True, to_onehot_y=True) as in monai/losses/dice.py, the settings default."""
    p, t = full(scores).softmax(1), F.one_hot(target, 5).movedim(-1, 1)
    axes = (0, 2, 3) if batched else (2, 3)
    hits, both = (p * t).sum(axes), p.sum(axes) + t.sum(axes)
    denominator = 2 * (both - hits) if jaccard else both
    return (1 - (2 * hits + 1e-5) / (denominator + 1e-5)).mean()


def test_monai(batch):
    scores, target = batch
    found = upscore.dice(scores, target, smooth=1e-5, per_image=True)
    check(found, monai_dice(scores, target), scores)
    found = upscore.dice(scores, target, smooth=1e-5)
    check(found, monai_dice(scores, target, batched=True), scores)
    found = upscore.jaccard(scores, target, smooth=0.5e-5, per_image=True)
    check(found, monai_dice(scores, target, jaccard=True), scores)


def test_nnunet(batch):
    """MemoryEfficientSoftDiceLoss as in nnunetv2/training/loss/dice.py, without the background."""
    scores, target = batch
    p, t = full(scores).softmax(1)[:, 1:], F.one_hot(target, 5).movedim(-1, 1)[:, 1:]
    hits, predicted, true = (p * t).sum((2, 3)), p.sum((2, 3)), t.sum((2, 3))
    expected = -((2 * hits + 1) / torch.clip(true + predicted + 1, 1e-8)).mean()
    check(
        upscore.dice(scores, target, smooth=1, per_image=True, classes=range(1, 5)) - 1,
        expected,
        scores,
    )


@pytest.mark.parametrize("backend", ["cpu", "eager"])
@pytest.mark.parametrize("size", [SIZE, (7, 9)])
@pytest.mark.parametrize("activation", ["softmax", "sigmoid"])
def test_cross_entropy_on_top(activation, size, backend, batch):
    scores, target = batch
    target = target[:, : size[0], : size[1]]
    target[:, 2:5, 3:] = 255
    options = {"per_image": True, "classes": range(1, 5), "backend": backend}
    options |= {"activation": activation}
    other = upscore.cross_entropy if activation == "softmax" else upscore.binary_cross_entropy
    for name in ("dice", "jaccard", "tversky"):
        loss = getattr(upscore, name)
        expected = loss(scores, target, **options) + 0.7 * other(scores, target, backend=backend)
        check(loss(scores, target, cross_entropy=0.7, **options), expected, scores)
        array = loss(scores.detach().numpy(), target.numpy(), cross_entropy=0.7, **options)
        assert array == pytest.approx(float(expected.detach()))


@pytest.mark.parametrize("name", ["dice", "jaccard", "tversky"])
def test_options_are_listed(name):
    """As those of `overlap`, by `inspect`, and so by editors."""
    parameters = signature(getattr(upscore, name)).parameters
    assert {**parameters, **signature(upscore.overlap).parameters} == dict(parameters)


@pytest.mark.parametrize("name", ["dice", "jaccard", "tversky"])
def test_arrays_give_what_tensors_give(name, batch):
    scores, target = batch
    function = getattr(upscore, name)
    expected = function(scores, target)
    found = function(scores.detach().numpy(), target.numpy())
    assert isinstance(found, float)
    assert found == pytest.approx(float(expected.detach()))
    each = function(scores.detach().numpy(), target.numpy(), reduction="none", per_image=True)
    assert each.shape == (3, 5)
    assert each.mean() == pytest.approx(float(function(scores, target, per_image=True).detach()))


def test_absent_classes_and_nothing_at_all(batch):
    scores, target = batch
    counted = upscore.dice(scores, target, reduction="none")
    assert counted[4] > 0
    zero = upscore.dice(scores, target, absent="zero", reduction="none")
    torch.testing.assert_close(zero, counted * (torch.arange(5) < 4))
    skipped = upscore.dice(scores, target, absent="skip")
    torch.testing.assert_close(skipped, counted[:4].mean())
    nothing = torch.full_like(target, 255)
    for absent in ("count", "zero", "skip"):
        loss = upscore.dice(scores, nothing, smooth=0, absent=absent)
        (gradient,) = torch.autograd.grad(loss, scores)
        assert loss == 0
        assert (gradient == 0).all()


@pytest.mark.parametrize(
    ("options", "message"),
    [
        ({"smooth": -1}, "smooth must be 0 or more"),
        ({"alpha": float("nan")}, "alpha must be 0 or more"),
        ({"absent": "drop"}, "absent must be one of"),
        ({"reduction": "sum"}, "reduction must be one of"),
        ({"cross_entropy": -1}, "cross_entropy must be 0 or more"),
        ({"cross_entropy": 1, "reduction": "none"}, "added to the mean"),
        ({"classes": [5]}, "some of 0 to 4"),
        ({"classes": []}, "some of 0 to 4"),
        ({"classes": [0.5]}, "whole number"),
        ({"activation": "relu"}, "activation"),
    ],
)
def test_bad_input_says_what_to_do(options, message, batch):
    with pytest.raises((ValueError, TypeError), match=message):
        upscore.tversky(*batch, **options)


def test_sums_of_millions_are_exact():
    """Where a library adds float32 one by one, its loss is off in the third digit."""
    generator = torch.Generator().manual_seed(0)
    scores = 3 * torch.randn((2, 4, 64, 64), generator=generator)
    target = torch.randint(4, (2, 1024, 1024), generator=generator)
    truth = upscore.dice(scores.double().numpy(), target.numpy(), backend="eager")
    assert upscore.dice(scores, target) == pytest.approx(truth, rel=1e-6)
