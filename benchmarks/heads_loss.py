"""The fused cross-entropy on the CPU against PyTorch: time, peak memory, and the floor.

    python benchmarks/heads_loss.py [--only TEXT] [--json PATH]

Forward and backward, in turn in one run, with the labels most likely under the scores plus noise.
The floor is what reading the scores and the target and writing the gradient take at the bandwidth
measured in the same run. `MB` is the peak of the process beyond what it held before the call.
Nothing is timed before loss and gradient were found to agree with PyTorch's.
"""

from typing import Any

import torch
from torch.nn import functional as F

import upscore
from _timing import arguments, geometric_mean, in_turn, milliseconds, ratio, show, write
from heads import bandwidth, peak

CASES = [
    # scores N x C x h x w, target H x W; the last is a step of training
    ((8, 11, 45, 60), (360, 480)),
    ((1, 19, 128, 256), (1024, 2048)),
    ((2, 150, 128, 128), (512, 512)),
    ((16, 7, 88, 88), (352, 352)),
]


def plain(scores: torch.Tensor, target: torch.Tensor) -> torch.Tensor:
    """What the fused loss replaces."""
    full = F.interpolate(scores, target.shape[-2:], mode="bilinear")
    return F.cross_entropy(full, target, ignore_index=255)


def row(shape: tuple[int, ...], size: tuple[int, int], rate: float, rounds: int) -> dict[str, Any]:
    """Time one case."""
    name = f"{'x'.join(map(str, shape))} -> {size[0]}x{size[1]}"
    generator = torch.Generator().manual_seed(0)
    scores = (3 * torch.randn(shape, generator=generator)).requires_grad_()
    noisy = scores.detach() + torch.randn(shape, generator=generator)
    target = F.interpolate(noisy, size, mode="bilinear").argmax(1)
    losses = {"eager": plain, "compiled": torch.compile(plain, dynamic=False)}
    losses["fused"] = lambda scores, target: upscore.cross_entropy(scores, target, backend="cpu")
    small = target.to(torch.uint8)

    def step(name: str) -> tuple[torch.Tensor, torch.Tensor]:
        loss = losses[name](scores, small if name == "fused" else target)
        return loss.detach(), torch.autograd.grad(loss, scores)[0]

    torch.testing.assert_close(step("fused"), step("eager"), rtol=1e-4, atol=1e-9)
    calls = {name: lambda name=name: step(name) for name in losses}
    times = in_turn(calls, rounds=rounds)
    memory = {f"{name} MB": peak(calls[name]) for name in ("eager", "fused")}
    return {
        "case": name,
        **{f"{name} ms": value for name, value in milliseconds(times).items()},
        "floor ms": 1e3 * (2 * scores.nbytes + small.nbytes) / rate,
        "x eager": ratio(times, "eager", "fused"),
        "x compiled": ratio(times, "compiled", "fused"),
        **memory,
        "memory / eager": memory["fused MB"] / memory["eager MB"],
    }


def main() -> None:
    options = arguments(__doc__.split("\n")[0]).parse_args()
    rate = bandwidth()
    print(f"memory: {rate / 1e9:.1f} GB/s")
    rows = [
        row(shape, size, rate, options.rounds)
        for shape, size in CASES
        if options.only in f"{'x'.join(map(str, shape))} -> {size[0]}x{size[1]}"
    ]
    show("Interpolation and cross-entropy, forward and backward", rows)
    if len(rows) > 1:
        print(f"geometric mean: {geometric_mean([r['x eager'] for r in rows]):.1f} x eager")
    if options.json:
        write(options.json, bandwidth=rate, loss=rows)


if __name__ == "__main__":
    main()
