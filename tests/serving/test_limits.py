"""Clients that send too much, too slowly, too often, or leave: the server goes on."""

import re
import socket
import struct
import threading
import time
import zlib
from concurrent.futures import ThreadPoolExecutor
from functools import partial
from pathlib import Path

import numpy as np
import pytest

import tiny

pytestmark = pytest.mark.slow

KILO = 1 << 10


@pytest.fixture
def serve(serve):
    """Servers that show their network small photos: what is measured here is not the network."""
    return partial(serve, "--long-side", "64")


def connect(server):
    return socket.create_connection(("127.0.0.1", server.port), timeout=30)


def head(length=None, chunked=False):
    lines = ["POST /v1/segment HTTP/1.1", "Host: localhost", "Content-Type: image/jpeg"]
    if length is not None:
        lines.append(f"Content-Length: {length}")
    if chunked:
        lines.append("Transfer-Encoding: chunked")
    return ("\r\n".join(lines) + "\r\n\r\n").encode()


def status_of(stream):
    """The status of the next answer, or None where the server has closed."""
    line = stream.makefile("rb").readline()
    return int(line.split()[1]) if line else None


def labels(server, photo):
    answer = server.client.post("/v1/segment", content=photo)
    assert answer.status_code == 200, answer.text
    return answer.content


def in_hand(server):
    text = server.client.get("/metrics").text
    return float(re.search(r"^upscore_photos_in_hand (.*)$", text, re.MULTILINE)[1])


def test_a_long_body_is_refused_before_it_is_read(serve, photos):
    server = serve("--max-bytes", "100K")
    with connect(server) as stream:
        stream.sendall(head(length=1 << 40))  # and not a byte of it
        assert status_of(stream) == 413
    labels(server, photos["cat"])


def test_a_long_chunked_body_is_refused_as_it_comes(serve, photos):
    server = serve("--max-bytes", "100K")
    with connect(server) as stream:
        stream.sendall(head(chunked=True))
        part = b"%x\r\n" % KILO + bytes(KILO) + b"\r\n"
        for _ in range(150):
            stream.sendall(part)
        assert status_of(stream) == 413
    form = b'--x\r\nContent-Disposition: form-data; name="photo"; filename="a"\r\n\r\n'
    long = server.client.post(
        "/v1/segment",
        content=iter([form, *[bytes(KILO)] * 150, b"\r\n--x--\r\n"]),
        headers={"content-type": "multipart/form-data; boundary=x"},
    )
    assert long.status_code == 413
    labels(server, photos["cat"])


def sent_until_closed(server, begin, part, times=3000):
    """Whether the server closes before a part has been sent so many times."""
    with connect(server) as stream:
        stream.sendall(begin)
        try:
            for _ in range(times):
                stream.sendall(part)
                time.sleep(0.001)
        except OSError:
            return True
    return False


def test_headers_without_end_are_cut_off(server, photos):
    assert sent_until_closed(server, b"GET / HTTP/1.1\r\n", b"X-More: " + b"a" * KILO + b"\r\n")
    labels(server, photos["cat"])


def test_trailers_without_end_are_cut_off(server, photos):
    """They come after a chunked body, as headers do before it."""
    begin = head(chunked=True) + b"1\r\nx\r\n0\r\nX-More: "
    assert sent_until_closed(server, begin, b"a" * KILO)
    labels(server, photos["cat"])


@pytest.mark.release
def test_a_client_that_reads_nothing_is_dropped(serve, photos):
    """Its answer is larger than what the system keeps for it."""
    server = serve("--deadline", "60")
    large = noisy(0, (3000, 3000))
    with connect(server) as stream:
        stream.setsockopt(socket.SOL_SOCKET, socket.SO_RCVBUF, 4096)
        request = head(length=len(large)).replace(b"/v1/segment", b"/v1/segment?format=overlay")
        stream.sendall(request + large)
        end = time.monotonic() + 120
        while not dropped(server):
            assert time.monotonic() < end
            time.sleep(1)
    labels(server, photos["cat"])


def dropped(server):
    """Whether no connection but the one of the test's own client is left."""
    port = f"{server.port:04X}"
    lines = [line.split() for line in Path("/proc/net/tcp").read_text().splitlines()[1:]]
    established = [one for one in lines if one[1].endswith(f":{port}") and one[3] == "01"]
    return in_hand(server) == 0 and len(established) <= 1


def test_slow_headers_and_slow_bodies_are_cut_off(serve, photos):
    """Slow loris: a byte now and then, for ever."""
    server = serve("--deadline", "5")
    slow_head, slow_body, silent = (connect(server) for _ in range(3))
    slow_head.sendall(b"GET / HTTP/1.1\r\n")
    slow_body.sendall(head(length=1000))
    start = time.monotonic()
    ended = {}

    def drip(stream, name, line):
        try:
            while time.monotonic() < start + 40:
                stream.sendall(line)
                stream.settimeout(0.5)
                try:
                    ended[name] = (time.monotonic() - start, stream.recv(15))
                    return
                except TimeoutError:
                    pass
        except OSError:
            ended[name] = (time.monotonic() - start, b"")

    with slow_head, slow_body, silent:
        jobs = [
            threading.Thread(target=drip, args=one)
            for one in (
                (slow_head, "head", b"X: y\r\n"),
                (slow_body, "body", b"z"),
                (silent, "silent", b""),
            )
        ]
        for job in jobs:
            job.start()
        labels(server, photos["cat"])  # others are served meanwhile
        for job in jobs:
            job.join()
    assert ended["body"][1].startswith(b"HTTP/1.1 408")
    assert ended["body"][0] < 15
    assert 5 < ended["head"][0] < 25
    assert ended["head"][1] == b""
    assert 5 < ended["silent"][0] < 25


