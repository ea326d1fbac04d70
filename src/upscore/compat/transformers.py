"""The last steps of Hugging Face transformers: `upscore.compat.patch("transformers")`.

Each function here takes the library's own, and returns one with its arguments and results. What it
does not serve, and the library's errors, it leaves to the library's own.
"""

from functools import partial, wraps
from typing import Any

import numpy as np
import torch
from torch import Tensor

from upscore.compat.serving import (
    Function,
    Make,
    Size,
    are_scores,
    dense,
    is_enlarged,
    is_finite,
    pairs,
    plain_pairs,
    resized,
    verify_padded,
)
from upscore.compat.transformers_instances import INSTANCES
from upscore.compat.transformers_panoptic import PANOPTIC
from upscore.compat.transformers_places import methods
from upscore.compat.verification import verify_labels, verify_masks
from upscore.heads.argmax import argmax

TESTED = "5.23"
_ARRAYS = Tensor, np.ndarray


def semantic_maps(own: Function, verify: bool, arrays: Any = ()) -> Function:
    """`post_process_semantic_segmentation` where logits are resized and the best class taken.

    `arrays` may hold all sizes in one.
    """

    @wraps(own)
    def post_process_semantic_segmentation(
        self: Any,
        outputs: Any,
        target_sizes: Any = None,
        return_segmentation_scores: bool = False,
    ) -> Any:
        logits, sizes = outputs.logits, plain_pairs(target_sizes, arrays)
        served = len(sizes) == len(logits) and logits.is_floating_point()
        if return_segmentation_scores or not served:
            return own(self, outputs, target_sizes, return_segmentation_scores)
        return _labels(logits, sizes, own(self, outputs, target_sizes) if verify else None)

    return post_process_semantic_segmentation


def query_maps(
    own: Function, verify: bool, through: Size | None = None, antialias: bool = False
) -> Function:
    """`post_process_semantic_segmentation` where each query adds to the scores of its classes.

    `through` is what masks are resized to before; with `antialias` scores are resized by
    torchvision, which takes any pairs as sizes and is served where it enlarges.
    """

    @wraps(own)
    def post_process_semantic_segmentation(
        self: Any,
        outputs: Any,
        target_sizes: Any = None,
        return_segmentation_scores: bool = False,
    ) -> Any:
        masks, classes = outputs.masks_queries_logits, outputs.class_queries_logits
        sizes = pairs(target_sizes) if antialias else plain_pairs(target_sizes)
        served = len(sizes) == len(masks) == len(classes) and classes.shape[-1] > 1
        if antialias:
            served = served and all(is_enlarged(masks, size) for size in sizes)
        if return_segmentation_scores or not served:
            return own(self, outputs, target_sizes, return_segmentation_scores)
        if through is not None:
            masks = resized(masks, through)
        weights = classes.softmax(-1)[..., :-1]
        scores = torch.einsum("bqc, bqhw -> bchw", weights, masks.sigmoid())
        if antialias and not scores.isfinite().all():
            return own(self, outputs, target_sizes)
        return _labels(scores, sizes, own(self, outputs, target_sizes) if verify else None)

    return post_process_semantic_segmentation


def _labels(scores: Tensor, sizes: list[Size], theirs: list[Tensor] | None) -> list[Tensor]:
    """The labels of each photo, compared with others if there are any."""
    maps: list[Tensor] = [argmax(scores[i], size).long() for i, size in enumerate(sizes)]
    for i, other in enumerate(theirs or ()):
        verify_labels(scores[i], maps[i], other)
    return maps


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
        sizes = plain_pairs(original_sizes, _ARRAYS)
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
        sizes, cuts = plain_pairs(original_sizes, _ARRAYS), pairs(reshaped_input_sizes)
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


# Their functions are the same but for the sizes that they take. Those of CHMv2, Sapiens2 and
# TIPSv2-DPT are too, and are not replaced yet.
_PROCESSORS: dict[tuple[str, str], Make] = {
    ("beit", "Beit"): semantic_maps,
    ("dpt", "DPT"): semantic_maps,
    ("mobilenet_v2", "MobileNetV2"): partial(semantic_maps, arrays=Tensor),
    ("mobilevit", "MobileViT"): partial(semantic_maps, arrays=Tensor),
    ("segformer", "Segformer"): semantic_maps,
}

_METHOD = "post_process_semantic_segmentation"
_BY_TENSORS, _BY_PILLOW = methods("oneformer", "OneFormer", _METHOD)

REPLACEMENTS: dict[str, Make] = {
    **{place: make for names, make in _PROCESSORS.items() for place in methods(*names, _METHOD)},
    **dict.fromkeys(methods("maskformer", "MaskFormer", _METHOD), query_maps),
    **dict.fromkeys(
        methods("mask2former", "Mask2Former", _METHOD), partial(query_maps, through=(384, 384))
    ),
    _BY_TENSORS: partial(query_maps, antialias=True),
    _BY_PILLOW: query_maps,
    "models.sam.image_processing_sam:SamImageProcessor.post_process_masks": padded_masks,
    "models.sam.image_processing_pil_sam:SamImageProcessorPil.post_process_masks": padded_masks,
    "models.sam2.image_processing_sam2:Sam2ImageProcessor.post_process_masks": resized_masks,
    "models.sam3.image_processing_sam3:Sam3ImageProcessor.post_process_masks": resized_masks,
    **PANOPTIC,
    **INSTANCES,
}
