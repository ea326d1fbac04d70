"""Soft masks against torchvision's own `paste_masks_in_image`."""

import sys

import numpy as np
import pytest
import torch

from upscore import compat
from upscore.compat import torchvision as ours
from upscore.compat.verification import rounding_of
from upscore.errors import ArgumentError, ArgumentTypeError, MismatchError, MissingPackageError
from upscore.heads.masks import soft

SIZE = (50, 60)
BOXES = torch.tensor(
    [
        [3.2, 4.7, 40.1, 30.9],
        [-10.5, -4.0, 25.0, 70.2],  # beyond the picture
        [5.0, 5.0, 6.5, 5.2],  # smaller than a pixel
        [0.0, 0.0, 60.0, 50.0],
        [59.1, 49.2, 200.0, 300.0],  # hardly inside
        [5.0, 10.6, 20.0, 10.6],
    ]
)


def scores_of(number=6, height=28, width=28, dtype=torch.float32):
    generator = torch.Generator().manual_seed(0)
    return torch.rand(number, 1, height, width, generator=generator).to(dtype)


@pytest.fixture
def own(installed):
    return installed("torchvision.models.detection.roi_heads").paste_masks_in_image


@pytest.fixture
def poisoned(monkeypatch):
    """Put numbers that are none in memory that nobody has cleared."""
    empty = np.empty

    def filled(shape, dtype=float, *given, **options):
        found = empty(shape, dtype, *given, **options)
        if found.dtype.kind == "f":
            found.fill(np.nan)
        return found

    monkeypatch.setattr(soft.np, "empty", filled)


def check(own, scores, boxes, size=SIZE, padding=1):
    found, theirs = (f(scores, boxes, size, padding) for f in (ours.paste_masks_in_image, own))
    assert found.dtype == theirs.dtype
    assert found.shape == theirs.shape
    assert torch.equal(found.isnan(), theirs.isnan())
    finite = theirs.isfinite()
    assert torch.equal(found[~finite].nan_to_num(7), theirs[~finite].nan_to_num(7))
    worst = (found[finite].double() - theirs[finite].double()).abs().max()
    assert worst <= rounding_of(scores)


@pytest.mark.parametrize("dtype", [torch.float32, torch.float64, torch.float16, torch.bfloat16])
def test_scores_are_the_librarys(own, dtype, poisoned):
    for height, width in ((28, 28), (1, 1), (5, 14), (70, 64)):
        for padding in (0, 1, 3):
            scores = scores_of(height=height, width=width, dtype=dtype)
            check(own, scores, BOXES, padding=padding)
            check(own, scores, BOXES.to(torch.float64), padding=padding)


def test_memory_and_channels(own):
    check(own, scores_of().mT, BOXES)
    check(own, scores_of().expand(-1, 3, -1, -1), BOXES.mT.contiguous().mT)
    check(own, scores_of()[1::2], BOXES[1::2], (20, 1000))
    empty = ours.paste_masks_in_image(scores_of(0), BOXES[:0], SIZE)
    assert empty.shape == own(scores_of(0), BOXES[:0], SIZE).shape


def test_many_masks_on_several_threads(own):
    generator = torch.Generator().manual_seed(1)
    boxes = torch.rand(60, 4, generator=generator) * torch.tensor([500.0, 300, 300, 200])
    boxes[:, 2:] += boxes[:, :2]
    check(own, scores_of(60), boxes, (400, 600))


@pytest.mark.parametrize("value", [torch.nan, torch.inf, -torch.inf])
def test_scores_that_are_not_finite(own, value):
    scores = scores_of()
    scores[:, 0, 10, 12] = value
    check(own, scores, BOXES[:2].repeat(3, 1))


def test_boxes_out_of_the_picture():
    boxes = torch.tensor([[100.0, 100, 120, 130], [-50, -50, -30, -20], [1e30, 0, 2e30, 9]])
    found = ours.paste_masks_in_image(scores_of(3), boxes, SIZE)
    assert not found.any()
    turned = BOXES[:1, [2, 3, 0, 1]]
    assert not ours.paste_masks_in_image(scores_of(1), turned, SIZE).any()


def test_gradients_are_the_librarys(own):
    scores = scores_of().requires_grad_()
    ours.paste_masks_in_image(scores, BOXES, SIZE).sum().backward()
    found, scores.grad = scores.grad, None
    own(scores, BOXES, SIZE).sum().backward()
    assert torch.equal(found, scores.grad)
    with torch.no_grad():
        check(own, scores, BOXES)


