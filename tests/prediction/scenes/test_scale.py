"""At what scale a network is shown a picture."""

from dataclasses import replace

import pytest

import upscore
from upscore.errors import ArgumentError, ImageError
from upscore.prediction.scenes.scale import choose_scale, metres
from upscore.rasters.raster import Georeference

SPEC = replace(upscore.load().spec, long_side=None, zoom=1.5)
HALF_A_METRE = Georeference((0.5, 0, 0, 0, -0.5, 0), "a system in metres", 0.5)


@pytest.mark.parametrize(
    ("text", "expected"),
    [("0.5m", 0.5), ("30cm", 0.3), (" 2 ", 2), (0.25, 0.25), ("0.25um", 2.5e-7), ("1e-1 km", 100)],
)
def test_lengths(text, expected):
    assert metres(text) == pytest.approx(expected)


@pytest.mark.parametrize("text", ["", "m", "-1m", "0", "1 inch", "nan", "inf", "1..2m"])
def test_what_is_no_length(text):
    with pytest.raises(upscore.UpscoreError, match=r"no length such as 0\.5m"):
        metres(text)


def test_the_ground_decides():
    trained = replace(SPEC, resolution=0.25)
    assert choose_scale(trained, HALF_A_METRE) == (
        3.0,
        "trained at 0.25 m a pixel, the picture has 0.5",
    )
    assert choose_scale(trained, HALF_A_METRE, resolution="1m")[0] == 0.5
    assert choose_scale(trained, HALF_A_METRE, scale=2)[0] == 2


def test_without_the_ground_the_model_decides():
    assert choose_scale(SPEC, HALF_A_METRE)[0] == 1.5
    scale, reason = choose_scale(replace(SPEC, long_side=480), None)
    assert scale == 1
    assert "give --scale" in reason


def test_what_cannot_be():
    with pytest.raises(upscore.UpscoreError, match="not both"):
        choose_scale(SPEC, HALF_A_METRE, scale=1, resolution=1)
    with pytest.raises(ImageError, match="how large its pixels are on the ground"):
        choose_scale(SPEC, None, resolution="1m")
    with pytest.raises(ArgumentError, match="no length"):
        choose_scale(SPEC, None, resolution="far")
    with pytest.raises(ArgumentError, match="are the limits"):
        choose_scale(SPEC, None, scale=0)
    with pytest.raises(ImageError, match="are the limits"):
        choose_scale(SPEC, HALF_A_METRE, resolution="1cm")
