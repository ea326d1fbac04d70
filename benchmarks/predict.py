"""Photos to label maps on the CPU, upscore's engines against other libraries, and the floor.

    python benchmarks/predict.py [--only TEXT] [--sizes HxW ...] [--photos N] [--threads N]
                                 [--busy] [--json PATH]

Install the peers with `pip install upscore[bench]`. Everything is timed in turn in
one run. The first part starts from a decoded photo (uint8, H x W x 3) and ends with its label map
(uint8, H x W); the second shows our engines several photos of one size at once; the third goes from
photo files to label files.

"plain torch" is the bundled network in eager PyTorch, channels last, then `upscore.argmax`. The
peers have random weights, seven classes as the bundled model, and the same input size. Each runs in
five forms, with everything from uint8 photo to uint8 labels inside the compiled graph: their heads
are faster there than behind it. Nothing of ours is timed that was not first found to agree with
plain torch, nor a float32 form of a peer that does not agree with its eager form.

The floor is the multiply-adds of the bundled network over the rate of a large matrix product in the
same run. `--busy` times our engines again beside busy loops on the same cores; to see what passive
waiting is worth, run it with OMP_WAIT_POLICY=passive in the environment too.
"""

import os
import subprocess
import sys
import tempfile
import time
from argparse import Namespace
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from functools import partial
from pathlib import Path
from typing import Any

import numpy as np
import torch
from PIL import Image

import upscore
from _peers import (
    CLASSES,
    FORMS,
    LONG_SIDE,
    PEERS,
    Labeller,
    Labels,
    Peer,
    Photo,
    Size,
    check,
    resized,
)
from _timing import Times, arguments, in_turn, milliseconds, ratio, show, write
from upscore import models
from upscore.images import samples
from upscore.inference.segmenter import Segmenter
from upscore.prediction.batch import predict_files

FIRST_SIZE = (352, 480)  # the long side the bundled model knows; multiples of 32: nothing is padded
SECOND_SIZE = (1056, 1440)  # three times that: every network still sees 352 x 480
PLAIN = "plain torch"
ENGINES = (
    # engine, precision, the least share of labels that must be plain torch's
    ("onnxruntime", "float32", 0.999),
    ("openvino", "float32", 0.999),
    ("openvino", "bfloat16", 0.99),
    ("torch", "float32", 0.999),
)
BATCH_SIZES = (1, 2, 4, 8)
SECONDS = 0.3  # that one figure of one photo lasts
SPIN = """
import os
parent = os.getppid()
while os.getppid() == parent:
    sum(range(100_000))
"""


def sample(name: str, size: Size) -> Photo:
    """A photo that comes with upscore, at a size."""
    image = Image.open(samples()[name]).convert("RGB").resize(size[::-1], Image.Resampling.LANCZOS)
    return np.array(image)  # a copy: PyTorch wants arrays that can be written


def plain_torch() -> Labeller:
    """The bundled network as PyTorch runs it when nothing else is asked for."""
    network, spec = models.load("bundled")
    network.to(memory_format=torch.channels_last)

    @torch.inference_mode()
    def label(photo: Photo) -> Labels:
        pixels, stride = torch.from_numpy(photo), network.stride
        if max(pixels.shape) != LONG_SIDE:
            pixels, stride = resized(pixels, stride), None
        scores = network(models.normalise(pixels.permute(2, 0, 1)[None], spec))
        return np.asarray(upscore.argmax(scores, photo.shape[:2], stride=stride)[0])

    return label


def ours(only: str, sizes: list[Size], plain: Labeller) -> dict[str, Segmenter]:
    """Our engines whose name contains `only`, each found to agree with plain torch."""
    found = {}
    for engine, precision, least in ENGINES:
        name = f"upscore, {engine} {precision}"
        if only in name:
            found[name] = upscore.load("bundled", engine=engine, precision=precision)
            for photo in (sample(each, size) for each in samples() for size in sizes):
                check(name, found[name].labels(photo), plain(photo), least)
    return found


def theirs(
    only: str, photo: Photo, folder: Path, threads: int, forms: tuple[str, ...]
) -> dict[str, Labeller]:
    """The peers in the forms whose name contains `only`."""
    calls = {}
    for name in PEERS:
        peer = Peer(name, photo, folder, threads)
        calls |= {
            f"{name}, {form}": peer.labeller(form) for form in forms if only in f"{name}, {form}"
        }
    return calls


def best_forms(times: Times) -> dict[str, str]:
    """The fastest contender of each peer."""
    best = {}
    for peer in PEERS:
        forms = [name for name in times if name.startswith(f"{peer}, ")]
        if forms:
            best[peer] = min(forms, key=milliseconds(times).__getitem__)
    return best


def time_photo(calls: Mapping[str, Labeller], photo: Photo, rounds: int) -> Times:
    """Seconds from one decoded photo to its labels."""
    bound = {name: partial(call, photo) for name, call in calls.items()}
    return in_turn(bound, rounds=rounds, seconds=SECONDS, untimed=1)


