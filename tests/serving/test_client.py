"""The Python client."""

import numpy as np
import pytest

import upscore
from upscore.errors import ArgumentError, ImageError, RunError
from upscore.images import samples


def test_a_client_is_a_predictor(server):
    client, predictor = upscore.Client(server.url), upscore.Predictor()
    for path in samples().values():
        found, expected = client(path), predictor(path)
        np.testing.assert_array_equal(found.labels, expected.labels)
        np.testing.assert_array_equal(found.photo, expected.photo)
        assert found.areas == expected.areas
        assert found.palette == expected.palette
    assert client.model()["name"] == "bundled"


def test_what_goes_wrong_is_said(server, tmp_path):
    client = upscore.Client(server.url)
    with pytest.raises(ImageError, match="not an image in a known format"):
        client(b"hello")
    with pytest.raises(ImageError, match="No such file"):
        client(tmp_path / "none.jpg")
    with pytest.raises(RunError, match="there are bundled"):
        client(samples()["cat"], model="nobody")
    with pytest.raises(RunError, match="cannot be reached"):
        upscore.Client("http://127.0.0.1:9")(samples()["cat"])
    with pytest.raises(ArgumentError, match="http"):
        upscore.Client("file:///etc/passwd")


def test_a_token_is_sent(serve):
    token = "correct-horse-battery-staple"
    server = serve(UPSCORE_TOKEN=token)
    assert upscore.Client(server.url, token=token)(samples()["cat"]).areas
    with pytest.raises(RunError, match="401"):
        upscore.Client(server.url)(samples()["cat"])
