"""`upscore.assign` against the plain expression in float64, ties aside, and its own counts."""

import numpy as np
import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st
from torch.nn import functional as F

from upscore import assign
from upscore.errors import ArgumentError
from upscore.heads.assign import cpu

BACKENDS = ("cpu", "eager")
DTYPES = (torch.float32, torch.float16, torch.bfloat16, torch.float64)
SIZES = [
    ((5, 7, 9), (20, 31)),
    ((30, 17, 70), (140, 300)),
    ((4, 100, 65), (30, 20)),  # smaller
    ((3, 33, 64), (33, 64)),  # the same size
    ((4, 5, 90), (3, 300)),  # larger and smaller
    ((4, 1, 6), (5, 30)),
    ((4, 6, 1), (50, 3)),
    ((2, 1, 1), (4, 5)),
    ((1, 8, 8), (64, 64)),
    ((300, 6, 5), (31, 40)),  # labels of int16
]
IDS = [f"{shape}-{size}" for shape, size in SIZES]


def case(queries, *sides, images=1, scale=3.0, seed=0):
    generator = torch.Generator().manual_seed(seed)
    scores = scale * torch.randn(images, queries, *sides, generator=generator)
    return scores, torch.rand(images, queries, generator=generator)


def full_scores(scores, size, *, through=None, crop=None, align_corners=False):
    full = scores.double()
    if through is not None:
        full = F.interpolate(full, through, mode="bilinear", align_corners=align_corners)
    if crop is not None:
        top, left, height, width = crop if len(crop) == 4 else (0, 0, *crop)
        full = full[..., top : top + height, left : left + width]
    return F.interpolate(full, size, mode="bilinear", align_corners=align_corners)


def check(found, scores, weights, size, threshold=0.5, **steps):
    """Hold an assignment against float64: only what rounding explains may differ."""
    full = full_scores(scores, size, **steps)
    rounding = 1e-6 * (1 + float(full.abs().amax()))
    value = weights.double()[..., None, None] * full.sigmoid()
    labels = found.labels.long()[:, None]
    best = value.amax(1, keepdim=True)
    assert (value.gather(1, labels) >= best * (1 - rounding))[best > 1e-290].all()
    limit = float(np.log(threshold / (1 - threshold)))
    near = (full - limit).abs() <= rounding
    own = full.gather(1, labels)[:, 0] >= limit
    assert torch.equal(found.inside | near.any(1), own | near.any(1))
    assert ((found.area - (full >= limit).sum((2, 3))).abs() <= near.sum((2, 3))).all()
    consistent(found, scores.shape[1])


def consistent(found, queries):
    """The counts are those of the pixels, exactly."""
    for labels, inside, won, won_inside in zip(*found[:4], strict=True):
        assert torch.equal(won, torch.bincount(labels.flatten(), minlength=queries))
        assert torch.equal(won_inside, torch.bincount(labels[inside].long(), minlength=queries))


@pytest.fixture
def poisoned(monkeypatch):
    """Fill every array that is handed to the kernel to be written."""
    empty = np.empty

    def poison(shape, dtype=np.float64):
        array = empty(shape, dtype)
        array.fill(np.nan if array.dtype.kind == "f" else 123)
        return array

    monkeypatch.setattr(cpu.np, "empty", poison)


@pytest.mark.parametrize("backend", BACKENDS)
@pytest.mark.parametrize(("shape", "size"), SIZES, ids=IDS)
def test_ragged_sizes(shape, size, backend, poisoned):
    for scale in (0.3, 5, 60, 1000):  # from probabilities near one half to those that vanish
        scores, weights = case(*shape, images=2, scale=scale)
        for dtype in (torch.float32, torch.float64):
            for corners in (False, True):
                found = assign(
                    scores.to(dtype), weights, size, align_corners=corners, backend=backend
                )
                # Float32 scores of hundreds: the plain expression rounds the probabilities to 0.
                if backend == "cpu" or scale < 50 or dtype == torch.float64:
                    check(found, scores, weights, size, align_corners=corners)
    assert found.labels.dtype == (torch.int16 if shape[0] > 256 else torch.uint8)
    assert {one.dtype for one in found[2:]} == {torch.int64}


@settings(max_examples=100, deadline=None)
@given(
    shape=st.tuples(st.integers(1, 8), st.integers(1, 40), st.integers(1, 40)),
    size=st.tuples(st.integers(1, 90), st.integers(1, 90)),
    through=st.none() | st.tuples(st.integers(1, 60), st.integers(1, 60)),
    threshold=st.floats(0.05, 0.95),
    scale=st.sampled_from([1, 20, 200]),
    seed=st.integers(0, 1000),
)
def test_any_size(shape, size, through, threshold, scale, seed):
    scores, weights = case(*shape, scale=scale, seed=seed)
    found = assign(scores, weights, size, through=through, threshold=threshold, backend="cpu")
    check(found, scores, weights, size, threshold, through=through)


