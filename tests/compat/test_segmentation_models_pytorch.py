"""Losses of coarse scores against segmentation-models-pytorch, in float64 at full resolution."""

import pytest
import torch
from torch.nn import functional as F

from upscore import compat
from upscore.compat import losses as compat_losses
from upscore.compat import segmentation_models_pytorch as ours
from upscore.errors import ArgumentError, MismatchError, UnsupportedError

pytestmark = pytest.mark.slow

MODES = ("binary", "multiclass", "multilabel")
REGIONS = [
    ("DiceLoss", {}),
    ("DiceLoss", {"smooth": 3.0, "log_loss": True}),
    ("JaccardLoss", {"eps": 200.0}),
    ("JaccardLoss", {"smooth": 1.0, "log_loss": True}),
    ("TverskyLoss", {"alpha": 0.3, "beta": 0.7, "gamma": 1.5}),
    ("TverskyLoss", {"beta": 0.0, "smooth": 1.0}),
]
SIZES = [((9, 13), (9, 13)), ((9, 13), (36, 52)), ((9, 13), (5, 21)), ((1, 1), (7, 6))]


@pytest.fixture
def losses(installed):
    return installed("segmentation_models_pytorch.losses")


def case(mode="multiclass", small=(9, 13), size=(36, 52), dtype=torch.float64, ignored=None):
    generator = torch.Generator().manual_seed(0)
    classes = 1 if mode == "binary" else 4
    scores = 3 * torch.randn(2, classes, *small, generator=generator, dtype=dtype)
    # The last class has no pixels.
    shape, most = {"multilabel": ((2, classes, *size), 2), "binary": ((2, *size), 2)}.get(
        mode, ((2, *size), 3)
    )
    target = torch.randint(most, shape, generator=generator)
    if mode == "multilabel":
        target[:, -1] = 0
    if ignored is not None:
        target[torch.rand(shape, generator=generator) < 0.2] = ignored
    return scores.requires_grad_(), target


def full(scores, target, align_corners=False):
    size = target.shape[2 - scores.ndim :]
    mode = "trilinear" if scores.ndim == 5 else "bilinear"
    if scores.shape[2:] == size:
        return scores
    return F.interpolate(scores, size, mode=mode, align_corners=align_corners)


def check(own, loss, scores, target, like=None, **options):
    """Losses and gradients are those of the library at full resolution, in float64."""
    expected = own(full(scores.double(), target, **options), target if like is None else like)
    (gradient,) = torch.autograd.grad(expected.sum(), scores)
    found = loss(scores, target)
    assert found.dtype == torch.promote_types(scores.dtype, torch.float32)
    assert found.shape == expected.shape
    exact = scores.dtype == torch.float64
    torch.testing.assert_close(found.double(), expected, rtol=1e-9 if exact else 1e-4, atol=1e-6)
    (own_gradient,) = torch.autograd.grad(found.sum(), scores)
    scale = float(gradient.abs().max())
    limit = {torch.float64: 1e-9, torch.float32: 1e-4}.get(scores.dtype, 1e-2)
    assert (own_gradient - gradient).abs().max() <= limit * scale + 1e-15


@pytest.mark.parametrize(("name", "options"), REGIONS)
@pytest.mark.parametrize("mode", MODES)
def test_region_losses(losses, name, options, mode):
    for ignored in (None, 255, -1):
        given = {"mode": mode, "ignore_index": ignored, **options}
        pair = getattr(losses, name)(**given), getattr(ours, name)(**given)
        for small, size in SIZES:
            check(*pair, *case(mode, small, size, ignored=ignored))


@pytest.mark.parametrize("name", ["DiceLoss", "JaccardLoss", "TverskyLoss"])
@pytest.mark.parametrize("mode", ["multiclass", "multilabel"])
def test_classes_and_their_weights(losses, name, mode):
    for options in (
        {"classes": [0, 2]},
        {"class_weights": [1.0, 2.0, 0.5, 3.0]},
        {"classes": [1, 3], "class_weights": [1.0, 2.0, 0.5, 3.0]},
    ):
        check(
            getattr(losses, name)(mode, **options),
            getattr(ours, name)(mode, **options),
            *case(mode),
        )


