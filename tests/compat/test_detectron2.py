"""Pasted masks against detectron2, where it is installed, and against its steps."""

import warnings
from types import SimpleNamespace

import pytest
import torch
from torch.nn import functional as F

from upscore import compat
from upscore.compat import detectron2 as ours
from upscore.errors import ArgumentError, MismatchError

SIZE = (50, 60)
BOXES = torch.tensor(
    [
        [3.2, 4.7, 40.1, 30.9],
        [-10.5, -4.0, 25.0, 70.2],  # beyond the picture
        [5.0, 5.0, 6.5, 5.2],  # smaller than a pixel
        [0.0, 0.0, 60.0, 50.0],
        [59.9, 49.9, 200.0, 300.0],  # almost outside
        [-20.0, -30.0, 0.1, 0.1],
        [5.0, 10.6, 20.0, 10.61],
    ]
)


def scores_of(number, side=28, top=1.0):
    return top * torch.rand(number, side, side, generator=torch.Generator().manual_seed(0)).sqrt()


def steps(masks, boxes, image_shape, threshold=0.5):
    """What detectron2/layers/mask_ops.py 0.6 does on a CPU, mask by mask."""
    boxes = getattr(boxes, "tensor", boxes)
    found = torch.zeros(len(masks), *image_shape, dtype=torch.bool)
    for i, (x0, y0, x1, y1) in enumerate(boxes):
        top, left = (int((low.floor() - 1).clamp(min=0)) for low in (y0, x0))
        bottom = int((y1.ceil() + 1).clamp(max=image_shape[0]))
        right = int((x1.ceil() + 1).clamp(max=image_shape[1]))
        y = (torch.arange(top, bottom, dtype=torch.float32) + 0.5 - y0) / (y1 - y0) * 2 - 1
        x = (torch.arange(left, right, dtype=torch.float32) + 0.5 - x0) / (x1 - x0) * 2 - 1
        grid = torch.stack((x.expand(len(y), -1), y[:, None].expand(-1, len(x))), -1)
        full = F.grid_sample(masks[i, None, None], grid[None].to(masks), align_corners=False)
        found[i, top:bottom, left:right] = full[0, 0] >= threshold
    return found


@pytest.fixture
def library(made):
    """The two modules that have the function's name."""
    names = {"paste_masks_in_image": steps}
    return made("detectron2", {"layers.mask_ops": dict(names), "layers": dict(names)})


@pytest.mark.parametrize("threshold", [0.5, 0.1, 0.9])
@pytest.mark.parametrize("top", [1.0, 4.0])  # scores above 1 fade out far beyond the boxes
def test_masks_are_those_of_the_steps(threshold, top):
    scores = scores_of(len(BOXES), top=top)
    theirs = steps(scores, BOXES, SIZE, threshold)
    found = ours.paste_masks_in_image(scores, SimpleNamespace(tensor=BOXES), SIZE, threshold)
    assert found.dtype == torch.bool
    assert (found != theirs).float().mean() < 1e-4
    turned = scores.transpose(1, 2).contiguous().transpose(1, 2)
    assert torch.equal(ours.paste_masks_in_image(turned, BOXES, SIZE, threshold), found)


@pytest.mark.parametrize("dtype", [torch.float16, torch.bfloat16, torch.float64])
def test_other_scores(dtype):
    scores = scores_of(len(BOXES)).to(dtype)
    theirs = steps(scores.float(), BOXES, SIZE)
    assert (ours.paste_masks_in_image(scores, BOXES, SIZE) != theirs).float().mean() < 1e-4
    assert ours.paste_masks_in_image(scores[:0], BOXES[:0], SIZE).shape == (0, *SIZE)
    assert ours.paste_masks_in_image(scores[:0], BOXES[:0], SIZE).dtype == torch.uint8
    outside = torch.tensor([[100.0, 100.0, 120.0, 130.0]])
    assert not ours.paste_masks_in_image(scores[:1], outside, SIZE).any()
    with pytest.raises(ArgumentError, match="too low"):
        ours.paste_masks_in_image(scores, BOXES, SIZE, -1)


def test_patch(library):
    scores = scores_of(len(BOXES))
    with compat.patch("detectron2", verify=True) as patched:
        assert len(patched.replaced) == 2
        first, second = (module.paste_masks_in_image for module in library)
        assert first is second
        assert first is not steps
        assert torch.equal(first(scores, BOXES, SIZE), steps(scores, BOXES, SIZE))
    assert all(module.paste_masks_in_image is steps for module in library)


def test_what_is_left_to_the_library():
    calls = []
    stand_in = ours.pasted_masks(lambda *given: calls.append(given), verify=False)
    scores, bad = scores_of(len(BOXES)), BOXES.clone()
    bad[1] = torch.tensor([70.0, 5, 80, 9])
    for given in (
        (scores, BOXES, SIZE, -1),  # for visualization
        (scores, BOXES, SIZE, 0),
        (scores.half(), BOXES, SIZE),
        (scores, BOXES.double(), SIZE),
        (scores[:0], BOXES[:0], SIZE),
        (scores[:, :20], BOXES, SIZE),
        (scores, bad, SIZE),
        (scores, BOXES[:, [2, 1, 0, 3]], SIZE),
        (scores, BOXES * torch.nan, SIZE),
        (scores, BOXES[:3], SIZE),
        (scores, BOXES, (50.5, 60)),
    ):
        stand_in(*given)
        assert calls.pop()[: len(given)] == given
    stand_in(scores, BOXES, SIZE)
    assert not calls


def test_verification():
    def wrong(*given):
        return steps(*given).logical_xor(torch.arange(60) == 20)

    with pytest.raises(MismatchError, match="masks differ at"):
        ours.pasted_masks(wrong, verify=True)(scores_of(len(BOXES)), BOXES, SIZE)


def test_the_library_itself(installed):
    own = installed("detectron2.layers.mask_ops").paste_masks_in_image
    layers = installed("detectron2.layers")
    structures = installed("detectron2.structures")
    scores, boxes = scores_of(len(BOXES)), structures.Boxes(BOXES)
    theirs = own(scores, boxes, SIZE)
    assert torch.equal(theirs, steps(scores, BOXES, SIZE))
    with compat.patch("detectron2", verify=True), warnings.catch_warnings():
        warnings.simplefilter("ignore")
        assert (layers.paste_masks_in_image(scores, boxes, SIZE) != theirs).float().mean() < 1e-4
        through = structures.ROIMasks(scores).to_bitmasks(boxes, *SIZE).tensor
        assert (through != theirs).float().mean() < 1e-4
