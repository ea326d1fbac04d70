"""Losses of coarse scores against MONAI, in float64 at full resolution."""

import pytest
import torch
from torch.nn import functional as F

from upscore import compat
from upscore.compat import losses as compat_losses
from upscore.compat import monai as ours
from upscore.errors import ArgumentError, MismatchError, UnsupportedError

pytestmark = pytest.mark.slow

SIZES = [((9, 13), (9, 13)), ((9, 13), (36, 52)), ((9, 13), (5, 21)), ((3, 4, 5), (6, 9, 10))]
NUMBERS = {"softmax": True, "to_onehot_y": True}
TARGETS = {
    "numbers": (4, NUMBERS),
    "one-hot": (4, {"softmax": True}),
    "numbers of sigmoids": (4, {"sigmoid": True, "to_onehot_y": True}),
    "classes that overlap": (4, {"sigmoid": True}),
    "one class": (1, {"sigmoid": True, "to_onehot_y": True, "include_background": False}),
}
REGIONS = [
    ("DiceLoss", {}),
    ("DiceLoss", {"jaccard": True, "include_background": False, "smooth_nr": 0, "batch": True}),
    ("DiceLoss", {"weight": [1.0, 2.0, 3.0], "include_background": False, "reduction": "sum"}),
    ("DiceLoss", {"weight": 2.0, "smooth_dr": 1.0}),
    ("TverskyLoss", {"alpha": 0.3, "beta": 0.7}),
    ("TverskyLoss", {"include_background": False, "batch": True, "smooth_nr": 0.5}),
]
WEIGHT = torch.tensor([1.0, 2.0, 0.5, 3.0], dtype=torch.float64)


@pytest.fixture
def losses(installed):
    return installed("monai.losses")


def case(of="numbers", small=(9, 13), size=(36, 52), dtype=torch.float64):
    generator = torch.Generator().manual_seed(0)
    classes = TARGETS[of][0]
    scores = 3 * torch.randn(2, classes, *small, generator=generator, dtype=dtype)
    target = torch.randint(max(classes, 2), (2, 1, *size), generator=generator)
    if of == "one-hot":
        target = F.one_hot(target[:, 0]).movedim(-1, 1).double()
    elif of == "classes that overlap":
        target = (torch.rand((2, classes, *size), generator=generator) < 0.4).double()
    return scores.requires_grad_(), target


def full(scores, target):
    if scores.shape[2:] == target.shape[2:]:
        return scores
    mode = "trilinear" if scores.ndim == 5 else "bilinear"
    return F.interpolate(scores, target.shape[2:], mode=mode)


def check(own, loss, scores, target):
    """Losses and gradients are those of the library at full resolution, in float64."""
    expected = own(full(scores.double(), target), target)
    (gradient,) = torch.autograd.grad(expected.sum(), scores)
    found = loss(scores, target)
    assert found.shape == expected.shape
    exact = scores.dtype == torch.float64
    # The library has one-hot targets in float32, and so some of its sums.
    torch.testing.assert_close(found.double(), expected.double(), rtol=1e-6, atol=1e-6)
    (own_gradient,) = torch.autograd.grad(found.sum(), scores)
    limit = (1e-6 if exact else 1e-4) * float(gradient.abs().max())
    assert (own_gradient - gradient).abs().max() <= limit + 1e-15


@pytest.mark.filterwarnings("ignore:single channel prediction")
@pytest.mark.parametrize(("name", "options"), REGIONS)
@pytest.mark.parametrize("of", TARGETS)
def test_region_losses(losses, name, options, of):
    for reduction in ("mean", "sum", "none"):
        given = {**options, "reduction": reduction, **TARGETS[of][1]}
        pair = getattr(losses, name)(**given), getattr(ours, name)(**given)
        for small, size in SIZES:
            check(*pair, *case(of, small, size))


@pytest.mark.filterwarnings("ignore:single channel prediction")
@pytest.mark.parametrize("of", ["numbers", "one-hot", "numbers of sigmoids", "one class"])
@pytest.mark.parametrize("weighted", [False, True])
@pytest.mark.parametrize("smoothing", [0.0, 0.2])
def test_dice_and_cross_entropy(losses, of, weighted, smoothing):
    for reduction in ("mean", "sum"):
        given = {
            **TARGETS[of][1],
            "reduction": reduction,
            "label_smoothing": smoothing,
            "lambda_ce": 0.7,
            "lambda_dice": 2.0,
        }
        if weighted:
            given["weight"] = WEIGHT[: TARGETS[of][0]] * 2
        pair = losses.DiceCELoss(**given), ours.DiceCELoss(**given)
        assert pair[0].state_dict().keys() == pair[1].state_dict().keys()
        for small, size in SIZES:
            scores, target = case(of, small, size)
            check(*pair, scores, target.double() if of == "one class" else target)