def photo_rows(times: Times, calls: Mapping[str, Labeller], photo: Photo) -> list[dict[str, Any]]:
    """Milliseconds, how many times faster than plain torch, and the share of labels that agree.

    Ours are compared with plain torch, a peer's forms with its eager one. With random weights
    classes compete everywhere, so that a peer's bfloat16 says nothing about a trained model's.
    """
    rows = []
    for name, ms in milliseconds(times).items():
        owner = name.split(",")[0]
        truth = f"{owner}, eager" if owner in PEERS else PLAIN
        rows.append(
            {
                "contender": name,
                "ms": ms,
                "x plain torch": ratio(times, PLAIN, name),
                "agrees": _agreement(calls[name], calls[truth], photo) if truth in calls else "",
            }
        )
    return rows


def _agreement(call: Labeller, truth: Labeller, photo: Photo) -> str:
    return f"{np.mean(call(photo) == truth(photo)):.3%}"


def against_rows(times: Times) -> list[dict[str, Any]]:
    """How many times faster ours are than each peer's best form."""
    best = best_forms(times)
    return [
        {
            "contender": name,
            **{f"x {other}": ratio(times, other, name) for other in best.values()},
        }
        for name in times
        if best and (name == PLAIN or name.startswith("upscore"))
    ]


def batch_rows(
    segmenters: Mapping[str, Segmenter], photo: Photo, rounds: int
) -> list[dict[str, Any]]:
    """Milliseconds a photo for several photos of one size at once."""
    rows = []
    for name, segmenter in segmenters.items():
        calls = {
            count: partial(segmenter.labels, np.stack([photo] * count)) for count in BATCH_SIZES
        }
        times = in_turn({str(count): call for count, call in calls.items()}, rounds=rounds)
        per_photo = {count: ms / int(count) for count, ms in milliseconds(times).items()}
        rows.append({"engine": name} | {f"{count} at once": ms for count, ms in per_photo.items()})
    return rows


def files(folder: Path, count: int) -> list[Path]:
    """Write JPEGs of 352 x 480: windows of the photos that come with upscore."""
    height, width = FIRST_SIZE
    margin = 64
    photos = [sample(name, (height + margin, width + margin)) for name in samples()]
    random = np.random.default_rng(0)
    paths = []
    for i in range(count):
        top, left = random.integers(0, margin + 1, 2)
        window = photos[i % len(photos)][top : top + height, left : left + width]
        paths.append(folder / f"{i:03}.jpg")
        Image.fromarray(window).save(paths[-1], quality=90)
    return paths


def label_files(call: Labeller, paths: list[Path], out: Path) -> None:
    """The plain loop: decode a photo, label it, write a palette PNG."""
    palette = np.random.default_rng(0).integers(0, 256, 3 * CLASSES, np.uint8).tobytes()
    for path in paths:
        photo = np.array(Image.open(path).convert("RGB"))
        image = Image.fromarray(call(photo))
        image.putpalette(palette)
        image.save(out / f"{path.stem}.png")


def files_rows(
    calls: Mapping[str, Labeller],
    segmenters: Mapping[str, Segmenter],
    rounds: int,
    count: int,
    folder: Path,
) -> list[dict[str, Any]]:
    """Time files to files: everyone by the plain loop, ours by `predict_files` too."""
    out, photos = folder / "labels", folder / "photos"
    out.mkdir()
    photos.mkdir()
    paths = files(photos, count)
    loops = {name: partial(label_files, call, paths, out) for name, call in calls.items()}
    whole = {
        f"{name}, predict_files": partial(
            predict_files, paths, folder / "predicted", segmenter, progress=False
        )
        for name, segmenter in segmenters.items()
    }
    times = in_turn({**loops, **whole}, rounds=rounds, seconds=0)
    return [
        {
            "contender": name,
            "writes": "labels, overlays, summary" if name in whole else "labels",
            "ms a photo": ms / count,
            "photos a second": 1e3 * count / ms,
            "x plain torch": ratio(times, PLAIN, name),
        }
        for name, ms in milliseconds(times).items()
    ]


def multiply_adds(size: Size) -> int:
    """Multiply-adds of the bundled network's convolutions on a photo of a size."""
    network, _ = models.load("bundled")
    total = 0

    def count(module: Any, inputs: tuple[torch.Tensor, ...], output: torch.Tensor) -> None:
        nonlocal total
        # A convolution multiplies each output value's window, a transposed one each input value's.
        many = inputs[0] if "Transpose" in type(module).__name__ else output
        total += many.numel() * module.weight[0].numel()

    for module in network.modules():
        if getattr(module, "kernel_size", None) is not None and hasattr(module, "weight"):
            module.register_forward_hook(count)
    with torch.inference_mode():
        network(torch.zeros(1, 3, *size))
    return total


def matmul_rate(dtype: torch.dtype) -> float:
    """Multiply-adds a second of the product of two matrices of 2048 x 2048."""
    n = 2048
    a, b = (torch.randn(n, n).to(dtype) for _ in range(2))
    return n**3 / min(in_turn({"product": lambda: a @ b}, seconds=0.1)["product"])


