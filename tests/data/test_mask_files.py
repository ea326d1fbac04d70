"""Masks of black and white: noise is cut at 128, and nothing else is taken for noise."""

from pathlib import Path

import numpy as np
import pytest
from PIL import Image
from test_dataset import photo

from upscore import data
from upscore.data.masks import is_black_and_white, recognise

AB = ("background", "crack")
Y, X = np.indices((60, 80))


def disc(x=40, radius=20, value=255) -> np.ndarray:
    return np.where((Y - 30) ** 2 + (X - x) ** 2 < radius**2, np.uint8(value), np.uint8(0))


def soft(pixels: np.ndarray) -> np.ndarray:
    """A mask that was made smaller and larger again, with soft edges."""
    image = Image.fromarray(pixels)
    return np.asarray(image.resize((40, 30), 2).resize(image.size, 2))


def written(root: Path, *masks, suffix="png", **options) -> Path:
    for i, pixels in enumerate(masks):
        photo(root / "images" / f"{i}.jpg", np.shape(pixels)[:2], seed=i)
        path = root / "masks" / f"{i}.{suffix}"
        path.parent.mkdir(exist_ok=True)
        Image.fromarray(np.asarray(pixels)).save(path, **options)
    return root


@pytest.mark.parametrize("options", [{"quality": q} for q in (10, 50, 70, 95)])
@pytest.mark.parametrize("colour", [False, True])
def test_jpeg_masks_need_no_further_file(tmp_path, options, colour):
    sharp = [disc(30), disc(50, 8), disc(value=0), disc(radius=99)]
    stored = [np.stack([m] * 3, 2) for m in sharp] if colour else sharp
    found = data.find(written(tmp_path, *stored, suffix="jpg", **options), "all")
    assert (found.decoder.encoding, found.class_names) == ("binary", ("background", "foreground"))
    for i, pixels in enumerate(sharp):
        assert (found.read(i)[1] == (pixels > 127)).mean() > 0.995


def test_soft_edges_are_cut_and_noted_once(tmp_path):
    found = data.find(written(tmp_path, soft(disc(30)), soft(disc(50)), disc()), "all")
    survey = data.survey(found)
    assert survey.problems == ()
    [note] = survey.notes
    assert note.startswith("2 of 3 masks have values between 0 and 255")
    assert (found.read(0)[1] == (soft(disc(30)) >= 128)).all()
    assert survey.class_pixels[2].tolist() == [(disc() == 0).sum(), (disc() == 255).sum()]
    assert survey.part([2]).notes == survey.notes
    assert data.survey(data.find(written(tmp_path / "sharp", disc()), "all")).notes == ()


def scattered(share: float) -> np.ndarray:
    """Half black, half white, and so many grey pixels of no area."""
    pixels = np.where(X < 40, np.uint8(0), np.uint8(255))
    chosen = np.random.default_rng(0).permutation(pixels.size)[: round(share * pixels.size)]
    pixels.flat[chosen] = 64 + chosen % 128
    return pixels


@pytest.mark.parametrize(("share", "good"), [(0.045, True), (0.055, False)])
def test_how_much_of_a_mask_may_be_grey(share, good):
    assert is_black_and_white(scattered(share)) is good


def cells() -> np.ndarray:
    """Fifty cells on a background of 0, each with a number of its own."""
    pixels = np.zeros((200, 200), np.uint8)
    for i in range(50):
        y, x = divmod(i, 10)
        pixels[40 * y : 40 * y + 6, 20 * x : 20 * x + 6] = 5 * i + 1
    return pixels


OTHERS = {
    "ids": disc(value=2) // 2 + disc(60, 9, 1),
    "one id": disc(value=1),
    "ids of thin lines": np.where(X % 9 == 0, np.uint8(1), np.uint8(0)),
    "ids and void": np.where(X < 5, np.uint8(255), disc(value=2)),
    "an id and void": np.where(X < 5, np.uint8(255), disc(value=1)),
    "many ids and void": np.where(X < 5, np.uint8(255), np.uint8(X)),
    "cells": cells(),
    "a third grey": np.where(disc(radius=5), np.uint8(128), disc()),
    "a light grey": np.where(disc(radius=5), np.uint8(226), disc()),
    "two greys": np.where(disc(radius=5), np.uint8(50), disc(60)) | disc(10, 5, 200),
    "a grey photo": np.asarray(Image.effect_noise((80, 60), 60)),
    "a grey slope": np.uint8(X * 3),
    "16 bits": np.where(disc(), 65535, 0).astype(np.uint16),
}


