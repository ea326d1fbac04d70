"""`upscore.compat.patch` against the library's own functions, on made scores."""

from importlib import import_module

import numpy as np
import pytest
import torch

from upscore import compat
from upscore.compat import patching, verification
from upscore.errors import ArgumentError, MismatchError, MissingPackageError, UnsupportedError

transformers = pytest.importorskip("transformers")
from upscore.compat.transformers import TESTED  # noqa: E402

if not f"{transformers.__version__}.".startswith(f"{TESTED}."):
    pytest.skip(f"transformers is not {TESTED}", allow_module_level=True)

import query_outputs  # noqa: E402
from transformers.modeling_outputs import SemanticSegmenterOutput  # noqa: E402

pytestmark = pytest.mark.slow

NAMES = (
    "BeitImageProcessor",
    "DPTImageProcessor",
    "MobileNetV2ImageProcessor",
    "MobileViTImageProcessor",
    "SegformerImageProcessor",
)


def random(*shape, seed=0):
    return torch.randn(shape, generator=torch.Generator().manual_seed(seed))


def processor(name):
    """An image processor of transformers; those that work on Pillow images are in files apart."""
    own = getattr(transformers, name.removesuffix("Pil"))
    if name.endswith("Pil"):
        module = own.__module__.replace("image_processing_", "image_processing_pil_")
        own = getattr(import_module(module), name)
    return own()


@pytest.mark.parametrize("name", [*NAMES, *(f"{name}Pil" for name in NAMES)])
def test_semantic_maps(name):
    logits, sizes = random(2, 19, 16, 20), [(75, 100), (61, 33)]
    outputs = SemanticSegmenterOutput(logits=logits)
    own = processor(name)
    theirs = own.post_process_semantic_segmentation(outputs, sizes)
    with compat.patch("transformers", verify=True):
        ours = own.post_process_semantic_segmentation(outputs, sizes)
    for one, other in zip(ours, theirs, strict=True):
        assert one.dtype == other.dtype
        assert (one == other).float().mean() > 0.999


@pytest.mark.parametrize("pil", [False, True], ids=["torchvision", "Pillow"])
@pytest.mark.parametrize("kind", ["MaskFormer", "Mask2Former", "OneFormer"])
def test_semantic_maps_of_queries(kind, pil, monkeypatch):
    own, outputs = query_outputs.processor(kind, pil), query_outputs.made()
    for sizes in (query_outputs.SIZES, [(30, 200), (401, 390)]):
        theirs = own.post_process_semantic_segmentation(outputs, sizes)
        with compat.patch("transformers", verify=True):
            ours = own.post_process_semantic_segmentation(outputs, sizes)
            (first, _) = own.post_process_semantic_segmentation(
                outputs, sizes, return_segmentation_scores=True
            )
        assert torch.equal(first.segmentation, theirs[0])
        for one, other in zip(ours, theirs, strict=True):
            assert one.dtype == other.dtype
            assert (one == other).float().mean() > 0.999
    called, sums = [], []
    monkeypatch.setattr("upscore.compat.transformers.argmax", lambda *case: called.append(case))
    with compat.patch("transformers"):
        assert len(own.post_process_semantic_segmentation(outputs)) == 2  # without sizes
        if kind == "OneFormer" and not pil:  # the second are smaller, and torchvision blurs
            einsum = torch.einsum
            monkeypatch.setattr(torch, "einsum", lambda *case: sums.append(case) or einsum(*case))
            own.post_process_semantic_segmentation(outputs, [(60, 80), (40, 80)])
            assert len(sums) == 1  # the library's
    assert not called


@pytest.mark.parametrize("pil", [False, True], ids=["torchvision", "Pillow"])
@pytest.mark.parametrize(
    "kind", ["Segformer", "MobileNetV2", "MobileViT", "MaskFormer", "Mask2Former", "OneFormer"]
)
def test_sizes_are_those_that_the_library_takes(kind, pil):
    own, outputs = query_outputs.processor(kind, pil), query_outputs.made(queries=5)
    outputs.logits = outputs.masks_queries_logits
    array = np.array(query_outputs.SIZES)
    taken = 0
    for sizes in (array.tolist(), [*map(tuple, array)], [*array], array, torch.tensor(array)):
        try:
            theirs = own.post_process_semantic_segmentation(outputs, sizes)
        except TypeError:
            with compat.patch("transformers"), pytest.raises(TypeError):
                own.post_process_semantic_segmentation(outputs, sizes)
            continue
        with compat.patch("transformers", verify=True):
            ours = own.post_process_semantic_segmentation(outputs, sizes)
        for one, other in zip(ours, theirs, strict=True):
            assert (one == other).float().mean() > 0.999
        taken += 1
    whole = kind in ("MobileNetV2", "MobileViT")
    assert taken == (5 if kind == "OneFormer" and not pil else 3 if whole else 2)


