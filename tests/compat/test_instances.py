"""Instance segmentation of transformers with upscore in its place, on made scores."""

from itertools import product
from types import SimpleNamespace

import pytest
import torch

from upscore import compat
from upscore.compat import transformers_instances
from upscore.compat.verification import verify_instances
from upscore.errors import MismatchError

transformers = pytest.importorskip("transformers")
from upscore.compat.transformers import TESTED  # noqa: E402

if not f"{transformers.__version__}.".startswith(f"{TESTED}."):
    pytest.skip(f"transformers is not {TESTED}", allow_module_level=True)

from query_outputs import SIZES, made, processor  # noqa: E402

pytestmark = pytest.mark.slow

# Larger, smaller and as large as the masks (48 x 64), and as those of Mask2Former (384 x 384).
ALL_SIZES = [SIZES, [[30, 50], [48, 64]], [(400, 31), (384, 384)], [(385, 401), (1, 1)]]
FORMERS = ("MaskFormer", "Mask2Former")
both = pytest.mark.parametrize("pil", [False, True], ids=["torchvision", "Pillow"])


def same(own, outputs, **options):
    """Check that results are the library's own to the bit, and return how many instances."""
    theirs = own.post_process_instance_segmentation(outputs, **options)
    with compat.patch("transformers", verify=True):
        ours = own.post_process_instance_segmentation(outputs, **options)
    assert len(ours) == len(theirs)
    for one, other in zip(ours, theirs, strict=True):
        assert one.keys() == other.keys()
        assert one["segments_info"] == other["segments_info"]
        segmentation, expected = one["segmentation"], other["segmentation"]
        if isinstance(expected, list):
            assert segmentation == expected
            assert [*map(type, segmentation[0])] == [*map(type, expected[0])]
        else:
            assert segmentation.dtype == expected.dtype
            assert torch.equal(segmentation, expected)
    return sum(len(one["segments_info"]) for one in ours)


@both
@pytest.mark.parametrize("kind", FORMERS)
def test_instances_are_the_librarys(kind, pil):
    own, found = processor(kind, pil), 0
    forms = ({}, {"return_coco_annotation": True}, {"return_binary_maps": True})
    for seed, (sizes, form) in enumerate(product([None, *ALL_SIZES], forms)):
        threshold = (0.5, 0.8, 0.0, -1.0)[seed % 4]
        outputs = made(12, seed=seed)
        found += same(own, outputs, threshold=threshold, target_sizes=sizes, **form)
    assert found > 80


@both
def test_instances_of_eomt_are_the_librarys(pil):
    own, found = processor("Eomt", pil), 0
    for seed, sizes in enumerate(ALL_SIZES[:3]):
        size = {"shortest_edge": 64, "longest_edge": None if seed else 80}
        for options in ({}, {"threshold": 0.0}, {"threshold": 0.6, "size": size}):
            found += same(own, made(12, seed=seed), target_sizes=sizes, **options)
    assert found > 30


@pytest.mark.parametrize("kind", [*FORMERS, "Eomt"])
@pytest.mark.parametrize("threads", [1, 2, 3])
def test_means_are_added_up_in_the_librarys_order(kind, threads):
    own, outputs = processor(kind), made(queries=40)
    outputs.masks_queries_logits[:, :20] += 2
    before = torch.get_num_threads()
    torch.set_num_threads(threads)
    try:
        for keep in (1, 2, 3, 7):
            outputs.class_queries_logits[:, keep:] -= 100 * (torch.arange(8) != 7)
            assert same(own, outputs, threshold=0.1, target_sizes=[(300, 410)] * 2)
            outputs.class_queries_logits[:, keep:] += 100 * (torch.arange(8) != 7)
        assert same(own, made(queries=1), threshold=0.0, target_sizes=[(300, 410)] * 2)
    finally:
        torch.set_num_threads(before)


@pytest.mark.parametrize("kind", [*FORMERS, "Eomt"])
def test_scores_may_require_a_gradient(kind):
    outputs = made()
    for scores in vars(outputs).values():
        scores.requires_grad_()
    assert same(processor(kind), outputs, threshold=0.3, target_sizes=SIZES)


@pytest.mark.parametrize("kind", [*FORMERS, "Eomt"])
def test_nothing_is_found(kind):
    own = processor(kind)
    none = SimpleNamespace(**{name: x[:0] for name, x in vars(made()).items()})
    assert same(own, none, target_sizes=[]) == 0  # of no photos
    assert same(own, made(), threshold=1.0, target_sizes=SIZES) == 0
    empty = made()
    empty.masks_queries_logits -= 100
    assert same(own, empty, threshold=0.0, target_sizes=SIZES) == 0
    if kind in FORMERS:
        for form in ("return_coco_annotation", "return_binary_maps"):
            assert same(own, made(), threshold=1.0, target_sizes=SIZES, **{form: True}) == 0


