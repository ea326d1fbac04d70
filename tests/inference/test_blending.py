"""Overlapping tiles: no seams, the same scores whatever area is asked for."""

import numpy as np
import pytest

from upscore.inference.blending import Blended


class Random:
    """Scores of random numbers, or of one, for each tile; counts them."""

    def __init__(self, stride, constant=None):
        self.stride, self.constant, self.made = stride, constant, []

    def __call__(self, area):
        self.made.append(area)
        (top, bottom), (left, right) = area
        shape = (1, 3, (bottom - top) // self.stride, (right - left) // self.stride)
        if self.constant is not None:
            return np.full(shape, self.constant, np.float32)
        rng = np.random.default_rng(hash(area) % 1000)
        return rng.normal(size=shape).astype(np.float32)


@pytest.mark.parametrize("stride", [1, 4, 32])
@pytest.mark.parametrize("side", [64, 96, 256])
def test_what_is_constant_stays_so(stride, side):
    blended = Blended(Random(stride, 7.25), (416, 320), stride, side)
    scores = blended(((0, 416 // stride), (0, 320 // stride)))
    assert scores.shape == (1, 3, 416 // stride, 320 // stride)
    np.testing.assert_allclose(scores, 7.25, rtol=1e-6)


@pytest.mark.parametrize("side", [64, 96, 256, 512])
def test_every_area_is_a_part_of_the_whole(side):
    scores = Random(4)
    blended = Blended(scores, (416, 320), 4, side)
    whole = blended(((0, 104), (0, 80)))
    rng = np.random.default_rng(0)
    for _ in range(20):
        top, left = rng.integers(0, 104), rng.integers(0, 80)
        bottom, right = rng.integers(top + 1, 105), rng.integers(left + 1, 81)
        part = blended(((int(top), int(bottom)), (int(left), int(right))))
        np.testing.assert_array_equal(part, whole[..., top:bottom, left:right])
    assert len(scores.made) == len(set(scores.made))  # all were kept


def test_neighbouring_cells_are_blended_smoothly():
    class Ramp(Random):
        def __call__(self, area):  # tiles that disagree, each about all of its cells
            scores = super().__call__(area)
            return np.full_like(scores, (area[0][0] + area[1][0]) % 7)

    whole = Blended(Ramp(4), (512, 512), 4, 256)(((0, 128), (0, 128)))
    for axis in (2, 3):
        assert np.abs(np.diff(whole, axis=axis)).max() < 7 * np.pi / 64


def test_no_more_tiles_are_kept_than_there_is_room_for(monkeypatch):
    from upscore.inference import blending

    scores = Random(4)
    one = scores(((0, 64), (0, 64))).nbytes
    monkeypatch.setattr(blending, "_MOST_BYTES", 3 * one)
    blended = Blended(scores, (64, 640), 4, 64)
    whole = blended(((0, 16), (0, 160)))
    assert len(blended._kept) == 3
    np.testing.assert_array_equal(blended(((0, 16), (20, 30))), whole[..., 20:30])
