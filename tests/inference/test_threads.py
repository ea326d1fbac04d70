"""One model in several threads at once."""

from concurrent.futures import ThreadPoolExecutor

import numpy as np
import pytest

import upscore
from upscore.inference.engines import ENGINES


@pytest.mark.slow
@pytest.mark.parametrize("engine", ENGINES)
def test_a_model_may_be_used_by_several_threads(engine):
    pytest.importorskip(engine)
    segmenter = upscore.load(engine=engine)
    photos = np.random.default_rng(0).integers(0, 256, (12, 96, 128, 3), np.uint8)
    expected = [segmenter.labels(photo) for photo in photos]
    with ThreadPoolExecutor(4) as pool:
        found = list(pool.map(segmenter.labels, photos))
    np.testing.assert_array_equal(found, expected)