@pytest.mark.parametrize("dtype", [torch.float16, torch.bfloat16, torch.float64])
@pytest.mark.parametrize("kind", [*FORMERS, "Eomt"])
def test_other_types_and_scores_that_are_no_numbers(kind, dtype):
    outputs = made()
    for number, bad in enumerate((torch.nan, torch.inf, -torch.inf)):
        outputs.masks_queries_logits[0, number, 3, 4] = bad
    outputs.class_queries_logits[1, 4] = torch.nan
    typed = SimpleNamespace(**{n: x.to(dtype) for n, x in vars(outputs).items()})
    assert same(processor(kind), typed, threshold=0.3, target_sizes=SIZES)
    torch.set_default_dtype(torch.float64)
    try:
        assert same(processor(kind), outputs, threshold=0.3, target_sizes=SIZES)
    finally:
        torch.set_default_dtype(torch.float32)


@both
@pytest.mark.parametrize("kind", ["OneFormer", "Detr", "ConditionalDetr"])
def test_instances_that_compete(kind, pil):
    """Segments are as in the panoptic step, and their run lengths the library's."""
    own, found = processor(kind, pil), 0
    cases = [{}, {"threshold": 0.3, "overlap_mask_area_threshold": 0.1}]
    if kind == "OneFormer":
        cases += [{"task_type": "panoptic"}, {"is_demo": False, "overlap_mask_area_threshold": 0.2}]
        own.metadata["thing_ids"] = [*range(7)]
    for seed, (options, coco) in enumerate(product(cases, [False, True])):
        options = {**options, "target_sizes": SIZES, "return_coco_annotation": coco}
        outputs = made(seed=seed)
        theirs = own.post_process_instance_segmentation(outputs, **options)
        with compat.patch("transformers", verify=True):
            ours = own.post_process_instance_segmentation(outputs, **options)
        for one, other in zip(ours, theirs, strict=True):
            found += len(one["segments_info"])
            assert one["segments_info"] == other["segments_info"]
            one, other = one["segmentation"], other["segmentation"]
            if coco:
                assert [*map(type, one[0])] == [*map(type, other[0])]
                assert len(one) == len(other)
            else:
                assert one.dtype == other.dtype
                assert (one != other).float().mean() < 1e-3
    assert found > 10


def test_run_lengths():
    from transformers.models.maskformer import image_processing_maskformer as module

    generator = torch.Generator().manual_seed(0)
    cases = [torch.randint(-1, 4, (9, 11), generator=generator) for _ in range(5)]
    cases += [torch.zeros(3, 4), torch.tensor([[2.0, torch.nan, -1.0]]), torch.zeros(0, 4)]
    cases += [torch.arange(12.0).view(3, 4).T]
    for case in cases:
        theirs = module.convert_segmentation_to_rle(case)
        with compat.patch("transformers", verify=True):
            assert module.convert_segmentation_to_rle(case) == theirs


def test_what_upscore_does_not_take_is_the_librarys(monkeypatch):
    def never(*arguments, **options):
        raise AssertionError

    monkeypatch.setattr(transformers_instances, "_likely", never)
    former, eomt, outputs = processor("Mask2Former"), processor("Eomt"), made()
    outputs.masks_queries_logits = outputs.masks_queries_logits.to(
        memory_format=torch.channels_last
    )
    same(former, outputs, target_sizes=SIZES)
    same(eomt, outputs, target_sizes=SIZES)
    assert same(former, made(), threshold=torch.tensor(0.5), target_sizes=SIZES)
    for own in (former, processor("MaskFormer"), eomt):
        queries = SimpleNamespace(**{name: x[:, :0] for name, x in vars(made()).items()})
        classes = made(classes=0)
        for case, sizes in ((made(), torch.tensor(SIZES)), (queries, SIZES), (classes, SIZES)):
            with pytest.raises((TypeError, RuntimeError, IndexError)) as theirs:
                own.post_process_instance_segmentation(case, target_sizes=sizes)
            with compat.patch("transformers"), pytest.raises(theirs.type) as error:
                own.post_process_instance_segmentation(case, target_sizes=sizes)
            assert str(error.value) == str(theirs.value)
    with compat.patch("transformers"):
        with pytest.raises(ValueError, match="can not be both"):
            former.post_process_instance_segmentation(
                made(), return_coco_annotation=True, return_binary_maps=True
            )
        with pytest.raises(IndexError):
            former.post_process_instance_segmentation(made(), target_sizes=SIZES[:1])
        with pytest.warns(UserWarning, match="not valid"):
            eomt.post_process_instance_segmentation(made(), SIZES, mask_threshold=0.3)


def test_verification_finds_wrong_instances():
    segmentation, segments = torch.zeros(3, 4), [{"id": 0, "label_id": 2, "score": 0.5}]
    ours = {"segmentation": segmentation, "segments_info": segments}
    verify_instances(ours, ours)
    verify_instances(ours, {**ours, "segments_info": [{**segments[0], "score": 0.500001}]})
    for other in ([], [{**segments[0], "label_id": 1}], [{**segments[0], "score": 0.50001}]):
        with pytest.raises(MismatchError, match="instances differ: "):
            verify_instances(ours, {**ours, "segments_info": other})
    wrong = segmentation.clone()
    wrong[1, 2] = 1
    with pytest.raises(MismatchError, match=r"differ at \(1, 2\); 1 pixels differ"):
        verify_instances(ours, {**ours, "segmentation": wrong})
    with pytest.raises(MismatchError, match="run lengths"):
        verify_instances({**ours, "segmentation": [[1, 12]]}, {**ours, "segmentation": [[1, 11]]})