@pytest.mark.parametrize("kind", ["MaskFormer", "Mask2Former", "OneFormer"])
def test_no_class_but_the_null_one(kind):
    own, outputs = query_outputs.processor(kind), query_outputs.made(classes=0)
    with pytest.raises((RuntimeError, IndexError)) as error:
        own.post_process_semantic_segmentation(outputs, query_outputs.SIZES)
    with compat.patch("transformers"), pytest.raises(error.type) as ours:
        own.post_process_semantic_segmentation(outputs, query_outputs.SIZES)
    assert str(ours.value) == str(error.value)


def test_what_is_left_to_the_library():
    outputs = SemanticSegmenterOutput(logits=random(2, 5, 8, 8))
    own = transformers.SegformerImageProcessor()
    plain = own.post_process_semantic_segmentation(outputs)
    with compat.patch("transformers"):
        assert all(map(torch.equal, own.post_process_semantic_segmentation(outputs), plain))
        (first, _) = own.post_process_semantic_segmentation(
            outputs, [(20, 20)] * 2, return_segmentation_scores=True
        )
        assert first.segmentation_scores.shape == (5, 20, 20)
        with pytest.raises(ValueError, match="as many target sizes"):
            own.post_process_semantic_segmentation(outputs, [(20, 20)])


def test_segment_anything():
    own = transformers.SamImageProcessor(pad_size={"height": 64, "width": 64})
    scores = [random(2, 3, 16, 16), random(1, 3, 16, 16, seed=1)]
    sizes, cuts = [(75, 100), (120, 33)], [(48, 64), (64, 18)]
    for given in ((sizes, cuts), (torch.tensor(sizes), np.array(cuts))):
        theirs = own.post_process_masks(list(scores), *given)
        with compat.patch("transformers", verify=True):
            ours = own.post_process_masks(list(scores), *given)
            floats = own.post_process_masks(list(scores), *given, binarize=False)
            from_arrays = own.post_process_masks([s.numpy() for s in scores], *given)
        assert floats[0].is_floating_point()
        for one, other, third in zip(ours, theirs, from_arrays, strict=True):
            assert one.dtype == torch.bool
            assert one.shape == other.shape
            assert (one != other).float().mean() < 1e-3
            assert torch.equal(third, other)


def test_what_upscore_does_not_take_is_the_librarys():
    """Numbers for sizes, thresholds for each mask, half precision, sizes that are not whole."""
    own = transformers.Sam2ImageProcessor()
    scores = [random(2, 3, 16, 16)]
    limits = torch.tensor([0.2, 0.1, 0.3])[:, None, None]
    logits = (5 * random(1, 5, 8, 8)).bfloat16()
    segformer = transformers.SegformerImageProcessor()
    with compat.patch("transformers", verify=True):
        assert own.post_process_masks(scores, [20])[0].shape == (2, 3, 20, 20)
        masks = own.post_process_masks(scores, [(20, 30)], mask_threshold=limits)
        assert masks[0].shape == (2, 3, 20, 30)
        assert own.post_process_masks(scores, [(20, 30)], mask_threshold=-np.inf)[0].all()
        for refused in ([(20.5, 30.5)], [torch.tensor([20, 30])]):
            with pytest.raises((TypeError, RuntimeError)):
                own.post_process_masks(scores, refused)
        for outputs in (logits, logits.half(), logits.to(torch.uint8)):
            (found,) = segformer.post_process_semantic_segmentation(
                SemanticSegmenterOutput(logits=outputs), [(32, 32)]
            )
            assert found.shape == (32, 32)


@pytest.mark.parametrize("name", ["Sam2ImageProcessor", "Sam3ImageProcessor"])
def test_segment_anything_2_and_3(name):
    own = getattr(transformers, name)()
    scores, sizes = [random(2, 3, 16, 16)], [(75, 100)]
    theirs = own.post_process_masks(scores, sizes, mask_threshold=0.3)
    with compat.patch("transformers", verify=True):
        ours = own.post_process_masks(scores, sizes, mask_threshold=0.3)
        apart = own.post_process_masks(scores, sizes, apply_non_overlapping_constraints=True)
    assert (ours[0] != theirs[0]).float().mean() < 1e-3
    assert apart[0].shape == theirs[0].shape


def test_patches_are_taken_out_again():
    before = transformers.SegformerImageProcessor.post_process_semantic_segmentation
    patch = compat.patch("transformers")
    replaced = transformers.SegformerImageProcessor.post_process_semantic_segmentation
    assert replaced is not before
    assert replaced.__doc__ == before.__doc__
    name = "transformers.models.segformer.image_processing_segformer:SegformerImageProcessor"
    assert f"{name}.post_process_semantic_segmentation" in patch.replaced
    assert name in repr(patch)
    patch.undo()
    patch.undo()
    assert transformers.SegformerImageProcessor.post_process_semantic_segmentation is before
    with pytest.raises(RuntimeError, match="stop"), compat.patch("transformers"):
        raise RuntimeError("stop")
    assert transformers.SegformerImageProcessor.post_process_semantic_segmentation is before


