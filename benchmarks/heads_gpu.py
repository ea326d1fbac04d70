"""The fused heads on a GPU against PyTorch, eager and compiled: time, peak memory, and the floor.

    python benchmarks/heads_gpu.py [--only TEXT] [--json PATH]

The floor is what reading the scores and writing the result take at the bandwidth measured in the
same run; `of floor` is the share of it that the fused head reaches. Nothing is timed that was not
first found to agree with PyTorch.
"""

from collections.abc import Callable
from functools import partial
from itertools import product
from typing import Any

import torch
from torch.nn import functional as F

import upscore
from _timing import arguments, in_turn, milliseconds, ratio, show, write

LABELS = [
    # scores N x C x h x w, labels H x W
    ((1, 19, 128, 256), (1024, 2048)),
    ((1, 150, 128, 128), (1080, 1920)),
    ((1, 19, 256, 512), (4096, 8192)),
    ((16, 21, 64, 64), (500, 375)),
    ((16, 150, 128, 128), (512, 683)),
    ((32, 19, 128, 256), (1024, 2048)),
]
LOSS = [
    ((8, 11, 45, 60), (360, 480)),
    ((1, 19, 128, 256), (1024, 2048)),
    ((2, 150, 128, 128), (512, 512)),
    ((16, 150, 128, 128), (512, 512)),
]
MASKS = [
    # scores N x h x w, size of the masks
    ((192, 256, 256), (1080, 1920)),
    ((100, 96, 96), (480, 640)),
]


def bandwidth() -> float:
    """Bytes a second of copying a gigabyte, read and write counted."""
    a = torch.empty(2**28, device="cuda")
    b = torch.empty_like(a)
    times = in_turn({"copy": lambda: b.copy_(a)}, synchronise=torch.cuda.synchronize)
    return 2 * a.nbytes / min(times["copy"])


def peak(call: Callable[[], object]) -> float:
    """Megabytes beyond what was held before the call; its result counts."""
    call()
    torch.cuda.synchronize()
    before = torch.cuda.memory_allocated()
    torch.cuda.reset_peak_memory_stats()
    call()
    torch.cuda.synchronize()
    return (torch.cuda.max_memory_allocated() - before) / 2**20


