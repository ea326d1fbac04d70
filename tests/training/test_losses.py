"""Losses by name, against their definitions written out on full-resolution probabilities."""

import pytest
import torch
from torch.nn import functional as F

from upscore.training.losses import loss_of, weight_of
from upscore.training.recipe import terms_of

STRIDE = 4


@pytest.fixture
def batch():
    torch.manual_seed(0)
    scores = torch.randn(2, 3, 5, 7, requires_grad=True)
    target = torch.randint(0, 3, (2, 18, 27), dtype=torch.uint8)
    target[0, :3] = 255
    return scores, target


def full(scores, target):
    whole = F.interpolate(scores, scale_factor=STRIDE, mode="bilinear")
    return whole[..., : target.shape[1], : target.shape[2]]


def overlap(scores, target, false, missed):
    """1 - (hits + 1) / (hits + false + missed + 1), class by class."""
    p = full(scores, target).softmax(1).permute(1, 0, 2, 3)
    losses = []
    for label in range(3):
        here = (target == label)[target != 255].float()
        q = p[label][target != 255]
        hits = (q * here).sum()
        wrong = false * (q * (1 - here)).sum() + missed * ((1 - q) * here).sum()
        losses.append(1 - (hits + 1) / (hits + wrong + 1))
    return sum(losses) / 3


def focal(scores, target):
    losses = F.cross_entropy(
        full(scores, target), target.long(), ignore_index=255, reduction="none"
    )
    return ((1 - (-losses).exp()) ** 2 * losses)[target != 255].mean()


DEFINITIONS = {
    "ce": lambda s, t: F.cross_entropy(full(s, t), t.long(), ignore_index=255),
    "dice": lambda s, t: overlap(s, t, 0.5, 0.5),
    "tversky": lambda s, t: overlap(s, t, 0.3, 0.7),
    "focal": focal,
}


@pytest.mark.parametrize("name", ["ce", "dice", "focal", "ce+dice", "ce+tversky", "focal+dice"])
def test_a_loss_is_the_sum_of_its_terms(batch, name):
    scores, target = batch
    count = weight_of(target)
    assert float(count) == float((target != 255).sum())
    loss = loss_of(terms_of(name), scores, target, stride=STRIDE) / count
    expected = sum(DEFINITIONS[term](scores, target) for term in name.split("+"))
    torch.testing.assert_close(loss, expected)
    (found,) = torch.autograd.grad(loss, scores, retain_graph=True)
    (gradient,) = torch.autograd.grad(expected, scores)
    torch.testing.assert_close(found, gradient, rtol=1e-4, atol=1e-7)


def test_classes_that_are_not_there_count_in_no_overlap(batch):
    scores, target = batch
    target = target.clamp(max=1).where(target != 255, 255)
    dice = loss_of(("dice",), scores, target, stride=STRIDE) / weight_of(target)
    p = full(scores, target).softmax(1)
    expected = []
    for label in (0, 1):
        here = (target == label).float()
        hits = (p[:, label] * here).sum()
        both = (p[:, label] * (target != 255)).sum() + here.sum()
        expected.append(1 - (hits + 1) / (both / 2 + 1))
    torch.testing.assert_close(dice, sum(expected) / 2)


@pytest.mark.parametrize("name", ["ce+dice", "focal+tversky"])
def test_a_batch_of_void_has_no_loss(batch, name):
    scores, target = batch
    loss = loss_of(terms_of(name), scores, torch.full_like(target, 255), stride=STRIDE)
    assert float(loss.detach()) == 0
    loss.backward()
    assert not scores.grad.any()


@pytest.mark.parametrize("name", ["", "dise", "ce+", "ce+ce", "CE"])
def test_unknown_losses_are_refused(name):
    with pytest.raises(ValueError, match="expected a sum of ce, dice, focal, tversky"):
        terms_of(name)
