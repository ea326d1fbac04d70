"""Ultralytics' `process_mask` and `process_mask_native`, by themselves and for
`upscore.compat.patch("ultralytics")`.

As in version 8.4.190, ultralytics/utils/ops.py: the scores of a mask are a product of its
coefficients with the prototypes, which stays PyTorch's. `scale_masks` returns scores and no masks,
so that it is left to the library.
"""

import math
from functools import wraps
from typing import Any

import torch
from torch import Tensor

from upscore.compat.serving import Function, Make, Size, are_scores, pairs, resized
from upscore.compat.verification import verify_masks
from upscore.heads.masks import masks

TESTED = "8.4.190"


def process_mask(
    protos: Tensor, masks_in: Tensor, bboxes: Tensor, shape: Size, upsample: bool = False
) -> Tensor:
    """Return masks in the network's input, as Ultralytics does.

    Equivalent to `F.interpolate((masks_in @ protos), shape, mode="bilinear") > 0` within `bboxes`.

    Args:
        protos: K x h x w, the prototypes.
        masks_in: N x K, the coefficients.
        bboxes: N x 4 numbers x0, y0, x1, y1 in pixels of `shape`.
        shape: (height, width) of the network's input.
        upsample: resize; else masks and boxes are in pixels of the prototypes.

    Returns:
        N x H x W uint8, 0 or 1.

    Raises:
        ArgumentError: a shape or value does not fit; the message says which and why.
        ArgumentTypeError: a type does not fit.

    Source: Ultralytics 8.4.190, ultralytics/utils/ops.py.

    Examples:
        >>> scores, box = torch.tensor([[[-1.0, 3.0]]]), torch.tensor([[0.0, 0.0, 3.0, 2.0]])
        >>> process_mask(scores, torch.ones(1, 1), box, (2, 4), upsample=True)
        tensor([[[0, 0, 1, 0],
                 [0, 0, 1, 0]]], dtype=torch.uint8)
    """
    if upsample:
        return _cropped(_scores(protos, masks_in), bboxes, shape)
    height, width = protos.shape[1:]
    ratios = torch.tensor([width / shape[1], height / shape[0]] * 2, device=bboxes.device)
    return _cropped(_scores(protos, masks_in), bboxes * ratios, (height, width))


def process_mask_native(protos: Tensor, masks_in: Tensor, bboxes: Tensor, shape: Size) -> Tensor:
    """Return masks in the photo, as Ultralytics does.

    As `process_mask`, at the photo's own size. The network's input, four times the prototypes, is
    the photo with borders at two sides, which are cut off.

    Args:
        protos: K x h x w, the prototypes.
        masks_in: N x K, the coefficients.
        bboxes: N x 4 numbers x0, y0, x1, y1 in pixels of the photo.
        shape: (height, width) of the photo.

    Returns:
        N x H x W uint8, 0 or 1.

    Raises:
        ArgumentError: a shape or value does not fit; the message says which and why.
        ArgumentTypeError: a type does not fit.

    Source: Ultralytics 8.4.190, ultralytics/utils/ops.py.

    Examples:
        >>> protos = torch.tensor([[[-1.0, -1.0], [-1.0, 3.0], [-1.0, 3.0], [-1.0, -1.0]]])
        >>> box = torch.tensor([[0.0, 0.0, 9.0, 9.0]])
        >>> process_mask_native(protos, torch.ones(1, 1), box, (4, 4))
        tensor([[[0, 0, 1, 1],
                 [0, 0, 1, 1],
                 [0, 0, 1, 1],
                 [0, 0, 1, 1]]], dtype=torch.uint8)
    """
    through, crop = _borders((protos.shape[1], protos.shape[2]), shape)
    return _cropped(_scores(protos, masks_in), bboxes, shape, through=through, crop=crop)


