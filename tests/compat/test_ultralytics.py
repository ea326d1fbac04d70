"""Masks of prototypes against Ultralytics, where it is installed, and against its steps."""

import pytest
import torch
from torch.nn import functional as F

from upscore import compat
from upscore.compat import ultralytics as ours
from upscore.errors import ArgumentError, MismatchError

PROTOS = (40, 40)
# Photos whose borders in a square input are none, whole pixels of the prototypes, halves, quarters.
SHAPES = [(160, 160), (108, 192), (75, 160), (77, 160), (160, 157), (333, 250), (20, 30), (3, 50)]


def case(number=5, shape=(75, 160), size=PROTOS, seed=0):
    generator = torch.Generator().manual_seed(seed)
    protos = torch.randn(8, *size, generator=generator)
    masks_in = torch.randn(number, 8, generator=generator)
    low = torch.rand(number, 2, generator=generator) - 0.1
    high = low + torch.rand(number, 2, generator=generator)
    boxes = torch.cat((low, high), 1) * torch.tensor(shape).flip(0).repeat(2)
    return protos, masks_in, boxes


def cropped(masks, boxes):
    """Pixels whose numbers are in the boxes."""
    rows, columns = torch.arange(masks.shape[1])[:, None], torch.arange(masks.shape[2])
    for mask, (x0, y0, x1, y1) in zip(masks, boxes, strict=True):
        mask *= (columns >= x0) & (columns < x1) & (rows >= y0) & (rows < y1)
    return masks.byte()


def scores_of(protos, masks_in):
    return (masks_in @ protos.float().flatten(1)).reshape(-1, *protos.shape[1:])


def steps(protos, masks_in, bboxes, shape, upsample=False):
    """What `process_mask` of ultralytics/utils/ops.py 8.4.190 does."""
    scores = scores_of(protos, masks_in)
    if upsample:
        scores = F.interpolate(scores[None], shape, mode="bilinear")[0]
    else:
        height, width = scores.shape[1:]
        bboxes = bboxes * torch.tensor([width / shape[1], height / shape[0]] * 2)
    return cropped(scores > 0, bboxes)


