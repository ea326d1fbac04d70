"""Volumes as images, for heads whose pixels are sums: slice under slice, or slice after slice."""

from typing import Any

import numpy as np

from upscore.arrays import framework
from upscore.errors import ArgumentError
from upscore.heads.grid import Grid, positions, widened
from upscore.heads.target import check_labels


def as_images(
    scores: Any, grid: Grid, backend: str, ignore_index: int, target: Any, *full: Any
) -> tuple[Any, ...]:
    """Return N x C x d x h x w scores, and what has their full size, as images.

    At the same size the slices of a volume become one tall image, a view where memory allows;
    operators of torch are given the volume, and see to that themselves (`tall`): so a gradient is
    no view, and PyTorch adds another loss's to it in place. Else
    the scores are interpolated along the depth, and each slice is an image: N x D of them.

    target: N x D x H x W class numbers, or N x C x D x H x W of 0 and 1; full: like these, or None.
    """
    if grid.name == "fcn":
        raise ArgumentError("stride is for images: volumes are sampled as by mode='trilinear'")
    arrays = framework(scores)
    if arrays.device(scores) == "cpu" and not arrays.traced(scores):  # a place has its depth here
        check_labels(target, 2 if target.ndim == 5 else scores.shape[1], ignore_index)
    full, size = (target, *full), tuple(target.shape[-3:])
    if tuple(scores.shape[-3:]) == size:
        operated = backend != "eager" and arrays.name != "numpy"
        return (scores, *full) if operated else tall(scores, *full)
    return tuple(
        None if x is None else _slices(x) for x in (_deepened(scores, size[0], grid), *full)
    )


def _deepened(scores: Any, depth: int, grid: Grid) -> Any:
    """Interpolate N x C x d x h x w scores along the depth alone."""
    wide = widened(scores)
    if framework(scores).name != "numpy":
        from torch.nn import functional as F

        # As images of depth x (height width): ten times as fast as mode="trilinear".
        corners = grid.name == "corners"
        flat = wide.flatten(3)
        flat = F.interpolate(flat, (depth, flat.shape[3]), mode="bilinear", align_corners=corners)
        return flat.reshape(*scores.shape[:2], depth, *scores.shape[3:])
    low, high, weight = positions(grid, scores.shape[2], depth)
    up = weight.astype(wide.dtype)[:, None, None]
    with np.errstate(invalid="ignore"):  # zero times infinity is NaN, as in PyTorch
        return wide[:, :, low] * (1 - up) + wide[:, :, high] * up


def tall(scores: Any, *full: Any) -> tuple[Any, ...]:
    """Return volumes as images, D x H x W at the end as (D H) x W; images as they are."""
    if scores.ndim == 4:
        return scores, *full
    return tuple(
        None if x is None else x.reshape(*x.shape[:-3], x.shape[-3] * x.shape[-2], x.shape[-1])
        for x in (scores, *full)
    )


def _slices(x: Any) -> Any:
    """N x D x H x W or N x C x D x H x W as N D images."""
    by_slice = x.swapaxes(1, 2) if x.ndim == 5 else x
    return by_slice.reshape(-1, *by_slice.shape[2:])