@pytest.mark.parametrize("backend", BACKENDS)
@pytest.mark.parametrize(
    "steps",
    [
        {"through": (64, 64)},
        {"through": (64, 48), "crop": (50, 48)},
        {"through": (10, 11), "crop": (3, 2, 5, 7)},
        {"crop": (2, 3, 9, 14)},
    ],
    ids=str,
)
def test_ragged_steps(steps, backend):
    scores, weights = case(12, 16, 20, images=2)
    for size in ((75, 100), (20, 9)):
        check(
            assign(scores, weights, size, backend=backend, **steps), scores, weights, size, **steps
        )


@pytest.mark.parametrize("backend", BACKENDS)
@pytest.mark.parametrize("dtype", DTYPES, ids=str)
def test_score_types(dtype, backend):
    scores, weights = case(9, 12, 13)
    scores = scores.to(dtype)
    check(assign(scores, weights, (50, 61), backend=backend), scores, weights, (50, 61))
    check(assign(scores, weights.to(dtype), (50, 61)), scores, weights.to(dtype), (50, 61))


@pytest.mark.parametrize("backend", BACKENDS)
def test_arrays_of_any_strides(backend):
    base = np.random.default_rng(0).standard_normal((6, 20, 33)).astype(np.float32)
    for view in (
        base[::2, ::3, ::2],
        base[::-1, ::-1, ::-1],
        base.transpose(0, 2, 1),
        np.asfortranarray(base)[::-1],
        np.broadcast_to(base[:, :1], base.shape),
        base.astype(np.float16)[:, ::-1],
    ):
        weights = np.linspace(1, 0.5, len(view))
        found = assign(view, weights, (41, 77), backend=backend)
        plain = assign(
            torch.from_numpy(view.astype(np.float32)), weights, (41, 77), backend="eager"
        )
        assert isinstance(found.labels, np.ndarray)
        assert found.labels.shape == found.inside.shape == (41, 77)
        assert found.won.shape == found.won_inside.shape == found.area.shape == (len(view),)
        for one, other in zip(found, plain, strict=True):
            assert one.dtype == other.numpy().dtype
            assert (one != other.numpy()).mean() < 1e-2
        assert (found.labels != plain.labels.numpy()).mean() < 1e-3
    channels_last = torch.from_numpy(base)[None].to(memory_format=torch.channels_last)
    assert torch.equal(
        assign(channels_last, weights, (41, 77), backend=backend).labels[0],
        assign(torch.from_numpy(base), weights, (41, 77), backend=backend).labels,
    )


@pytest.mark.parametrize("backend", BACKENDS)
def test_infinite_scores_and_nan_are_as_in_torch(backend):
    for value in (np.nan, np.inf, -np.inf, 3e38, -3e38):
        for size, steps in (((30, 41), {}), ((6, 7), {}), ((40, 40), {"through": (20, 21)})):
            scores, weights = case(4, 6, 7)
            scores[0, 2, 3, 3] = scores[0, 1, 0, 0] = value
            full = full_scores(scores, size, **steps)
            value_of = weights[..., None, None].double() * full.sigmoid()
            found = assign(scores, weights, size, backend=backend, **steps)
            assert torch.equal(found.labels.long(), value_of.argmax(1))
            own = full >= 0
            assert torch.equal(found.inside, own.gather(1, value_of.argmax(1)[:, None])[:, 0])
            assert torch.equal(found.area, own.sum((2, 3)))
            consistent(found, 4)


@pytest.mark.parametrize("backend", BACKENDS)
def test_the_lowest_of_equal_queries_wins(backend):
    scores, _ = case(1, 9, 9)
    three = scores.expand(1, 3, 9, 9)
    for ties in ([0.5, 0.5, 0.5], [0.0, 0.0, 0.0]):
        assert not assign(three, ties, (40, 50), backend=backend).labels.any()
    assert (assign(three, [0.0, 0.5, 0.5], (40, 50), backend=backend).labels == 1).all()
    assert not assign(three - 1e5, [0.1, 0.2, 0.3], (40, 50), backend=backend).labels.any()


def test_weights_of_any_size():
    scores, weights = case(6, 9, 9, scale=30)
    for factor in (1e-300, 1e-40, 1e30, 1e300):
        check(assign(scores, weights.double() * factor, (50, 40)), scores, weights, (50, 40))
    far = torch.tensor([[1, 1e-30, 1e-20, 1e-35, 1e-10, 0]], dtype=torch.float64)
    check(assign(scores - 40, far, (50, 40)), scores - 40, far, (50, 40))