@pytest.mark.parametrize("reduction", ["mean", "sum", "none"])
@pytest.mark.parametrize("smooth", [0.0, 0.2])
def test_soft_cross_entropy(losses, reduction, smooth):
    for ignored in (-100, 255, None):
        options = {"reduction": reduction, "smooth_factor": smooth, "ignore_index": ignored}
        pair = losses.SoftCrossEntropyLoss(**options), ours.SoftCrossEntropyLoss(**options)
        for small, size in SIZES:
            check(*pair, *case("multiclass", small, size, ignored=ignored))


@pytest.mark.parametrize("reduction", ["mean", "sum", "none"])
@pytest.mark.parametrize("smooth", [None, 0.2])
@pytest.mark.parametrize("weight", [None, 3.0, [1.0, 2.0, 3.0, 4.0]])
def test_soft_binary_cross_entropy(losses, reduction, smooth, weight):
    weight = None if weight is None else torch.tensor(weight).reshape(-1, 1, 1)
    for ignored in (-100, 255, None):
        options = {"reduction": reduction, "smooth_factor": smooth, "ignore_index": ignored}
        options["pos_weight"] = weight
        pair = losses.SoftBCEWithLogitsLoss(**options), ours.SoftBCEWithLogitsLoss(**options)
        for small, size in SIZES:
            scores, target = case("multilabel", small, size, ignored=ignored)
            check(*pair, scores, target, target.double())


@pytest.mark.parametrize("dtype", [torch.float32, torch.bfloat16, torch.float16])
def test_other_numbers_and_memory(losses, dtype):
    scores, target = case(dtype=dtype)
    turned = scores.detach().mT.contiguous().mT.requires_grad_()
    for loss in ("DiceLoss", "TverskyLoss"):
        check(
            getattr(losses, loss)("multiclass"), getattr(ours, loss)("multiclass"), turned, target
        )
    loss = ours.DiceLoss("multiclass")
    for kind in (torch.uint8, torch.int16, torch.int32, torch.float32, torch.bfloat16):
        assert torch.equal(loss(scores, target.to(kind)), loss(scores, target))
        assert torch.equal(loss(scores, target[:, None].to(kind)), loss(scores, target))
    scores, target = case("binary", dtype=dtype)
    loss = ours.DiceLoss("binary")
    assert torch.equal(loss(scores, target.bool()), loss(scores, target))
    assert torch.equal(loss(scores, target[:, None].float()), loss(scores, target))


def test_aligned_corners_and_volumes(losses):
    check(
        losses.DiceLoss("multiclass"),
        ours.DiceLoss("multiclass", align_corners=True),
        *case(),
        align_corners=True,
    )
    for small, size in (((3, 4, 5), (6, 9, 10)), ((3, 4, 5), (3, 4, 5))):
        check(
            losses.JaccardLoss("multiclass"),
            ours.JaccardLoss("multiclass"),
            *case(small=small, size=size),
        )


def test_scores_that_are_not_finite(losses):
    for value in (torch.nan, torch.inf):
        scores, target = case()
        with torch.no_grad():
            scores[0, 1, 4, 4] = value
        assert ours.DiceLoss("multiclass")(scores, target).isnan()
        assert losses.DiceLoss("multiclass")(full(scores, target), target).isnan()


def test_many_pixels_in_single_precision(losses):
    """Where the library's own float32 sums are off."""
    scores, target = case(small=(256, 256), size=(1024, 1024), dtype=torch.float32)
    exact = losses.DiceLoss("multiclass")(full(scores.double(), target), target)
    assert abs(ours.DiceLoss("multiclass")(scores, target) - exact) < 1e-6


@pytest.mark.parametrize(
    ("make", "message"),
    [
        (lambda: ours.DiceLoss("multiclass", from_logits=False), "losses.DiceLoss"),
        (lambda: ours.SoftCrossEntropyLoss(dim=2), "losses.SoftCrossEntropyLoss"),
        (lambda: ours.SoftBCEWithLogitsLoss(torch.ones(3)), "losses.SoftBCEWithLogitsLoss"),
    ],
)
def test_settings_that_are_left_to_the_library(make, message):
    with pytest.raises(UnsupportedError, match=message):
        make()


