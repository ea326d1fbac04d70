"""The labels of volumes against trilinear interpolation in float64."""

import re

import numpy as np
import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st
from torch.nn import functional as F

from upscore import argmax
from upscore.errors import ArgumentError, ArgumentTypeError
from upscore.heads.argmax import torch_op

BACKENDS = ("cpu", "eager")


def scores_of(*shape, seed=0):
    return torch.randn(shape, generator=torch.Generator().manual_seed(seed))


def check(labels, full):
    """Hold labels against full scores: only ties within rounding may differ."""
    best, label = full.max(1)
    assert labels.shape == label.shape
    got = full.gather(1, torch.as_tensor(labels).long()[:, None])[:, 0]
    rounding = 1e-5 * full.abs().max()
    assert (best - got <= rounding).all()
    second = full.scatter(1, label[:, None], -torch.inf).amax(1)
    clear = best - second > rounding
    assert torch.equal(torch.as_tensor(labels).long()[clear], label[clear])


@pytest.mark.parametrize("backend", BACKENDS)
@pytest.mark.parametrize(
    ("shape", "size"),
    [
        ((2, 4, 5, 6, 7), (11, 20, 23)),
        ((1, 3, 9, 8, 7), (4, 20, 3)),  # smaller and larger
        ((1, 3, 5, 6, 7), (5, 6, 7)),  # the same size
        ((1, 2, 1, 4, 4), (6, 9, 9)),  # one slice
        ((1, 1, 3, 4, 4), (6, 9, 9)),  # one class
        ((0, 3, 3, 4, 4), (6, 9, 9)),  # no volume
    ],
)
def test_labels_are_those_of_float64(backend, shape, size):
    scores = scores_of(*shape)
    for corners in (False, True):
        labels = argmax(scores, size, align_corners=corners, backend=backend)
        assert labels.shape == (shape[0], *size)
        if shape[0] and shape[1] > 1:
            full = F.interpolate(scores.double(), size, mode="trilinear", align_corners=corners)
            check(labels, full)


@settings(max_examples=30, deadline=None)
@given(
    shape=st.tuples(*(st.integers(1, 6) for _ in range(5))),
    size=st.tuples(*(st.integers(1, 14) for _ in range(3))),
    seed=st.integers(0, 1000),
)
def test_any_size(shape, size, seed):
    scores = scores_of(*shape, seed=seed)
    if shape[1] > 1:
        check(argmax(scores, size), F.interpolate(scores.double(), size, mode="trilinear"))


def test_one_volume_arrays_and_scale():
    scores = scores_of(4, 5, 6, 7)
    labels = argmax(scores, (10, 12, 14))
    assert labels.shape == (10, 12, 14)
    array = argmax(scores.numpy(), (10, 12, 14))
    assert isinstance(array, np.ndarray)
    assert array.dtype == np.uint8
    assert np.array_equal(array, labels)
    assert torch.equal(argmax(scores, scale=(2, 2.0, 2)), labels)
    assert torch.equal(argmax(scores[None], scale=2), labels[None])
    turned = scores.numpy().transpose(0, 3, 2, 1)[:, ::-1, ::2]
    assert np.array_equal(argmax(turned, (9, 9, 9)), argmax(turned.copy(), (9, 9, 9)))
    for dtype in (torch.float16, torch.bfloat16, torch.float64):
        full = F.interpolate(scores[None].to(dtype).double(), (9, 8, 7), mode="trilinear")
        check(argmax(scores[None].to(dtype), (9, 8, 7)), full)


@pytest.mark.parametrize("backend", BACKENDS)
@pytest.mark.parametrize("nearest", [(0,), (1,), (2, 0), (0, 1, 2)])
def test_nearest_along_some_axes(backend, nearest):
    scores, size = scores_of(1, 3, 4, 5, 6), (9, 7, 20)
    full = scores.double()
    for axis in range(3):
        sides = [*full.shape[2:]]
        sides[axis] = size[axis]
        mode = "nearest-exact" if axis in nearest else "trilinear"
        full = F.interpolate(full, tuple(sides), mode=mode)
    check(argmax(scores, size, nearest=nearest, backend=backend), full)


