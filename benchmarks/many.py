"""Many photos, from files to files: photos a second by one process, by several, and on Ray.

    python benchmarks/many.py [--only TEXT] [--photos N] [--size HxW] [--rounds N] [--json PATH]

Install with `pip install 'upscore[bench,ray]'`. The photos are JPEGs, windows of those that come
with the package; labels and overlays are written by all. `plain loop` decodes a photo, labels it,
writes its results, and takes the next. `1 process` and `2 processes` are `predict_files`, with
`jobs` of the same number; `Ray` has an actor a core, on this machine. A figure holds the start of
processes and actors, which is why there are many photos; the cluster itself runs already.

The second table is what a photo asks of a machine: bytes in and out, and seconds of each step in
one process that does one thing at a time. From it docs/benchmarks/large.md derives what many
machines need.
"""

import tempfile
from argparse import Namespace
from collections.abc import Callable, Sequence
from functools import partial
from pathlib import Path
from statistics import mean
from typing import Any

import numpy as np
from PIL import Image

from _timing import arguments, in_turn, milliseconds, ratio, show, write
from upscore.images import read, resized, samples
from upscore.prediction.batch import predict_files
from upscore.prediction.predictor import Predictor
from upscore.prediction.steps import Steps

MARGIN = 64
PLAIN = "plain loop"


def make(folder: Path, count: int, height: int, width: int) -> list[Path]:
    """Write JPEGs that all differ."""
    photos = [resized(read(p), (height + MARGIN, width + MARGIN)) for p in samples().values()]
    random = np.random.default_rng(0)
    folder.mkdir()
    paths = []
    for i in range(count):
        top, left = random.integers(0, MARGIN + 1, 2)
        window = photos[i % len(photos)][top : top + height, left : left + width]
        paths.append(folder / f"{i:05}.jpg")
        Image.fromarray(window).save(paths[-1], quality=90)
    return paths


def plain_loop(predictor: Predictor, paths: Sequence[Path], out: Path) -> None:
    """One photo after the other."""
    for path in paths:
        predictor(path).save(out, path.stem)


def on_ray(paths: Sequence[Path], out: Path) -> None:
    """An actor a core."""
    from upscore.prediction.ray import labelled

    rows = [{"id": path.stem, "uri": str(path)} for path in paths]
    failed = [row for row in labelled(rows, "bundled", str(out)) if row["status"] != "ok"]
    assert not failed, failed


def by_processes(jobs: int, paths: Sequence[Path], out: Path) -> None:
    """`upscore predict --jobs`."""
    summary = predict_files(paths, out, jobs=jobs, progress=False)
    assert not summary.failed, summary.failed


def ways(paths: Sequence[Path], out: Path, only: str) -> dict[str, Callable[[], object]]:
    """The plain loop, and the ways whose name contains `only`."""
    calls: dict[str, Callable[[], object]] = {
        "1 process": partial(by_processes, 1, paths, out / "1"),
        "2 processes": partial(by_processes, 2, paths, out / "2"),
        "Ray": partial(on_ray, paths, out / "ray"),
    }
    plain = partial(plain_loop, Predictor(), paths, out / "plain")
    return {PLAIN: plain} | {name: call for name, call in calls.items() if only in name}


def demand(paths: Sequence[Path], out: Path) -> dict[str, float]:
    """What a photo asks of a machine, on average."""
    steps = Steps(Predictor(), out)
    steps.one(paths[0], "warm")
    records = [steps.one(path, path.stem) for path in paths]
    results = [(out / record["labels"], out / record["overlay"]) for record in records]
    found = {"kB in": mean(path.stat().st_size for path in paths) / 1e3}
    found["kB labels"] = mean(labels.stat().st_size for labels, _ in results) / 1e3
    found["kB overlay"] = mean(overlay.stat().st_size for _, overlay in results) / 1e3
    for step in ("read", "label", "write"):
        found[f"ms {step}"] = 1e3 * mean(record["seconds"][step] for record in records)
    return found


def run(options: Namespace, folder: Path) -> dict[str, Any]:
    """Time, print, and return the rows."""
    height, width = map(int, options.size.split("x"))
    paths = make(folder / "photos", options.photos, height, width)
    calls = ways(paths, folder, options.only)
    times = in_turn(calls, rounds=options.rounds, seconds=0)
    rows = [
        {
            "way": name,
            "photos a second": 1e3 * len(paths) / ms,
            f"x {PLAIN}": ratio(times, PLAIN, name),
        }
        for name, ms in milliseconds(times).items()
    ]
    show(f"{len(paths)} photos of {options.size}", rows)
    asked = [demand(paths, folder / "demand")]
    show("A photo", asked)
    return {"photos": len(paths), "size": options.size, "rows": rows, "photo": asked[0]}


def main() -> None:
    """See the module's text."""
    parser = arguments(__doc__ or "")
    parser.add_argument("--photos", type=int, default=500)
    parser.add_argument("--size", default="352x480", metavar="HxW")
    options = parser.parse_args()
    with tempfile.TemporaryDirectory() as folder:
        found = run(options, Path(folder))
    if options.json:
        write(options.json, **found)


if __name__ == "__main__":
    main()
