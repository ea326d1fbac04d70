"""The sheet of validation photos that training draws."""

import numpy as np
from PIL import Image

import upscore
from upscore import data
from upscore.training.sheet import GAP, HEIGHT, TEXT, draw_sheet


def test_photo_truth_and_prediction_stand_in_columns(tmp_path):
    for part in ("images", "masks"):
        (tmp_path / part).mkdir()
    sizes = [(160, 160), (20, 80)]  # the second one is narrower than the word "prediction"
    for i, (width, height) in enumerate(sizes):
        Image.new("RGB", (width, height), (40, 80, 120)).save(tmp_path / "images" / f"{i}.png")
        Image.new("L", (width, height), 1).save(tmp_path / "masks" / f"{i}.png")
    dataset = data.find(tmp_path, "all")
    sheet = np.asarray(draw_sheet(upscore.load("bundled"), dataset)).astype(int)
    top, left = TEXT + 2 * GAP, 160 + GAP
    assert (sheet[top : top + HEIGHT, :160] == (40, 80, 120)).all()
    assert (sheet[top : top + HEIGHT, 160:left] == 255).all()
    truth = sheet[top : top + HEIGHT, left : left + 160]
    assert not (truth == (40, 80, 120)).all(-1).any()  # tinted
    second = sheet[top + HEIGHT + GAP : top + 2 * HEIGHT + GAP]
    assert (second[:, :40] == (40, 80, 120)).all()
    assert (second[:, 40:left] == 255).all()
    for begin in (0, left, 2 * left):  # the headings
        assert sheet[:top, begin : begin + 40].min() < 100
