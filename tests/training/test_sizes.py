"""The size for prediction is the planned one, or one that is surely better."""

from dataclasses import replace

import numpy as np
import pytest

import tiny
from upscore.data import Dataset, Sample
from upscore.data.masks import Decoder
from upscore.training.sizes import FACTORS, best_size, spread

SPEC = tiny.spec(long_side=400)


def scored(spec, table, photos=50, spread_by=0.0):
    """The size chosen where each long side or zoom has the mean IoU that a table gives.

    `spread_by`: by how much other sizes than the planned 400 are better or worse in every other
    photo.
    """
    seen = []

    def score(candidate):
        size = candidate.long_side or candidate.zoom
        seen.append(size)
        iou = np.full(photos, table[size])
        if size != SPEC.long_side:
            iou += spread_by * (-1) ** np.arange(photos)
        hits = np.round(1e6 * iou).astype(np.int64)
        return np.stack([hits, np.full(photos, 10**6), hits], axis=1)[:, None]

    chosen, best = best_size(spec, score(spec), score)
    assert len(set(seen)) == len(seen) == len(FACTORS)
    return chosen, best


@pytest.mark.parametrize(
    ("table", "long_side"),
    [
        ({300: 0.5, 400: 0.6, 500: 0.7, 600: 0.65}, 500),
        ({300: 0.7, 400: 0.6, 500: 0.5, 600: 0.4}, 300),
        ({300: 0.5, 400: 0.6, 500: 0.601, 600: 0.6019}, 400),  # not worth the time
        ({300: 0.601, 400: 0.6, 500: 0.5, 600: 0.4}, 400),
        ({300: 0.6, 400: 0.6, 500: 0.6, 600: 0.6}, 400),
        ({300: 0.5, 400: 0.6, 500: 0.7, 600: 0.701}, 500),
    ],
)
def test_a_better_size_is_taken(table, long_side):
    chosen, best = scored(SPEC, table)
    assert chosen.long_side == long_side
    hits = table[long_side]
    assert best.pixel_accuracy == pytest.approx(hits)
    assert chosen.card["validation_at_sizes"].keys() == {f"long side {side}" for side in table}


@pytest.mark.parametrize(
    ("photos", "spread_by", "long_side"),
    [(1, 0.0, 400), (4, 0.1, 400), (4, 0.01, 500), (20, 0.1, 400), (20, 0.05, 500)],
)
def test_another_size_gains_more_than_chance_may_give(photos, spread_by, long_side):
    table = {300: 0.5, 400: 0.6, 500: 0.63, 600: 0.5}
    assert scored(SPEC, table, photos, spread_by)[0].long_side == long_side


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
