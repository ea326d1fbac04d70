"""Augmentation: photo and mask move together, by nothing but the generator."""

import math

import numpy as np
import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st
from torchvision.transforms.v2 import functional as F

from upscore.data import TrainTransform
from upscore.data.transforms import _jitter, _window


def scene(height=60, width=80, seed=0):
    """A photo whose colour says the class of each pixel, in blobs, and its mask."""
    rng = np.random.default_rng(seed)
    blobs = np.kron(rng.integers(0, 3, (height // 10, width // 10)), np.ones((10, 10), int))
    mask = blobs.astype(np.uint8)
    return np.array([[250, 10, 10], [10, 250, 10], [10, 10, 250]], np.uint8)[mask], mask


def generator(seed=0):
    return torch.Generator().manual_seed(seed)


def test_the_generator_decides_everything():
    photo, mask = scene()
    transform = TrainTransform(32)
    torch.manual_seed(1)
    a = transform(photo, mask, generator(5))
    torch.manual_seed(2)
    b = transform(photo, mask, generator(5))
    c = transform(photo, mask, generator(6))
    assert torch.equal(a[0], b[0])
    assert torch.equal(a[1], b[1])
    assert not torch.equal(a[0], c[0])


def test_each_call_draws_the_same_number():
    """So that the draws of the next photo do not depend on this one."""
    photo, mask = scene()
    states = []
    for options in ({}, {"flip": False, "colour": 0.0, "scale": (1.0, 1.0)}):
        g = generator()
        TrainTransform(16, **options)(photo, mask, g)
        states.append(g.get_state())
    assert torch.equal(*states)


@settings(max_examples=60, deadline=None)
@given(st.integers(1, 70), st.integers(1, 70), st.integers(1, 70), st.integers(0, 1000))
def test_shapes_and_values_for_any_size(height, width, crop, seed):
    rng = np.random.default_rng(seed)
    photo = rng.integers(0, 256, (height, width, 3), np.uint8)
    mask = rng.choice(np.array([0, 90, 200], np.uint8), (height, width))
    before = photo.copy(), mask.copy()
    image, labels = TrainTransform(crop)(photo, mask, generator(seed))
    assert image.shape == (3, crop, crop)
    assert labels.shape == (crop, crop)
    assert image.dtype == labels.dtype == torch.uint8
    assert image.is_contiguous()
    assert labels.is_contiguous()
    assert set(labels.unique().tolist()) <= {0, 90, 200, 255}
    assert (labels != 255).any()
    assert (photo == before[0]).all()
    assert (mask == before[1]).all()


@pytest.mark.parametrize("seed", range(12))
def test_photo_and_mask_stay_together(seed):
    photo, mask = scene()
    transform = TrainTransform(64, colour=0.0)
    image, labels = transform(photo, mask, generator(seed))
    # Pixels on a boundary are blends: look at those whose neighbours are of their class.
    classes = labels[None].float()
    inside = F.pad(classes, [1], padding_mode="edge").unfold(1, 3, 1).unfold(2, 3, 1)
    inside = (inside == classes[..., None, None]).all((3, 4)).all(0) & (labels != 255)
    assert inside.float().mean() > 0.05
    assert (image.argmax(0)[inside] == labels[inside]).float().mean() > 0.99


def test_the_scale_is_what_was_asked_for_and_the_same_both_ways():
    """A ramp along each axis shows by how much each was enlarged."""
    rows, columns = np.mgrid[:200, :240].astype(np.uint8)
    photo = np.stack([rows, columns, rows], 2)
    mask = np.zeros((200, 240), np.uint8)
    found = []
    for seed in range(40):
        transform = TrainTransform(64, flip=False, colour=0.0)
        image, labels = transform(photo, mask, generator(seed))
        assert (labels == 0).all()
        image = image.float()
        vertical = 47 / float(image[0, 55, 32] - image[0, 8, 32])
        horizontal = 47 / float(image[1, 32, 55] - image[1, 32, 8])
        assert vertical == pytest.approx(horizontal, rel=0.08)
        found.append(vertical)
    assert 0.45 < min(found) < 0.65
    assert 1.8 < max(found) < 2.2


def test_the_unchanged_case_is_a_plain_crop():
    photo, mask = scene()
    transform = TrainTransform(20, scale=(1.0, 1.0), flip=False, colour=0.0)
    image, labels = transform(photo, mask, generator(3))
    windows = np.lib.stride_tricks.sliding_window_view(mask, (20, 20))
    assert (windows == labels.numpy()).all((2, 3)).any()
    windows = np.lib.stride_tricks.sliding_window_view(photo, (20, 20), (0, 1))
    assert (windows == image.numpy()).all((2, 3, 4)).any()


def test_padding_is_void_and_the_mean_colour():
    photo, mask = scene(20, 20)
    transform = TrainTransform(50, scale=(1.0, 1.0), flip=False, colour=0.0)
    image, labels = transform(photo, mask, generator())
    void = labels == 255
    assert void.sum() == 50 * 50 - 20 * 20
    mean = torch.from_numpy(photo).float().mean((0, 1))
    assert (image[:, void].float() - mean[:, None]).abs().max() <= 1


def test_flips_half_of_the_time():
    photo, mask = scene(20, 20)
    flipped = 0
    for seed in range(200):
        labels = TrainTransform(20, (1.0, 1.0), colour=0.0)(photo, mask, generator(seed))[1]
        flipped += np.array_equal(labels.numpy(), mask[:, ::-1])
        assert np.array_equal(labels, mask) or np.array_equal(labels, mask[:, ::-1])
    assert 70 < flipped < 130


@pytest.mark.parametrize("size", [1, 30, 64, 65, 200])
@pytest.mark.parametrize("scale", [0.5, 1.0, 1.7, 2.0])
def test_windows_cover_the_crop_and_reach_both_ends(size, scale):
    for draw in (0.0, 0.5, 1 - 2**-53):
        window = _window(size, 64, scale, draw)
        assert window.before + window.length + window.after == 64
        assert 0 <= window.source.start < window.source.stop <= size
    first, last = (_window(size, 64, scale, draw) for draw in (0.0, 1 - 2**-53))
    assert first.source.start == first.before == 0
    assert last.source.stop == size
    assert last.after == 0


@pytest.mark.parametrize("draw", [0.0, 0.3, 0.9])
@pytest.mark.parametrize("which", range(3))
def test_colour_agrees_with_torchvision_one_change_at_a_time(which, draw):
    image = torch.from_numpy(np.random.default_rng(0).integers(90, 150, (3, 9, 7), np.uint8))
    draws = [0.5] * 4
    draws[which] = draw
    adjust = (F.adjust_brightness, F.adjust_contrast, F.adjust_saturation)[which]
    expected = adjust(image, 1 + 0.4 * (2 * draw - 1))
    assert (_jitter(image, draws, 0.4).int() - expected.int()).abs().max() <= 1


def test_hue_turns_about_the_grey_axis():
    grey = torch.full((3, 2, 2), 77, dtype=torch.uint8)
    red = torch.tensor([120, 60, 60], dtype=torch.uint8).reshape(3, 1, 1)
    for draw in (0.0, 1.0):
        draws = [0.5, 0.5, 0.5, draw]
        assert torch.equal(_jitter(grey, draws, 0.3), grey)
        turned = _jitter(red, draws, 0.3).flatten().tolist()
        assert sum(turned) == pytest.approx(240, abs=2)
        # 0.03 of a turn forward is towards yellow, backward towards magenta, as in torchvision,
        # which turns in HSV: there the same turn is some other values.
        expected = F.adjust_hue(red, 0.06 * (draw - 0.5)).flatten().tolist()
        assert np.argsort(turned).tolist() == np.argsort(expected).tolist()
        angle = math.atan2(3**0.5 * (turned[1] - turned[2]), 2 * turned[0] - turned[1] - turned[2])
        assert angle / (2 * math.pi) == pytest.approx(0.06 * (draw - 0.5), abs=0.005)


@pytest.mark.parametrize(
    "options", [{"crop": 0}, {"scale": (2.0, 1.0)}, {"scale": (0.0, 1.0)}, {"colour": True}]
)
def test_bad_options(options):
    options = {"crop": 8, **options}
    with pytest.raises(ValueError, match=r"expected (a crop of 1|0) or more"):
        TrainTransform(**options)


def test_up_and_down_are_flipped_together():
    photo, mask = scene()
    seen = set()
    for seed in range(20):
        transform = TrainTransform(60, (1.0, 1.0), flip=False, colour=0.0, flip_ud=True)
        image, labels = transform(photo[:, :60], mask[:, :60], generator(seed))
        turned = not torch.equal(labels, torch.from_numpy(mask[:, :60]))
        expected = mask[::-1, :60] if turned else mask[:, :60]
        np.testing.assert_array_equal(labels, expected)
        np.testing.assert_array_equal(image.argmax(0), expected)
        seen.add(turned)
    assert seen == {True, False}


def test_photo_and_mask_turn_together():
    """Away from the edges of the blobs, the colour still says the class."""
    photo, mask = scene(120, 120)
    for seed in range(5):
        transform = TrainTransform(48, (1.0, 1.0), colour=0.0, rotate=180)
        image, labels = transform(photo, mask, generator(seed))
        assert image.shape == (3, 48, 48)
        clear = (image.amax(0) > 240) & (labels != 255)
        assert clear.float().mean() > 0.5
        assert torch.equal(image.argmax(0)[clear], labels[clear].long())
    plain = TrainTransform(48, (1.0, 1.0), colour=0.0)(photo, mask, generator(0))[1]
    turned = TrainTransform(48, (1.0, 1.0), colour=0.0, rotate=180)(photo, mask, generator(0))[1]
    assert not torch.equal(plain, turned)


@settings(max_examples=60, deadline=None)
@given(st.integers(1, 70), st.integers(1, 70), st.integers(4, 70), st.floats(0, 1), st.data())
def test_a_crop_holds_its_focus(height, width, crop, place, data):
    row, column = (min(int(place * side), side - 1) for side in (height, width))
    mask = np.zeros((height, width), np.uint8)
    mask[row, column] = 7
    photo = np.zeros((height, width, 3), np.uint8)
    transform = TrainTransform(crop, (1.0, 1.0), colour=0.0)
    seed = data.draw(st.integers(0, 1000))
    assert 7 in transform(photo, mask, generator(seed), (row, column))[1]


def test_a_transform_by_a_factor_enlarges_first():
    photo, mask = scene(64, 64)
    twice = TrainTransform(64, (1.0, 1.0), flip=False, colour=0.0).by(2)
    labels = twice(photo, mask, generator(0))[1]
    assert any(
        np.array_equal(labels[::2, ::2], mask[y : y + 32, x : x + 32])
        for y in range(33)
        for x in range(33)
    )