def test_weights_of_each_image_or_of_all():
    scores, weights = case(6, 9, 9, images=3)
    alike = assign(scores, weights[0], (30, 30))
    for image in range(3):
        one = assign(scores[image], weights[0].tolist(), (30, 30))
        apart = assign(scores, weights, (30, 30)).labels[image]
        assert all(torch.equal(a[image], b) for a, b in zip(alike, one, strict=True))
        assert torch.equal(apart, assign(scores[image], weights[image], (30, 30)).labels)


def test_scores_that_meet_the_threshold_exactly():
    scores = torch.tensor([[[[0.0, 0], [0, -1]]]])
    for backend in BACKENDS:
        found = assign(scores, [1.0], (2, 2), backend=backend)
        assert found.inside.tolist() == [[[True, True], [True, False]]]
        assert found.area.tolist() == found.won_inside.tolist() == [[3]]


def test_no_number_depends_on_the_threads():
    scores, weights = case(40, 80, 80, images=2)
    before = torch.get_num_threads()
    try:
        found = []
        for threads in (1, 2, 5):
            torch.set_num_threads(threads)
            found.append(assign(scores, weights, (400, 500), backend="cpu"))
    finally:
        torch.set_num_threads(before)
    for other in found[1:]:
        assert all(map(torch.equal, found[0], other))


def test_no_images_at_all():
    found = assign(torch.zeros(0, 3, 4, 5), torch.zeros(0, 3), (8, 9))
    assert [tuple(one.shape) for one in found] == [(0, 8, 9)] * 2 + [(0, 3)] * 3
    found = assign(np.zeros((0, 3, 4, 5), np.float32), np.zeros((0, 3)), (8, 9))
    assert [one.shape for one in found] == [(0, 8, 9)] * 2 + [(0, 3)] * 3


@pytest.mark.slow
@pytest.mark.parametrize("backend", ["cpu", "eager"])
def test_compiles_without_a_graph_break(backend):
    scores, weights = case(7, 8, 9, images=2)

    def head(scores, weights):
        return assign(scores, weights, (30, 40), through=(20, 20), crop=(15, 18), backend=backend)

    compiled = torch.compile(head, fullgraph=True, backend="aot_eager")
    for inputs in ((scores, weights), (scores, weights[0]), (scores[0], weights[0])):
        for one, other in zip(compiled(*inputs), head(*inputs), strict=True):
            assert torch.equal(one, other)


def test_exports():
    class Head(torch.nn.Module):
        def forward(self, scores, weights):
            return tuple(assign(scores, weights, (30, 40)))

    given = case(7, 8, 9)
    program = torch.export.export(Head(), given)
    assert "upscore" not in str(program.graph)
    for one, other in zip(program.module()(*given), Head()(*given), strict=True):
        assert torch.equal(one, other)


@pytest.mark.parametrize(
    ("change", "message"),
    [
        ({"scores": np.zeros((4, 5), np.float32)}, "N x C x h x w"),
        ({"scores": np.zeros((3, 4, 5), np.int32)}, "int32"),
        ({"weights": [1.0, 2.0]}, r"each of the 3 queries \(or 1 x 3\), not be of shape \(2,\)"),
        ({"weights": [1.0, -2.0, 1.0]}, "query 1 of image 0 is -2"),
        ({"weights": [1.0, 2.0, np.nan]}, "query 2 of image 0 is nan"),
        ({"weights": [np.inf, 2.0, 1.0]}, "query 0 of image 0 is inf"),
        ({"weights": "many"}, "weights must be numbers"),
        ({"size": 5}, "size must be"),
        ({"size": (5, 0)}, "at least 1"),
        ({"threshold": 0.0}, "above 0 and below 1"),
        ({"threshold": "half"}, "threshold must be a number"),
        ({"through": (3,)}, "through must be"),
        ({"crop": (5, 5)}, "beyond the 4 x 5"),
        ({"backend": "gpu"}, "backend must be one of"),
    ],
)
def test_bad_input_says_what_is_wrong(change, message):
    good = {"scores": np.zeros((3, 4, 5), np.float32), "weights": np.ones(3), "size": (8, 9)}
    assign(**good)
    with pytest.raises((ValueError, TypeError), match=message):
        assign(**{**good, **change})


def test_weights_elsewhere():
    with pytest.raises(ArgumentError, match="weights are on meta, the scores on cpu"):
        assign(torch.zeros(3, 4, 5), torch.ones(3, device="meta"), (8, 9))


@pytest.mark.release  # kernels that check every index are compiled for minutes
def test_nothing_is_read_or_written_out_of_bounds(with_checked_indices):
    with_checked_indices(__file__, "ragged and cpu")
