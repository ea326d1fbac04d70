"""Corrected masks as a data set."""

import io

import numpy as np
import pytest
from PIL import Image

import upscore.data
from tiny import png
from upscore import images

pytestmark = pytest.mark.slow


def save(server, photo, labels):
    files = {"photo": ("../../evil.jpg", photo), "labels": ("labels.png", labels)}
    return server.client.post("/v1/corrections", files=files)


def test_what_is_saved_is_a_data_set(serve, photos, tmp_path):
    server = serve("--corrections", str(tmp_path / "mine"))
    assert server.client.get("/v1/corrections").json()["photos"] == 0
    assert not (tmp_path / "mine").exists()
    rng = np.random.default_rng(0)
    masks = {}
    for name, photo in photos.items():
        pixels = images.read(photo)
        height, width = pixels.shape[:2]
        blocks = rng.integers(0, 7, (height // 30 + 1, width // 30 + 1), np.uint8)
        masks[name] = blocks.repeat(30, 0).repeat(30, 1)[:height, :width]
        masks[name][:30] = 255
        answer = save(server, photo, png(masks[name]))
        assert answer.status_code == 201, answer.text
        assert answer.json()["photos"] == len(masks)
    found = upscore.data.find(tmp_path / "mine", "all")
    assert len(found) == 3
    spec = upscore.load().spec
    assert found.class_names == spec.class_names
    assert found.palette == spec.palette
    read = [found.read(i) for i in range(3)]
    for name, photo in photos.items():
        pixels = images.read(photo)
        (mask,) = (mask for image, mask in read if np.array_equal(image, pixels))
        np.testing.assert_array_equal(mask, masks[name])
    assert not upscore.data.check(found)
    assert not list(tmp_path.rglob("*evil*"))


def test_the_same_photo_again_replaces_its_mask(serve, photos, tmp_path):
    server = serve()  # in ./corrections
    height, width = images.read(photos["cat"]).shape[:2]
    for value in (1, 2):
        # As a browser's canvas gives it: RGBA.
        canvas = np.full((height, width, 4), (value, value, value, 255), np.uint8)
        answer = save(server, photos["cat"], png(canvas)).json()
    assert answer["photos"] == 1
    (path,) = (tmp_path / "corrections" / "masks").iterdir()
    with Image.open(path) as kept:
        assert (np.array(kept) == 2).all()


def test_place_and_camera_are_not_kept(serve, tmp_path):
    image = Image.new("RGB", (40, 30))
    exif = image.getexif()
    exif[0x010F] = "secret-camera"
    exif[0x0112] = 6  # lies on its side
    stream = io.BytesIO()
    image.save(stream, "jpeg", exif=exif)
    server = serve()
    assert save(server, stream.getvalue(), png(np.zeros((40, 30), np.uint8))).status_code == 201
    (path,) = (tmp_path / "corrections" / "images").iterdir()
    assert b"secret-camera" not in path.read_bytes()
    with Image.open(path) as kept:
        assert kept.size == (30, 40)


REFUSED = {
    "another size": (np.zeros((10, 10), np.uint8), 422, "10 x 10 pixels for a photo of"),
    "no such class": (np.full((300, 451), 99, np.uint8), 422, "99: expected 0 to 6, or 255"),
    "16 bits": (np.zeros((300, 451), np.uint16), 422, "8 bits"),
}


@pytest.mark.parametrize("case", REFUSED)
def test_masks_that_cannot_be_are_refused(server, photos, case):
    values, status, words = REFUSED[case]
    answer = save(server, photos["cat"], png(values))
    assert answer.status_code == status
    assert words in answer.json()["detail"]
    assert server.client.get("/v1/corrections").json()["photos"] == 0


def test_a_folder_of_other_classes_is_left_alone(serve, photos, tmp_path):
    (tmp_path / "corrections").mkdir()
    (tmp_path / "corrections" / "classes.txt").write_text("sky\nroad\n")
    server = serve()
    answer = save(server, photos["cat"], png(np.zeros((300, 451), np.uint8)))
    assert answer.status_code == 409
    assert "names other classes" in answer.json()["detail"]


def test_both_fields_are_needed(server, photos):
    answer = server.client.post("/v1/corrections", files={"photo": photos["cat"]})
    assert answer.status_code == 422
    assert "no labels" in answer.json()["detail"]
    assert server.client.post("/v1/corrections", content=photos["cat"]).status_code == 415
