"""The instance step of Hugging Face transformers, for `upscore.compat.transformers`.

The score of an instance is that of its class times the mean of its mask, which is at most 1. So a
query whose class is below the threshold is out before its mask is resized; the library resizes all
of them. The rest is computed by the library's own expressions: scores are kept to six digits, which
sums in another order would change. Masks that are enlarged by taking the nearest pixel are painted
before, on one map.
"""

from collections.abc import Callable
from functools import partial, wraps
from typing import Any

import torch
from torch import Tensor
from torch.nn import functional as F

from upscore.compat.serving import Function, Make, Size, are_scores, is_finite, plain_pairs, resized
from upscore.compat.transformers_panoptic import Segments, Steps, eomt_steps
from upscore.compat.transformers_places import functions, methods
from upscore.compat.verification import verify_instances
from upscore.errors import MismatchError


def coarse_instances(own: Function, verify: bool, through: Size | None = None) -> Function:
    """`post_process_instance_segmentation` of MaskFormer, and of Mask2Former, which resizes."""

    @wraps(own)
    def post_process_instance_segmentation(
        self: Any,
        outputs: Any,
        threshold: float = 0.5,
        mask_threshold: float = 0.5,
        overlap_mask_area_threshold: float = 0.8,
        target_sizes: Any = None,
        return_coco_annotation: bool | None = False,
        return_binary_maps: bool | None = False,
    ) -> Any:
        form = return_coco_annotation, return_binary_maps
        unused = mask_threshold, overlap_mask_area_threshold
        arguments = self, outputs, threshold, *unused, target_sizes, *form
        logits, classes = outputs.masks_queries_logits, outputs.class_queries_logits
        sizes: list[Any] = plain_pairs(target_sizes)
        if target_sizes is None:
            sizes = [None] * len(logits)
        if all(form) or not _served(logits, classes, sizes, threshold):
            return own(*arguments)
        results = []
        for scores, masks, size in zip(classes, logits, sizes, strict=True):
            segmentation, maps, segments = _coarse(scores, masks, threshold, through, size)
            if return_coco_annotation:
                segmentation = own.__globals__["convert_segmentation_to_rle"](segmentation)
            elif return_binary_maps and segments:
                segmentation = _nearest(maps.float(), size)
            results.append({"segmentation": segmentation, "segments_info": segments})
        if verify:
            for one, other in zip(results, own(*arguments), strict=True):
                verify_instances(one, other)
        return results

    return post_process_instance_segmentation