def test_what_does_not_fit(monkeypatch):
    scores = scores_of()
    for given, error, message in (
        ((scores.int(), BOXES, SIZE), ArgumentTypeError, "masks must be .* not torch.int32"),
        ((scores, BOXES.tolist(), SIZE), ArgumentTypeError, "boxes must be .* not list"),
        ((scores[:, 0], BOXES, SIZE), ArgumentError, r"N x 1 x M x M, not \(6, 28, 28\)"),
        ((scores[..., :0], BOXES, SIZE), ArgumentError, "N x 1 x M x M"),
        ((scores, BOXES[:3], SIZE), ArgumentError, r"6 x 4 numbers, not \(3, 4\)"),
        ((scores, BOXES, (50.5, 60)), ArgumentError, "height and a width"),
        ((scores, BOXES, SIZE, -1), ArgumentError, "padding must be"),
        ((scores, BOXES * torch.nan, SIZE), ArgumentError, "finite"),
    ):
        with pytest.raises(error, match=message):
            ours.paste_masks_in_image(*given)
    monkeypatch.setitem(sys.modules, "torchvision.models.detection", None)
    with pytest.raises(MissingPackageError, match="pip install torchvision"):
        ours.paste_masks_in_image(scores.requires_grad_(), BOXES, SIZE)


def test_patch(own, installed):
    modules = [installed(f"torchvision.models.detection.{n}") for n in ("roi_heads", "transform")]
    scores = scores_of()
    theirs = own(scores, BOXES, SIZE)
    with compat.patch("torchvision", verify=True) as patched:
        assert len(patched.replaced) == 2
        first, second = (module.paste_masks_in_image for module in modules)
        assert first is second
        assert first is not own
        found = first(scores, BOXES, img_shape=SIZE)
        assert torch.equal(found, ours.paste_masks_in_image(scores, BOXES, SIZE))
        torch.testing.assert_close(found, theirs)
        asked = scores.clone().requires_grad_()  # through the library's, not the patch
        assert torch.equal(ours.paste_masks_in_image(asked, BOXES, SIZE), theirs)
    assert all(module.paste_masks_in_image is own for module in modules)


def test_the_model_calls_it(installed):
    transform = installed("torchvision.models.detection.transform").GeneralizedRCNNTransform(
        100, 200, [0.0], [1.0]
    )
    result = [{"boxes": BOXES.clone(), "masks": scores_of()}]
    sizes = [SIZE], [(100, 120)]
    transform.eval()
    theirs = transform.postprocess([dict(result[0])], *sizes)[0]["masks"]
    with compat.patch("torchvision"):
        found = transform.postprocess([dict(result[0])], *sizes)[0]["masks"]
    assert found.shape == (len(BOXES), 1, 100, 120)
    torch.testing.assert_close(found, theirs)
    assert not torch.equal(found, theirs)  # the rounding of another way


def test_what_is_left_to_the_library():
    calls = []
    stand_in = ours.pasted_masks(lambda *given: calls.append(given), verify=False)
    scores, outside = scores_of(), BOXES.clone()
    outside[1] = torch.tensor([70.0, 5, 80, 9])
    for given in (
        (scores[:0], BOXES[:0], SIZE),
        (scores.clone().requires_grad_(), BOXES, SIZE),
        (scores, outside, SIZE),
        (scores, BOXES[:, [2, 3, 0, 1]], SIZE),
        (scores, BOXES * torch.nan, SIZE),
        (scores, BOXES[:3], SIZE),
        (scores, BOXES.long(), SIZE),
        (scores, BOXES, (50.5, 60)),
        (scores, BOXES, SIZE, -1),
        (scores.to("meta"), BOXES.to("meta"), SIZE),
    ):
        stand_in(*given)
        assert calls.pop()[: len(given)] == given
    stand_in(scores, BOXES, SIZE)
    assert not calls


def test_verification(own):
    def wrong(*given):
        return own(*given) + 0.01 * (torch.arange(60) == 20)

    with pytest.raises(MismatchError, match="scores differ at"):
        ours.pasted_masks(wrong, verify=True)(scores_of(), BOXES, SIZE)
    same = scores_of().fill_(torch.nan)
    ours.pasted_masks(own, verify=True)(same, BOXES, SIZE)
