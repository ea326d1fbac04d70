"""Panoptic segmentation of transformers with upscore in its place, on made scores."""

from itertools import chain
from types import SimpleNamespace

import pytest
import torch

from upscore import compat
from upscore.compat import transformers_panoptic
from upscore.compat.verification import verify_segments
from upscore.errors import MismatchError, UnsupportedError

transformers = pytest.importorskip("transformers")
from upscore.compat.transformers import TESTED  # noqa: E402

if not f"{transformers.__version__}.".startswith(f"{TESTED}."):
    pytest.skip(f"transformers is not {TESTED}", allow_module_level=True)

from query_outputs import SIZES, made, processor  # noqa: E402

KINDS = ("MaskFormer", "Mask2Former", "OneFormer", "Detr", "ConditionalDetr", "Eomt")


def options_of(kind):
    fused = "stuff_classes" if kind == "Eomt" else "label_ids_to_fuse"
    return [
        {fused: {1, 2, 5}},
        {fused: {3}, "threshold": 0.3, "overlap_mask_area_threshold": 0.3},
        {fused: {0}, "threshold": 0.6, "mask_threshold": 0.3},
        {fused: {0}, "mask_threshold": 0.8, "overlap_mask_area_threshold": -1.0},
    ]


@pytest.mark.parametrize("pil", [False, True], ids=["torchvision", "Pillow"])
@pytest.mark.parametrize("kind", KINDS)
def test_segments_are_the_librarys(kind, pil):
    own = processor(kind, pil)
    found = 0
    for seed, options in enumerate(options_of(kind)):
        arguments = {"outputs": made(seed=seed), "target_sizes": SIZES, **options}
        theirs = own.post_process_panoptic_segmentation(**arguments)
        with compat.patch("transformers", verify=True):
            ours = own.post_process_panoptic_segmentation(**arguments)
        for one, other, size in zip(ours, theirs, SIZES, strict=True):
            assert one.keys() == other.keys()
            assert one["segments_info"] == other["segments_info"]
            assert one["segmentation"].dtype == other["segmentation"].dtype
            assert one["segmentation"].shape == size
            assert (one["segmentation"] != other["segmentation"]).float().mean() < 1e-3
            found += len(one["segments_info"])
    assert found > 20


@pytest.mark.parametrize("kind", KINDS)
def test_no_query_is_sure_enough(kind):
    own = processor(kind)
    arguments = {"outputs": made(), "target_sizes": SIZES, "threshold": 1.0}
    theirs = own.post_process_panoptic_segmentation(**arguments)
    with compat.patch("transformers", verify=True):
        ours = own.post_process_panoptic_segmentation(**arguments)
    for one, other in zip(ours, theirs, strict=True):
        assert torch.equal(one["segmentation"], other["segmentation"])
        assert one["segmentation"].dtype == other["segmentation"].dtype
        assert one["segments_info"] == other["segments_info"] == []


def test_what_upscore_does_not_take_is_the_librarys(monkeypatch):
    outputs = made()
    former, eomt = processor("Mask2Former"), processor("Eomt")
    calls = (
        lambda: former.post_process_panoptic_segmentation(outputs),  # no sizes
        lambda: eomt.post_process_panoptic_segmentation(outputs, SIZES, mask_threshold=0.0),
    )
    theirs = [call() for call in calls]

    def never(*arguments, **options):
        raise AssertionError

    for name in ("argmax", "assign", "masks"):
        monkeypatch.setattr(transformers_panoptic, name, never)
    with compat.patch("transformers"):
        ours = [call() for call in calls]
    for one, other in zip(chain(*ours), chain(*theirs), strict=True):
        assert torch.equal(one["segmentation"], other["segmentation"])
        assert one["segments_info"] == other["segments_info"]