def test_what_does_not_fit():
    for make in (
        lambda: ours.DiceLoss("class"),
        lambda: ours.DiceLoss("binary", classes=[0]),
        lambda: ours.SoftCrossEntropyLoss("batch"),
    ):
        with pytest.raises(ArgumentError):
            make()
    scores, target = case()
    with pytest.raises(UnsupportedError, match=r"0\.5, which is no label.*losses.DiceLoss"):
        ours.DiceLoss("multiclass")(scores, target * 0.5)
    with pytest.raises(ArgumentError, match="holds label 4"):
        ours.DiceLoss("multiclass")(scores, target + 2)
    with pytest.raises(ArgumentError, match="holds label -1"):
        ours.DiceLoss("multiclass")(scores, target - 1)
    with pytest.raises(ArgumentError, match="one class"):
        ours.DiceLoss("binary")(scores, target)
    with pytest.raises(ArgumentError, match="0 and 1 for each class"):
        ours.DiceLoss("multilabel")(scores, target)
    with pytest.raises(ArgumentError, match="N x C x H x W"):
        ours.SoftBCEWithLogitsLoss()(scores, target)
    with pytest.raises(UnsupportedError, match="pos_weight"):
        ours.SoftBCEWithLogitsLoss(pos_weight=torch.ones(52))(*case("multilabel"))


@pytest.fixture
def of_any_size(monkeypatch):
    """Serve losses of few scores too."""
    monkeypatch.setattr(compat_losses, "FEWEST", 0)


def test_patch(losses, of_any_size):
    own = losses.DiceLoss.forward
    with compat.patch("segmentation_models_pytorch", verify=True) as patch:
        assert len(patch.replaced) == 4
        for dtype in (torch.float32, torch.float64):
            for mode in MODES:
                scores, target = case(mode, (36, 52), dtype=dtype)
                for name, options in REGIONS:
                    loss = getattr(losses, name)(mode, **options)
                    served = getattr(ours, name)(mode, **options)(scores, target)
                    assert torch.equal(loss(scores, target), served)
            scores, target = case("multilabel", (36, 52), dtype=dtype)
            weight = torch.ones(4, 1, 1)
            loss = losses.SoftBCEWithLogitsLoss(smooth_factor=0.1, pos_weight=weight)
            assert loss(scores, target.float()).dtype == dtype
            loss = losses.SoftCrossEntropyLoss(smooth_factor=0.1)
            assert loss(scores, case()[1]).dtype == dtype
    assert losses.DiceLoss.forward is own


def test_what_a_patch_leaves_to_the_library(losses, of_any_size):
    class Own(losses.DiceLoss):
        def compute_score(self, *given, **options):
            return super().compute_score(*given, **options) * 0

    scores, target = case("multilabel", (36, 52))
    soft = torch.rand(target.shape, dtype=torch.float64)
    several = losses.DiceLoss("multilabel")
    cases = [
        (several, scores, soft),
        (several, scores.half(), target),
        (several, scores, 2 * target),
        (losses.DiceLoss("multilabel", from_logits=False), scores.sigmoid(), target),
        (losses.SoftBCEWithLogitsLoss(weight=torch.rand(52)), scores, target.double()),
        (Own("multilabel"), scores, target),
    ]
    theirs = [loss(*given) for loss, *given in cases]
    with compat.patch("segmentation_models_pytorch"):
        for (loss, *given), expected in zip(cases, theirs, strict=True):
            assert torch.equal(loss(*given), expected)
        with pytest.raises(AssertionError):  # sizes that differ are the library's error
            several(*case("multilabel"))


def test_verification(losses, monkeypatch, of_any_size):
    scores, target = case(small=(36, 52))
    # Wrong, for a patch that is made after it.
    own = losses.DiceLoss.forward
    monkeypatch.setattr(
        losses.DiceLoss, "forward", lambda self, y_pred, y_true: own(self, y_pred, y_true) + 0.01
    )
    with compat.patch("segmentation_models_pytorch", verify=True), pytest.raises(MismatchError):
        losses.DiceLoss("multiclass")(scores, target)