def native_steps(protos, masks_in, bboxes, shape):
    """What `process_mask_native` and `scale_masks` do: enlarge, cut off the borders, resize."""
    scores = scores_of(protos, masks_in)[None]
    factors = [4]
    for factor in (2, 1):
        borders = [4 * side - kept for side, kept in zip(PROTOS, kept_of(4, shape), strict=True)]
        # Whole pixels on both sides, in prototypes that are so much larger.
        if all(border % (8 // factor) == 0 for border in borders):
            factors.append(factor)
    factor = factors[-1]
    if factor > 1:
        scores = F.interpolate(scores, scale_factor=factor, mode="bilinear")
    kept = kept_of(factor, shape)
    top, left = (round((factor * p - k) / 2 - 0.1) for p, k in zip(PROTOS, kept, strict=True))
    scores = scores[..., top : top + kept[0], left : left + kept[1]]
    return cropped(F.interpolate(scores, shape, mode="bilinear")[0] > 0, bboxes)


def kept_of(factor, shape):
    gain = min(factor * side / full for side, full in zip(PROTOS, shape, strict=True))
    return [max(round(side * gain), 1) for side in shape]


@pytest.mark.parametrize("shape", SHAPES)
def test_masks_are_those_of_the_steps(shape):
    given = *case(shape=shape), shape
    for found, theirs in (
        (ours.process_mask(*given), steps(*given)),
        (ours.process_mask(*given, upsample=True), steps(*given, upsample=True)),
        (ours.process_mask_native(*given), native_steps(*given)),
    ):
        assert found.dtype == torch.uint8
        assert found.shape == theirs.shape
        assert (found != theirs).float().mean() < 1e-3
        assert theirs.any()


@pytest.mark.parametrize("value", [torch.inf, -torch.inf, torch.nan])
def test_scores_that_are_not_finite(value):
    for shape in SHAPES:
        protos, _, _ = case(shape=shape)
        protos[0, 20, 17] = protos[0, 3, 3] = value
        given = protos[:1], torch.ones(1, 1), torch.tensor([[0.0, 0, 999, 999]]), shape
        for found, theirs in (
            (ours.process_mask(*given, upsample=True), steps(*given, upsample=True)),
            (ours.process_mask_native(*given), native_steps(*given)),
        ):
            assert (found != theirs).float().mean() < 1e-3


def test_few_and_other_numbers():
    protos, masks_in, boxes = case(0)
    assert ours.process_mask(protos, masks_in, boxes, (75, 160)).shape == (0, *PROTOS)
    assert ours.process_mask(protos, masks_in, boxes, (75, 160), True).shape == (0, 75, 160)
    assert ours.process_mask_native(protos, masks_in, boxes, (75, 160)).shape == (0, 75, 160)
    protos, masks_in, boxes = case()
    found = ours.process_mask_native(protos.half(), masks_in, boxes.double(), (75, 160))
    assert torch.equal(
        found, ours.process_mask_native(protos.half().float(), masks_in, boxes, (75, 160))
    )
    assert found.dtype == torch.uint8
    protos[:, 3, 4] = torch.nan
    assert not ours.process_mask(protos, masks_in, boxes * torch.nan, (75, 160), True).any()
    found = ours.process_mask(protos, masks_in, boxes, (75, 160), True)
    assert torch.equal(found, steps(protos, masks_in, boxes, (75, 160), True))
    with pytest.raises(ArgumentError, match="one box for each"):
        ours.process_mask_native(protos, masks_in, boxes[:2], (75, 160))


def test_patch(made):
    (ops,) = made(
        "ultralytics",
        {"utils.ops": {"process_mask": steps, "process_mask_native": native_steps}},
    )
    given = *case(), (75, 160)
    with compat.patch("ultralytics", verify=True) as patched:
        assert len(patched.replaced) == 2
        assert ops.process_mask_native is not native_steps
        assert (ops.process_mask_native(*given) != native_steps(*given)).sum() < 5
        assert (ops.process_mask(*given, upsample=True) != steps(*given, True)).sum() < 5
    assert (ops.process_mask, ops.process_mask_native) == (steps, native_steps)


def test_what_is_left_to_the_library():
    calls = []
    stand_ins = [
        make(lambda *given: calls.append(given), verify=False)
        for make in (ours.native_masks, ours.enlarged_masks)
    ]
    protos, masks_in, boxes = case()
    shape = (75, 160)
    stand_ins[1](protos, masks_in, boxes, shape)  # not resized
    assert calls.pop() == (protos, masks_in, boxes, shape, False)
    for given in (
        (protos, masks_in[:0], boxes[:0], shape),
        (protos, masks_in, boxes.half(), shape),
        (protos, masks_in, boxes[:2], shape),
        (protos.long(), masks_in, boxes, shape),
        (protos, masks_in, boxes, (75.0, 160.0)),
    ):
        stand_ins[0](*given)
        assert calls.pop() == given
        stand_ins[1](*given, upsample=True)
        assert calls.pop() == (*given, True)


def test_verification():
    def wrong(*given):
        return native_steps(*given) ^ (torch.arange(160) == 80)

    with pytest.raises(MismatchError, match="masks differ at"):
        ours.native_masks(wrong, verify=True)(*case(), (75, 160))


@pytest.mark.parametrize("shape", SHAPES)
def test_the_library_itself(installed, shape):
    ops = installed("ultralytics.utils.ops")
    given = *case(shape=shape), shape
    native, enlarged = ops.process_mask_native(*given), ops.process_mask(*given, upsample=True)
    assert torch.equal(native_steps(*given), native)
    assert torch.equal(steps(*given, upsample=True), enlarged)
    assert torch.equal(ours.process_mask(*given), ops.process_mask(*given))
    with compat.patch("ultralytics", verify=True):
        assert (ops.process_mask_native(*given) != native).float().mean() < 1e-3
        assert (ops.process_mask(*given, upsample=True) != enlarged).float().mean() < 1e-3
        assert torch.equal(ours.process_mask(*given), ops.process_mask(*given))
