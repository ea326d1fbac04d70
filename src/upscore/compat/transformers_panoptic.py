"""The panoptic step of Hugging Face transformers, for `upscore.compat.transformers`.

Queries compete for each pixel with their probabilities times how sure they are of their class. The
library holds all of them at full resolution; here the winners and the pixels of each query are
found without that, and with them the library's rules say which queries are segments.
"""

from collections.abc import Callable, Collection
from functools import partial, wraps
from importlib import import_module
from typing import Any

import torch
from torch import Tensor

from upscore.compat.serving import Function, Make, Size, is_enlarged, pairs, plain_pairs, resized
from upscore.compat.transformers_places import functions, methods
from upscore.compat.verification import rounding_of, verify_segments
from upscore.errors import UnsupportedError
from upscore.heads.argmax import argmax
from upscore.heads.assign import assign
from upscore.heads.masks import masks
from upscore.kernels import NUMBA_IS_INSTALLED

Segments = list[dict[str, Any]]
Steps = tuple[Size, Size, Size]  # resized to, cut to, and resized to again


def resized_segments(own: Function, verify: bool, antialias: bool = False) -> Function:
    """`compute_segments` of MaskFormer, Mask2Former, OneFormer and DETR: what is given is resized.

    Those are probabilities, or OneFormer's logits of instances. With `antialias` torchvision
    resizes them, which takes any pair as a size.
    """

    @wraps(own)
    def compute_segments(
        mask_probs: Any,
        pred_scores: Any,
        pred_labels: Any,
        mask_threshold: float = 0.5,
        overlap_mask_area_threshold: float = 0.8,
        label_ids_to_fuse: Any = None,
        target_size: Any = None,
    ) -> Any:
        options = mask_threshold, overlap_mask_area_threshold, label_ids_to_fuse, target_size
        sizes = pairs([target_size]) if antialias else plain_pairs([target_size])
        if not sizes or label_ids_to_fuse is None or not _served(mask_probs, mask_threshold):
            return own(mask_probs, pred_scores, pred_labels, *options)
        if antialias and not (is_enlarged(mask_probs, sizes[0]) and mask_probs.isfinite().all()):
            return own(mask_probs, pred_scores, pred_labels, *options)
        # They weigh after resizing, which is linear, and compare the weighted with the threshold.
        values = mask_probs * pred_scores.view(-1, 1, 1)
        labels = argmax(values, sizes[0]).long()
        won = torch.bincount(labels.flatten(), minlength=len(values))
        area = masks(values, sizes[0], threshold=mask_threshold, inclusive=True).areas
        kept = _kept(won, area, overlap_mask_area_threshold)
        ids, segments = _fused(kept, pred_scores, pred_labels, label_ids_to_fuse)
        found = ids[labels], segments
        if verify:
            theirs = own(mask_probs, pred_scores, pred_labels, *options)
            full = resized(values[None].double(), sizes[0])[0]
            verify_segments(full, None, rounding_of(values), found, theirs)
        return found

    return compute_segments


def _fused(
    kept: list[bool], scores: Tensor, classes: Tensor, fuse: set[int]
) -> tuple[Tensor, Segments]:
    """Each query's segment and the list of segments, numbered as in `compute_segments`."""
    ids = torch.zeros(len(kept), dtype=torch.int32)
    segments: Segments = []
    fused: dict[int, int] = {}
    current = 0
    for k, (score, label) in enumerate(zip(scores.tolist(), classes.tolist(), strict=True)):
        if not kept[k]:
            continue
        current = fused.get(label, current + 1)
        ids[k] = current
        segments.append(
            {
                "id": current,
                "label_id": label,
                "was_fused": label in fuse,
                "score": round(score, 6),
            }
        )
        if label in fuse:
            fused[label] = current
    return ids, segments


