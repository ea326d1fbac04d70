"""The last steps of Hugging Face transformers: `upscore.compat.patch("transformers")`.

Each function here takes the library's own, and returns one with its arguments and results. What it
does not serve, and the library's errors, it leaves to the library's own.
"""

from functools import wraps
from typing import Any

from upscore.compat.serving import (
    Function,
    Make,
    are_scores,
    dense,
    is_finite,
    pairs,
    resized,
    verify_padded,
)
from upscore.compat.transformers_panoptic import PANOPTIC
from upscore.compat.verification import verify_labels, verify_masks
from upscore.heads.argmax import argmax

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
        logits, sizes = outputs.logits, pairs(target_sizes)
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
        sizes = pairs(original_sizes)
        plain = binarize and not apply_non_overlapping_constraints
        if not plain or not sizes or not _served(masks, mask_threshold):
            return own(self, masks, original_sizes, mask_threshold, binarize, *options, **kwargs)
        found = [dense(masks[i], size, mask_threshold) for i, size in enumerate(sizes)]
        if verify:
            for i, theirs in enumerate(own(self, masks, original_sizes, mask_threshold)):
                full = resized(masks[i].double(), sizes[i])
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
        sizes, cuts = pairs(original_sizes), pairs(reshaped_input_sizes)
        if not binarize or not sizes or not cuts or not _served(masks, mask_threshold):
            return own(*arguments, binarize, pad_size)
        padded = self.pad_size if pad_size is None else pad_size
        through = padded["height"], padded["width"]
        cuts = [(min(through[0], cut[0]), min(through[1], cut[1])) for cut in cuts]
        found = [
            dense(masks[i], size, mask_threshold, through=through, crop=cuts[i])
            for i, size in enumerate(sizes)
        ]
        if verify:
            for i, theirs in enumerate(own(*arguments, True, pad_size)):
                case = through, cuts[i], sizes[i], mask_threshold
                verify_padded(masks[i], *case, found[i], theirs)
        return found

    return post_process_masks


def _served(masks: Any, threshold: Any) -> bool:
    """Whether these are scores of each photo, and one threshold, that upscore takes."""
    return is_finite(threshold) and all(are_scores(one) and one.ndim == 4 for one in masks)


# Their functions are the same line by line. Those of CHMv2, Sapiens2 and TIPSv2-DPT are too, and
# are not replaced yet.
_PROCESSORS = {
    "beit": "Beit",
    "dpt": "DPT",
    "mobilenet_v2": "MobileNetV2",
    "mobilevit": "MobileViT",
    "segformer": "Segformer",
}

REPLACEMENTS: dict[str, Make] = {
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
    **PANOPTIC,
}
