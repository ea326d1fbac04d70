"""Exported labels against nnU-Net, where it is installed, and against its steps."""

import pickle
import warnings
from functools import partial
from inspect import signature
from types import SimpleNamespace

import numpy as np
import pytest
import torch
from scipy.ndimage import map_coordinates
from skimage.transform import resize
from torch.nn import functional as F

from upscore import compat
from upscore.compat import nnunetv2 as ours
from upscore.compat import verification
from upscore.errors import MismatchError

pytestmark = pytest.mark.slow

NAME = "convert_predicted_logits_to_segmentation_with_correct_shape"
RESAMPLING = "nnunetv2.preprocessing.resampling"
SHAPE = (6, 10, 12)
SIZES = [(9, 20, 25), (6, 20, 25), SHAPE, (3, 7, 30)]
# Spacings of the scores and of the image: alike, thick slices of each axis, a 2D configuration.
SPACINGS = [
    ((1, 1, 1), (1.3, 0.7, 0.7)),
    ((5, 1, 1), (5, 0.6, 0.6)),
    ((1, 5, 1), (0.6, 3, 0.6)),
    ((1, 1, 1), (1, 1, 4)),
    ((1, 1), (6, 0.5, 0.5)),
]


def determine_do_sep_z_and_axis(force, current, new, threshold=3):
    """Which axis is resampled apart: the one of thick slices, before or after."""
    for spacing in (current, new):
        thick = np.flatnonzero(np.array(spacing) == max(spacing))
        if force or (force is None and max(spacing) / min(spacing) > threshold):
            return (True, thick[0]) if len(thick) == 1 else (False, None)
    return False, None


def resample_data_or_seg_to_shape(
    data,
    new_shape,
    current_spacing,
    new_spacing,
    is_seg=False,
    order=3,
    order_z=0,
    force_separate_z=False,
    separate_z_anisotropy_threshold=3,
):
    """Resample in float64, class by class: slices first, then across them without blending."""
    separate, axis = determine_do_sep_z_and_axis(
        force_separate_z, current_spacing, new_spacing, separate_z_anisotropy_threshold
    )
    if tuple(data.shape[1:]) == tuple(new_shape):
        return np.asarray(data)
    options = {"order": order, "mode": "edge", "anti_aliasing": False}
    result = np.zeros((len(data), *new_shape), np.asarray(data).dtype)
    for one, into in zip(np.asarray(data).astype(float), result, strict=True):
        if not separate:
            into[:] = resize(one, new_shape, **options)
            continue
        flat = [n for i, n in enumerate(new_shape) if i != axis]
        slices = [resize(plane, flat, **options) for plane in np.moveaxis(one, axis, 0)]
        stack = np.stack(slices, axis)
        places = np.mgrid[tuple(slice(n) for n in new_shape)].astype(float)
        scale = float(stack.shape[axis]) / new_shape[axis]
        places[axis] = scale * (places[axis] + 0.5) - 0.5
        into[:] = map_coordinates(stack, places, order=order_z, mode="nearest")
    return result


def resample_torch_fornnunet(
    data,
    new_shape,
    current_spacing,
    new_spacing,
    is_seg=False,
    force_separate_z=None,
    separate_z_anisotropy_threshold=3,
    mode="linear",
    aniso_axis_mode="nearest-exact",
):
    """Resample in float32: slices first, then across them without blending."""
    separate, axis = determine_do_sep_z_and_axis(
        force_separate_z, current_spacing, new_spacing, separate_z_anisotropy_threshold
    )
    flat = list(new_shape)
    if separate:
        flat[axis] = data.shape[1 + axis]
    full = F.interpolate(torch.as_tensor(data)[None].float(), flat, mode="trilinear")
    return F.interpolate(full, new_shape, mode=aniso_axis_mode)[0].numpy()


resample_data_or_seg_to_shape.__module__ = f"{RESAMPLING}.default_resampling"
resample_torch_fornnunet.__module__ = f"{RESAMPLING}.resample_torch"
RESAMPLE = {
    "default": partial(
        resample_data_or_seg_to_shape, order=1, order_z=0, is_seg=False, force_separate_z=None
    ),
    "torch": partial(resample_torch_fornnunet, is_seg=False, force_separate_z=None),
}


class LabelManager:
    """Labels 0, 1 and 2, or three regions that overlap."""

    num_segmentation_heads = 3

    def __init__(self, regions=False):
        self.has_regions, self.inference_nonlin = regions, torch.sigmoid
        self.regions_class_order = [1, 2, 5] if regions else None
        self.foreground_labels = [1, 2, 5] if regions else [1, 2]


