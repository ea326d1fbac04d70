"""`upscore.masks` against interpolation in float64, other libraries, and its own pixels."""

import re
from itertools import pairwise

import cv2
import numpy as np
import pycocotools.mask as coco
import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st
from torch.nn import functional as F
from torchvision.models.detection.roi_heads import paste_masks_in_image
from torchvision.ops import masks_to_boxes

from upscore import masks
from upscore.errors import ArgumentError, ArgumentTypeError
from upscore.heads.masks import result
from upscore.heads.masks.result import Masks

BACKENDS = ("cpu", "eager")
DTYPES = (torch.float32, torch.float16, torch.bfloat16, torch.float64)


def scores_of(*shape, seed=0, smooth=False):
    scores = torch.randn(shape, generator=torch.Generator().manual_seed(seed))
    return 4 * F.avg_pool2d(scores, 5, 1, 2) if smooth else scores


def check(found, full, threshold=0.0, rounding=1e-5):
    """Hold masks against full scores: only pixels within rounding of the threshold may differ."""
    dense = found.dense()
    near = (full - threshold).abs() <= rounding * full[full.isfinite()].abs().amax().clamp(min=1)
    assert dense.shape == full.shape
    assert torch.equal(dense | near, (full > threshold) | near)
    assert dense.any() or not (full > threshold + rounding).any()
    consistent(found, dense)
    return dense


def consistent(found, dense):
    """What comes from runs equals what comes from pixels, exactly."""
    dense = np.asarray(dense)
    assert np.array_equal(found.areas, dense.sum((1, 2)))
    boxes = np.asarray(found.boxes)
    for mask, box in zip(dense, boxes, strict=True):
        if not mask.any():
            assert not box.any()
            continue
        rows, columns = np.flatnonzero(mask.any(1)), np.flatnonzero(mask.any(0))
        assert box.tolist() == [columns[0], rows[0], columns[-1] + 1, rows[-1] + 1]
    theirs = [coco.encode(np.asfortranarray(mask.astype(np.uint8))) for mask in dense]
    assert found.rle() == theirs
    plain = found.rle(compressed=False)
    assert [coco.frPyObjects(one, *found.size) for one in plain] == theirs
    for first, last in pairwise(found.offsets):
        assert (np.diff(found.runs[first:last].reshape(-1)) > 0).all()


SIZES = [
    ((3, 7, 9), (20, 31)),
    ((4, 17, 70), (40, 200)),
    ((2, 100, 65), (30, 20)),  # smaller
    ((2, 64, 64), (64, 64)),  # the same size
    ((3, 130, 5), (400, 17)),  # three words of rows
    ((3, 5, 90), (3, 300)),  # larger and smaller
    ((4, 1, 6), (5, 30)),
    ((4, 6, 1), (50, 3)),
    ((2, 1, 1), (4, 5)),
    ((1, 40, 40), (300, 1200)),  # in shares
    ((20, 8, 8), (64, 64)),
]


@pytest.mark.parametrize("backend", BACKENDS)
@pytest.mark.parametrize(("shape", "size"), SIZES)
def test_pixels_are_those_of_float64(backend, shape, size):
    for smooth in (False, True):
        scores = scores_of(*shape, smooth=smooth)
        for corners in (False, True):
            full = F.interpolate(
                scores[None].double(), size, mode="bilinear", align_corners=corners
            )
            for threshold in (0.0, 0.4, -9.0, 9.0):
                found = masks(
                    scores, size, threshold=threshold, align_corners=corners, backend=backend
                )
                check(found, full[0], threshold)


@settings(max_examples=150, deadline=None)
@given(
    shape=st.tuples(st.integers(1, 3), st.integers(1, 70), st.integers(1, 20)),
    size=st.tuples(st.integers(1, 150), st.integers(1, 90)),
    seed=st.integers(0, 1000),
    smooth=st.booleans(),
)
def test_any_size(shape, size, seed, smooth):
    scores = scores_of(*shape, seed=seed, smooth=smooth)
    check(masks(scores, size), F.interpolate(scores[None].double(), size, mode="bilinear")[0])


@pytest.mark.parametrize("backend", BACKENDS)
@pytest.mark.parametrize("dtype", DTYPES, ids=str)
def test_scores_that_meet_the_threshold_exactly(backend, dtype):
    few = torch.tensor([[[-1.0, -1, 1], [1, 0, 1], [0, 0, 1]]])
    for scores, size in (
        (few, (53, 28)),
        ((scores_of(4, 24, 24) * 4).round() / 2, (240, 240)),
        ((scores_of(4, 9, 30) * 2).round(), (27, 91)),
        (torch.full((2, 4, 5), 0.3), (70, 51)),
    ):
        full = F.interpolate(scores[None].to(dtype).double(), size, mode="bilinear")[0]
        for threshold in (0.0, 0.3, 1.0):
            found = masks(scores.to(dtype), size, threshold=threshold, backend=backend)
            check(found, full, threshold, rounding=1e-6)