@pytest.mark.parametrize("name", OTHERS)
def test_what_is_not_black_and_white(tmp_path, name):
    assert not is_black_and_white(OTHERS[name].astype(np.int32))
    root = written(tmp_path, OTHERS[name], OTHERS[name])
    assert recognise([root / "masks/0.png", root / "masks/1.png"], None, None) == "index"


@pytest.mark.parametrize("name", OTHERS)
def test_one_other_file_among_masks_of_black_and_white_is_refused(tmp_path, name):
    root = written(tmp_path, *[disc(x) for x in (20, 30, 40)], OTHERS[name])
    found = data.find(root, "all", encoding="binary")
    [problem] = data.check(found)
    assert problem.file.name == "3.png"
    [problem] = data.check(found, allow=["blurred"])
    assert problem.kind == "no such class"
    with pytest.raises(data.DataError, match=r"3\.png: .* of no class"):
        found.read(3)


@pytest.mark.parametrize("named", [None, 2])
def test_masks_of_ids_of_which_most_hold_0_and_255_alone(tmp_path, named):
    root = written(tmp_path, disc(), disc(30), OTHERS["an id and void"])
    assert recognise(sorted((root / "masks").iterdir()), named, None) == "index"


@pytest.mark.parametrize(("named", "encoding"), [(None, "index"), (2, "binary")])
def test_mostly_grey_masks_are_of_two_classes_if_two_are_named(tmp_path, named, encoding):
    photos = [np.asarray(Image.effect_noise((80, 60), 60)) for _ in range(2)]
    root = written(tmp_path, disc(), *photos)
    assert recognise(sorted((root / "masks").iterdir()), named, None) == encoding


def test_a_grey_photo_among_the_masks(tmp_path):
    found = data.find(written(tmp_path, disc(20), disc(30), OTHERS["a grey photo"]), "all")
    assert found.decoder.encoding == "binary"
    [problem] = data.check(found)
    assert problem.message.startswith("blurred, or no mask: ")
    assert "128" in problem.remedy


def test_a_third_class_that_was_not_named(tmp_path):
    found = data.find(written(tmp_path, OTHERS["ids and void"]), "all", class_names=AB)
    [problem] = data.check(found)
    assert (problem.kind, problem.message[-10:]) == ("no such class", "o class: 2")
    assert problem.remedy.startswith("save one channel of ids that the class list has")


def test_one_name_is_too_few(tmp_path):
    with pytest.raises(data.DataError, match="two classes, and 1 named"):
        data.find(written(tmp_path, disc()), "all", class_names=["polyp"])


@pytest.mark.parametrize("colours", [[0, 0, 0, 255, 255, 255], [255, 255, 255, 0, 0, 0]])
def test_palettes_of_black_and_white(tmp_path, colours):
    """White is the second class; but 0 is the first one where it is white in all masks."""
    black_first = colours[0] == 0
    written(tmp_path, disc(), disc(20))
    for i, ids in enumerate((disc(value=1), disc(20, value=1))):
        image = Image.fromarray(ids)
        image.putpalette(colours)
        image.save(tmp_path / "masks" / f"{i}.png")
    found = data.find(tmp_path, "all")
    assert found.decoder.encoding == ("binary" if black_first else "index")
    assert (found.read(0)[1] == disc(value=1)).all()


def test_gif_masks_whose_palettes_differ(tmp_path):
    """A mask that is white all over has white as its first and only colour."""
    found = data.find(
        written(tmp_path, disc(), disc(value=0), disc(radius=99), suffix="gif"), "all"
    )
    assert [found.read(i)[1].sum() for i in range(3)] == [(disc() > 0).sum(), 0, disc().size]
    assert data.check(found) == []