def enlarged_masks(own: Function, verify: bool) -> Function:
    """`process_mask` where it resizes."""

    @wraps(own)
    def stand_in(
        protos: Any, masks_in: Any, bboxes: Any, shape: Any, upsample: bool = False
    ) -> Any:
        arguments = protos, masks_in, bboxes, shape
        if not upsample or not _served(*arguments):
            return own(*arguments, upsample)
        found = process_mask(*arguments, upsample=True)
        if verify:
            _verify(_scores(protos, masks_in), shape, found, own(*arguments, True))
        return found

    return stand_in


def native_masks(own: Function, verify: bool) -> Function:
    """`process_mask_native`."""

    @wraps(own)
    def stand_in(protos: Any, masks_in: Any, bboxes: Any, shape: Any) -> Any:
        arguments = protos, masks_in, bboxes, shape
        if not _served(*arguments):
            return own(*arguments)
        found = process_mask_native(*arguments)
        if verify:
            borders = _borders((protos.shape[1], protos.shape[2]), shape)
            _verify(_scores(protos, masks_in), shape, found, own(*arguments), *borders)
        return found

    return stand_in


def _served(protos: Any, masks_in: Any, bboxes: Any, shape: Any) -> bool:
    return (
        all(are_scores(one) for one in (protos, masks_in, bboxes))
        and (protos.ndim, masks_in.ndim) == (3, 2)
        and len(masks_in) > 0
        and bboxes.shape == (len(masks_in), 4)
        and bboxes.dtype in (torch.float32, torch.float64)
        and bool(pairs([shape]))
    )


def _scores(protos: Tensor, masks_in: Tensor) -> Tensor:
    return (masks_in @ protos.float().flatten(1)).view(-1, *protos.shape[1:])


def _cropped(scores: Tensor, bboxes: Tensor, shape: Size, **options: Any) -> Tensor:
    """Masks above 0 within boxes."""
    out = torch.empty((len(scores), *shape), dtype=torch.uint8, device=scores.device)
    dense: Tensor = masks(scores, shape, within=bboxes, **options).dense(out)
    return dense


def _borders(protos: Size, shape: Size) -> tuple[Size | None, tuple[int, int, int, int]]:
    """The size that prototypes are resized to first, if they are, and the photo's place in it.

    They are enlarged as far as it takes, up to the network's input, for the borders to be whole
    pixels.
    """
    borders = [4 * side - kept for side, kept in zip(protos, _kept(protos, shape, 4), strict=True)]
    # Half of each border is on either side.
    factor = 4 // math.gcd(4, *borders, *(border // 2 for border in borders))
    through, kept = (factor * protos[0], factor * protos[1]), _kept(protos, shape, factor)
    top, left = (round((side - k) / 2 - 0.1) for side, k in zip(through, kept, strict=True))
    return through if factor > 1 else None, (top, left, *kept)


def _kept(protos: Size, shape: Size, factor: int) -> Size:
    """Height and width of the photo in prototypes that are so many times larger."""
    gain = min(factor * side / full for side, full in zip(protos, shape, strict=True))
    return max(round(shape[0] * gain), 1), max(round(shape[1] * gain), 1)


def _verify(
    scores: Tensor,
    shape: Size,
    ours: Tensor,
    theirs: Tensor,
    through: Size | None = None,
    crop: tuple[int, int, int, int] | None = None,
) -> None:
    """Compare mask by mask, so that the scores of few are there at once."""
    for i in (ours != theirs).flatten(1).any(1).nonzero()[:, 0].tolist():
        full = scores[None, i : i + 1].double()
        if through is not None:
            full = resized(full, through)
        if crop is not None:
            top, left, height, width = crop
            full = full[..., top : top + height, left : left + width]
        full = resized(full, shape)[0, 0]
        verify_masks(full, 0.0, scores[i], ours[i], theirs[i])


# Other files of the library call them as `ops.process_mask`, and hold no name of their own.
REPLACEMENTS: dict[str, Make] = {
    "utils.ops:process_mask": enlarged_masks,
    "utils.ops:process_mask_native": native_masks,
}
