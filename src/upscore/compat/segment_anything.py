"""Segment Anything's own package: `upscore.compat.patch("segment_anything")`.

`Sam.postprocess_masks` returns scores, which are compared with the threshold by those who call it.
They are served: the network runs in the library's own functions, of which the masks stay coarse.
"""

from functools import wraps
from typing import Any

from torch import Tensor

from upscore.compat.serving import (
    Function,
    Make,
    are_scores,
    dense,
    is_finite,
    pairs,
    verify_padded,
)

TESTED = "1.0"


def predicted_masks(own: Function, verify: bool) -> Function:
    """`SamPredictor.predict_torch`, and so `predict`, where masks are asked for and no scores."""

    @wraps(own)
    def predict_torch(
        self: Any,
        point_coords: Any,
        point_labels: Any,
        boxes: Any = None,
        mask_input: Any = None,
        multimask_output: bool = True,
        return_logits: bool = False,
    ) -> Any:
        prompts = point_coords, point_labels, boxes, mask_input, multimask_output
        if return_logits:
            return own(self, *prompts, True)
        coarse = _With(self, model=_With(self.model, postprocess_masks=_left_coarse))
        scores, quality, low = own(coarse, *prompts, True)
        found = _masks(self.model, scores, self.input_size, self.original_size, verify)
        return found, quality, low

    return predict_torch


def masks_of_all(own: Function, verify: bool) -> Function:
    """`Sam.forward`: all prompts of a list of photos."""

    @wraps(own)
    def forward(self: Any, batched_input: Any, multimask_output: bool) -> Any:
        outputs = own(_With(self, postprocess_masks=_left_coarse), batched_input, multimask_output)
        for photo, output in zip(batched_input, outputs, strict=True):
            sizes = photo["image"].shape[-2:], photo["original_size"]
            output["masks"] = _masks(self, output["low_res_logits"], *sizes, verify)
        return outputs

    return forward


class _With:
    """An object with other attributes in the place of some of its own."""

    def __init__(self, real: Any, **others: Any) -> None:
        self.__dict__.update(others, _real=real)

    def __getattr__(self, name: str) -> Any:
        return getattr(self._real, name)


def _left_coarse(masks: Tensor, input_size: Any, original_size: Any) -> Tensor:
    return masks


def _masks(model: Any, scores: Tensor, input_size: Any, original_size: Any, verify: bool) -> Tensor:
    """Masks of B x C x h x w scores."""

    def own() -> Tensor:
        full: Tensor = model.postprocess_masks(scores, input_size, original_size)
        return full.gt(threshold)

    sizes, threshold = pairs([input_size, original_size]), model.mask_threshold
    if not sizes or not are_scores(scores) or not is_finite(threshold):
        return own()
    side, (cut, size) = model.image_encoder.img_size, sizes
    through, cut = (side, side), (min(side, cut[0]), min(side, cut[1]))
    found = dense(scores, size, threshold, through=through, crop=cut)
    if verify:
        verify_padded(scores, through, cut, size, threshold, found, own())
    return found


REPLACEMENTS: dict[str, Make] = {
    "predictor:SamPredictor.predict_torch": predicted_masks,
    "modeling.sam:Sam.forward": masks_of_all,
}
