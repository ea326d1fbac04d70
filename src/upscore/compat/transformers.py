"""The last steps of Hugging Face transformers: `upscore.compat.patch("transformers")`.

Each function here takes the library's own, and returns one with its arguments and results. What it
does not serve, and the library's errors, it leaves to the library's own.
"""

import math
import operator
from collections.abc import Callable
from functools import wraps
from typing import Any

from torch import Tensor
from torch.nn import functional as F

from upscore.compat.verification import verify_labels, verify_masks
from upscore.heads.argmax import argmax
from upscore.heads.masks import masks
from upscore.kernels import NUMBA_IS_INSTALLED

Function = Callable[..., Any]
Size = tuple[int, int]

TESTED = "5.23"


def semantic_maps(own: Function, verify: bool) -> Function:
    """`post_process_semantic_segmentation` where logits are resized and the best class taken."""

    @wraps(own)
    def post_process_semantic_segmentation(
        self: Any,
        outputs: Any,
        target_sizes: Any = None,
        return_segmentation_scores: bool = False,
    ) -> Any:
        logits, sizes = outputs.logits, _pairs(target_sizes)
        served = len(sizes) == len(logits) and logits.is_floating_point()
        if return_segmentation_scores or not served:
            return own(self, outputs, target_sizes, return_segmentation_scores)
        maps = [argmax(logits[i], size).long() for i, size in enumerate(sizes)]
        if verify:
            for i, theirs in enumerate(own(self, outputs, target_sizes)):
                verify_labels(logits[i], maps[i], theirs)
        return maps

    return post_process_semantic_segmentation


def resized_masks(own: Function, verify: bool) -> Function:
    """`post_process_masks` of Segment Anything 2 and 3: resized and compared."""

    @wraps(own)
    def post_process_masks(
        self: Any,
        masks: Any,
        original_sizes: Any,
        mask_threshold: float = 0.0,
        binarize: bool = True,
        max_hole_area: float = 0.0,
        max_sprinkle_area: float = 0.0,
        apply_non_overlapping_constraints: bool = False,
        **kwargs: Any,
    ) -> Any:
        options = max_hole_area, max_sprinkle_area, apply_non_overlapping_constraints
        sizes = _pairs(original_sizes)
        plain = binarize and not apply_non_overlapping_constraints
        if not plain or not sizes or not _served(masks, mask_threshold):
            return own(self, masks, original_sizes, mask_threshold, binarize, *options, **kwargs)
        found = [_dense(masks[i], size, mask_threshold) for i, size in enumerate(sizes)]
        if verify:
            for i, theirs in enumerate(own(self, masks, original_sizes, mask_threshold)):
                full = _resized(masks[i].double(), sizes[i])
                verify_masks(full, mask_threshold, masks[i], found[i], theirs)
        return found

    return post_process_masks


def padded_masks(own: Function, verify: bool) -> Function:
    """`post_process_masks` of Segment Anything: resized, cut, resized again and compared."""

    @wraps(own)
    def post_process_masks(
        self: Any,
        masks: Any,
        original_sizes: Any,
        reshaped_input_sizes: Any,
        mask_threshold: float = 0.0,
        binarize: bool = True,
        pad_size: Any = None,
    ) -> Any:
        arguments = (self, masks, original_sizes, reshaped_input_sizes, mask_threshold)
        sizes, cuts = _pairs(original_sizes), _pairs(reshaped_input_sizes)
        if not binarize or not sizes or not cuts or not _served(masks, mask_threshold):
            return own(*arguments, binarize, pad_size)
        padded = self.pad_size if pad_size is None else pad_size
        through = padded["height"], padded["width"]
        cuts = [(min(through[0], cut[0]), min(through[1], cut[1])) for cut in cuts]
        found = [
            _dense(masks[i], size, mask_threshold, through=through, crop=cuts[i])
            for i, size in enumerate(sizes)
        ]
        if verify:
            for i, theirs in enumerate(own(*arguments, True, pad_size)):
                kept = _resized(masks[i].double(), through)[..., : cuts[i][0], : cuts[i][1]]
                full = _resized(kept, sizes[i])
                verify_masks(full, mask_threshold, masks[i], found[i], theirs)
        return found

    return post_process_masks


def _served(masks: Any, threshold: Any) -> bool:
    """Whether these are what upscore is faster at: scores of each photo on a CPU, with Numba."""
    return (
        NUMBA_IS_INSTALLED
        and isinstance(threshold, int | float)
        and math.isfinite(threshold)
        and all(
            isinstance(one, Tensor)
            and one.ndim == 4
            and one.is_floating_point()
            and one.device.type == "cpu"
            for one in masks
        )
    )


def _pairs(sizes: Any) -> list[Size]:
    """Heights and widths, or nothing where they are something else."""
    try:
        pairs = [(operator.index(height), operator.index(width)) for height, width in sizes]
    except (TypeError, ValueError):
        return []
    return pairs if all(side > 0 for pair in pairs for side in pair) else []


def _dense(scores: Tensor, size: Size, threshold: float, **options: Any) -> Tensor:
    """Masks of B x C x h x w scores, B x C x H x W."""
    dense: Tensor = masks(scores.flatten(0, 1), size, threshold=threshold, **options).dense()
    return dense.reshape(*scores.shape[:2], *size)


def _resized(scores: Tensor, size: Size) -> Tensor:
    return F.interpolate(scores, size, mode="bilinear", align_corners=False)


# Their functions are the same line by line. Those of CHMv2, Sapiens2 and TIPSv2-DPT are too, and
# are not replaced yet.
_PROCESSORS = {
    "beit": "Beit",
    "dpt": "DPT",
    "mobilenet_v2": "MobileNetV2",
    "mobilevit": "MobileViT",
    "segformer": "Segformer",
}

REPLACEMENTS: dict[str, Callable[[Function, bool], Function]] = {
    **{
        f"models.{folder}.{file}_{folder}:{name}{kind}.post_process_semantic_segmentation": (
            semantic_maps
        )
        for folder, name in _PROCESSORS.items()
        for file, kind in (
            ("image_processing", "ImageProcessor"),
            ("image_processing_pil", "ImageProcessorPil"),
        )
    },
    "models.sam.image_processing_sam:SamImageProcessor.post_process_masks": padded_masks,
    "models.sam.image_processing_pil_sam:SamImageProcessorPil.post_process_masks": padded_masks,
    "models.sam2.image_processing_sam2:Sam2ImageProcessor.post_process_masks": resized_masks,
    "models.sam3.image_processing_sam3:Sam3ImageProcessor.post_process_masks": resized_masks,
}
