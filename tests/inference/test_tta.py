"""Test-time augmentation: every view lies where the photo does, and the names mean what they say.

The engine of these tests answers with the mean colour of each cell, and the photos' colours are
positions: so scores say where the network saw them.
"""

import numpy as np
import pytest

import tiny
import upscore
from upscore.errors import ArgumentError, ArgumentTypeError
from upscore.inference.tta import augmentation

NAMES = ("along", "down", "zero")


class Colours:
    """The mean colours of the cells, as scores of three classes; remembers what it was shown."""

    name = "colours"

    def __init__(self, stride):
        self.stride, self.seen = stride, []

    def scores(self, photos):
        n, height, width, _ = photos.shape
        assert height % 32 == width % 32 == 0
        self.seen.append(photos)
        s = self.stride
        cells = photos.reshape(n, height // s, s, width // s, s, 3).mean((2, 4), dtype=np.float32)
        return cells.transpose(0, 3, 1, 2)


def segmenter(stride, long_side=None):
    spec = tiny.spec(tiny.ARCHITECTURES[stride], names=NAMES, long_side=long_side)
    return upscore.Segmenter(spec, Colours(stride))


def positions(height, width):
    """A photo whose red is the column and whose green is the row, of 256 at most."""
    photo = np.zeros((1, height, width, 3), np.uint8)
    photo[..., 0], photo[..., 1] = np.arange(width), np.arange(height)[:, None]
    return photo


def places(scores):
    """The columns and rows that scores name: differences between classes are all that counts."""
    return scores[:, 0] - scores[:, 2], scores[:, 1] - scores[:, 2]


@pytest.mark.parametrize("stride", sorted(tiny.ARCHITECTURES))
@pytest.mark.parametrize("size", [(1, 1), (3, 7), (64, 96), (50, 97), (129, 250)])
@pytest.mark.parametrize(("tta", "count"), [("flip", 2), ("flip-ud", 2), ("flip,flip-ud", 4)])
def test_cells_of_mirror_images_are_those_of_the_photo(stride, size, tta, count):
    photo, model = positions(*size), segmenter(stride)
    alone = model.scores(photo)
    model.engine.seen.clear()
    found = model.with_tta(tta).scores(photo)
    assert found.shape == alone.shape
    for place, expected in zip(places(found), places(alone), strict=True):
        np.testing.assert_allclose(place, expected, atol=1e-3)
    seen = model.engine.seen
    assert len(seen) == count
    last = seen[-1][0, ..., 0].astype(int), seen[-1][0, ..., 1].astype(int)
    if size[0] > 1:  # and it was mirrored
        assert ((np.diff(last[0], axis=1) < 0).any(), (np.diff(last[1], axis=0) < 0).any()) == (
            tta != "flip-ud",
            tta != "flip",
        )


@pytest.mark.parametrize("stride", sorted(tiny.ARCHITECTURES))
@pytest.mark.parametrize("long_side", [None, 160, 400])
@pytest.mark.parametrize("scales", ["0.75/1/1.25", "0.5", "1/2", "0.6/1.7"])
def test_scores_of_every_scale_name_their_place(stride, long_side, scales):
    photo = positions(201, 247)
    model = segmenter(stride, long_side).with_tta(f"scales={scales}")
    coarse = model.coarse(photo)
    shapes = [max(seen.shape[1:3]) for seen in model.engine.seen]
    expected = [(long_side or 247) * float(scale) for scale in scales.split("/")]
    np.testing.assert_allclose(sorted(shapes), sorted(expected), atol=32 + stride / 2)
    check_places(coarse.scores, coarse.steps)
    # Of photos as they stand: on the grid of the spec.
    check_places(model.scores(photo), (stride, stride))


def check_places(scores, steps, edge=2):
    """Compare scores with the centres of their cells, but for `edge` of them at each end."""
    for axis, place in enumerate(places(scores)):
        axis = 1 - axis
        centres = (np.arange(scores.shape[2 + axis]) + 0.5) * float(steps[axis]) - 0.5
        inside = place[0, edge:-edge, edge:-edge]
        centres = centres[edge:-edge].reshape((-1, 1) if axis == 0 else (1, -1))
        # Photos have whole colours: half a pixel at most is lost by resizing them.
        np.testing.assert_allclose(inside, np.broadcast_to(centres, inside.shape), atol=0.6)


@pytest.mark.parametrize("tta", ["flip", "scales", "flip,flip-ud,scales=0.5/1/1.5"])
@pytest.mark.parametrize("long_side", [None, 128])
def test_edges_stay_in_place(tta, long_side):
    photo = np.zeros((150, 223, 3), np.uint8)
    photo[:60, :, 1] = photo[60:, 120:, 0] = photo[60:, :120, 2] = 255
    labels = segmenter(4, long_side).with_tta(tta).labels(photo)
    assert labels.shape == (150, 223)
    assert (labels[:57] == 1).all()
    assert (labels[63:, 123:] == 0).all()
    assert (labels[63:, :117] == 2).all()


def test_batches_are_their_photos():
    batch = np.random.default_rng(0).integers(0, 256, (3, 50, 70, 3), np.uint8)
    model = segmenter(8, 64).with_tta(("flip", "scales"))
    labels = model.labels(batch)
    for photo, one in zip(batch, labels, strict=True):
        np.testing.assert_array_equal(model.labels(photo), one)


def test_names():
    model = segmenter(8)
    assert model.tta == "none"
    for given, expected in [
        ((), "none"),
        ("", "none"),
        ("scales=1", "none"),
        ("flip", "flip"),
        (" scales , flip-ud", "flip-ud, scales=0.75/1/1.25"),
        (["scales=0.5/1/2/1", "flip"], "flip, scales=0.5/1/2"),
    ]:
        assert model.with_tta(given).tta == expected
        assert augmentation(expected.replace("none", "")) == augmentation(given)
    flipped = model.with_tta("flip")
    assert flipped.at(64).tta == "flip"
    assert flipped.with_tta("flip-ud").tta == "flip-ud"
    assert flipped.members == (flipped,)


@pytest.mark.parametrize(
    ("tta", "error", "message"),
    [
        ("mirror", ArgumentError, r"'mirror' is unknown: there are flip .*, flip-ud .*, scales"),
        (("flip", "Flip"), ArgumentError, "'Flip' is unknown"),
        ((1.5,), ArgumentTypeError, "must be names"),
        ("scales=", ArgumentError, "expected numbers with slashes"),
        ("scales=1,2", ArgumentError, "'2' is unknown"),
        ("scales=1/3", ArgumentError, r"each must be from 0\.25 to 2"),
        ("scales=nan", ArgumentError, "each must be from"),
        ("scales=-1", ArgumentError, "each must be from"),
    ],
)
def test_what_is_no_augmentation_is_said(tta, error, message):
    with pytest.raises(error, match=message):
        segmenter(8).with_tta(tta)