def _coarse(
    scores: Tensor, logits: Tensor, threshold: float, through: Size | None, size: Size | None
) -> tuple[Tensor, Tensor, Segments]:
    """The segmentation of a photo, the masks before they are enlarged, and the segments."""
    number, kinds = scores.shape[0], scores.shape[1] - 1
    sure, places = scores.softmax(-1)[:, :-1].flatten().topk(number, sorted=False)
    likely = _likely(sure, threshold)
    side = through or (logits.shape[1], logits.shape[2])
    segmentation = torch.full(side, -1.0, dtype=torch.float32)
    masks, segments = torch.zeros(0, *side, dtype=torch.bool), Segments()
    if len(likely):
        sure, places = sure[likely], places[likely]
        # A query may have several classes.
        queries, of = torch.unique(places // kinds, return_inverse=True)
        few = logits[queries] if through is None else resized(logits[None, queries], side)[0]
        masks, means = _measured(few, number)
        masks, values = masks[of], sure * means[of]
        kept = _kept(_taken(masks, size), values, threshold)
        masks, labels = masks[kept], places[kept] % kinds
        _paint(segmentation, segments, masks, values[kept], labels, was_fused=False)
    whole = _nearest(segmentation[None], size)[0].to(torch.get_default_dtype())
    return whole, masks, segments


def _nearest(maps: Tensor, size: Size | None) -> Tensor:
    return maps if size is None else F.interpolate(maps[None], size, mode="nearest")[0]


def _taken(masks: Tensor, size: Size | None) -> Tensor:
    """Masks without the rows and columns that `_nearest` leaves out where it makes them smaller.

    A mask that has a pixel here has one in its final size too.
    """
    if size is None:
        return masks
    for dim in (1, 2):
        places = torch.arange(masks.shape[dim], dtype=torch.float32)
        taken = F.interpolate(places[None, None], size[dim - 1], mode="nearest")[0, 0]
        masks = masks.index_select(dim, torch.unique(taken.long()))
    return masks


def eomt_instances(own: Function, verify: bool) -> Function:
    """`post_process_instance_segmentation` of EoMT: logits are resized, cut and resized again."""
    steps = eomt_steps(own)

    @wraps(own)
    def post_process_instance_segmentation(
        self: Any,
        outputs: Any,
        target_sizes: Any,
        threshold: float = 0.8,
        size: Any = None,
        **others: Any,
    ) -> Any:
        logits, sizes = outputs.masks_queries_logits, plain_pairs(target_sizes)
        classes = outputs.class_queries_logits
        if others or not _served(logits, classes, sizes, threshold):
            return own(self, outputs, target_sizes, threshold, size, **others)
        side = self.size if size is None else size
        results = []
        for scores, masks, to in zip(classes, logits, sizes, strict=True):
            segmentation, segments = _full(scores, masks, threshold, steps(side, to))
            results.append({"segmentation": segmentation, "segments_info": segments})
        if verify:
            theirs = own(self, outputs, target_sizes, threshold, size)
            for one, other in zip(results, theirs, strict=True):
                verify_instances(one, other)
        return results

    return post_process_instance_segmentation


def _full(
    scores: Tensor, logits: Tensor, threshold: float, steps: Steps
) -> tuple[Tensor, Segments]:
    """The segmentation and the segments of a photo.

    Masks are resized two at a time, to hold no more of them in full size.
    """
    through, (height, width), size = steps
    sure, classes = scores.softmax(-1)[:, :-1].max(-1)
    segmentation, segments = torch.full(size, -1.0), Segments()
    likely = _likely(sure, threshold)
    for start in range(0, len(likely), 2):
        two = likely[start : start + 2]
        full = resized(resized(logits[two][None], through)[..., :height, :width], size)[0]
        masks, means = _measured(full, len(scores))
        values = sure[two] * means
        kept = _kept(masks, values, threshold)
        _paint(segmentation, segments, masks[kept], values[kept], classes[two[kept]])
    return segmentation, segments


def _paint(
    segmentation: Tensor,
    segments: Segments,
    masks: Tensor,
    values: Tensor,
    classes: Tensor,
    **more: bool,
) -> None:
    """Add instances to a segmentation, over those that are there, and to the list of segments."""
    for mask, value, label in zip(masks, values.tolist(), classes.tolist(), strict=True):
        segmentation.masked_fill_(mask, len(segments))
        segment = {"id": len(segments), "label_id": label, **more, "score": round(value, 6)}
        segments.append(segment)


def _served(logits: Any, classes: Any, sizes: list[Any], threshold: Any) -> bool:
    """Whether PyTorch computes these in the same way where there are fewer of them."""
    return (
        is_finite(threshold)
        and are_scores(logits)
        and are_scores(classes)
        and logits.is_contiguous()
        and logits.numel() > 0
        and (logits.ndim, classes.ndim) == (4, 3)
        and logits.shape[:2] == classes.shape[:2]
        and classes.shape[2] > 1
        and len(sizes) == len(logits)
    )


def _likely(sure: Tensor, threshold: float) -> Tensor:
    """Which queries could be instances, by index, if the mean of their masks were 1, the largest.

    Those that miss the threshold by a thousandth are among them, as scores are rounded.
    """
    return (1.001 * sure.double() >= threshold).nonzero()[:, 0]


def _kept(masks: Tensor, values: Tensor, threshold: float) -> Tensor:
    """The numbers of those that reach the threshold, as Python's numbers do, and have a pixel."""
    return ((values.double() >= threshold) & masks.flatten(1).any(1)).nonzero()[:, 0]


def _measured(logits: Tensor, number: int) -> tuple[Tensor, Tensor]:
    """Masks of logits and the mean probability in each; `number` is of the library's logits."""
    rows, inside = logits, logits > 0
    if len(logits) == 1 < number:
        rows = logits.repeat(2, 1, 1)  # PyTorch adds up a row that is alone in another order
    masks = (rows > 0).float().flatten(1)
    means = (rows.sigmoid().flatten(1) * masks).sum(1) / (masks.sum(1) + 1e-6)
    return inside, means[: len(logits)]


def run_lengths(own: Function, verify: bool, kind: Callable[[Tensor], list[Any]]) -> Function:
    """`convert_segmentation_to_rle`: the runs of all segments in one pass, as lists of a kind."""

    @wraps(own)
    def convert_segmentation_to_rle(segmentation: Any) -> Any:
        tensor = isinstance(segmentation, Tensor) and segmentation.device.type == "cpu"
        if not tensor or not segmentation.numel():
            return own(segmentation)
        pixels = segmentation.flatten()
        starts = F.pad((pixels[1:] != pixels[:-1]).nonzero()[:, 0] + 1, (1, 0))
        values = pixels[starts]
        if values.isnan().any():
            return own(segmentation)
        lengths = F.pad(starts, (0, 1), value=len(pixels)).diff()
        runs = torch.stack((starts + 1, lengths), 1)[values.argsort(stable=True)]
        counts = torch.unique(values, return_counts=True)[1].tolist()
        found = [kind(one.flatten()) for one in torch.split(runs, counts)]
        if verify and found != own(segmentation):
            raise MismatchError("the run lengths of a segmentation differ")
        return found

    return convert_segmentation_to_rle


def _arrays(numbers: Tensor) -> list[Any]:
    return list(numbers.numpy())


_METHOD = "post_process_instance_segmentation"
# What the library's lists of run lengths hold: numbers of Python, of PyTorch, and else of NumPy.
_LISTS: dict[str, Callable[[Tensor], list[Any]]] = {
    "models.maskformer.image_processing_maskformer": Tensor.tolist,
    "models.mask2former.image_processing_mask2former": Tensor.tolist,
    "models.oneformer.image_processing_oneformer": list,
}
_WITH_RUN_LENGTHS = ("maskformer", "mask2former", "oneformer", "detr", "conditional_detr")

INSTANCES: dict[str, Make] = {
    **dict.fromkeys(methods("maskformer", "MaskFormer", _METHOD), coarse_instances),
    **dict.fromkeys(
        methods("mask2former", "Mask2Former", _METHOD),
        partial(coarse_instances, through=(384, 384)),
    ),
    **dict.fromkeys(methods("eomt", "Eomt", _METHOD), eomt_instances),
    **{
        place: partial(run_lengths, kind=_LISTS.get(place.partition(":")[0], _arrays))
        for place in functions(_WITH_RUN_LENGTHS, "convert_segmentation_to_rle")
    },
}
