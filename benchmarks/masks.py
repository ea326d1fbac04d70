"""Masks at full resolution against the ways libraries make them: time, peak memory, and the floor.

    python benchmarks/masks.py [--only TEXT] [--json PATH]

Install the peers with `pip install upscore[bench]`. What Segment Anything, Ultralytics and
detectron2 do after the network is written here in PyTorch, step by step; torchvision's function is
its own. Every case is timed in turn with its peer in one run. `runs` finds the masks, `dense` also
writes every pixel to memory that is there already, `rle` makes COCO's text. The floor of `runs` is
reading the scores, that of `dense` is writing the pixels besides, at the bandwidth measured in the
same run. `MB` is the peak of the process beyond what it held before the call, the result counted.
Nothing is timed that was not first found to agree with PyTorch. Scores are blobs with rough edges
that cover a fifth of a mask.
"""

from collections.abc import Callable
from typing import Any, NamedTuple

import torch
from torch import Tensor
from torch.nn import functional as F
from torchvision.models.detection.roi_heads import paste_masks_in_image

import upscore
from _timing import arguments, in_turn, milliseconds, ratio, show, write
from heads import bandwidth, peak

MOST_DIFFER = 1e-4  # of the masks' pixels: PyTorch rounds positions to float32


class Case(NamedTuple):
    """Scores, what `upscore.masks` is asked for, and the library's own way to the same masks."""

    scores: Tensor
    options: dict[str, Any]
    library: Callable[[], Tensor]


def blobs(number: int, height: int, width: int) -> Tensor:
    """Scores of one object a map."""
    generator = torch.Generator().manual_seed(0)
    coarse = torch.randn(number, 1, 9, 9, generator=generator)
    noise = torch.randn(number, height, width, generator=generator)
    return 8 * F.interpolate(coarse, (height, width), mode="bicubic")[:, 0] - 6 + 0.3 * noise


def segment_anything(height: int, width: int) -> Case:
    """192 masks of a photo: `Sam.postprocess_masks` and the threshold after it."""
    scores, size = blobs(192, 256, 256), (height, width)
    kept = tuple(round(1024 * side / max(size)) for side in size)

    def library() -> Tensor:
        full = F.interpolate(scores[None], (1024, 1024), mode="bilinear", align_corners=False)
        full = full[..., : kept[0], : kept[1]]
        return F.interpolate(full, size, mode="bilinear", align_corners=False)[0] > 0

    return Case(scores, {"size": size, "through": (1024, 1024), "crop": kept}, library)


def resized(number: int, side: int, height: int, width: int) -> Case:
    """Masks of queries, resized straight (RF-DETR, Mask2Former)."""
    scores, size = blobs(number, side, side), (height, width)
    return Case(
        scores,
        {"size": size},
        lambda: F.interpolate(scores[None], size, mode="bilinear")[0] > 0,
    )


def ultralytics() -> Case:
    """100 masks of a frame, letterboxed: `scale_masks`, `crop_mask` and the threshold."""
    scores, size = blobs(100, 160, 160), (1080, 1920)
    boxes = corners(100, *size)
    crop = (35, 0, 90, 160)  # the frame, without the bars above and below
    x, y = torch.arange(size[1])[None, None], torch.arange(size[0])[None, :, None]
    x0, y0, x1, y1 = boxes[:, :, None, None].unbind(1)

    def library() -> Tensor:
        full = F.interpolate(scores[None, :, 35:125], size, mode="bilinear")[0]
        return full * ((x >= x0) & (x < x1) & (y >= y0) & (y < y1)) > 0

    return Case(scores, {"size": size, "crop": crop, "within": boxes}, library)


def torchvision(height: int, width: int) -> Case:
    """100 masks of boxes: `paste_masks_in_image` of torchvision, and the threshold after it."""
    scores, boxes = torch.sigmoid(blobs(100, 28, 28)), corners(100, height, width)
    options = {"size": (height, width), "threshold": 0.5, "boxes": boxes, "paste": "torchvision"}
    return Case(
        scores,
        options,
        lambda: paste_masks_in_image(scores[:, None], boxes, (height, width))[:, 0] > 0.5,
    )