def bomb():
    """A PNG of 49,000,000 pixels in some 50 KB: within the limit; and one of a thousand times."""

    def png(side):
        def chunk(kind, data):
            check = zlib.crc32(kind + data)
            return struct.pack(">I", len(data)) + kind + data + struct.pack(">I", check)

        header = struct.pack(">IIBBBBB", side, side, 1, 0, 0, 0, 0)
        rows = zlib.compress(bytes(side * (side // 8 + 1)), 9)
        start = b"\x89PNG\r\n\x1a\n" + chunk(b"IHDR", header)
        return start + chunk(b"IDAT", rows) + chunk(b"IEND", b"")

    return png(20_000)


def test_a_bomb_is_refused_by_its_header(server, photos):
    labels(server, photos["cat"])
    before, data = server.memory, bomb()
    assert len(data) < 100 * KILO
    for _ in range(20):
        answer = server.client.post("/v1/segment", content=data)
        assert answer.status_code == 413
        assert "400,000,000" in answer.text or "20000 x 20000" in answer.text
    assert server.memory < before + (50 << 20)


def test_200_clients_that_leave(server, photos):
    """They leave in their headers, in their bodies, and while they wait."""
    photo = photos["astronaut"]
    request = head(length=len(photo)) + photo
    ends = np.linspace(20, len(request), 200).astype(int)
    for end in ends:
        with connect(server) as stream:
            stream.sendall(request[:end])
            if end % 2:  # a reset, not a farewell
                linger = struct.pack("ii", 1, 0)
                stream.setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, linger)
    labels(server, photo)
    settle = time.monotonic() + 30
    while in_hand(server):
        assert time.monotonic() < settle
        time.sleep(0.1)
    assert "Traceback" not in server.log


def noisy(seed, size=(60, 80)):
    """A photo that differs from all others."""
    pixels = np.random.default_rng(seed).integers(0, 256, (*size, 3), np.uint8)
    return tiny.png(pixels)


def test_an_overflowing_queue_loses_and_doubles_nothing(serve):
    """Some are told to wait; all others get their own answer, and only that."""
    server = serve("--queue", "4")
    todo = [noisy(seed) for seed in range(60)]
    expected = [labels(server, photo) for photo in todo]

    def ask(photo):
        return server.client.post("/v1/segment", content=photo)

    with ThreadPoolExecutor(30) as pool:
        answers = list(pool.map(ask, todo))
    statuses = [answer.status_code for answer in answers]
    assert set(statuses) == {200, 429}
    for answer, right in zip(answers, expected, strict=True):
        if answer.status_code == 200:
            assert answer.content == right
        else:
            assert int(answer.headers["retry-after"]) >= 1
    # Those who wait and ask again are served in the end.
    import upscore

    client = upscore.Client(server.url)
    with ThreadPoolExecutor(12) as pool:
        again = list(pool.map(client, todo[:24]))
    for prediction, right in zip(again, expected, strict=False):
        assert prediction.encoded_labels() == right


def test_batched_answers_are_those_of_single_photos(serve, photos):
    sizes = [(60, 80), (64, 64), (33, 97)]
    todo = [noisy(seed, sizes[seed % 3]) for seed in range(45)] + [photos["cat"]] * 5
    alone = serve("--batch", "1")
    expected = [labels(alone, photo) for photo in todo]
    together = serve("--batch", "8")
    with ThreadPoolExecutor(25) as pool:
        found = list(pool.map(lambda photo: labels(together, photo), todo))
    assert found == expected
    text = together.client.get("/metrics").text
    values = dict(line.rsplit(" ", 1) for line in text.splitlines() if line[0] != "#")
    single = float(values['upscore_batch_photos_bucket{le="1.0"}'])
    assert single < float(values["upscore_batch_photos_count"]) < len(todo)


def test_a_deadline_is_kept(serve, photos):
    server = serve("--deadline", "0.01")
    answer = server.client.post("/v1/segment", content=noisy(0, (3000, 3000)))
    assert answer.status_code in (408, 504)
    assert "seconds" in answer.json()["detail"]


def test_sigterm_answers_what_is_in_hand_and_refuses_the_rest(serve, photos):
    server = serve()
    todo = [noisy(seed, (960, 1280)) for seed in range(24)]
    expected = [labels(server, photo) for photo in todo]
    late = []

    def ask(photo):
        return server.client.post("/v1/segment", content=photo)

    with ThreadPoolExecutor(24) as pool:
        jobs = [pool.submit(ask, photo) for photo in todo]
        while in_hand(server) < 8:
            assert not all(job.done() for job in jobs), "done before the signal"
        server.process.terminate()
        time.sleep(0.05)
        if not all(job.done() for job in jobs):
            late.append(server.client.get("/readyz").status_code)
            late.append(server.client.post("/v1/segment", content=photos["cat"]).status_code)
    answers = [job.result() for job in jobs]
    served = [answer.status_code == 200 for answer in answers]
    assert sum(served) >= 8  # that were in hand
    for answer, right, ok in zip(answers, expected, served, strict=True):
        assert answer.content == right if ok else answer.status_code == 503
    assert set(late) <= {503}
    assert server.process.wait(30) == 0
