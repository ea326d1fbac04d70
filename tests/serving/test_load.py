"""Many requests, and files broken in every way."""

import io
from concurrent.futures import ThreadPoolExecutor

import numpy as np
import pytest
from PIL import Image

from upscore import images

pytestmark = pytest.mark.slow

MUTATED = 3000
SIZES = ((32, 32), (40, 56), (64, 48), (17, 90))


@pytest.fixture(scope="module")
def server(launch, tmp_path_factory):
    """One that shows its network photos of 64 pixels, whatever they have."""
    started = launch(tmp_path_factory.mktemp("server"), "--long-side", "64")
    yield started
    started.close()


def encoded(pixels, format):
    stream = io.BytesIO()
    Image.fromarray(pixels).save(stream, format)
    return stream.getvalue()


def mutated(rng, data):
    """A file with bytes changed, cut out, doubled, or its end lost."""
    data = bytearray(data)
    way = rng.integers(4)
    place = int(rng.integers(len(data)))
    length = int(rng.integers(1, 40))
    if way == 0:
        for i in rng.integers(0, len(data), length):
            data[i] = rng.integers(256)
    elif way == 1:
        del data[place : place + length]
    elif way == 2:
        data[place:place] = data[place : place + length]
    else:
        del data[max(place, 1) :]
    return bytes(data)


def test_mutated_photos_are_labelled_or_refused(server):
    rng = np.random.default_rng(0)
    pixels = rng.integers(0, 256, (24, 31, 3), np.uint8)
    whole = [encoded(pixels, kind) for kind in ("JPEG", "PNG", "WEBP", "TIFF", "BMP", "GIF", "PPM")]
    stream = io.BytesIO()
    np.save(stream, pixels)
    whole.append(stream.getvalue())
    todo = [mutated(rng, whole[i % len(whole)]) for i in range(MUTATED)]

    def ask(data):
        return server.client.post("/v1/segment?format=json", content=data).status_code

    with ThreadPoolExecutor(8) as pool:
        found = list(pool.map(ask, todo))
    assert set(found) <= {200, 413, 415, 422}
    assert found.count(200) > MUTATED // 20
    assert found.count(422) > MUTATED // 20
    assert "Traceback" not in server.log


@pytest.mark.parametrize("count", [2000, pytest.param(10_000, marks=pytest.mark.release)])
def test_thousands_of_requests_of_mixed_sizes_in_flat_memory(server, count):
    rng = np.random.default_rng(0)
    photos = [
        encoded(rng.integers(0, 256, (*SIZES[i % len(SIZES)], 3), np.uint8), "PNG")
        for i in range(16)
    ]
    expected = [server.client.post("/v1/segment", content=photo).content for photo in photos]
    wrong = []

    def ask(i):
        answer = server.client.post("/v1/segment", content=photos[i % 16])
        if answer.content != expected[i % 16]:
            wrong.append((i, answer.status_code))

    with ThreadPoolExecutor(8) as pool:
        list(pool.map(ask, range(count // 5)))
        warm = server.memory
        list(pool.map(ask, range(count - count // 5)))
    assert not wrong
    assert server.memory < warm + (40 << 20)


def test_photos_of_every_format_are_read(server, photos):
    pixels = images.read(photos["cat"])
    expected = server.client.post("/v1/segment", content=encoded(pixels, "PNG")).content
    for kind in ("TIFF", "BMP", "PPM"):
        assert server.client.post("/v1/segment", content=encoded(pixels, kind)).content == expected
