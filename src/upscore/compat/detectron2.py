"""detectron2's `paste_masks_in_image`, by itself and for `upscore.compat.patch("detectron2")`.

As in version 0.6, detectron2/layers/mask_ops.py: the centre of pixel x is place
`(x + 0.5 - x0) / (x1 - x0) * M - 0.5` of an M x M mask, scores are interpolated bilinearly and are
zero beyond, and a pixel belongs to the mask from the threshold on. On a CPU no pixel is set that is
more than one away from the box, rounded outwards.
"""

from functools import wraps
from typing import Any

import torch
from torch import Tensor
from torch.nn import functional as F

from upscore.compat.serving import Function, Make, Size, are_scores, is_finite, pairs
from upscore.compat.verification import verify_masks
from upscore.heads.masks import masks as find_masks

TESTED = "0.6"


def paste_masks_in_image(
    masks: Any, boxes: Any, image_shape: Size, threshold: float = 0.5
) -> Tensor:
    """Return masks pasted into the boxes of a picture, as detectron2 does.

    Boxes outside of the picture, for which detectron2 raises an error, give empty masks.

    Args:
        masks: N x M x M scores, a tensor of floats.
        boxes: N x 4 numbers x0, y0, x1, y1 in pixels, or detectron2's `Boxes`.
        image_shape: (height, width) of the picture.
        threshold: above 0; a pixel belongs to the mask from it on.

    Returns:
        N x H x W bool; no masks give uint8, as there.

    Raises:
        ArgumentError: a shape or value does not fit; the message says which and why.
        ArgumentTypeError: a type does not fit.

    Source: detectron2 0.6, detectron2/layers/mask_ops.py.

    Examples:
        >>> mask, box = torch.ones(1, 2, 2), torch.tensor([[1.0, 0.0, 3.0, 2.0]])
        >>> paste_masks_in_image(mask, box, (2, 4)).int()
        tensor([[[0, 1, 1, 0],
                 [0, 1, 1, 0]]], dtype=torch.int32)
    """
    corners: Tensor = getattr(boxes, "tensor", boxes)
    if not len(masks):
        return torch.empty((0, *image_shape), dtype=torch.uint8, device=masks.device)
    near = None
    if corners.device.type == "cpu":
        near = torch.cat((corners[:, :2].floor() - 1, corners[:, 2:].ceil() + 1), 1)
    found = find_masks(
        masks, image_shape, threshold=threshold, inclusive=True, boxes=corners, within=near
    )
    dense: Tensor = found.dense()
    return dense


def pasted_masks(own: Function, verify: bool) -> Function:
    """`paste_masks_in_image` on a CPU; what it raises an error for is left to the library."""

    @wraps(own)
    def stand_in(masks: Any, boxes: Any, image_shape: Any, threshold: float = 0.5) -> Any:
        corners, sizes = getattr(boxes, "tensor", boxes), pairs([image_shape])
        if not sizes or not _served(masks, corners, sizes[0], threshold):
            return own(masks, boxes, image_shape, threshold)
        found = paste_masks_in_image(masks, corners, sizes[0], threshold)
        if verify:
            theirs = own(masks, boxes, image_shape, threshold)
            for i in (found != theirs).flatten(1).any(1).nonzero()[:, 0].tolist():
                full = _pasted(masks[i].double(), corners[i].double(), sizes[0])
                verify_masks(full, threshold, masks[i], found[i], theirs[i])
        return found

    return stand_in


def _served(masks: Any, corners: Any, size: Size, threshold: Any) -> bool:
    """Whether these are masks that detectron2 pastes in float32, and boxes of some pixels."""
    return (
        are_scores(masks)
        and masks.dtype == torch.float32
        and masks.ndim == 3
        and masks.shape[1] == masks.shape[2] > 0
        and are_scores(corners)
        and corners.dtype == torch.float32
        and corners.shape == (len(masks), 4)
        and len(masks) > 0
        and is_finite(threshold)
        and threshold > 0
        and bool(corners.isfinite().all())
        and bool((corners[:, :2] < corners[:, 2:]).all())
        and bool((corners[:, :2] < torch.tensor([size[1], size[0]])).all())
        and bool((corners[:, 2:] > 0).all())
    )


def _pasted(scores: Tensor, box: Tensor, size: Size) -> Tensor:
    """M x M scores at all pixels of the picture."""
    rows, columns = (torch.arange(side, dtype=box.dtype) + 0.5 for side in size)
    y, x = (rows - box[1]) / (box[3] - box[1]), (columns - box[0]) / (box[2] - box[0])
    grid = torch.stack(torch.meshgrid(2 * x - 1, 2 * y - 1, indexing="xy"), -1)
    return F.grid_sample(scores[None, None], grid[None], align_corners=False)[0, 0]


REPLACEMENTS: dict[str, Make] = {
    # `ROIMasks.to_bitmasks` imports it where it calls it: from one in 0.6, the other before.
    "layers.mask_ops:paste_masks_in_image": pasted_masks,
    "layers:paste_masks_in_image": pasted_masks,
}