LabelManager.__module__ = "nnunetv2.utilities.label_handling.label_handling"


def case(resample, size=SIZES[0], spacings=SPACINGS[0], regions=False, dtype=np.float32):
    """What is given to nnU-Net's function: scores, its managers, and what is known of the image."""
    scores = np.random.default_rng(0).normal(size=(3, *SHAPE)).astype(dtype)
    plans = SimpleNamespace(transpose_forward=[1, 2, 0], transpose_backward=[2, 0, 1])
    image = [0, 0, 0]
    for place, axis in enumerate(plans.transpose_forward):
        image[axis] = spacings[1][place]
    configuration = SimpleNamespace(
        spacing=list(spacings[0]), resampling_fn_probabilities=RESAMPLE.get(resample, resample)
    )
    properties = {
        "spacing": image,
        "shape_after_cropping_and_before_resampling": list(size),
        "shape_before_cropping": tuple(n + 5 for n in size),
        "bbox_used_for_cropping": [[2, 2 + n] for n in size],
    }
    return scores, plans, configuration, LabelManager(regions), properties


def steps(
    predicted_logits,
    plans_manager,
    configuration_manager,
    label_manager,
    properties_dict,
    return_probabilities=False,
    num_threads_torch=8,
):
    """What nnunetv2/inference/export_prediction.py 2.8 does."""
    spacing = [properties_dict["spacing"][i] for i in plans_manager.transpose_forward]
    known = configuration_manager.spacing
    known = known if len(known) == 3 else [spacing[0], *known]
    size = properties_dict["shape_after_cropping_and_before_resampling"]
    full = configuration_manager.resampling_fn_probabilities(predicted_logits, size, known, spacing)
    labels = full.argmax(0)
    if label_manager.has_regions:
        labels = np.zeros(size, int)
        for one, label in zip(full, label_manager.regions_class_order, strict=True):
            labels[torch.from_numpy(one).float().sigmoid().numpy() > 0.5] = label
    whole = np.zeros(properties_dict["shape_before_cropping"], np.uint8)
    whole[tuple(slice(*ends) for ends in properties_dict["bbox_used_for_cropping"])] = labels
    return whole.transpose(plans_manager.transpose_backward)


def unasked(*given):
    raise AssertionError("left to the library")


unasked.__signature__ = signature(steps)


@pytest.mark.parametrize("regions", [False, True])
@pytest.mark.parametrize("spacings", SPACINGS)
@pytest.mark.parametrize("size", SIZES)
@pytest.mark.parametrize("resample", RESAMPLE)
def test_labels_are_those_of_the_steps(resample, size, spacings, regions):
    given = case(resample, size, spacings, regions)
    threads = torch.get_num_threads()
    found, theirs = ours.exported_labels(unasked, verify=False)(*given), steps(*given)
    assert torch.get_num_threads() == threads
    assert found.dtype == theirs.dtype
    assert found.strides == theirs.strides
    assert (found != theirs).mean() < 1e-4
    verified = ours.exported_labels(steps, verify=True)(*given, num_threads_torch=1)
    assert np.array_equal(verified, found)


@pytest.mark.parametrize("dtype", [np.float16, np.float64])
def test_other_scores(dtype):
    given = case("default", dtype=dtype)
    found = ours.exported_labels(steps, verify=True)(*given)
    assert (found != steps(*given)).mean() < 2e-3
    tensor = torch.from_numpy(given[0])
    assert np.array_equal(ours.exported_labels(unasked, verify=False)(tensor, *given[1:]), found)
    turned = np.asfortranarray(given[0])
    assert np.array_equal(ours.exported_labels(unasked, verify=False)(turned, *given[1:]), found)


