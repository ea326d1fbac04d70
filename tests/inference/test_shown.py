"""A picture as the network is shown it: every window of the same pixels, those of Pillow."""

import numpy as np
import pytest
from pictures import picture

from upscore import images
from upscore.inference.shown import Held, Shown
from upscore.rasters.raster import Window


@pytest.mark.parametrize("ratio", [0.02, 0.3, 0.77, 1.0, 1.3, 3.1])
@pytest.mark.parametrize("floats", [False, True])
def test_windows_are_parts_of_pillows_picture(ratio, floats):
    photo = picture(434, 601)
    if floats:
        photo = photo[..., :2].astype(np.float32) * 10
        photo[100:200, 50:300] = np.nan
    shown = Shown(Held(photo), 4, ratio)
    assert all(side % 32 == 0 for side in shown.padded)
    whole = shown.read(Window(0, 0, *shown.padded))
    assert whole.dtype == photo.dtype
    height, width = shown.size
    expected = photo if ratio == 1 else images.resized(photo, shown.size)
    if floats:  # positions in a block are float32 in Pillow
        np.testing.assert_allclose(whole[:height, :width], expected, atol=0.5)
    else:
        assert np.abs(whole[:height, :width].astype(int) - expected).max() <= (ratio != 1)
    np.testing.assert_array_equal(
        whole[height - 1 :], whole[height - 1 :][:1].repeat(shown.padded[0] - height + 1, 0)
    )
    rng = np.random.default_rng(0)
    for _ in range(10):
        top, left = rng.integers(0, height), rng.integers(0, width)
        tall, wide = (
            rng.integers(1, n - m + 1) for n, m in zip(shown.padded, (top, left), strict=True)
        )
        part = shown.read(Window(int(top), int(left), int(tall), int(wide)))
        np.testing.assert_array_equal(part, whole[top : top + tall, left : left + wide])


def test_a_large_reduction_reads_no_more_than_it_needs():
    class Sparse:
        size = 20_000, 60_000
        most = 0

        def read(self, window):
            self.most = max(self.most, window.height * window.width)
            return np.zeros((window.height, window.width, 3), np.uint8)

    photo = Sparse()
    shown = Shown(photo, 4, 0.02)
    assert shown.read(Window(0, 0, 32, 1200)).shape == (32, 1200, 3)
    assert photo.most < 2000 * 17_000
