"""The rules of a plan, on surveys written down by hand."""

from pathlib import Path

import numpy as np
import pytest

from upscore.data import Dataset, Sample, Survey
from upscore.data.masks import Decoder
from upscore.training.choices import choose
from upscore.training.facts import Facts


def facts(
    photos=100,
    size=(400, 512),
    shares=(0.7, 0.3),
    thickness=(200.0, 40.0),
    upper=0.5,
    sizes=None,
    colour=True,
):
    """The facts of photos all alike; `sizes`, thickness and `upper` may differ."""
    classes = len(shares)
    names = ("ground", "thing", "stuff", "other")[:classes]
    sample = Sample("p", Path("p.png"), Path("p.png"))
    dataset = Dataset(
        Path(), "folders", "train", (sample,) * photos, names, ((0, 0, 0),) * classes,
        Decoder("index", (), ()),
    )  # fmt: skip
    sizes = np.array([size] * photos if sizes is None else sizes)
    pixels = np.outer(sizes.prod(axis=1), shares).round().astype(np.int64)
    halves = (pixels * np.reshape(upper, (-1, 1))).round().astype(np.int64)
    thick = np.broadcast_to(np.array(thickness, float), (photos, classes))
    return Facts(Survey(dataset, (), pixels, sizes, halves, thick, np.full(photos, colour)))


def test_processes_share_a_batch_evenly():
    one = facts()
    for on_gpu, processes, size in ((False, 1, 4), (False, 3, 6), (True, 3, 18), (True, 8, 16)):
        made = Facts(one.survey, on_gpu, processes)
        assert choose(made, {})[0]["batch_size"] == size


def chosen(given=None, **options):
    return choose(facts(**options), given or {})


def test_every_choice_has_a_reason():
    fields, reasons = chosen()
    assert fields.keys() == reasons.keys()
    assert all(reasons.values())


def test_what_is_given_stays():
    fields, reasons = chosen({"crop": 96, "loss": "focal"})
    assert (fields["crop"], fields["loss"]) == (96, "focal")
    assert reasons["crop"] == reasons["loss"] == "as given"


@pytest.mark.parametrize(
    ("given", "encoder"),
    [
        ({}, "tf_efficientnet_lite2"),
        ({"encoder": "resnet18"}, "resnet18"),
        ({"pretrained": False}, "tf_efficientnet_lite0"),
        ({"pretrained": "weights.safetensors"}, "tf_efficientnet_lite0"),
    ],
)
def test_the_larger_encoder_is_taken_with_its_imagenet_weights(given, encoder):
    assert chosen(given)[0]["encoder"] == encoder


def test_there_are_no_statistics_to_keep_without_pretrained_weights():
    assert chosen({"pretrained": False})[0]["frozen_norm"] is False
    assert chosen({"pretrained": False, "frozen_norm": True})[0]["frozen_norm"] is True
    assert "frozen_norm" not in chosen()[0]


def test_photos_of_large_things_are_shown_small():
    fields, _ = chosen(size=(3000, 4000), thickness=(900.0, 700.0))
    assert fields["long_side"] == 512


