"""How far a network looks is measured, and noticed where it has no end."""

from dataclasses import dataclass

import numpy as np
import pytest
from pictures import double, spec_of

import upscore
from upscore.inference import halo
from upscore.inference.halo import halo_of


class Mean:
    """Scores of cells are means over the cells around them, as far as `reach` cells."""

    name = "mean"

    def __init__(self, stride, up, left, down, right):
        self.stride, self.box, self.calls = stride, ((up, down), (left, right)), 0

    def scores(self, photos):
        self.calls += 1
        s = self.stride
        cells = photos[:, s // 2 :: s, s // 2 :: s].astype(np.float64)
        for axis, (before, after) in zip((1, 2), self.box, strict=True):
            around = [(0, 0)] * 4
            around[axis] = (before, after)
            cells = np.pad(cells, around)
            cells = np.lib.stride_tricks.sliding_window_view(cells, before + after + 1, axis)
            cells = cells.mean(-1)
        return cells.transpose(0, 3, 1, 2)


@pytest.mark.parametrize(
    ("stride", "box", "expected"),
    [
        (8, (0, 0, 0, 0), 0),
        (8, (1, 1, 1, 1), 32),
        (8, (4, 2, 1, 0), 32),
        (8, (0, 0, 0, 5), 64),
        (4, (9, 0, 0, 0), 64),
        (32, (0, 0, 3, 0), 96),
        (4, (0, 70, 0, 0), 288),
    ],
)
def test_it_is_the_farthest_reach_in_whole_cells(stride, box, expected):
    assert halo_of(upscore.Segmenter(spec_of(stride), Mean(stride, *box))) == expected


def test_it_is_measured_once():
    engine = Mean(8, 1, 1, 1, 1)
    model = upscore.Segmenter(spec_of(8), engine)
    halo_of(model)
    calls = engine.calls
    halo_of(model.at(100).with_tta("flip"))
    assert engine.calls == calls

    @dataclass
    class Unhashable(Mean):
        pass

    engine = Unhashable()
    Mean.__init__(engine, 8, 1, 1, 1, 1)
    assert halo_of(upscore.Segmenter(spec_of(8), engine)) == 32


def test_of_a_network_with_poolings_as_far_as_its_convolutions():
    small = halo_of(double(32, "test_resnet", "classes"))
    assert small == halo_of(double(32, "test_resnet", 8))  # which has a gate
    assert small % 32 == 0
    assert small > 0


def test_none_where_it_reaches_as_far_as_is_looked(monkeypatch):
    monkeypatch.setattr(halo, "_LENGTHS", (256, 512))
    assert halo_of(upscore.Segmenter(spec_of(8), Mean(8, 0, 31, 0, 0))) == 256
    assert halo_of(upscore.Segmenter(spec_of(8), Mean(8, 0, 32, 0, 0))) is None


def test_none_where_the_answer_depends_on_where_a_tile_begins():
    class Windowed:
        """Attention inside fixed windows of 64 pixels, as a mean."""

        name = "windowed"

        def scores(self, photos):
            n, height, width, _ = photos.shape
            photos = np.pad(photos, ((0, 0), (0, -height % 64), (0, -width % 64), (0, 0)))
            cells = photos[:, ::8, ::8].astype(np.float32)
            shape = n, -(-height // 64), 8, -(-width // 64), 8, 3
            means = cells.reshape(shape).mean((2, 4)).repeat(8, 1).repeat(8, 2)
            return means[:, : height // 8, : width // 8].transpose(0, 3, 1, 2)

    assert halo_of(upscore.Segmenter(spec_of(8), Windowed())) is None