def made(shape: tuple[int, ...], smooth: bool) -> torch.Tensor:
    """Random scores, or smooth ones on which few classes compete in one place, as a network's."""
    if not smooth:
        return torch.randn(shape, device="cuda")
    n, classes, h, w = shape
    coarse = torch.randn(n, classes, h // 8 + 1, w // 8 + 1, device="cuda")
    return 10 * F.interpolate(coarse, (h, w), mode="bicubic") + 0.1 * made(shape, False)


def row(
    name: str, calls: dict[str, Callable[[], object]], moved: int, rate: float, rounds: int
) -> dict[str, Any]:
    times = in_turn(calls, rounds=rounds, synchronise=torch.cuda.synchronize)
    floor = 1e3 * moved / rate
    fused = milliseconds(times)["fused"]
    return {
        "case": name,
        **{f"{call} ms": ms for call, ms in milliseconds(times).items()},
        "x eager": ratio(times, "eager", "fused"),
        "x compiled": ratio(times, "compiled", "fused"),
        "floor ms": floor,
        "of floor": floor / fused,
        **{f"{call} MB": peak(calls[call]) for call in calls},
    }


def label_rows(rate: float, only: str, rounds: int) -> list[dict[str, Any]]:
    def eager(scores: torch.Tensor, size: tuple[int, int]) -> torch.Tensor:
        return F.interpolate(scores, size, mode="bilinear").argmax(1)

    rows = []
    for shape, size in LABELS:
        for kind, dtype in (("smooth", "float32"), ("smooth", "bfloat16"), ("random", "float32")):
            name = f"{'x'.join(map(str, shape))} -> {size[0]}x{size[1]} {kind} {dtype}"
            if only not in name:
                continue
            scores = made(shape, kind == "smooth").to(getattr(torch, dtype))
            compiled = torch.compile(eager)
            labels = upscore.argmax(scores, size, backend="gpu")
            agree = (labels == eager(scores.float(), size)).float().mean()
            if agree < 0.9999:
                raise SystemExit(f"{name}: only {agree:.4%} of the labels are PyTorch's")
            calls = {
                "fused": lambda: upscore.argmax(scores, size, backend="gpu"),  # noqa: B023
                "eager": lambda: eager(scores, size),  # noqa: B023
                "compiled": lambda: compiled(scores, size),  # noqa: B023
            }
            rows.append(row(name, calls, scores.nbytes + labels.nbytes, rate, rounds))
    return rows


def full_size(scores: torch.Tensor, target: torch.Tensor) -> torch.Tensor:
    return F.interpolate(scores, target.shape[-2:], mode="bilinear")


def cross_entropy(scores: torch.Tensor, target: torch.Tensor) -> torch.Tensor:
    return F.cross_entropy(full_size(scores, target), target, ignore_index=255)


def dice(scores: torch.Tensor, target: torch.Tensor) -> torch.Tensor:
    p = full_size(scores, target).softmax(1)
    valid = target != 255
    true = F.one_hot(target.where(valid, 0), scores.shape[1]).movedim(-1, 1)
    p, true = p * valid[:, None], true * valid[:, None]
    hits, pixels = (p * true).sum((0, 2, 3)), (p + true).sum((0, 2, 3))
    return 1 - (2 * hits / pixels.clamp(min=1e-7)).mean()


LOSSES: dict[str, tuple[Callable[..., torch.Tensor], Callable[..., torch.Tensor]]] = {
    "cross-entropy": (cross_entropy, upscore.cross_entropy),
    "dice": (dice, partial(upscore.dice, smooth=0)),
    "dice + cross-entropy": (
        lambda scores, target: dice(scores, target) + cross_entropy(scores, target),
        partial(upscore.dice, smooth=0, cross_entropy=1.0),
    ),
}


def loss_rows(rate: float, only: str, rounds: int) -> list[dict[str, Any]]:
    def gradient(loss: Callable[..., torch.Tensor], *case: torch.Tensor) -> torch.Tensor:
        return torch.autograd.grad(loss(*case), case[0])[0]

    rows = []
    for (loss, (eager, head)), (shape, size) in product(LOSSES.items(), LOSS):
        name = f"{loss} {'x'.join(map(str, shape))} -> {size[0]}x{size[1]} forward + backward"
        if only not in name:
            continue
        fused = partial(head, backend="gpu")
        scores = made(shape, smooth=True).requires_grad_()
        target = torch.randint(shape[1], (shape[0], *size), device="cuda")
        target[torch.rand(target.shape, device="cuda") < 0.05] = 255
        exact = gradient(eager, scores, target)
        off = float((gradient(fused, scores, target) - exact).norm() / exact.norm())
        if off > 1e-5:
            raise SystemExit(f"{name}: the gradient is {off:.1e} off PyTorch's")
        compiled = torch.compile(eager)
        calls = {
            "fused": lambda: gradient(fused, scores, target),  # noqa: B023
            "eager": lambda: gradient(eager, scores, target),  # noqa: B023
            "compiled": lambda: gradient(compiled, scores, target),  # noqa: B023
        }
        # Scores and labels are read, a gradient is written.
        rows.append(row(name, calls, 2 * scores.nbytes + target.nbytes, rate, rounds))
    return rows


def mask_rows(rate: float, only: str, rounds: int) -> list[dict[str, Any]]:
    def eager(scores: torch.Tensor, size: tuple[int, int]) -> torch.Tensor:
        return F.interpolate(scores[None], size, mode="bilinear")[0] > 0

    rows = []
    for shape, size in MASKS:
        for dense in (False, True):
            kind = "dense" if dense else "runs"
            name = f"{'x'.join(map(str, shape))} -> {size[0]}x{size[1]} {kind}"
            if only not in name:
                continue
            scores = made((1, *shape), smooth=True)[0]
            compiled = torch.compile(eager)
            found = upscore.masks(scores, size, backend="gpu").dense()
            agree = (found == eager(scores, size)).float().mean()
            if agree < 0.9999:
                raise SystemExit(f"{name}: only {agree:.4%} of the pixels are PyTorch's")

            def fused() -> object:
                masks = upscore.masks(scores, size, backend="gpu")  # noqa: B023
                return masks.dense(out=found) if dense else masks  # noqa: B023

            calls = {
                "fused": fused,
                "eager": lambda: eager(scores, size),  # noqa: B023
                "compiled": lambda: compiled(scores, size),  # noqa: B023
            }
            # The scores are read, pixels are written where they are asked for.
            rows.append(row(name, calls, scores.nbytes + dense * found.nbytes, rate, rounds))
    return rows


def main() -> None:
    options = arguments(__doc__.splitlines()[0]).parse_args()
    if not torch.cuda.is_available():
        raise SystemExit("No CUDA device is available: nothing was measured.")
    rate = bandwidth()
    print(f"{torch.cuda.get_device_name()}, {rate / 1e9:.0f} GB/s copied")
    tables = {
        "labels": label_rows(rate, options.only, options.rounds),
        "loss": loss_rows(rate, options.only, options.rounds),
        "masks": mask_rows(rate, options.only, options.rounds),
    }
    for title, rows in tables.items():
        if rows:
            show(title, rows)
    if options.json:
        write(options.json, bandwidth=rate, **tables)


if __name__ == "__main__":
    main()
