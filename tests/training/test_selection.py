"""What validation selects after the last step: only what is better by more than chance is taken."""

import numpy as np
import pytest
import torch

import tiny
from upscore import models
from upscore.training.selection import _shifted, _taken_back

WEIGHTS = torch.tensor([0.5, 2.0, 4.0])


@pytest.mark.parametrize("architecture", ["fcn32s", "fcn4s", "fcn1s"])
@pytest.mark.parametrize("width", [8, "classes"])
def test_scores_are_lower_by_a_share_of_the_weights(architecture, width):
    network = models.build(architecture, 3, encoder=tiny.ENCODER, width=width).eval()
    photos = torch.rand(1, 3, 64, 96)
    with torch.no_grad():
        before, after = network(photos), _shifted(network, WEIGHTS, 0.5)(photos)
    lower = 0.5 * WEIGHTS.log()[:, None, None].expand_as(before[0])
    torch.testing.assert_close((before - after)[0], lower)


@pytest.mark.parametrize(
    ("best", "differ_by", "share"),
    [
        *((0.0, 0.0, 0.0), (0.5, 0.0, 0.5), (1.0, 0.0, 1.0), (1.0, 0.01, 1.0), (1.0, 0.5, 0.0)),
        (0.8, 0.04, 0.5),  # all is a little better than half, but not surely
    ],
)
def test_as_much_is_taken_back_as_is_surely_better(best, differ_by, share):
    """IoU falls with the distance from the best share; photos differ in what a share changes."""
    network = tiny.network()
    bias = network.classify_8.bias.detach().clone()

    def score(candidate):
        taken = ((bias - candidate.classify_8.bias) / WEIGHTS.log())[0].item()
        iou = np.full(6, 0.7 - 0.1 * abs(taken - best))
        iou += differ_by * max(0, taken - (best == 0.8) / 2) * (-1) ** np.arange(6)
        hits = np.round(1e6 * iou).astype(int)
        return np.stack([hits, np.full(6, 10**6), hits], axis=-1)[:, None]

    chosen, found, reached = _taken_back(network, WEIGHTS, score(network), score)
    assert found == share
    np.testing.assert_array_equal(reached, score(chosen))
    torch.testing.assert_close(chosen.classify_8.bias, bias - share * WEIGHTS.log())
