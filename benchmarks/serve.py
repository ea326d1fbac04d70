"""A server under load: photos a second and latencies at 1, 8 and 64 clients.

    python benchmarks/serve.py [--clients N ...] [--seconds S] [--rounds N] [--json PATH]

Install with `pip install 'upscore[bench,serve]'`. `upscore` is `upscore serve`; `plain` is the
endpoint that one writes first: FastAPI, a function that decodes the upload, labels it with the same
model and the same engine, and encodes the PNG, without a queue or batches. Both run in a process of
their own and are asked in turn by the same threads, which send JPEGs of 375 x 500 pixels and read
PNGs; all of it shares the machine's cores. `network` is the model's network alone on photos that
are decoded and resized already, in one process, with nothing else running. `p50`, `p90` and `p99`
are milliseconds from a request to its answer.
"""

import argparse
import http.client
import io
import json
import subprocess
import sys
import tempfile
import threading
import time
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from statistics import median
from typing import Any

import numpy as np
from PIL import Image

from _timing import arguments, show, write
from upscore.images import read, resized, samples

HEIGHT, WIDTH = 375, 500
MODEL = "bundled"


def plain() -> None:
    """The endpoint without a queue."""
    import uvicorn
    from fastapi import FastAPI, Response, UploadFile

    import upscore

    app, predictor = FastAPI(), upscore.Predictor(MODEL)

    @app.post("/v1/segment")
    def segment(photo: UploadFile) -> Response:
        prediction = predictor(photo.file.read())
        return Response(prediction.encoded_labels(), media_type="image/png")

    uvicorn.run(app, port=0, access_log=False)


@contextmanager
def running(command: list[str]) -> Iterator[int]:
    """A server in a process of its own; its port."""
    with tempfile.TemporaryDirectory() as folder, Path(folder, "log").open("w+") as log:
        process = subprocess.Popen(command, cwd=folder, stdout=log, stderr=subprocess.STDOUT)
        try:
            while "http://127.0.0.1:" not in (text := Path(folder, "log").read_text()):
                if process.poll() is not None:
                    raise SystemExit(text)
                time.sleep(0.1)
            yield int(text.split("http://127.0.0.1:")[1].split(" ")[0])
        finally:
            process.terminate()
            process.wait()


def photos() -> list[bytes]:
    """JPEGs that all differ, as multipart bodies with the boundary `x`."""
    made = []
    random = np.random.default_rng(0)
    for i in range(12):
        whole = resized(read(list(samples().values())[i % 3]), (HEIGHT + 64, WIDTH + 64))
        top, left = random.integers(0, 65, 2)
        stream = io.BytesIO()
        Image.fromarray(whole[top : top + HEIGHT, left : left + WIDTH]).save(stream, "jpeg")
        head = b'--x\r\nContent-Disposition: form-data; name="photo"; filename="a.jpg"\r\n\r\n'
        made.append(head + stream.getvalue() + b"\r\n--x--\r\n")
    return made


def load(port: int, clients: int, seconds: float, bodies: list[bytes]) -> dict[str, Any]:
    """What `clients` threads get that ask one photo after the other."""
    times: list[float] = []
    errors: list[str] = []
    start = time.perf_counter()

    def ask(first: int) -> None:
        connection = http.client.HTTPConnection("127.0.0.1", port, timeout=120)
        i = first
        while (begun := time.perf_counter()) < start + seconds:
            i += 1
            kind = {"Content-Type": "multipart/form-data; boundary=x"}
            connection.request("POST", "/v1/segment", bodies[i % len(bodies)], kind)
            answer = connection.getresponse()
            content = answer.read()
            times.append(time.perf_counter() - begun)
            if answer.status != 200 or not content.startswith(b"\x89PNG"):
                errors.append(f"{answer.status}: {content[:80]!r}")

    threads = [threading.Thread(target=ask, args=(i,)) for i in range(clients)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    took = time.perf_counter() - start
    p50, p90, p99 = 1000 * np.percentile(times, (50, 90, 99))
    found = {"photos/s": len(times) / took, "p50": p50, "p90": p90, "p99": p99}
    return found | {"errors": len(errors)}


def network(seconds: float) -> float:
    """Photos a second of the network alone."""
    import upscore

    segmenter = upscore.load(MODEL)
    shown = segmenter.resized(resized(read(samples()["cat"]), (HEIGHT, WIDTH))[None])
    down, right = (-side % 32 for side in shown.shape[1:3])
    shown = np.pad(shown, ((0, 0), (0, down), (0, right), (0, 0)), mode="edge")
    for _ in range(3):
        segmenter.engine.scores(shown)
    count, start = 0, time.perf_counter()
    while time.perf_counter() < start + seconds:
        segmenter.engine.scores(shown)
        count += 1
    return count / (time.perf_counter() - start)


def main() -> None:
    parser: argparse.ArgumentParser = arguments(__doc__ or "")
    parser.add_argument("--clients", type=int, nargs="*", default=(1, 8, 64))
    parser.set_defaults(rounds=3)
    parser.add_argument("--seconds", type=float, default=8.0)
    parser.add_argument("--batch", default="1", help="of upscore: photos that go together")
    parser.add_argument("--here", choices=("plain", "network"), help="used by itself")
    options = parser.parse_args()
    if options.here == "plain":
        return plain()
    if options.here == "network":
        return print(json.dumps(network(options.seconds)))
    me = [sys.executable, __file__, "--seconds", str(options.seconds)]
    ours = [sys.executable, "-m", "upscore", "serve", "--port", "0", "--model", MODEL]
    ours += ["--batch", options.batch]
    bodies, found, alone = photos(), [], []
    with running(ours) as first, running([*me, "--here", "plain"]) as second:
        ports = {"upscore": first, "plain": second}
        for port in ports.values():
            load(port, 8, 2, bodies)
        for number in range(options.rounds):
            run = subprocess.run([*me, "--here", "network"], capture_output=True, check=True)
            alone.append(json.loads(run.stdout))
            for clients in options.clients:
                for way, port in ports.items():
                    row = load(port, clients, options.seconds, bodies)
                    found.append({"way": way, "clients": clients, "round": number} | row)
    rows = []
    for clients in options.clients:
        for way in ports:
            these = [row for row in found if (row["way"], row["clients"]) == (way, clients)]
            row = {"way": way, "clients": clients}
            shares = [one["photos/s"] / alone[one["round"]] for one in these]
            row["photos/s"] = median(one["photos/s"] for one in these)
            row["of the network"] = f"{median(shares):.0%}"
            row |= {key: median(one[key] for one in these) for key in ("p50", "p90", "p99")}
            row["p99 / p50"] = row["p99"] / row["p50"]
            rows.append(row | {"errors": sum(one["errors"] for one in these)})
    show(f"The network alone: {median(alone):.1f} photos a second", rows)
    if options.json:
        write(options.json, network=alone, rows=rows, rounds=found)
    return None


if __name__ == "__main__":
    main()
