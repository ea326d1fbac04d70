"""Label maps of volumes against the ways people make them: time, peak memory, and the floor.

    python benchmarks/volumes.py [--only TEXT] [--json PATH]

Install the peers with `pip install upscore[bench]`. `trilinear` is PyTorch's interpolation of all
classes and argmax. `nnU-Net` is what its `resample_data_or_seg_to_shape` does with order 1, class
by class with scikit-image: timed once, on one class, and counted times the classes, without argmax.
The floor is reading the scores and writing the labels at the bandwidth measured in the same run.
`MB` is the peak of the process beyond what it held before the call, the labels counted. The labels
are first found to agree with PyTorch's, where its full-resolution scores fit in memory; where they
do not, `trilinear` is left out.
"""

import time
from collections.abc import Callable
from typing import Any

import numpy as np
import torch
from torch.nn import functional as F

import upscore
from _timing import arguments, in_turn, milliseconds, ratio, show, write
from heads import bandwidth, peak

CASES = [
    # scores C x d x h x w, labels D x H x W
    ((14, 20, 320, 320), (20, 640, 640)),
    ((105, 50, 100, 100), (200, 200, 200)),
    ((105, 200, 200, 200), (400, 400, 400)),
    ((25, 160, 133, 134), (512, 512, 321)),
]
MOST_BYTES = 12e9  # of full-resolution scores that a peer may hold


def blobs(shape: tuple[int, ...]) -> torch.Tensor:
    """Scores of which few compete in one place, as a trained network's do."""
    generator = torch.Generator().manual_seed(0)
    coarse = torch.randn(1, shape[0], *(n // 8 + 1 for n in shape[1:]), generator=generator)
    return 10 * F.interpolate(coarse, shape[1:], mode="trilinear")[0]


def nnunet_seconds(scores: torch.Tensor, size: tuple[int, int, int]) -> float:
    """What nnU-Net's resampling takes, from one class of all."""
    from skimage.transform import resize

    one = scores[0].numpy().astype(float)
    start = time.perf_counter()
    resize(one, size, 1, mode="edge", anti_aliasing=False)
    return (time.perf_counter() - start) * len(scores)


def row(
    shape: tuple[int, ...], size: tuple[int, int, int], rate: float, rounds: int
) -> dict[str, Any]:
    """Time one case."""
    scores = blobs(shape)
    pixels = size[0] * size[1] * size[2]
    name = f"{'x'.join(map(str, shape))} -> {'x'.join(map(str, size))}"

    def fused() -> torch.Tensor:
        return upscore.argmax(scores, size)

    def trilinear() -> torch.Tensor:
        return F.interpolate(scores[None], size, mode="trilinear")[0].argmax(0)

    calls: dict[str, Callable[[], Any]] = {"fused": fused}
    if 4 * shape[0] * pixels < MOST_BYTES:
        calls["trilinear"] = trilinear
        agree = np.mean(np.asarray(fused()) == np.asarray(trilinear()))
        if agree < 0.999:
            raise SystemExit(f"{name}: only {agree:.3%} of the labels are PyTorch's")
    times = in_turn(calls, rounds=rounds)
    ms = milliseconds(times)
    nnunet = nnunet_seconds(scores, size)
    return {
        "case": name,
        **{f"{call} ms": value for call, value in ms.items()},
        "nnU-Net ms": 1e3 * nnunet,
        "floor ms": 1e3 * (scores.nbytes + pixels) / rate,
        "x trilinear": ratio(times, "trilinear", "fused") if "trilinear" in calls else "",
        "x nnU-Net": 1e3 * nnunet / ms["fused"],
        "labels MB": pixels / 2**20,
        **{f"{call} MB": peak(calls[call]) for call in calls},
    }


def main() -> None:
    options = arguments(__doc__.split("\n")[0]).parse_args()
    rate = bandwidth()
    print(f"memory: {rate / 1e9:.1f} GB/s")
    rows = []
    for shape, size in CASES:
        if options.only in f"{'x'.join(map(str, shape))} -> {'x'.join(map(str, size))}":
            rows.append(row(shape, size, rate, min(options.rounds, 3)))
    show("Labels of volumes", rows)
    if options.json:
        write(options.json, bandwidth=rate, volumes=rows)


if __name__ == "__main__":
    main()