def test_other_peoples_patches_stay(monkeypatch):
    def other(*arguments):
        return arguments

    kind = transformers.SegformerImageProcessor
    monkeypatch.setattr(
        kind, "post_process_semantic_segmentation", vars(kind)["post_process_semantic_segmentation"]
    )
    patch = compat.patch("transformers")
    kind.post_process_semantic_segmentation = other
    patch.undo()
    assert kind.post_process_semantic_segmentation is other
    assert patch.replaced == ()
    with pytest.raises(UnsupportedError, match="undone"), patch:
        pass


def test_a_patch_that_fails_half_way_leaves_nothing(monkeypatch):
    kind = transformers.BeitImageProcessor
    before, put, count = kind.post_process_semantic_segmentation, patching._put, []

    def failing(name, function):
        count.append(name)
        if len(count) == 3:
            raise KeyboardInterrupt
        put(name, function)

    monkeypatch.setattr(patching, "_put", failing)
    with pytest.raises(KeyboardInterrupt):
        compat.patch("transformers")
    assert kind.post_process_semantic_segmentation is before


def test_what_the_library_needs_is_named(monkeypatch):
    def missing(name):
        raise ModuleNotFoundError(f"No module named {name}", name="torchvision")

    monkeypatch.setattr(patching, "_holder", missing)
    with pytest.raises(MissingPackageError, match="pip install torchvision"):
        compat.patch("transformers")


def test_a_second_patch_is_refused():
    with compat.patch("transformers"), pytest.raises(UnsupportedError, match="already"):
        compat.patch("transformers")


def test_verification_finds_wrong_pixels():
    scores = random(5, 8, 8)
    labels = torch.nn.functional.interpolate(scores[None], (30, 30), mode="bilinear")[0].argmax(0)
    verification.verify_labels(scores, labels, labels.clone())
    wrong = labels.clone()
    wrong[3, 4] = (wrong[3, 4] + 1) % 5
    with pytest.raises(MismatchError, match=r"labels differ at \(3, 4\)"):
        verification.verify_labels(scores, wrong, labels)
    full = torch.nn.functional.interpolate(scores[None].double(), (30, 30), mode="bilinear")[0]
    other = full > 0
    other[1, 2, 3] ^= True
    with pytest.raises(MismatchError, match="1 pixels differ in all"):
        verification.verify_masks(full, 0.0, scores, full > 0, other)
    scores[4, 0, 0] = -torch.inf
    with pytest.raises(MismatchError):
        verification.verify_labels(scores, (labels + 1) % 5, labels)
    tie = torch.zeros(2, 4, 4)  # any label will do
    verification.verify_labels(tie, torch.zeros(9, 9).long(), torch.ones(9, 9).long())


def test_versions_and_libraries(monkeypatch):
    with pytest.raises(ArgumentError, match="library must be one of detectron2, monai"):
        compat.patch("numpy")
    monkeypatch.setattr(patching, "version", lambda library: "4.51.0")
    with pytest.raises(UnsupportedError, match=r"transformers 4.51.0 is not 5\.23"):
        compat.patch("transformers")
    compat.patch("transformers", any_version=True).undo()

    def missing(library):
        raise patching.PackageNotFoundError(library)

    monkeypatch.setattr(patching, "version", missing)
    with pytest.raises(MissingPackageError, match="pip install transformers"):
        compat.patch("transformers")


def test_functions_that_a_version_lacks(monkeypatch):
    from upscore.compat import transformers as ours

    name = "models.segformer.image_processing_segformer:NoProcessor.post_process_masks"
    monkeypatch.setitem(ours.REPLACEMENTS, name, ours.resized_masks)
    before = transformers.SegformerImageProcessor.post_process_semantic_segmentation
    with pytest.raises(UnsupportedError, match="has no"):
        compat.patch("transformers")
    with compat.patch("transformers", any_version=True) as patch:
        assert patch.replaced
        assert f"transformers.{name}" not in patch.replaced
    monkeypatch.delitem(ours.REPLACEMENTS, name)
    name = "models.segformer.image_processing_segformer:SegformerImageProcessor"
    name += ".post_process_semantic_segmentation"
    monkeypatch.setitem(ours.REPLACEMENTS, name, ours.resized_masks)
    with pytest.raises(UnsupportedError, match="was expected"):
        compat.patch("transformers")
    assert transformers.SegformerImageProcessor.post_process_semantic_segmentation is before