@pytest.mark.parametrize("backend", BACKENDS)
@pytest.mark.parametrize("dtype", DTYPES, ids=str)
def test_dtypes(dtype, backend):
    scores = scores_of(3, 12, 13, smooth=True).to(dtype)
    full = F.interpolate(scores[None].double(), (50, 61), mode="bilinear")[0]
    check(masks(scores, (50, 61), backend=backend), full)


def test_float64_is_computed_in_float64():
    scores = torch.full((1, 3, 3), 1 + 1e-12, dtype=torch.float64)
    assert masks(scores, (9, 9), threshold=1.0).dense().all()


@pytest.mark.parametrize("backend", BACKENDS)
def test_arrays_of_any_strides(backend):
    base = np.random.default_rng(0).standard_normal((6, 20, 33)).astype(np.float32)
    for view in (
        base[::2, ::3, ::2],
        base[::-1, ::-1, ::-1],
        base.transpose(0, 2, 1),
        np.asfortranarray(base)[::-1],
        np.broadcast_to(base[:1], base.shape),
    ):
        found = masks(view, (41, 77), backend=backend)
        again = masks(view.copy(), (41, 77), backend=backend)
        assert np.array_equal(found.runs, again.runs)
        assert isinstance(found.dense(), np.ndarray)
    assert masks(base[None], (9, 9)).runs.tolist() == masks(base[:, None], (9, 9)).runs.tolist()


@pytest.mark.parametrize("backend", BACKENDS)
@pytest.mark.parametrize("size", [(20, 30), (5, 6), (3, 4), (4, 40)])
def test_infinities_and_nan_are_as_in_torch(backend, size):
    scores = scores_of(4, 5, 6).double()
    scores[0, 2, 3], scores[1, 4, 5], scores[2, 0, 0] = torch.nan, torch.inf, -torch.inf
    full = F.interpolate(scores[None], size, mode="bilinear")[0]
    assert torch.equal(masks(scores, size, backend=backend).dense(), full > 0)
    twice = F.interpolate(
        F.interpolate(scores[None], (9, 11), mode="bilinear"), size, mode="bilinear"
    )
    assert torch.equal(masks(scores, size, through=(9, 11), backend=backend).dense(), twice[0] > 0)
    # Where both rows are the threshold, each row of the mask may be on either side.
    same = torch.full((2, 2, 2), 0.3, dtype=torch.float64)
    same[:, 0, 0] = torch.nan
    assert len(masks(same, (900, 30), threshold=0.3, backend=backend)) == 2


@pytest.mark.parametrize("backend", BACKENDS)
def test_inclusive(backend):
    scores = torch.tensor([[[0.0, 1.0]]])
    assert masks(scores, (1, 4), backend=backend).dense().tolist() == [[[False, True, True, True]]]
    found = masks(scores, (1, 4), inclusive=True, backend=backend)
    assert found.dense().all()
    for dtype in DTYPES:  # the threshold is of the type that is computed in
        same = torch.full((1, 2, 2), 0.3).to(dtype)
        limit = float(same[0, 0, 0])
        assert masks(same, (2, 2), threshold=limit, inclusive=True, backend=backend).dense().all()
        assert not masks(same, (2, 2), threshold=limit, backend=backend).dense().any()


@pytest.mark.parametrize("backend", BACKENDS)
@pytest.mark.parametrize(
    ("source", "through", "crop", "size"),
    [
        ((16, 16), (64, 64), (48, 64), (150, 200)),  # Segment Anything
        ((16, 16), (64, 64), None, (37, 41)),
        ((16, 20), None, (2, 3, 10, 12), (50, 60)),  # Ultralytics
        ((40, 40), (13, 9), (1, 2, 11, 6), (70, 50)),  # first smaller
        ((9, 9), (30, 40), (5, 5, 20, 30), (8, 7)),
        ((8, 8), (4, 4), None, (16, 16)),
        ((7, 5), (7, 5), (7, 5), (7, 5)),
    ],
)
def test_through_another_size(backend, source, through, crop, size):
    scores = scores_of(4, *source, smooth=True)
    full = scores[None].double()
    if through is not None:
        full = F.interpolate(full, through, mode="bilinear")
    if crop is not None:
        top, left, height, width = crop if len(crop) == 4 else (0, 0, *crop)
        full = full[..., top : top + height, left : left + width]
    full = F.interpolate(full, size, mode="bilinear")[0]
    check(masks(scores, size, through=through, crop=crop, backend=backend), full)