@pytest.mark.parametrize("backend", BACKENDS)
def test_regions_are_painted_in_order(backend):
    scores, size = scores_of(3, 4, 5, 6), (9, 11, 13)
    full = F.interpolate(scores[None].double(), size, mode="trilinear")[0]
    expected = torch.zeros(size, dtype=torch.long)
    for region, one in zip((2, 1, 3), full, strict=True):
        expected[one.sigmoid() > 0.5] = region
    labels = argmax(scores, size, regions=(2, 1, 3), backend=backend)
    assert labels.dtype == torch.uint8
    assert (labels.long() != expected).float().mean() < 1e-3
    array = argmax(scores.numpy(), size, regions=(2, 1, 300), backend=backend)
    assert array.dtype == np.int16
    assert np.array_equal(array == 300, labels == 3)


@pytest.mark.parametrize("measure", ["probability", "margin", "entropy"])
def test_confidence(measure):
    scores, size = scores_of(2, 4, 5, 6, 7), (9, 10, 11)
    labels, sure = argmax(scores, size, return_confidence=measure)
    full = F.interpolate(scores.double(), size, mode="trilinear")
    check(labels, full)
    if measure == "probability":
        assert torch.allclose(sure.double(), full.softmax(1).amax(1), atol=1e-5)
    one, alone = argmax(scores[0], size, return_confidence=measure)
    assert torch.equal(one, labels[0])
    assert torch.equal(alone, sure[0])


def test_labels_are_written_to_a_file(tmp_path):
    scores = scores_of(4, 5, 6, 7).numpy()
    out = np.memmap(tmp_path / "labels", np.uint8, "w+", shape=(20, 30, 40))
    assert argmax(scores, (20, 30, 40), out=out) is out
    out.flush()
    kept = np.fromfile(tmp_path / "labels", np.uint8).reshape(20, 30, 40)
    assert np.array_equal(kept, argmax(scores, (20, 30, 40)))


@pytest.mark.filterwarnings("error")
@pytest.mark.parametrize("size", [(8, 10, 12), (4, 10, 12), (4, 5, 6), (9, 5, 6)])
@pytest.mark.parametrize("corners", [False, True])
def test_infinities_spread_as_in_torch(size, corners):
    scores = scores_of(1, 3, 4, 5, 6).double()
    scores[0, 1, 2, 3, 3] = scores[0, 2, 3, 4, 5] = -torch.inf
    full = F.interpolate(scores, size, mode="trilinear", align_corners=corners)
    assert torch.equal(argmax(scores, size, align_corners=corners).long(), full.argmax(1))
    array = argmax(scores.numpy(), size, align_corners=corners)
    assert np.array_equal(array, full.argmax(1))


def test_subclasses_of_tensors():
    class MetaTensor(torch.Tensor):
        pass

    scores = scores_of(3, 4, 5, 6)
    labels = argmax(scores.as_subclass(MetaTensor), (8, 8, 8))
    assert torch.equal(labels, argmax(scores, (8, 8, 8)))