def test_other_numbers(losses):
    scores, target = case(dtype=torch.float32)
    loss = ours.DiceCELoss(**NUMBERS)
    check(losses.DiceLoss(**NUMBERS), ours.DiceLoss(**NUMBERS), scores, target)
    for kind in (torch.uint8, torch.int16, torch.int32, torch.float32, torch.bfloat16):
        assert torch.equal(loss(scores, target.to(kind)), loss(scores, target))
    check(losses.TverskyLoss(**NUMBERS), ours.TverskyLoss(**NUMBERS), *case(dtype=torch.float32))
    for kind in (torch.bfloat16, torch.float16):
        half = scores.to(kind)
        assert torch.equal(loss(half, target), loss(half.float(), target))
    one_hot = F.one_hot(target[:, 0]).movedim(-1, 1)
    for kind in (torch.uint8, torch.bool, torch.float16):
        found = ours.DiceCELoss(softmax=True)(scores, one_hot.to(kind))
        assert torch.equal(found, loss(scores, target))


def test_tensors_with_metadata(losses, installed):
    meta = installed("monai.data").MetaTensor
    scores, target = case()
    loss = ours.DiceCELoss(**NUMBERS)
    found = loss(meta(scores), meta(target))
    assert type(found) is torch.Tensor
    assert torch.equal(found, loss(scores, target))


def test_a_reduction_by_monais_name(losses, installed):
    mean = installed("monai.utils").LossReduction.SUM
    assert ours.DiceLoss(**NUMBERS, reduction=mean).reduction == "sum"


def test_scores_that_are_not_finite(losses):
    for value in (torch.nan, torch.inf):
        scores, target = case()
        with torch.no_grad():
            scores[0, 1, 4, 4] = value
        assert ours.DiceLoss(**NUMBERS)(scores, target).isnan()
        assert losses.DiceLoss(**NUMBERS)(full(scores, target), target).isnan()


@pytest.mark.parametrize(
    "options",
    [{"other_act": torch.tanh}, {"squared_pred": True}, {"soft_label": True}, {"softmax": False}],
)
def test_settings_that_are_left_to_the_library(options):
    with pytest.raises(UnsupportedError, match=r"left to monai\.losses\.DiceLoss"):
        ours.DiceLoss(**{**NUMBERS, **options})


def test_what_does_not_fit():
    for make in (
        lambda: ours.DiceLoss(sigmoid=True, softmax=True),
        lambda: ours.DiceLoss(**NUMBERS, reduction="batch"),
        lambda: ours.DiceCELoss(**NUMBERS, reduction="none"),
        lambda: ours.DiceCELoss(**NUMBERS, lambda_ce=-1),
        lambda: ours.DiceLoss(**NUMBERS, weight=[1.0, 2.0])(*case()),
        lambda: ours.DiceLoss(**NUMBERS, weight=-1.0)(*case()),
        lambda: ours.DiceLoss(softmax=True)(*case()),
        lambda: ours.DiceLoss(**NUMBERS)(*case("one-hot")),
        lambda: ours.DiceCELoss(**NUMBERS)(case()[0], case()[1][:, 0]),
    ):
        with pytest.raises(ArgumentError):
            make()
    scores, target = case("one-hot")
    two, none = target.clone(), target.clone()
    two[0, :2, 3, 4], none[1, :, 5, 6] = 1, 0
    for wrong in (0.9 * target, target + 0.1, two, none, target * torch.nan):
        with pytest.raises(UnsupportedError, match=r"not one-hot.*monai\.losses\.DiceLoss"):
            ours.DiceLoss(softmax=True)(scores, wrong)
    overlapping = case("classes that overlap")
    with pytest.raises(UnsupportedError, match=r"not one-hot.*monai\.losses\.DiceCELoss"):
        ours.DiceCELoss(sigmoid=True)(*overlapping)
    with pytest.raises(UnsupportedError, match="which is no label"):
        ours.DiceLoss(sigmoid=True)(overlapping[0], overlapping[1] * 0.5)
    with pytest.raises(UnsupportedError, match="softmax of one class"):
        ours.DiceLoss(softmax=True)(*case("one class"))
    with pytest.raises(ArgumentError, match="holds label 4"):
        ours.DiceLoss(**NUMBERS)(case()[0], case()[1] + 1)


