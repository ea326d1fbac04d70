"""Queries that compete for pixels against the plain expression: time, peak memory, and the floor.

    python benchmarks/assign.py [--only TEXT] [--json PATH]

`plain` is what EoMT and Mask2Former do with PyTorch: resize the queries' masks, once or twice, take
the sigmoid, the largest product with the weights, and the pixels of each query: won and its own.
The floor is reading the scores and writing labels and `inside` at the bandwidth measured in the
same run. `MB` is the peak of the process beyond what it held before the call, the results counted.
The labels are first found to agree.
"""

from collections.abc import Callable
from typing import Any

import torch
from torch.nn import functional as F

import upscore
from _timing import arguments, in_turn, milliseconds, ratio, show, write
from heads import bandwidth, peak

Steps = dict[str, tuple[int, int]]

SIZE = (1080, 1920)
CASES: list[tuple[str, tuple[int, int, int], Steps]] = [
    # queries x h x w; EoMT's photo is 360 x 640 of 640 x 640
    ("once", (100, 160, 160), {}),
    ("EoMT", (200, 160, 160), {"through": (640, 640), "crop": (360, 640)}),
]


def blobs(shape: tuple[int, int, int]) -> torch.Tensor:
    """Masks that cover a fifth of a photo each, with smooth edges, as a trained network's do."""
    coarse = torch.randn(1, shape[0], 11, 11, generator=torch.Generator().manual_seed(0))
    return 8 * F.interpolate(coarse, shape[1:], mode="bicubic")[0] - 6


def noise(shape: tuple[int, int, int]) -> torch.Tensor:
    """Masks of noise, where every pixel is an edge: the worst case."""
    return 3 * torch.randn(shape, generator=torch.Generator().manual_seed(0))


def plain(scores: torch.Tensor, weights: torch.Tensor, steps: Steps) -> tuple[torch.Tensor, ...]:
    """Labels, pixels won and pixels of their own."""
    full = scores[None]
    if steps:
        height, width = steps["crop"]
        full = F.interpolate(full, steps["through"], mode="bilinear")[..., :height, :width]
    probability = F.interpolate(full, SIZE, mode="bilinear")[0].sigmoid()
    labels = (weights[:, None, None] * probability).argmax(0)
    won = torch.bincount(labels.flatten(), minlength=len(weights))
    return labels, won, (probability >= 0.5).sum((1, 2))


def row(name: str, scores: torch.Tensor, steps: Steps, rate: float, rounds: int) -> dict[str, Any]:
    """Time one case."""
    weights = torch.rand(len(scores), generator=torch.Generator().manual_seed(1))
    calls: dict[str, Callable[[], Any]] = {
        "fused": lambda: upscore.assign(scores, weights, SIZE, **steps),
        "plain": lambda: plain(scores, weights, steps),
    }
    agree = (calls["fused"]().labels == calls["plain"]()[0]).float().mean().item()
    if agree < 0.999:
        raise SystemExit(f"{name}: only {agree:.3%} of the labels are PyTorch's")
    times = in_turn(calls, rounds=rounds)
    return {
        "case": name,
        **{f"{call} ms": value for call, value in milliseconds(times).items()},
        "floor ms": 1e3 * (scores.nbytes + 2 * SIZE[0] * SIZE[1]) / rate,
        "x plain": ratio(times, "plain", "fused"),
        **{f"{call} MB": peak(calls[call]) for call in calls},
    }


def main() -> None:
    options = arguments(__doc__.split("\n")[0]).parse_args()
    rate = bandwidth()
    print(f"memory: {rate / 1e9:.1f} GB/s")
    rows = []
    for kind, shape, steps in CASES:
        for make in (blobs, noise):
            size = "x".join(map(str, SIZE))
            name = f"{kind}, {make.__name__}: {'x'.join(map(str, shape))} -> {size}"
            if options.only in name:
                rows.append(row(name, make(shape), steps, rate, options.rounds))
    show("Queries that compete for pixels", rows)
    if options.json:
        write(options.json, bandwidth=rate, assign=rows)


if __name__ == "__main__":
    main()
