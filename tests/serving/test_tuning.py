"""Fine-tuning from the page's button: trained, compared, swapped, stopped."""

import time

import numpy as np
import pytest

from tiny import png
from upscore import images

pytestmark = pytest.mark.slow

SHEEP = 5


def correct(server, photos, count):
    """Corrections that no model expects: all that is brighter than the middle is a sheep."""
    saved = 0
    for photo in photos.values():
        pixels = images.read(photo)
        for top in (0, 60):
            crop = pixels[top : top + 200, 40:240]
            labels = np.where(crop.mean(2) > np.median(crop.mean(2)), SHEEP, 0).astype(np.uint8)
            files = {"photo": png(crop), "labels": png(labels)}
            assert server.client.post("/v1/corrections", files=files).status_code == 201
            saved += 1
            if saved == count:
                return


def state(server, *until, seconds=400):
    end = time.monotonic() + seconds
    while time.monotonic() < end:
        found = server.client.get("/v1/tuning").json()
        if found["state"] in until:
            return found
        time.sleep(0.3)
    raise AssertionError(found)


def test_too_few_photos(serve, photos):
    server = serve()
    correct(server, photos, 3)
    answer = server.client.post("/v1/tuning", params={"time": "1m"})
    assert answer.status_code == 409
    assert "3 corrected photos: 4 are the fewest" in answer.json()["detail"]
    assert server.client.get("/v1/tuning").json()["state"] == "idle"


@pytest.mark.parametrize(
    "wish", [{"time": "soon"}, {"time": "1m; rm -rf /"}, {"times": "1m"}, {"steps": 0}]
)
def test_wishes_that_cannot_be(server, wish):
    assert server.client.post("/v1/tuning", params=wish).status_code == 422


@pytest.mark.release
def test_the_loop_of_predict_correct_and_train(serve, photos):
    server = serve()
    correct(server, photos, 6)
    before = server.client.get("/v1/model").json()["sha256"]
    old = server.client.post("/v1/segment", content=photos["cat"]).content
    started = server.client.post("/v1/tuning", params={"steps": 30})
    assert started.status_code == 202, started.text
    again = server.client.post("/v1/tuning", params={"steps": 30})
    assert again.status_code == 409
    # Photos are labelled meanwhile.
    assert server.client.post("/v1/segment", content=photos["cat"]).content == old
    done = state(server, "done", "failed")
    assert done["state"] == "done", done["log"]
    assert done["curve"][-1]["step"] == done["steps"]
    assert done["swapped"] == (done["after"] > done["before"])
    assert done["swapped"], "a model that knows of such sheep is better at them"
    assert server.client.get("/v1/model").json()["sha256"] != before
    assert server.client.post("/v1/segment", content=photos["cat"]).content != old


@pytest.mark.release
def test_a_model_that_cannot_be_compared_is_not_served(serve, photos):
    """Four photos, each the only one of its class: all are learned from."""
    server = serve()
    pixels = images.read(photos["cat"])[:96, :96]
    for label in range(4):
        labels = np.full(pixels.shape[:2], label, np.uint8)
        files = {"photo": png(np.roll(pixels, label, axis=0)), "labels": png(labels)}
        assert server.client.post("/v1/corrections", files=files).status_code == 201
    assert server.client.post("/v1/tuning", params={"steps": 1}).status_code == 202
    done = state(server, "done", "failed")
    assert done["state"] == "done", done["log"]
    assert not done["swapped"]
    assert done["before"] is None
    assert done["message"].startswith(
        "no photo was held out to compare the models on (no photo can be spared: each has its own "
        "class); "
    )


def test_it_can_be_stopped(serve, photos):
    server = serve()
    correct(server, photos, 4)
    assert server.client.post("/v1/tuning", params={"time": "10m"}).status_code == 202
    time.sleep(1)
    stopped = server.client.delete("/v1/tuning").json()
    assert stopped["state"] == "stopped"
    assert stopped["message"] == "stopped"
    # Another can begin at once, and what the first one leaves is not taken for its end.
    assert server.client.post("/v1/tuning", params={"time": "10m"}).status_code == 202
    time.sleep(1)
    again = server.client.get("/v1/tuning").json()
    assert again["state"] == "training"
    assert again["run"] != stopped["run"]
    server.client.delete("/v1/tuning")
