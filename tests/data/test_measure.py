"""What is measured of masks, by hand."""

import numpy as np
import pytest
from test_dataset import mask

from upscore import data
from upscore.data.measure import class_counts, thickness


@pytest.mark.parametrize("width", [2, 3, 8])
def test_a_bar_is_as_thick_as_it_is_wide(width):
    bar = np.zeros((40, 400), np.uint8)
    bar[15 : 15 + width] = 1
    found = thickness(bar, 2)[1]
    assert found == pytest.approx(width, abs=0.5)


def test_a_disc_is_two_thirds_of_its_diameter():
    rows, columns = np.mgrid[:200, :200]
    disc = (np.hypot(rows - 100, columns - 100) < 60).astype(np.uint8)
    assert thickness(disc, 2)[1] == pytest.approx(80, rel=0.05)


def test_classes_that_are_not_there_and_void_have_no_thickness():
    ids = np.full((5, 5), 255, np.uint8)
    assert np.isnan(thickness(ids, 3)).all()
    ids[:] = 2
    assert thickness(ids, 3)[2] == 5  # a whole photo


def test_pixels_of_the_upper_half():
    ids = np.array([[0, 0, 1], [1, 1, 1], [2, 255, 0]], np.uint8)
    whole, upper = class_counts(ids, 3)
    assert whole.tolist() == [3, 4, 1]
    assert upper.tolist() == [2, 1, 0]


def test_a_part_of_a_survey_has_its_rows(tmp_path):
    for i in range(5):
        for part in ("images", "masks"):
            mask(tmp_path / "train" / part / f"{i}.png", np.full((2 + i, 9), i % 2, np.uint8))
    (tmp_path / "classes.txt").write_text("a\nb\n")
    whole = data.survey(data.find(tmp_path, encoding="index"))
    part = whole.part([3, 1])
    assert [sample.name for sample in part.dataset.samples] == ["3", "1"]
    assert part.sizes.tolist() == [[5, 9], [3, 9]]
    for name in ("class_pixels", "upper_pixels", "thickness"):
        np.testing.assert_array_equal(getattr(part, name), getattr(whole, name)[[3, 1]])