def test_one_query_and_half_precision():
    outputs = made(queries=1)
    outputs.class_queries_logits[..., 2] = 20
    half = SimpleNamespace(**{name: value.bfloat16() for name, value in vars(outputs).items()})
    for kind in ("Mask2Former", "Eomt"):
        own = processor(kind)
        with compat.patch("transformers"):
            (one, _) = own.post_process_panoptic_segmentation(outputs, target_sizes=SIZES)
            (other, _) = own.post_process_panoptic_segmentation(half, target_sizes=SIZES)
        assert one["segmentation"].shape == other["segmentation"].shape == SIZES[0]


def test_verification_finds_wrong_segments():
    values = torch.rand(3, 6, 7, dtype=torch.float64)
    values[2, 2, 3] = 0  # not the winner where the segmentation is made wrong
    segmentation = values.argmax(0)
    segments = [{"id": k, "label_id": 4, "was_fused": False, "score": 0.5} for k in range(3)]
    others = [{"label_id": 5}, {"was_fused": True}, {"score": 0.50001}]
    lists = [segments[:2], *([*segments[:2], {**segments[2], **other}] for other in others)]
    verify_segments(values, None, 1e-6, (segmentation, segments), (segmentation, segments))
    near = [*segments[:2], {**segments[2], "score": 0.500001}]
    verify_segments(values, None, 1e-6, (segmentation, segments), (segmentation, near))
    for other in lists:
        with pytest.raises(MismatchError, match="segments differ"):
            verify_segments(values, None, 1e-6, (segmentation, segments), (segmentation, other))
    wrong = segmentation.clone()
    wrong[2, 3] += 1
    with pytest.raises(MismatchError, match=r"segments differ at \(2, 3\)"):
        verify_segments(values, None, 1e-6, (wrong, segments), (segmentation, segments))
    tied = values.clone()
    tied[:, 2, 3] = 0.5
    verify_segments(tied, None, 1e-6, (wrong, segments), (segmentation, segments))
    for other in lists:  # a tie does not excuse the other segments
        with pytest.raises(MismatchError, match="segments differ"):
            verify_segments(tied, None, 1e-6, (wrong, segments), (segmentation, other))
    wrong[2, 3] = 3
    more = [*segments, {**segments[0], "id": 3}]  # a segment of this pixel alone
    verify_segments(tied, None, 1e-6, (wrong, more), (segmentation, segments))
    edge = torch.ones(6, 7).index_put((torch.tensor(2), torch.tensor(3)), torch.tensor(0.0))
    verify_segments(values, edge, 1e-6, (wrong, segments), (segmentation, segments))


def test_a_version_without_the_sizes_of_eomt_is_refused():
    def own():
        pass

    with pytest.raises(UnsupportedError, match="get_target_size"):
        transformers_panoptic.eomt_segments(own, verify=False)


def test_where_torchvision_blurs_is_the_librarys(monkeypatch):
    """OneFormer resizes by torchvision, which filters where it makes smaller."""
    own, outputs = processor("OneFormer"), made()
    arguments = {"target_sizes": [(30, 200), (48, 64)], "label_ids_to_fuse": {1}}
    theirs = own.post_process_panoptic_segmentation(outputs, **arguments)
    served = []
    argmax = transformers_panoptic.argmax

    def counted(scores, size):
        served.append(size)
        return argmax(scores, size)

    monkeypatch.setattr(transformers_panoptic, "argmax", counted)
    with compat.patch("transformers"):
        ours = own.post_process_panoptic_segmentation(outputs, **arguments)
    assert served == [(48, 64)]
    for one, other in zip(ours, theirs, strict=True):
        assert one["segments_info"] == other["segments_info"]
        assert (one["segmentation"] != other["segmentation"]).float().mean() < 1e-3
    outputs.masks_queries_logits[0, :, 3, 4] = torch.inf
    with compat.patch("transformers"):
        own.post_process_instance_segmentation(outputs, target_sizes=SIZES[:1] * 2)
    assert len(served) == 2