def detectron2(height: int, width: int) -> Case:
    """100 masks of boxes: `paste_masks_in_image` of detectron2, mask by mask as on a CPU."""
    scores, boxes = torch.sigmoid(blobs(100, 28, 28)), corners(100, height, width)

    def library() -> Tensor:
        masks = torch.zeros(100, height, width, dtype=torch.bool)
        for mask, score, (x0, y0, x1, y1) in zip(masks, scores, boxes, strict=True):
            left, top = (int((v.floor() - 1).clamp(min=0)) for v in (x0, y0))
            right = int((x1.ceil() + 1).clamp(max=width))
            bottom = int((y1.ceil() + 1).clamp(max=height))
            y = (torch.arange(top, bottom) + 0.5 - y0) / (y1 - y0) * 2 - 1
            x = (torch.arange(left, right) + 0.5 - x0) / (x1 - x0) * 2 - 1
            grid = torch.stack(torch.meshgrid(y, x, indexing="ij")[::-1], -1)[None]
            full = F.grid_sample(score[None, None], grid, align_corners=False)[0, 0]
            mask[top:bottom, left:right] = full >= 0.5
        return masks

    options = {"size": (height, width), "threshold": 0.5, "inclusive": True, "boxes": boxes}
    return Case(scores, options, library)


def corners(number: int, height: int, width: int) -> Tensor:
    """Boxes within a picture, of 5 to 25 % of its sides."""
    generator = torch.Generator().manual_seed(0)
    sides = torch.tensor([width, height])
    extent = sides * (0.05 + 0.2 * torch.rand(number, 2, generator=generator))
    corner = (sides - extent) * torch.rand(number, 2, generator=generator)
    return torch.cat((corner, corner + extent), 1)


CASES: dict[str, Callable[[], Case]] = {
    "Segment Anything 192x256x256 -> 1080x1920": lambda: segment_anything(1080, 1920),
    "Segment Anything 192x256x256 -> 3000x4000": lambda: segment_anything(3000, 4000),
    "RF-DETR 300x108x108 -> 3000x4000": lambda: resized(300, 108, 3000, 4000),
    "Ultralytics 100x160x160 -> 1080x1920": ultralytics,
    "torchvision 100x28x28 in boxes -> 800x1333": lambda: torchvision(800, 1333),
    "torchvision 100x28x28 in boxes -> 3000x4000": lambda: torchvision(3000, 4000),
    "detectron2 100x28x28 in boxes -> 800x1333": lambda: detectron2(800, 1333),
    "detectron2 100x28x28 in boxes -> 3000x4000": lambda: detectron2(3000, 4000),
    "one mask 1x256x256 -> 1080x1920": lambda: resized(1, 256, 1080, 1920),
    "small 1x16x16 -> 64x64": lambda: resized(1, 16, 64, 64),
}


def agree(case: Case) -> None:
    """Stop if more masks differ from the library's than positions rounded in float32 explain."""
    ours, theirs = upscore.masks(case.scores, **case.options), case.library()
    differ = sum(int((one ^ other).sum()) for one, other in zip(ours, theirs, strict=True))
    if differ > MOST_DIFFER * int(ours.areas.sum()):
        raise SystemExit(f"{differ:,} of {theirs.numel():,} pixels are not the library's")


def row(name: str, case: Case, rate: float, rounds: int) -> dict[str, Any]:
    """Time one case."""
    agree(case)
    number, size = len(case.scores), case.options["size"]
    out = torch.zeros(number, *size, dtype=torch.bool)

    def runs() -> Any:
        return upscore.masks(case.scores, **case.options)

    calls: dict[str, Callable[[], Any]] = {
        "library": case.library,
        "runs": runs,
        "dense": lambda: runs().dense(out),
        "rle": lambda: runs().rle(),
    }
    times = in_turn(calls, rounds=3 if out.numel() > 1e9 else rounds)
    floor = case.scores.nbytes / rate
    return {
        "case": name,
        **{f"{call} ms": value for call, value in milliseconds(times).items()},
        "floor of runs ms": 1e3 * floor,
        "floor of dense ms": 1e3 * (floor + out.numel() / rate),
        **{f"{call} x library": ratio(times, "library", call) for call in ("runs", "dense", "rle")},
        "library MB": peak(case.library),
        "runs MB": peak(runs),
        "dense MB": peak(lambda: runs().dense()),
    }


def main() -> None:
    options = arguments(__doc__.split("\n")[0]).parse_args()
    rate = bandwidth()
    print(f"memory: {rate / 1e9:.1f} GB/s")
    rows = [
        row(name, make(), rate, options.rounds)
        for name, make in CASES.items()
        if options.only in name
    ]
    for title, ending in (
        ("Masks, milliseconds", " ms"),
        ("Masks, how many times faster than the library", " x library"),
        ("Masks, peak megabytes", " MB"),
    ):
        show(
            title, [{k: v for k, v in r.items() if k == "case" or k.endswith(ending)} for r in rows]
        )
    if options.json:
        write(options.json, bandwidth=rate, masks=rows)


if __name__ == "__main__":
    main()