@pytest.mark.parametrize(
    ("options", "error", "message"),
    [
        ({"size": (5, 5)}, ArgumentTypeError, "size must be (depth, height, width), not (5, 5)"),
        ({"size": (5, 0, 5)}, ArgumentError, "height must be at least 1"),
        ({"size": (1 << 20,) * 3}, ArgumentError, "too many"),
        ({"scale": (1, 2, 0)}, ArgumentError, "positive factor or three of them"),
        ({"nearest": (3,)}, ArgumentError, "nearest must name axes"),
        ({"nearest": 0}, ArgumentTypeError, "nearest must be axes, such as (0,)"),
        ({"regions": 3}, ArgumentTypeError, "regions must be one label for each class"),
        ({"regions": (1.7, 2, 3)}, ArgumentTypeError, "one label for each class"),
        ({"regions": (2**40, 2, 3)}, ArgumentError, "a label up to"),
        ({"regions": (1, 2)}, ArgumentError, "for each of 3 classes"),
        ({"regions": (1, 2, 3), "return_confidence": "margin"}, ArgumentError, "no one winner"),
        ({"stride": 4}, ArgumentError, "stride is for images"),
        ({"out": np.empty((1, 4, 4, 5), np.uint8)}, ArgumentError, "(1, 4, 4, 4) and uint8"),
        ({"return_confidence": "x"}, ArgumentError, "return_confidence must be one of"),
    ],
)
def test_errors(options, error, message):
    scores = np.zeros((1, 3, 2, 2, 2), np.float32)
    size = {} if "scale" in options else {"size": (4, 4, 4)}
    with pytest.raises(error, match=re.escape(message)):
        argmax(scores, **size | options)


def test_images_have_no_nearest_axes():
    for options in ({"nearest": (0,)}, {"regions": (1, 2, 3)}):
        with pytest.raises(ArgumentError, match="for volumes"):
            argmax(np.zeros((3, 4, 4), np.float32), (8, 8), **options)


OPTIONS = [
    {"return_confidence": "margin"},
    {"nearest": (2, 0)},
    {"nearest": (1,), "regions": (2, 1, 300)},
    {"coordinates": ((0.6, -0.5), (0.5, 0.25), (1.0, 0.0))},
    {"coordinates": ((0.6, -0.5), (0.5, 0.25), (0.4, 0.1)), "nearest": (1,)},
]


def plain(results):
    return results if isinstance(results, tuple) else (results,)


@pytest.mark.slow
@pytest.mark.parametrize("backend", ["auto", "eager"])
@pytest.mark.parametrize("options", OPTIONS)
def test_compiles_without_a_graph_break(backend, options):
    def head(scores, out):
        argmax(scores[0], (9, 11, 13), out=out, backend=backend)
        return argmax(scores, (9, 11, 13), backend=backend, **options)

    torch.compiler.reset()
    compiled = torch.compile(head, fullgraph=True, backend="aot_eager")
    for shape in ((2, 3, 4, 5, 6), (1, 3, 5, 7, 8)):  # the second one with dynamic sizes
        scores, outs = scores_of(*shape), torch.full((2, 9, 11, 13), 9, dtype=torch.uint8)
        expected, found = plain(head(scores, outs[0])), plain(compiled(scores, outs[1]))
        assert torch.equal(outs[0], outs[1])
        assert found[0].dtype == expected[0].dtype
        assert (found[0] != expected[0]).float().mean() < 1e-3
        if len(found) == 2:
            torch.testing.assert_close(found[1], expected[1], rtol=1e-5, atol=1e-5)


@pytest.mark.parametrize("backend", ["auto", "cpu"])
@pytest.mark.parametrize("options", OPTIONS)
def test_exports(backend, options):
    class Head(torch.nn.Module):
        def forward(self, scores):
            return argmax(scores, (9, 11, 13), backend=backend, **options)

    scores = scores_of(3, 4, 5, 6)
    program = torch.export.export(Head(), (scores,))
    found, expected = (plain(head(scores))[0] for head in (program.module(), Head()))
    assert (found != expected).float().mean() < 1e-3
    assert ("upscore" in str(program.graph)) == (backend == "cpu")


def test_opcheck():
    arguments = (9, 11, 13), "affine", 0, (0.6, -0.5, 0.5, 0.25, 1.0, 0.0), (1,), (2, 1, 3)
    torch.library.opcheck(torch_op.operator, (scores_of(2, 3, 4, 5, 6), *arguments, None, "cpu"))
