"""Dice and its sums with cross-entropy on the CPU against the usual way: time, memory, the floor.

    python benchmarks/region_losses.py [--only TEXT] [--json PATH]

Forward and backward, in turn in one run, with the labels most likely under the scores plus noise;
int64 for the library, which takes nothing else, uint8 for upscore.
`library` interpolates, then calls segmentation-models-pytorch's DiceLoss and PyTorch's
cross-entropy; of volumes nnU-Net's loss, its steps written down here. `compiled` is the same by
torch.compile. The floor is what reading the scores and the target and writing the gradient take at
the bandwidth measured in the same run. `MB` is the peak of the process beyond what it held before
the call. Nothing is timed before loss and gradient were found to agree with the library's in
float64; `off` says how far its loss in float32 is from that, where sums of millions are rounded.
"""

from collections.abc import Callable
from typing import Any

import torch
from segmentation_models_pytorch.losses import DiceLoss
from torch import Tensor
from torch.nn import functional as F

import upscore
from _timing import arguments, geometric_mean, in_turn, milliseconds, ratio, show, write
from heads import bandwidth, peak

# what, scores N x C x ..., size of the target
CASES: list[tuple[str, tuple[int, ...], tuple[int, ...]]] = [
    ("dice", (8, 19, 128, 256), (512, 1024)),
    ("dice + ce", (8, 19, 128, 256), (512, 1024)),
    ("dice + bce", (8, 3, 88, 88), (352, 352)),
    ("dice + ce", (2, 25, 128, 128, 128), (128, 128, 128)),
]


def image_losses(what: str) -> Callable[[Tensor, Tensor], Tensor]:
    """The library's way for images."""
    multilabel = what.endswith("bce")
    dice = DiceLoss("multilabel" if multilabel else "multiclass")

    def loss(scores: Tensor, target: Tensor) -> Tensor:
        full = F.interpolate(scores, target.shape[-2:], mode="bilinear")
        found: Tensor = dice(full, target)
        if multilabel:
            return found + F.binary_cross_entropy_with_logits(full, target.float())
        return found + F.cross_entropy(full, target) if "+" in what else found

    return loss


def volume_loss(scores: Tensor, target: Tensor) -> Tensor:
    """DC_and_CE_loss of nnU-Net v2 (training/loss/compound_losses.py and dice.py), one process.

    Its MemoryEfficientSoftDiceLoss without the background, batch_dice=False, smooth=1e-5.
    """
    p = scores.softmax(1)[:, 1:]
    with torch.no_grad():
        onehot = torch.zeros(scores.shape, dtype=torch.bool)
        onehot.scatter_(1, target[:, None], 1)
        truth = onehot[:, 1:]
        true = truth.sum((2, 3, 4))
    hits, predicted = (p * truth).sum((2, 3, 4)), p.sum((2, 3, 4))
    dice = (2 * hits + 1e-5) / torch.clip(true + predicted + 1e-5, 1e-8)
    return F.cross_entropy(scores, target) - dice.mean()


def fused(what: str, scores: Tensor, target: Tensor) -> Tensor:
    """The same by upscore."""
    options: dict[str, Any] = {"cross_entropy": 1.0 if "+" in what else 0.0}
    if scores.ndim == 5:
        options |= {"smooth": 1e-5, "per_image": True, "classes": range(1, scores.shape[1])}
        return upscore.dice(scores, target, **options) - 1
    options["activation"] = "sigmoid" if what.endswith("bce") else "softmax"
    return upscore.dice(scores, target, smooth=0, absent="zero", **options)


def row(
    what: str, shape: tuple[int, ...], size: tuple[int, ...], rate: float, rounds: int
) -> dict[str, Any]:
    """Time one case."""
    generator = torch.Generator().manual_seed(0)
    scores = (3 * torch.randn(shape, generator=generator)).requires_grad_()
    mode = "bilinear" if len(size) == 2 else "trilinear"
    noisy = F.interpolate(scores.detach(), size, mode=mode)
    noisy += torch.randn(noisy.shape, generator=generator)
    target = (noisy > 0).long() if what.endswith("bce") else noisy.argmax(1)
    small = target.to(torch.uint8)
    del noisy
    usual = image_losses(what) if len(size) == 2 else volume_loss
    losses = {"library": usual, "compiled": torch.compile(usual, dynamic=False)}

    def step(name: str) -> tuple[Tensor, Tensor]:
        loss = fused(what, scores, small) if name == "fused" else losses[name](scores, target)
        return loss.detach(), torch.autograd.grad(loss, scores)[0]

    double = scores.detach().double().requires_grad_()
    truth = usual(double, target)
    gradient = torch.autograd.grad(truth, double)[0]
    found = [part.double() for part in step("fused")]
    torch.testing.assert_close(found, [truth.detach(), gradient], rtol=1e-4, atol=1e-9)
    off = abs(float(step("library")[0]) / float(truth.detach()) - 1)
    del double, gradient, found
    names = (*losses, "fused")
    # After a call of its own, whose memory it finds again: fresh pages can cost more than the loss.
    calls = {name: lambda name=name: step(name) for name in names}
    times = in_turn(calls, rounds=rounds, untimed=1)
    memory = {f"{name} MB": peak(lambda name=name: step(name)) for name in names}
    return {
        "case": f"{what}: {'x'.join(map(str, shape))} -> {'x'.join(map(str, size))}",
        **{f"{name} ms": value for name, value in milliseconds(times).items()},
        "floor ms": 1e3 * (2 * scores.nbytes + small.nbytes) / rate,
        "x library": ratio(times, "library", "fused"),
        "x compiled": ratio(times, "compiled", "fused"),
        "off %": 100 * off,
        **memory,
        "x memory": memory["library MB"] / max(memory["fused MB"], 0.01),
    }


def main() -> None:
    options = arguments(__doc__.split("\n")[0]).parse_args()
    rate = bandwidth()
    print(f"memory: {rate / 1e9:.1f} GB/s")
    rows = []
    for what, shape, size in CASES:
        if options.only in f"{what}: {'x'.join(map(str, shape))}":
            rows.append(row(what, shape, size, rate, min(options.rounds, 5)))
    show("Dice and cross-entropy, forward and backward", rows)
    for peer in ("library", "compiled"):
        print(f"geometric mean: {geometric_mean([row[f'x {peer}'] for row in rows]):.1f}x {peer}")
    if options.json:
        write(options.json, bandwidth=rate, losses=rows)


if __name__ == "__main__":
    main()