@pytest.fixture
def of_any_size(monkeypatch):
    """Serve losses of few scores too."""
    monkeypatch.setattr(compat_losses, "FEWEST", 0)


@pytest.mark.filterwarnings("ignore:single channel prediction")
@pytest.mark.parametrize("of", TARGETS)
def test_patch(losses, of, of_any_size):
    own = losses.DiceLoss.forward
    cases = list(REGIONS)
    if of != "classes that overlap":
        cases += [("DiceCELoss", {}), ("DiceCELoss", {"label_smoothing": 0.1, "reduction": "sum"})]
    for size in ((36, 52), (6, 9, 10)):
        scores, target = case(of, size, size)
        target = target.double() if of == "one class" else target
        for name, options in cases:
            given = {**TARGETS[of][1], **options}
            loss = getattr(losses, name)(**given)
            expected = loss(scores, target)
            (gradient,) = torch.autograd.grad(expected, scores)
            with compat.patch("monai", verify=True) as patch:
                assert len(patch.replaced) == 3
                assert isinstance(loss, losses.DiceLoss) == (name == "DiceLoss")
                found = loss(scores, target)
            if of != "one class" or name == "DiceCELoss":
                assert torch.equal(found, getattr(ours, name)(**given)(scores, target))
            torch.testing.assert_close(found, expected, rtol=1e-6, atol=1e-6)
            (own_gradient,) = torch.autograd.grad(found, scores)
            torch.testing.assert_close(own_gradient, gradient, rtol=1e-5, atol=1e-8)
    assert losses.DiceLoss.forward is own


def test_what_a_patch_leaves_to_the_library(losses, of_any_size):
    scores, target = case(small=(36, 52))
    one_hot = case("one-hot", (36, 52))[1]
    cases = [
        (losses.DiceLoss(**NUMBERS, squared_pred=True), scores, target),
        (losses.DiceLoss(to_onehot_y=True), scores.softmax(1), target),
        (losses.DiceCELoss(to_onehot_y=True, other_act=torch.sigmoid), scores, target),
        (losses.TverskyLoss(softmax=True, soft_label=True), scores, one_hot),
        (losses.DiceLoss(softmax=True), scores, one_hot * 0.9),
        (losses.DiceLoss(**NUMBERS), scores.bfloat16(), target),
        (losses.MaskedDiceLoss(**NUMBERS), scores, target, target > 1),
        (losses.TverskyLoss(sigmoid=True), *case("one class", (36, 52))),
        (losses.GeneralizedDiceLoss(**NUMBERS), scores, target),
    ]
    theirs = [loss(*given) for loss, *given in cases]
    with compat.patch("monai"):
        for (loss, *given), expected in zip(cases, theirs, strict=True):
            assert torch.equal(loss(*given), expected)
        with pytest.raises(AssertionError):  # sizes that differ are the library's error
            losses.DiceLoss(softmax=True)(scores, one_hot[..., :-1])


def test_a_patch_with_metadata_and_few_scores(losses, installed, monkeypatch):
    meta = installed("monai.data").MetaTensor
    scores, target = case(small=(36, 52))
    loss = losses.DiceLoss(**NUMBERS)
    theirs, served = loss(scores, target), ours.DiceLoss(**NUMBERS)(scores, target)
    with compat.patch("monai", verify=True):
        assert torch.equal(loss(scores, target), theirs)  # few: the library's own
        monkeypatch.setattr(compat_losses, "FEWEST", 0)
        found = loss(meta(scores), meta(target))
    assert type(found) is torch.Tensor
    assert torch.equal(found, served)


def test_verification(losses, monkeypatch, of_any_size):
    own = losses.DiceLoss.forward
    monkeypatch.setattr(
        losses.DiceLoss, "forward", lambda self, input, target: own(self, input, target) + 0.01
    )
    with compat.patch("monai", verify=True), pytest.raises(MismatchError):
        losses.DiceLoss(**NUMBERS)(*case(small=(36, 52)))