@pytest.mark.parametrize(
    ("side", "thickness", "shown"),
    [
        (512, 60, 512),
        (512, 7, 1024),  # twice as thick is clear
        (512, 2, 1024),  # but not more than twice
        (560, 13, 560),  # as good as clear
        (4000, 12, 1536),  # not so small that they vanish, nor so large that it takes for ever
        (384, 26, 384),  # clear: nothing would be gained
        (384, 9, 608),
        (200, 50, 256),
        (100, 50, 192),
    ],
)
def test_thin_things_are_shown_larger(side, thickness, shown):
    fields, reasons = chosen(size=(side // 2, side), thickness=(100.0, thickness))
    assert fields["long_side"] == pytest.approx(shown, abs=16)
    assert f"{thickness}" in reasons["long_side"] or side < 256


def test_rare_classes_get_crops_of_their_own():
    rare, common = (chosen(shares=shares)[0] for shares in ((0.98, 0.02), (0.6, 0.4)))
    assert rare["foreground"] > 0 == common["foreground"]
    assert rare["repeat_rare"] > 0 == common["repeat_rare"]


def test_a_class_that_is_nearly_absent_decides_nothing():
    with_it, _ = chosen(shares=(0.6, 0.399999, 0.000001), thickness=(200.0, 40.0, 1.0))
    without, _ = chosen(shares=(0.6, 0.4))
    assert with_it["long_side"] == without["long_side"]
    assert with_it["loss"] == without["loss"]


@pytest.mark.parametrize("held", [1, 10])
def test_a_small_class_decides_where_many_photos_hold_it(held):
    """Specks of 12 x 12 in photos of 6000 x 4000: of so few pixels, but the things to find."""
    made = facts(photos=40, size=(4000, 6000), shares=(1.0, 0.0), thickness=(4000.0, 12.0))
    made.survey.class_pixels[:held, 1] = 144
    fields, reasons = choose(made, {})
    assert (fields["long_side"] > 512) is (fields["foreground"] > 0) is (held == 10)
    assert ("thing is 12.0 pixels thick" in reasons["long_side"]) is (held == 10)


def test_things_that_stay_too_thin_are_said_to_be():
    assert "may be missed" in chosen(size=(3000, 6000), thickness=(100.0, 5.0))[1]["long_side"]
    assert "may be missed" not in chosen(size=(384, 512), thickness=(100.0, 5.0))[1]["long_side"]


@pytest.mark.parametrize(("upper", "flipped"), [(0.5, True), (0.51, True), (0.7, False)])
def test_up_and_down_are_flipped_where_the_masks_tell_no_difference(upper, flipped):
    assert chosen(upper=upper)[0]["flip_ud"] is flipped


@pytest.mark.parametrize(
    ("photos", "colour", "flipped"), [(20, False, True), (20, True, False), (4, False, False)]
)
def test_few_things_are_above_or_below_by_chance(photos, colour, flipped):
    """One blob in each of 20 photos, 12 of them above: a fifth more, which chance explains.

    Grey photos are then flipped. Those with colours may be snapshots, and four tell nothing.
    """
    upper = [1.0] * -(-photos * 3 // 5) + [0.0] * photos
    made = chosen(photos=photos, upper=upper[:photos], colour=colour)[0]
    assert made["flip_ud"] is flipped


@pytest.mark.parametrize(("side", "crop"), [(28, 64), (64, 128), (100, 192), (2000, 256)])
def test_small_photos_are_taken_whole(side, crop):
    """They are enlarged at most twice: a larger crop would be padding."""
    assert chosen(size=(side, side), thickness=(side, side / 2))[0]["crop"] == crop


def test_things_that_do_not_grow_with_the_photos_are_shown_by_one_factor():
    rng = np.random.default_rng(0)
    sides = rng.integers(256, 1400, 60)
    sizes = np.stack([sides, sides], axis=1)
    still = chosen(photos=60, sizes=sizes, thickness=np.full((60, 2), 30.0))[0]
    growing = chosen(photos=60, sizes=sizes, thickness=np.stack([sides, sides / 10], axis=1))[0]
    assert still["long_side"] is None
    assert growing["long_side"] is not None


def test_more_photos_and_classes_take_more_steps_but_fewer_passes():
    steps = [chosen(photos=n)[0]["steps"] for n in (1, 20, 200, 2000, 10**5)]
    assert steps == sorted(steps)
    assert steps[2] / 200 < steps[1] / 20
    assert steps[-1] <= 64_000 / 4
    four = {"shares": (0.4, 0.3, 0.2, 0.1), "thickness": (50.0,) * 4}
    assert chosen(**four)[0]["steps"] > chosen()[0]["steps"]


def test_larger_batches_take_fewer_steps():
    small, large = (chosen({"batch_size": size})[0]["steps"] for size in (2, 8))
    assert small == pytest.approx(4 * large, rel=0.1)
    on_gpu, _ = choose(Facts(facts().survey, on_gpu=True), {})
    assert on_gpu["batch_size"] > chosen()[0]["batch_size"]
