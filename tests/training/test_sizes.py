"""The size for prediction is the one that scores best, and no larger than it is worth."""

from dataclasses import replace

import numpy as np
import pytest

import tiny
from upscore.data import Dataset, Sample
from upscore.data.masks import Decoder
from upscore.evaluation.metrics import scores
from upscore.training.sizes import FACTORS, best_size, spread

SPEC = tiny.spec(long_side=400)


def scored(spec, table, photos=50):
    """Scores with about the mean IoU that a table gives for each long side or zoom."""
    seen = []

    def score(candidate):
        size = candidate.long_side or candidate.zoom
        seen.append(size)
        hits = round(1e6 * table[size])
        return scores([[hits, 10**6 - hits], [0, 0]])

    chosen, best = best_size(spec, score, photos)
    assert len(seen) == len(FACTORS)
    return chosen, best


@pytest.mark.parametrize(
    ("table", "long_side"),
    [
        ({300: 0.5, 400: 0.6, 500: 0.7, 600: 0.65}, 500),
        ({300: 0.7, 400: 0.6, 500: 0.5, 600: 0.4}, 300),
        ({300: 0.5, 400: 0.6, 500: 0.601, 600: 0.602}, 400),  # not worth the time
        ({300: 0.601, 400: 0.6, 500: 0.5, 600: 0.4}, 400),  # by chance
        ({300: 0.6, 400: 0.6, 500: 0.6, 600: 0.6}, 400),
        ({300: 0.5, 400: 0.6, 500: 0.7, 600: 0.701}, 500),
    ],
)
def test_the_best_size_is_taken(table, long_side):
    chosen, best = scored(SPEC, table)
    assert chosen.long_side == long_side
    hits = table[long_side]
    assert best.pixel_accuracy == pytest.approx(hits)
    assert chosen.card["validation_at_sizes"].keys() == {f"long side {side}" for side in table}


@pytest.mark.parametrize(("photos", "long_side"), [(4, 400), (20, 500)])
def test_few_photos_have_to_tell_more(photos, long_side):
    table = {300: 0.5, 400: 0.6, 500: 0.608, 600: 0.5}
    assert scored(SPEC, table, photos)[0].long_side == long_side


@pytest.mark.parametrize(("photos", "most"), [(9, 8), (100, 99), (51, 50), (3, 8), (300, 50)])
def test_photos_are_spread_evenly_and_as_many_as_asked_for(tmp_path, photos, most):
    samples = tuple(Sample(str(i), tmp_path, tmp_path) for i in range(photos))
    decoder = Decoder("index", (), ())
    whole = Dataset(tmp_path, "folders", "val", samples, ("a",), ((0, 0, 0),), decoder)
    places = [int(sample.name) for sample in spread(whole, most).samples]
    assert len(places) == min(photos, most)
    assert max(np.diff([*places, photos])) <= -(-photos // most)


def test_photos_that_are_zoomed_are_zoomed_more():
    spec = replace(SPEC, long_side=None, zoom=2.0)
    chosen, _ = scored(spec, {1.5: 0.1, 2.0: 0.2, 2.5: 0.3, 3.0: 0.4})
    assert (chosen.long_side, chosen.zoom) == (None, 3.0)