def eomt_segments(own: Function, verify: bool) -> Function:
    """`post_process_panoptic_segmentation` of EoMT: logits are resized, cut and resized again."""
    steps_of = eomt_steps(own)

    @wraps(own)
    def post_process_panoptic_segmentation(
        self: Any,
        outputs: Any,
        target_sizes: Any,
        threshold: float = 0.8,
        mask_threshold: float = 0.5,
        overlap_mask_area_threshold: float = 0.8,
        stuff_classes: Any = None,
        size: Any = None,
    ) -> Any:
        options = threshold, mask_threshold, overlap_mask_area_threshold, stuff_classes, size
        logits, sizes = outputs.masks_queries_logits, plain_pairs(target_sizes)
        classes = outputs.class_queries_logits
        fits = len(sizes) == len(logits) == len(classes) and logits.shape[1] == classes.shape[1]
        if not fits or not _served(logits, mask_threshold):
            return own(self, outputs, target_sizes, *options)
        side = self.size if size is None else size
        sure, best = classes.softmax(-1).max(-1)
        keep = best.ne(classes.shape[-1] - 1) & (sure > threshold)
        results, checks = [], []
        for i, to in enumerate(sizes):
            steps = steps_of(side, to)
            queries = logits[i][keep[i]], sure[i][keep[i]], best[i][keep[i]]
            limits = mask_threshold, overlap_mask_area_threshold
            segmentation, segments = _assigned(*queries, steps, *limits, stuff_classes or ())
            results.append({"segmentation": segmentation, "segments_info": segments})
            checks.append((*queries[:2], steps))
        if verify:
            theirs = own(self, outputs, target_sizes, *options)
            for check, one, other in zip(checks, results, theirs, strict=True):
                _verify_assigned(*check, mask_threshold, one.values(), other.values())
        return results

    return post_process_panoptic_segmentation


def eomt_steps(own: Function) -> Callable[[Any, Size], Steps]:
    """Return what says, of the network's input and a photo's size, how EoMT resizes logits."""
    beside = vars(import_module(own.__module__))
    try:
        target_size, kept_size = beside["get_target_size"], beside["get_size_with_aspect_ratio"]
    except KeyError as error:
        raise UnsupportedError(f"this version of EoMT has no {error}") from error

    def steps(side: Any, size: Size) -> Steps:
        through = target_size(side)
        cut = kept_size(size, side["shortest_edge"], side["longest_edge"])
        return through, (min(through[0], cut[0]), min(through[1], cut[1])), size

    return steps


def _assigned(
    scores: Tensor,
    weights: Tensor,
    classes: Tensor,
    steps: Steps,
    mask_threshold: float,
    overlap: float,
    stuff: Collection[int],
) -> tuple[Tensor, Segments]:
    """The segmentation and the segments of a photo, as `compute_segments` of EoMT."""
    through, crop, size = steps
    if not len(scores):
        return torch.zeros(size) - 1, []
    found = assign(scores, weights, size, threshold=mask_threshold, through=through, crop=crop)
    kept = _kept(found.won, found.area, overlap)
    ids = torch.full((len(kept),), -1)
    segments: Segments = []
    fused: dict[int, int] = {}
    for k, (weight, label) in enumerate(zip(weights.tolist(), classes.tolist(), strict=True)):
        if not kept[k] or not found.won_inside[k]:
            continue
        if label in fused:
            ids[k] = fused[label]
            continue
        ids[k] = len(segments)
        if label in stuff:
            fused[label] = len(segments)
        segments.append({"id": len(segments), "label_id": label, "score": round(weight, 6)})
    return ids[found.labels.long()].where(found.inside, -1), segments


def _kept(won: Tensor, area: Tensor, overlap: float) -> list[bool]:
    """Which queries won enough of their own masks; the ratio is of float32, as theirs."""
    numbers = zip(won.tolist(), area.tolist(), (won / area).tolist(), strict=True)
    return [pixels > 0 and own > 0 and ratio > overlap for pixels, own, ratio in numbers]


def _served(scores: Any, threshold: Any) -> bool:
    """Whether these are what upscore is faster at: on a CPU, with Numba."""
    return (
        NUMBA_IS_INSTALLED
        and isinstance(threshold, int | float)
        and 0 < threshold < 1
        and isinstance(scores, Tensor)
        and scores.is_floating_point()
        and scores.device.type == "cpu"
    )


def _verify_assigned(
    scores: Tensor,
    weights: Tensor,
    steps: Steps,
    limit: float,
    ours: Any,
    theirs: Any,
) -> None:
    """Raise MismatchError unless rounding explains where two results of EoMT differ."""
    if not len(scores):
        return
    through, (height, width), size = steps
    full = resized(resized(scores[None].double(), through)[..., :height, :width], size)[0]
    values = weights[:, None, None] * full.sigmoid()
    edge = full.gather(0, values.argmax(0)[None])[0] - torch.tensor(limit).logit()
    rounding = rounding_of(scores)
    verify_segments(values, edge.abs(), rounding, ours, theirs)


_SEGMENTS = "compute_segments"

PANOPTIC: dict[str, Make] = {
    **dict.fromkeys(
        functions(("maskformer", "mask2former", "detr", "conditional_detr"), _SEGMENTS),
        resized_segments,
    ),
    **dict.fromkeys(
        functions(("oneformer",), _SEGMENTS), partial(resized_segments, antialias=True)
    ),
    **dict.fromkeys(methods("eomt", "Eomt", "post_process_panoptic_segmentation"), eomt_segments),
}