def test_what_is_left_to_the_library():
    calls = []
    own = ours.exported_labels(lambda *given: calls.append(given), verify=False)
    scores, plans, configuration, labels, properties = case("default")

    def left(*given, **named):
        own(*given, **named, num_threads_torch=2)
        assert calls.pop()[:5] == given

    left(scores, plans, configuration, labels, properties, return_probabilities=True)
    for other in (
        partial(RESAMPLE["default"], order=3),
        partial(RESAMPLE["default"], order_z=1),
        partial(RESAMPLE["default"], is_seg=True),
        partial(RESAMPLE["torch"], mode="nearest"),
        partial(RESAMPLE["torch"], aniso_axis_mode="linear"),
        lambda data, *_: data,
    ):
        left(scores, plans, case(other)[2], labels, properties)
    for bad in (scores.astype(int), scores[:2], scores[0], np.full_like(scores, np.nan)):
        left(bad, plans, configuration, labels, properties)
    beyond = {**properties, "bbox_used_for_cropping": [[-1, 8], [0, 20], [0, 25]]}
    left(scores, plans, configuration, labels, beyond)
    kind = type("Other", (LabelManager,), {})
    left(scores, plans, configuration, kind(), properties)
    regions = LabelManager(regions=True)
    regions.inference_nonlin = torch.tanh
    left(scores, plans, configuration, regions, properties)


def test_slices_between_two_others_are_left_to_the_library():
    """Of 2 slices for 49 one lies halfway, and rounding decides between its neighbours."""
    spacings = (5.0, 1.0, 1.0), (0.2, 1.0, 1.0)
    for name, missed in (("default", 49), ("torch", 61)):
        assert ours._nearest(RESAMPLE[name], (2, 9, 9), (missed, 9, 9), *spacings) is None
        assert ours._nearest(RESAMPLE[name], (2, 9, 9), (4, 9, 9), *spacings) == (0,)


def test_verification():
    scores = torch.from_numpy(case("default")[0])
    full = F.interpolate(scores[None].double(), SIZES[0], mode="trilinear")[0]
    labels, wrong = full.argmax(0), full.argmin(0)
    verification.verify_volume(scores, labels, labels.clone())
    with pytest.raises(MismatchError, match="labels differ at"):
        verification.verify_volume(scores, wrong, labels)
    with pytest.raises(MismatchError, match="labels differ at"):
        verification.verify_volume(scores, wrong, labels, nearest=(0,))
    with pytest.raises(MismatchError, match="labels differ at"):
        verification.verify_volume(scores, wrong, labels, regions=(1, 2, 0))
    tie = torch.zeros(3, 4, 4, 4)  # any label will do
    ones = torch.ones(9, 9, 9).long()
    verification.verify_volume(tie, ones, 2 * ones)
    verification.verify_volume(tie, ones, 0 * ones, regions=(2, 1, 3))


def test_patch(made):
    modules = made(
        "nnunetv2", {name.partition(":")[0]: {NAME: steps} for name in ours.REPLACEMENTS}
    )
    with compat.patch("nnunetv2", verify=True) as patched:
        assert len(patched.replaced) == len(modules) == 3
        (function,) = {getattr(module, NAME) for module in modules}
        assert function is not steps
        assert np.array_equal(function(*case("default")), steps(*case("default")))
    assert all(getattr(module, NAME) is steps for module in modules)


@pytest.mark.parametrize("regions", [False, True])
@pytest.mark.parametrize("spacings", SPACINGS)
@pytest.mark.parametrize("resample", RESAMPLE)
def test_the_library_itself(installed, resample, spacings, regions):
    exporting = installed("nnunetv2.inference.export_prediction")
    predicting = installed("nnunetv2.inference.predict_from_raw_data")
    plans = installed("nnunetv2.utilities.plans_handling.plans_handler")
    handling = installed("nnunetv2.utilities.label_handling.label_handling")
    scores, plan, _, _, properties = case(resample, spacings=spacings)
    configuration = plans.ConfigurationManager(
        {
            "architecture": {},
            "spacing": list(spacings[0]),
            "resampling_fn_probabilities": RESAMPLE[resample].func.__name__,
            "resampling_fn_probabilities_kwargs": RESAMPLE[resample].keywords,
        }
    )
    kinds = (
        {"background": 0, "a": [1, 2, 5], "b": [2, 5], "c": 5}
        if regions
        else {"background": 0, "a": 1, "b": 2}
    )
    labels = handling.LabelManager(kinds, [1, 2, 5] if regions else None)
    given = scores, plan, configuration, labels, properties
    theirs = getattr(exporting, NAME)(*given)
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")
        patched = compat.patch("nnunetv2", verify=True)
    with patched:
        function = getattr(predicting, NAME)
        assert pickle.loads(pickle.dumps(function)) is function
        assert (function(*given) != theirs).mean() < 1e-4
        both = function(*given, return_probabilities=True)
    assert np.array_equal(both[0], theirs)
    assert both[1].shape[0] == 3
    assert getattr(predicting, NAME) is getattr(exporting, NAME)
