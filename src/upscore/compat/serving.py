"""What the stand-ins for several libraries share."""

import math
import operator
from collections.abc import Callable
from typing import Any, TypeGuard

from torch import Tensor
from torch.nn import functional as F

from upscore.arrays import framework
from upscore.compat.verification import verify_masks
from upscore.heads.masks import masks
from upscore.kernels import NUMBA_IS_INSTALLED

Function = Callable[..., Any]
Size = tuple[int, int]
Make = Callable[[Function, bool], Function]


def are_scores(x: Any) -> TypeGuard[Tensor]:
    """Whether these are scores that upscore is faster with: on a CPU, where Numba is installed.

    Where a graph is made of what happens to them, they are not.
    """
    return (
        NUMBA_IS_INSTALLED
        and isinstance(x, Tensor)
        and x.is_floating_point()
        and x.device.type == "cpu"
        and not framework(x).traced(x)
    )


def is_finite(threshold: Any) -> bool:
    return isinstance(threshold, int | float) and math.isfinite(threshold)


def pairs(sizes: Any) -> list[Size]:
    """Heights and widths, or nothing where they are something else."""
    try:
        found = [(operator.index(height), operator.index(width)) for height, width in sizes]
    except (TypeError, ValueError):
        return []
    return found if all(side > 0 for pair in found for side in pair) else []


def plain_pairs(sizes: Any, arrays: Any = ()) -> list[Size]:
    """As `pairs`, where PyTorch takes each pair as a size, or where all are in one of `arrays`."""
    plain = isinstance(sizes, arrays) or (
        isinstance(sizes, list | tuple) and all(isinstance(pair, list | tuple) for pair in sizes)
    )
    return pairs(sizes) if plain else []


def dense(scores: Tensor, size: Size, threshold: float, **options: Any) -> Tensor:
    """Masks of B x C x h x w scores, B x C x H x W."""
    found: Tensor = masks(scores.flatten(0, 1), size, threshold=threshold, **options).dense()
    return found.reshape(*scores.shape[:2], *size)


def resized(scores: Tensor, size: Size) -> Tensor:
    return F.interpolate(scores, size, mode="bilinear", align_corners=False)


def is_enlarged(scores: Tensor, size: Size) -> bool:
    """Whether torchvision's `resize`, which blurs what it reduces, does as `resized` here.

    It does where scores are finite.
    """
    return scores.shape[-2] <= size[0] and scores.shape[-1] <= size[1]


def verify_padded(
    scores: Tensor,
    through: Size,
    cut: Size,
    size: Size,
    threshold: float,
    ours: Tensor,
    theirs: Tensor,
) -> None:
    """Raise MismatchError where masks of scores that are resized, cut and resized are not these."""
    full = resized(resized(scores.double(), through)[..., : cut[0], : cut[1]], size)
    verify_masks(full, threshold, scores, ours, theirs)
