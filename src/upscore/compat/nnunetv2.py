"""The last step of nnU-Net: `upscore.compat.patch("nnunetv2")`.

nnU-Net resamples the scores of all classes to the voxels of the image before it labels them. Its
default way (`resample_data_or_seg_to_shape` of order 1, in float64) and its way in PyTorch are that
of `upscore.argmax` on volumes, with the nearest slice along an axis of thick ones. Other ways, and
probabilities, are left to it.
"""

from collections.abc import Sequence
from functools import partial, wraps
from inspect import signature
from typing import Any, NamedTuple

import numpy as np
import torch
from numpy.typing import NDArray
from torch.nn import functional as F

from upscore.arrays import framework
from upscore.compat.serving import Function, Make, are_scores
from upscore.compat.verification import verify_volume
from upscore.heads.argmax import argmax

TESTED = "2.8"

# By what follows nnunetv2.preprocessing.resampling: the options with which they are served.
RESAMPLING: dict[str, dict[str, Any]] = {
    "default_resampling.resample_data_or_seg_to_shape": {
        "is_seg": False,
        "order": 1,
        "order_z": 0,
    },
    "resample_torch.resample_torch_fornnunet": {
        "is_seg": False,
        "mode": "linear",
        "aniso_axis_mode": "nearest-exact",
    },
}


class Case(NamedTuple):
    """What is asked for, where it is served."""

    size: tuple[int, ...]
    nearest: tuple[int, ...]
    regions: tuple[int, ...] | None
    place: tuple[slice, ...]  # in the volume before it was cropped


def exported_labels(own: Function, verify: bool) -> Function:
    """`convert_predicted_logits_to_segmentation_with_correct_shape`, where it returns labels."""

    @wraps(own)
    def stand_in(
        predicted_logits: Any,
        plans_manager: Any,
        configuration_manager: Any,
        label_manager: Any,
        properties_dict: Any,
        return_probabilities: bool = False,
        num_threads_torch: int | None = None,
    ) -> Any:
        managers = plans_manager, configuration_manager, label_manager
        arguments = predicted_logits, *managers, properties_dict
        threads = num_threads_torch
        if threads is None:
            threads = signature(own).parameters["num_threads_torch"].default
        case = None if return_probabilities else _case(*arguments)
        if case is None:
            return own(*arguments, return_probabilities, threads)
        small = len(label_manager.foreground_labels) < 255
        whole = np.zeros(properties_dict["shape_before_cropping"], "uint8" if small else "uint16")
        whole[case.place] = _labels(predicted_logits, case, threads)
        labels = whole.transpose(plans_manager.transpose_backward)
        if verify:
            theirs = own(*arguments, False, threads)
            theirs = theirs.transpose(np.argsort(plans_manager.transpose_backward))
            pair = (torch.from_numpy(one[case.place].astype("int64")) for one in (whole, theirs))
            scores = torch.as_tensor(predicted_logits)
            verify_volume(scores, *pair, nearest=case.nearest, regions=case.regions)
        return labels

    return stand_in


def _labels(logits: Any, case: Case, threads: int) -> NDArray[Any]:
    before = torch.get_num_threads()  # upscore takes as many
    torch.set_num_threads(threads)
    try:
        labels = argmax(logits, case.size, nearest=case.nearest, regions=case.regions)
    finally:
        torch.set_num_threads(before)
    return np.asarray(labels)


def _case(logits: Any, plans: Any, configuration: Any, labels: Any, properties: Any) -> Case | None:
    """What is served of this, or nothing."""
    size = tuple(int(n) for n in properties["shape_after_cropping_and_before_resampling"])
    place = tuple(slice(*map(int, ends)) for ends in properties["bbox_used_for_cropping"])
    inside = all(
        at.start >= 0 and at.stop - at.start == n and at.stop <= full
        for at, n, full in zip(place, size, properties["shape_before_cropping"], strict=True)
    )
    tensor = torch.from_numpy(logits) if isinstance(logits, np.ndarray) else logits
    if not inside or not are_scores(tensor) or tensor.ndim != 4 or not min(*tensor.shape, *size):
        return None
    if not _usual(labels) or len(logits) != labels.num_segmentation_heads:
        return None
    spacing = [properties["spacing"][axis] for axis in plans.transpose_forward]
    known = configuration.spacing
    if len(known) != len(size):
        known = [spacing[0], *known]
    nearest = _nearest(
        configuration.resampling_fn_probabilities, tuple(logits.shape[1:]), size, known, spacing
    )
    if nearest is None or not framework(logits).finite(logits):
        return None
    regions = tuple(labels.regions_class_order) if labels.has_regions else None
    return Case(size, nearest, regions, place)


def _usual(labels: Any) -> bool:
    """Whether labels are made of scores as nnU-Net's own `LabelManager` makes them by default."""
    kind = type(labels)
    if f"{kind.__module__}.{kind.__qualname__}" != (
        "nnunetv2.utilities.label_handling.label_handling.LabelManager"
    ):
        return False
    return not labels.has_regions or (
        labels.inference_nonlin is torch.sigmoid
        and all(isinstance(label, int) and label >= 0 for label in labels.regions_class_order)
    )


def _nearest(
    resample: Any,
    shape: Sequence[int],
    size: Sequence[int],
    spacing: Sequence[float],
    new_spacing: Sequence[float],
) -> tuple[int, ...] | None:
    """The axes along which the nearest slice is taken, or None where it is resampled otherwise."""
    function = resample.func if isinstance(resample, partial) else resample
    name = f"{function.__module__}.{function.__qualname__}"
    expected = RESAMPLING.get(name.removeprefix("nnunetv2.preprocessing.resampling."))
    if expected is None:
        return None
    options = {key: one.default for key, one in signature(resample).parameters.items()}
    if any(options[key] != value for key, value in expected.items()):
        return None
    separate, axis = function.__globals__["determine_do_sep_z_and_axis"](
        options["force_separate_z"],
        spacing,
        new_spacing,
        options["separate_z_anisotropy_threshold"],
    )
    if not separate:
        return ()
    slices = np.arange(size[axis])
    exact = (2 * slices + 1) * shape[axis] // (2 * size[axis])
    if name.endswith("resample_torch_fornnunet"):
        numbers = torch.arange(shape[axis], dtype=torch.float32)[None, None]
        theirs = F.interpolate(numbers, size[axis], mode="nearest-exact")[0, 0].numpy()
    else:  # scipy's map_coordinates of order 0
        at = float(shape[axis]) / size[axis] * (slices + 0.5) - 0.5
        theirs = np.floor(at.clip(0, shape[axis] - 1) + 0.5)
    return (int(axis),) if np.array_equal(theirs, exact) else None


_NAME = "convert_predicted_logits_to_segmentation_with_correct_shape"
REPLACEMENTS: dict[str, Make] = {
    f"inference.{module}:{_NAME}": exported_labels
    for module in ("export_prediction", "predict_from_raw_data", "JHU_inference")
}
