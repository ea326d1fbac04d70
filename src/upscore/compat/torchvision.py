"""torchvision's `paste_masks_in_image`, by itself and for `upscore.compat.patch("torchvision")`.

As in version 0.29, models/detection/roi_heads.py: masks get a rim of zeros and boxes grow by as
much, to whole pixels; each mask is resized bilinearly to its box, and is zero outside.
"""

from functools import wraps
from typing import Any

import torch
from torch import Tensor
from torch.nn import functional as F

from upscore.compat.serving import Function, Make, Size, are_scores, pairs
from upscore.compat.verification import verify_scores
from upscore.errors import ArgumentError, ArgumentTypeError, MissingPackageError
from upscore.heads.masks import soft

TESTED = "0.29"


def paste_masks_in_image(masks: Tensor, boxes: Tensor, img_shape: Size, padding: int = 1) -> Tensor:
    """Return masks pasted into the boxes of a picture, as torchvision does.

    Boxes outside of the picture, for some of which torchvision raises an error, give zeros.
    torchvision's own function is called for masks on a GPU, for those whose gradient is asked for,
    where a graph is traced, and without Numba.

    Args:
        masks: N x 1 x M x M scores, a tensor of floats.
        boxes: N x 4 numbers x0, y0, x1, y1 in pixels.
        img_shape: (height, width) of the picture.
        padding: how wide the rim of zeros is, in pixels of the mask.

    Returns:
        N x 1 x H x W scores.

    Raises:
        ArgumentError: a shape or value does not fit; the message says which and why.
        ArgumentTypeError: a type does not fit.
        MissingPackageError: torchvision is needed, and not installed.

    Source: torchvision 0.29, models/detection/roi_heads.py.

    Examples:
        >>> mask, box = torch.ones(1, 1, 2, 2), torch.tensor([[1.0, 0.0, 3.0, 2.0]])
        >>> paste_masks_in_image(mask, box, (2, 5))
        tensor([[[[0.0000, 0.4900, 0.7000, 0.4900, 0.0000],
                  [0.0000, 0.7000, 1.0000, 0.7000, 0.0000]]]])
    """
    _check(masks, boxes, img_shape, padding)
    if not _are_plain(masks, boxes):
        return _library()(masks, boxes, img_shape, padding)  # type: ignore[no-any-return]
    return _pasted(masks, boxes, pairs([img_shape])[0], padding)


def _check(masks: Any, boxes: Any, size: Any, padding: Any) -> None:
    for name, x in (("masks", masks), ("boxes", boxes)):
        if not isinstance(x, Tensor) or not x.is_floating_point():
            kind = x.dtype if isinstance(x, Tensor) else type(x).__name__
            raise ArgumentTypeError(f"{name} must be a tensor of floats, not {kind}")
    if masks.ndim != 4 or not min(masks.shape[1:]):
        raise ArgumentError(f"masks must be of shape N x 1 x M x M, not {tuple(masks.shape)}")
    if boxes.shape != (len(masks), 4):
        raise ArgumentError(f"boxes must be {len(masks)} x 4 numbers, not {tuple(boxes.shape)}")
    if not pairs([size]):
        raise ArgumentError(f"img_shape must be a height and a width above 0, not {size!r}")
    if not isinstance(padding, int) or padding < 0:
        raise ArgumentError(f"padding must be a whole number, 0 or more, not {padding!r}")
    if not boxes.isfinite().all():
        raise ArgumentError("boxes must be finite")


def _are_plain(masks: Tensor, boxes: Tensor) -> bool:
    """Whether these are numbers in main memory, and no gradient is asked for."""
    asked = torch.is_grad_enabled() and (masks.requires_grad or boxes.requires_grad)
    return are_scores(masks) and are_scores(boxes) and not asked


def _library() -> Function:
    try:
        from torchvision.models.detection import roi_heads
    except ImportError as error:
        raise MissingPackageError(
            "such masks are pasted by torchvision, which is not installed: pip install torchvision"
        ) from error
    own: Function = roi_heads.paste_masks_in_image
    return getattr(own, "__wrapped__", own)  # of a patch


def _pasted(masks: Tensor, boxes: Tensor, size: Size, padding: int) -> Tensor:
    scores, pixels = F.pad(masks.detach()[:, 0], (padding,) * 4), _grown(boxes, masks, padding)
    if masks.dtype in (torch.float32, torch.float64):
        return torch.from_numpy(soft.paste(scores.numpy(), pixels.numpy(), size))[:, None]
    out = masks.new_zeros(len(masks), 1, *size)
    for i in range(len(masks)):  # one by one, so that one of them is there in float32
        one = slice(i, i + 1)
        found = soft.paste(scores[one].float().numpy(), pixels[one].numpy(), size)
        out[i] = torch.from_numpy(found)
    return out


def _grown(boxes: Tensor, masks: Tensor, padding: int) -> Tensor:
    """Whole pixels of boxes that grow as the masks do with a rim, rounded as torchvision does."""
    side = masks.shape[-1]
    scale = float(side + 2 * padding) / side
    corners = boxes.detach()
    half = (corners[:, 2:] - corners[:, :2]) * 0.5 * scale
    middle = (corners[:, 2:] + corners[:, :2]) * 0.5
    return torch.cat((middle - half, middle + half), 1).to(torch.int64)


def pasted_masks(own: Function, verify: bool) -> Function:
    """`paste_masks_in_image` on a CPU; what it may raise an error for is left to the library."""

    @wraps(own)
    def stand_in(masks: Any, boxes: Any, img_shape: Any, padding: Any = 1) -> Any:
        size = pairs([img_shape])
        if not size or not _served(masks, boxes, size[0], padding):
            return own(masks, boxes, img_shape, padding)
        found = _pasted(masks, boxes, size[0], padding)
        if verify:
            verify_scores(masks, found, own(masks, boxes, img_shape, padding))
        return found

    return stand_in


def _served(masks: Any, boxes: Any, size: Size, padding: Any) -> bool:
    """Whether these are masks, and boxes that reach into the picture."""
    if not isinstance(masks, Tensor) or not isinstance(boxes, Tensor) or not len(masks):
        return False
    if not _are_plain(masks, boxes):
        return False
    try:
        _check(masks, boxes, size, padding)
    except (ArgumentError, ArgumentTypeError):  # of the library's own making
        return False
    pixels = _grown(boxes, masks, padding)
    return bool(
        (pixels[:, :2] <= pixels[:, 2:]).all()
        and (pixels[:, 2:] >= 0).all()
        and (pixels[:, :2] < torch.tensor([size[1], size[0]])).all()
    )


REPLACEMENTS: dict[str, Make] = {
    "models.detection.roi_heads:paste_masks_in_image": pasted_masks,
    # `GeneralizedRCNNTransform.postprocess` has its own name for it.
    "models.detection.transform:paste_masks_in_image": pasted_masks,
}