def floor() -> dict[str, float]:
    """Milliseconds that the network's multiply-adds take at the rate of a matrix product."""
    needed = multiply_adds(FIRST_SIZE)
    found: dict[str, float] = {"multiply-adds": needed}
    for dtype in (torch.float32, torch.bfloat16):
        name, rate = str(dtype).removeprefix("torch."), matmul_rate(dtype)
        found |= {f"{name} multiply-adds a second": rate, f"{name} floor ms": 1e3 * needed / rate}
    return found


@contextmanager
def spinning(processes: int) -> Iterator[None]:
    """Run busy loops on our cores; they end with the block, or soon after this process.

    They are not bound to a core each: which threads have to share one is the scheduler's choice,
    and a thread that spins while it waits makes that choice worse.
    """
    started = [subprocess.Popen([sys.executable, "-c", SPIN]) for _ in range(processes)]
    try:
        time.sleep(1)  # until Python has started
        yield
    finally:
        for process in started:
            process.kill()
            process.wait()


def busy_rows(
    calls: Mapping[str, Labeller], photo: Photo, rounds: int, cores: int
) -> list[dict[str, Any]]:
    """One photo with the cores to itself, beside one busy loop, and beside one for each core."""
    idle = time_photo(calls, photo, rounds)
    rows = {name: {"contender": name, "idle ms": ms} for name, ms in milliseconds(idle).items()}
    bound = {name: partial(call, photo) for name, call in calls.items()}
    for processes in sorted({1, cores}):
        with spinning(processes):
            times = in_turn(bound, rounds=2 * rounds, seconds=0)  # a figure is one call
        for name, ms in milliseconds(times).items():
            rows[name] |= {
                f"{processes} busy ms": ms,
                f"{processes} busy worst": 1e3 * max(times[name]),
                f"{processes} busy x idle": ms / rows[name]["idle ms"],
            }
    return list(rows.values())


def run(options: Namespace, folder: Path) -> dict[str, Any]:
    """Time what the options ask for, print the tables, and return the rows."""
    plain = plain_torch()
    segmenters = ours(options.only, options.sizes, plain)
    mine = {PLAIN: plain, **{name: each.labels for name, each in segmenters.items()}}
    photos = {size: sample("cat", size) for size in options.sizes}
    if options.busy:
        photo = photos[options.sizes[0]]
        rows = busy_rows(mine, photo, options.rounds, options.threads)
        show("One photo beside busy loops on the same cores, milliseconds", rows)
        return {"busy": rows}
    result: dict[str, Any] = {"floor": floor()}
    print(", ".join(f"{name}: {value:.4g}" for name, value in result["floor"].items()))
    fastest: dict[str, Labeller] = {}
    for size, photo in photos.items():
        name = f"{size[0]}x{size[1]}"
        # Compiling takes half a minute a network: for the first size alone.
        forms = FORMS if not fastest else tuple(f for f in FORMS if f != "torch.compile")
        peers = theirs(options.only, photo, folder, options.threads, forms)
        calls = {**mine, **peers}
        times = time_photo(calls, photo, options.rounds)
        rows, against = photo_rows(times, calls, photo), against_rows(times)
        show(f"One photo of {name}, pixels to labels", rows)
        if against:
            show(f"One photo of {name}, times as fast as each peer's best form", against)
        result[name] = {"contenders": rows, "against": against}
        fastest = fastest or {**mine, **{b: peers[b] for b in best_forms(times).values()}}
    if segmenters:
        rows = batch_rows(segmenters, photos[options.sizes[0]], options.rounds)
        show("Several photos of the first size at once, milliseconds a photo", rows)
        result["batches"] = rows
    if options.photos:
        rows = files_rows(fastest, segmenters, min(options.rounds, 3), options.photos, folder)
        show(f"{options.photos} photos of 352x480, files to files", rows)
        result["files"] = rows
    return result


def parsed_size(text: str) -> Size:
    height, width = text.split("x")
    return int(height), int(width)


def main() -> None:
    parser = arguments(__doc__.split("\n")[0])
    parser.add_argument(
        "--sizes",
        type=parsed_size,
        nargs="+",
        default=[FIRST_SIZE, SECOND_SIZE],
        help="heights and widths of the one photo (default 352x480 1056x1440)",
    )
    parser.add_argument("--photos", type=int, default=50, help="files to label (default 50; 0: no)")
    parser.add_argument("--threads", type=int, help="cores to run on (default all)")
    parser.add_argument("--busy", action="store_true", help="our engines beside busy processes")
    options = parser.parse_args()
    cores = sorted(os.sched_getaffinity(0))
    options.threads = options.threads or len(cores)
    os.sched_setaffinity(0, cores[: options.threads])  # what thread pools made from now on see
    torch.set_num_threads(options.threads)
    with tempfile.TemporaryDirectory() as folder:
        result = run(options, Path(folder))
    if options.json:
        write(options.json, **result)


if __name__ == "__main__":
    main()