BOXES = [
    [3.2, 4.7, 40.1, 30.9],
    [-10.5, -4, 25, 70.2],  # beyond the picture
    [100, 100, 120, 130],  # outside of it
    [-50, 5, -30, 20],
    [20, 20, 20, 40],  # of no area
    [30, 35, 10, 12],  # from right to left and from bottom to top
    [5, 5, 6.5, 5.2],  # smaller than a pixel
    [float("nan"), 0, 10, 10],
    [0, 0, float("inf"), 10],
    [0, 0, 60, 50],
    [5, 100, 20, 120],  # below the picture
    [5, 10.6, 20, 10.61],  # thinner than a pixel
]


def paste_aligned(scores, box, size):
    """The steps of detectron2/layers/mask_ops.py, `_do_paste_mask`, in float64."""
    x0, y0, x1, y1 = box
    y = (torch.arange(size[0], dtype=torch.float64) + 0.5 - y0) / (y1 - y0) * 2 - 1
    x = (torch.arange(size[1], dtype=torch.float64) + 0.5 - x0) / (x1 - x0) * 2 - 1
    grid = torch.stack(torch.meshgrid(y, x, indexing="ij")[::-1], -1)
    return F.grid_sample(scores[None, None].double(), grid[None], align_corners=False)[0, 0]


@pytest.mark.parametrize("backend", BACKENDS)
def test_boxes_as_detectron2(backend):
    size = (50, 60)
    scores = torch.rand(len(BOXES), 28, 28, generator=torch.Generator().manual_seed(0)).sqrt()
    boxes = torch.tensor(BOXES)
    found = masks(scores, size, threshold=0.5, inclusive=True, boxes=boxes, backend=backend)
    full = [
        paste_aligned(one, box.double(), size)
        if box.isfinite().all() and (box[:2] != box[2:]).all()
        else torch.zeros(size, dtype=torch.float64)
        for one, box in zip(scores, boxes, strict=True)
    ]
    dense = check(found, torch.stack(full), 0.5)
    assert dense.flatten(1).any(1).int().tolist() == [1, 1, 0, 0, 0, 1, 0, 0, 0, 1, 0, 0]


@pytest.mark.parametrize("backend", BACKENDS)
@pytest.mark.parametrize("shape", [(28, 28), (14, 20)])
def test_boxes_as_torchvision(backend, shape):
    size = (50, 60)
    boxes = torch.tensor([b for i, b in enumerate(BOXES) if i not in (2, 3, 5, 7, 8, 10)])
    scores = torch.rand(len(boxes), *shape, generator=torch.Generator().manual_seed(0))
    full = paste_masks_in_image(scores[:, None].double(), boxes.double(), size)[:, 0]
    options = {"threshold": 0.5, "paste": "torchvision", "backend": backend}
    check(masks(scores[:, None], size, boxes=boxes.double(), **options), full, 0.5)
    # Theirs raises for boxes outside of the picture.
    boxes = [BOXES[i] for i in (2, 3, 5, 7, 8)]
    outside = masks(scores[:1].expand(5, -1, -1), size, boxes=boxes, **options)
    assert not outside.dense().any()
    huge = masks(scores[:2], size, boxes=[[0, 0, 3e7, 400], [-1e300, 0, 1e300, 9]], **options)
    assert huge.dense().shape == (2, *size)


@pytest.mark.parametrize("backend", BACKENDS)
def test_within(backend):
    scores = scores_of(6, 9, 9, smooth=True) + 1
    boxes = torch.tensor(
        [
            [3.5, 4, 20, 17.5],
            [-5, -5, 99, 99],
            [40, 2, 45, 8],
            [9, 9, 4, 20],
            [2, 2, float("nan"), 20],
            [0, float("inf"), 9, float("inf")],
        ]
    )
    full = F.interpolate(scores[None].double(), (30, 31), mode="bilinear")[0]
    x, y = torch.arange(31)[None, None], torch.arange(30)[None, :, None]
    x0, y0, x1, y1 = boxes[:, :, None, None].unbind(1)
    keep = (x >= x0) & (x < x1) & (y >= y0) & (y < y1)
    found = masks(scores, (30, 31), within=boxes, backend=backend)
    check(found, torch.where(keep, full, -1.0))
    pasted = masks(scores, (30, 31), threshold=0.5, boxes=boxes[:1].expand(6, 4), within=boxes)
    assert torch.equal(
        pasted.dense(),
        masks(scores, (30, 31), threshold=0.5, boxes=boxes[:1].expand(6, 4)).dense() & keep,
    )


