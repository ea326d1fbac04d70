"""Scores of several grids made one: exact places, and the mean of probabilities."""

from fractions import Fraction

import numpy as np
import pytest
import torch
from torch.nn import functional as F

from upscore.inference.fusion import Coarse, fused, resampled

HEIGHT, WIDTH = 61, 103


def centres(count, step):
    return (np.arange(count) + 0.5) * float(step)


def ramps(rows, columns, stride):
    """Scores that are the position of their cell in the photo, down in one class, along in one."""
    empty = Coarse(np.empty((1, 2, rows, columns), np.float32), (HEIGHT, WIDTH), stride)
    down, along = (centres(n, step) for n, step in zip(empty.cells, empty.steps, strict=True))
    empty.scores[0, 0], empty.scores[0, 1] = down[:, None], along[None]
    return empty


GRIDS = [(8, 13, 8), (16, 26, 4), (2, 4, 32), (61, 103, 1), (7, 12, None), (20, 33, None)]


@pytest.mark.parametrize("source", GRIDS)
@pytest.mark.parametrize("onto", GRIDS)
def test_resampled_scores_are_those_of_the_place(source, onto):
    source, onto = ramps(*source), ramps(*onto)
    found = resampled(source, onto.cells, onto.steps)
    assert found.dtype == np.float32
    down, along = source.scores[0, 0, :, 0], source.scores[0, 1, 0]  # held beyond the last centres
    expected = np.clip(onto.scores[0, 0], down[0], down[-1])
    np.testing.assert_allclose(found[0, 0], expected, rtol=1e-5)
    expected = np.clip(onto.scores[0, 1], along[0], along[-1])
    np.testing.assert_allclose(found[0, 1], expected, rtol=1e-5)


def test_steps_are_exact():
    scores = np.zeros((1, 1, 7, 12), np.float32)
    assert Coarse(scores, (61, 103), None).steps == (Fraction(61, 7), Fraction(103, 12))
    assert Coarse(scores, (61, 103), 8).steps == (8, 8)


def views(count, dtype=np.float32):
    rng = np.random.default_rng(0)
    return [Coarse(rng.normal(0, 3, (2, 5, 4, 6)).astype(dtype), (32, 48), 8) for _ in range(count)]


def test_the_fused_are_the_mean_of_the_probabilities():
    several = views(3)
    each = [F.softmax(torch.from_numpy(view.scores).double(), 1) for view in several]
    expected = torch.stack(each).mean(0).log()
    found = fused(iter(several))
    assert (found.size, found.stride) == ((32, 48), 8)
    np.testing.assert_allclose(found.scores, expected, rtol=1e-5, atol=1e-6)
    # Scores mean the same with anything added to all classes of a cell.
    added = np.random.default_rng(1).normal(0, 50, (2, 1, 4, 6)).astype(np.float32)
    several[1] = several[1]._replace(scores=several[1].scores + added)
    np.testing.assert_allclose(fused(several).scores, expected, rtol=1e-3, atol=1e-4)


def test_one_view_stays_as_it_is_and_tensors_become_arrays():
    first, second = views(2)
    assert fused([first]) is first
    tensor = first._replace(scores=torch.from_numpy(first.scores))
    found = fused([tensor, second])
    np.testing.assert_array_equal(found.scores, fused([first, second]).scores)
    assert isinstance(found.scores, np.ndarray)


def test_the_grid_is_that_of_the_first():
    fine, coarse = ramps(16, 26, 4), ramps(2, 4, 32)
    assert fused([fine, coarse]).cells == (16, 26)
    found = fused([coarse, fine])
    assert (found.cells, found.stride) == ((2, 4), 32)


def test_scores_beyond_what_an_exponential_takes():
    scores = np.array([0, 1e4, -np.inf], np.float32).reshape(1, 3, 1, 1)
    found = fused([Coarse(scores, (8, 8), 8)] * 2).scores
    np.testing.assert_allclose(found.ravel(), [-1e4, 0, -np.inf])