@pytest.mark.parametrize("backend", BACKENDS)
def test_stability(backend):
    scores = scores_of(5, 12, 12, smooth=True)
    scores[4] = -9
    found = masks(scores, (40, 50), threshold=0.2, stability=0.5, backend=backend)
    full = F.interpolate(scores[None], (40, 50), mode="bilinear")[0]
    expected = (full > 0.7).sum((1, 2)) / (full > -0.3).sum((1, 2))
    assert torch.allclose(found.stability, expected, atol=1e-3, equal_nan=True)
    assert found.stability[4].isnan()
    assert torch.equal(found[[3, 1]].stability, found.stability[[3, 1]])
    with pytest.raises(ArgumentError, match="stability=d"):
        masks(scores, (40, 50)).stability  # noqa: B018


def test_some_of_the_masks():
    found = masks(scores_of(6, 9, 9, smooth=True), (30, 40))
    dense = found.dense()
    assert len(found) == 6
    assert torch.equal(torch.stack(list(found)), dense)
    for which in (
        slice(1, 5, 2),
        [4, 0],
        np.array([True, False] * 3),
        torch.tensor([5, 5]),
        torch.tensor([False] * 6),
    ):
        some = found[which]
        assert torch.equal(some.dense(), dense[which])
        consistent(some, dense[which])
    assert torch.equal(found[-1], dense[-1])
    assert torch.equal(found[found.areas.argmax()], dense[int(found.areas.argmax())])
    assert torch.equal(found[range(2)].dense(), dense[:2])
    with pytest.raises(IndexError):
        found[6]
    with pytest.raises(ArgumentTypeError, match="an index"):
        found["first"]
    with pytest.raises(ArgumentError, match="one dimension"):
        found[[[0, 1]]]
    found.boxes[:] = 0  # not the masks' own
    found.areas[:] = 0
    consistent(found, dense)


def test_dense_into_given_memory():
    found = masks(scores_of(4, 9, 9, smooth=True), (30, 40))
    dense = found.dense()
    for out in (
        torch.full((4, 30, 40), 7, dtype=torch.uint8),
        torch.ones(4, 30, 40, dtype=torch.bool),
        np.full((4, 30, 40), 7, np.uint8),
        np.full((4, 30, 80), 7, np.uint8)[:, ::-1, ::2],
        torch.ones(30, 40, 4, dtype=torch.bool).permute(2, 0, 1),
    ):
        assert found.dense(out) is out
        assert np.array_equal(np.asarray(out), dense)
    with pytest.raises(ArgumentError, match="read-only"):
        found.dense(np.broadcast_to(np.uint8(0), (4, 30, 40)))
    with pytest.raises(ArgumentError, match=re.escape("(4, 30, 40), not float32 of (4, 30, 40)")):
        found.dense(torch.empty(4, 30, 40))
    with pytest.raises(ArgumentError, match="not bool of"):
        found.dense(np.empty((4, 30, 41), bool))


def test_polygons_are_those_of_opencv_on_the_whole_mask():
    scores = torch.cat((scores_of(3, 9, 9), torch.full((1, 9, 9), -1.0), torch.ones(1, 9, 9)))
    found = masks(scores, (60, 70))
    for mask, outlines in zip(found.dense().numpy(), found.polygons(), strict=True):
        theirs, _ = cv2.findContours(
            mask.astype(np.uint8), cv2.RETR_EXTERNAL, cv2.CHAIN_APPROX_SIMPLE
        )
        assert [one.tolist() for one in outlines] == [one[:, 0].tolist() for one in theirs]


def test_label_map_paints_in_order():
    found = masks(scores_of(5, 9, 9, smooth=True), (30, 40))
    for order in (None, [3, 1, 4], torch.tensor([0, 2]), np.array([], int), slice(None, None, -1)):
        expected = torch.full((30, 40), -1, dtype=torch.int32)
        for i in np.arange(5)[slice(None) if order is None else order]:
            expected[found[int(i)]] = int(i)
        assert torch.equal(found.label_map(order), expected)
    assert found.label_map([], background=255).eq(255).all()


def test_without_numba(monkeypatch):
    scores = scores_of(5, 9, 9, smooth=True)
    found = masks(scores, (30, 40))
    dense, labels, outlines = found.dense(), found.label_map(), found.polygons()
    monkeypatch.setattr(result, "NUMBA_IS_INSTALLED", False)
    assert torch.equal(found.dense(), dense)
    assert torch.equal(found.label_map(), labels)
    assert np.array_equal(np.concatenate(found.polygons()[0]), np.concatenate(outlines[0]))


def test_boxes_as_torchvision_counts_them():
    found = masks(scores_of(4, 9, 9, smooth=True) + 0.5, (30, 40))
    theirs = masks_to_boxes(found.dense())
    assert torch.equal(found.boxes - torch.tensor([0, 0, 1, 1]), theirs.long())


@pytest.mark.parametrize("backend", BACKENDS)
def test_no_masks(backend):
    boxes = {"boxes": np.zeros((0, 4)), "threshold": 0.5}
    for options in ({}, boxes, {**boxes, "paste": "torchvision"}, {"stability": 1.0}):
        found = masks(np.zeros((0, 5, 6), np.float32), (20, 30), backend=backend, **options)
        assert found.dense().shape == (0, 20, 30)
        assert found.rle() == found.polygons() == []
        assert found.boxes.shape == (0, 4)
        assert (found.label_map() == -1).all()


@pytest.mark.slow
def test_runs_are_found_in_blocks(monkeypatch):
    from upscore.heads.masks import cpu
    from upscore.kernels import launch

    scores = scores_of(7, 20, 20)
    found = masks(scores, (90, 200))
    monkeypatch.setattr(cpu, "MOST_RUNS", 1)  # each task by itself, in memory of its own
    monkeypatch.setattr(cpu, "FEW_PIXELS", 0)
    monkeypatch.setattr(launch, "CHECKED", True)
    again = masks(scores, (90, 200))
    assert np.array_equal(found.runs, again.runs)
    assert np.array_equal(found.offsets, again.offsets)


def test_gradients_are_left_alone():
    scores = scores_of(2, 5, 5).requires_grad_()
    assert masks(scores, (9, 9)).dense().any()


@pytest.mark.parametrize(
    ("options", "error", "message"),
    [
        ({"size": 5}, ArgumentTypeError, "size must be (height, width), not 5"),
        ({"size": (0, 5)}, ArgumentError, "height of size must be at least 1"),
        ({"size": (1 << 31, 1)}, ArgumentError, "make it smaller"),
        ({"size": (1 << 30, 1 << 30)}, ArgumentError, "make it smaller"),
        ({"scores": np.zeros((2, 3), "f")}, ArgumentError, "not of shape (2, 3)"),
        ({"scores": np.zeros((2, 3, 4, 5), "f")}, ArgumentError, "not of shape (2, 3, 4, 5)"),
        ({"scores": np.zeros((2, 0, 5), "f")}, ArgumentError, "hold no pixel"),
        ({"scores": np.zeros((2, 3, 5), int)}, ArgumentTypeError, "not int64"),
        ({"threshold": float("nan")}, ArgumentError, "threshold must be finite"),
        ({"threshold": "low"}, ArgumentTypeError, "threshold must be a number"),
        ({"stability": float("inf")}, ArgumentError, "stability must be finite"),
        ({"stability": 0}, ArgumentError, "stability must be above 0"),
        ({"crop": (9, 9)}, ArgumentError, "reaches beyond the 4 x 5 pixels"),
        ({"crop": 9}, ArgumentTypeError, "crop must be (height, width) or"),
        ({"boxes": [[0, 0, 1, 1]] * 3}, ArgumentError, "must be 2 x 4"),
        ({"boxes": [[0, 0, 1, 1]] * 2, "through": (8, 8)}, ArgumentError, "go with none of"),
        ({"boxes": [[0, 0, 1, 1]] * 2, "threshold": -1.0}, ArgumentError, "beyond the boxes"),
        ({"boxes": [[0, 0, 1, 1]] * 2, "inclusive": True}, ArgumentError, "beyond the boxes"),
        ({"paste": "detectron2"}, ArgumentError, "paste must be one of"),
        ({"backend": "gpu"}, ArgumentError, "takes torch tensors; a NumPy array"),
    ],
)
def test_errors(options, error, message):
    arguments = {"scores": np.zeros((2, 4, 5), np.float32), "size": (9, 9)} | options
    with pytest.raises(error, match=re.escape(message)):
        masks(arguments.pop("scores"), arguments.pop("size"), **arguments)


def test_masks_of_runs_that_others_made():
    found = Masks((3, 4), np.array([[1, 5], [7, 8]]), np.array([0, 1, 2]))
    assert found.areas.tolist() == [4, 1]
    assert repr(found) == "<2 masks of 3 x 4, 2 runs>"
    assert found.boxes.tolist() == [[0, 0, 2, 3], [2, 1, 3, 2]]
