"""Labels at given coordinates against `F.grid_sample` in float64, of images and of volumes."""

import re

import numpy as np
import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st
from torch.nn import functional as F

from upscore import argmax
from upscore.errors import ArgumentError, ArgumentTypeError

BACKENDS = ("cpu", "eager")

# scores N x C x (d x) h x w, size of the labels, step and offset of each axis
CASES = [
    ((2, 4, 5, 6, 7), (11, 20, 23), ((0.5, -0.25), (0.3, 0.0), (0.31, -0.2))),
    ((1, 3, 9, 8, 40), (4, 20, 3), ((2.5, 0.3), (0.1, 3.0), (11.7, 5.0))),  # fewer and more
    ((1, 3, 5, 6, 7), (5, 6, 7), ((1.0, 0.0), (1.0, 0.5), (1.0, -2.0))),  # shifted
    ((1, 3, 5, 6, 7), (9, 8, 6), ((1.0, 0.0),) * 3),  # where they are, cut or held
    ((1, 3, 3, 4, 5), (40, 30, 50), ((0.1, -1.0), (0.2, -3.0), (0.2, -4.0))),  # held at the edges
    ((1, 3, 3, 4, 5), (4, 5, 6), ((0.3, 9.0), (0.3, -50.0), (1e9, 1e9))),  # beyond them
    ((1, 3, 1, 1, 4), (3, 5, 9), ((0.3, 0.0), (0.5, -1.0), (0.4, 0.0))),  # one pixel
    ((2, 4, 5, 6), (21, 40), ((0.26, -0.4), (0.17, 0.0))),
    ((1, 20, 30, 70), (80, 170), ((0.37, 0.5), (0.41, 0.3))),
    ((1, 3, 60, 50), (11, 13), ((5.1, 1.0), (3.7, 2.0))),
    ((1, 1, 4, 4), (6, 9), ((0.5, 0.0), (0.5, 0.0))),  # one class
    ((0, 3, 4, 4), (6, 9), ((0.5, 0.0), (0.5, 0.0))),  # no image
]


def scores_of(*shape, seed=0):
    return torch.randn(shape, generator=torch.Generator().manual_seed(seed))


def sampled(scores, size, coordinates, nearest=()):
    """Scores at full resolution, in float64."""
    axes = []
    for axis, (n, (step, offset)) in enumerate(zip(size, coordinates, strict=True)):
        at = torch.arange(n, dtype=torch.float64) * step + offset
        last = scores.shape[2 + axis] - 1
        at = torch.floor(at + 0.5) if axis in nearest else at
        axes.append(at * 2 / max(last, 1) - 1)
    grid = torch.stack(torch.meshgrid(*axes, indexing="ij")[::-1], -1)
    grid = grid.expand(len(scores), *grid.shape)
    return F.grid_sample(scores.double(), grid, padding_mode="border", align_corners=True)


def check(labels, full):
    """Hold labels against full scores: only ties within rounding may differ."""
    labels = torch.as_tensor(labels).long()
    assert labels.shape == full[:, 0].shape
    best, chosen = full.amax(1), full.gather(1, labels[:, None])[:, 0]
    assert (best - chosen <= 1e-5 * full.abs().max()).all()


@pytest.mark.parametrize("backend", BACKENDS)
@pytest.mark.parametrize(("shape", "size", "coordinates"), CASES)
def test_labels_are_those_of_float64(backend, shape, size, coordinates):
    scores = scores_of(*shape)
    labels = argmax(scores, size, coordinates=coordinates, backend=backend)
    array = argmax(scores.numpy(), size, coordinates=np.array(coordinates), backend=backend)
    assert labels.shape == array.shape == (shape[0], *size)
    assert labels.dtype == torch.uint8
    if shape[0]:
        full = sampled(scores, size, coordinates)
        check(labels, full)
        check(array, full)


@settings(max_examples=30, deadline=None)
@given(
    shape=st.tuples(*(st.integers(1, 6) for _ in range(3))),
    size=st.tuples(*(st.integers(1, 40) for _ in range(3))),
    coordinates=st.tuples(*(st.tuples(st.floats(0.01, 4), st.floats(-9, 9)) for _ in range(3))),
    volumes=st.booleans(),
    seed=st.integers(0, 1000),
)
def test_any_coordinates(shape, size, coordinates, volumes, seed):
    axes = 3 if volumes else 2
    size, coordinates = size[:axes], coordinates[:axes]
    scores = scores_of(1, 4, *shape[:axes], seed=seed)
    check(argmax(scores, size, coordinates=coordinates), sampled(scores, size, coordinates))


@pytest.mark.parametrize("dtype", [torch.float16, torch.bfloat16, torch.float64])
def test_types_and_strides(dtype):
    scores = scores_of(1, 3, 4, 5, 6).to(dtype).permute(0, 1, 4, 2, 3)[..., ::2, :]
    coordinates = (0.4, -0.3), (0.3, 0.1), (0.5, 0.0)
    labels = argmax(scores, (13, 9, 11), coordinates=coordinates)
    check(labels, sampled(scores, (13, 9, 11), coordinates))
    plane = scores[:, :, 0]
    labels = argmax(plane, (9, 11), coordinates=coordinates[1:])
    check(labels, sampled(plane, (9, 11), coordinates[1:]))


def test_positions_are_those_of_float64():
    scores = torch.zeros(2, 1, 100_001)
    scores[0] = torch.arange(100_001) % 2
    scores[1] = 0.5
    labels = argmax(scores, (1, 400_000), coordinates=((1, 0), (0.25 + 1e-9, 1e-4)))
    at = torch.arange(400_000, dtype=torch.float64) * (0.25 + 1e-9) + 1e-4
    wave = 1 - (at % 2 - 1).abs()
    clear = (wave - 0.5).abs() > 1e-6
    assert torch.equal(labels[0][clear] == 0, wave[clear] > 0.5)
    assert clear.all()


@pytest.mark.parametrize("backend", BACKENDS)
@pytest.mark.parametrize("nearest", [(0,), (1,), (2, 0, 2), (0, 1, 2)])
def test_nearest_along_some_axes(backend, nearest):
    scores, size = scores_of(1, 3, 4, 5, 6), (9, 7, 20)
    coordinates = (0.5, -0.5), (0.9, 0.3), (0.25, 0.0)
    labels = argmax(scores, size, coordinates=coordinates, nearest=nearest, backend=backend)
    check(labels, sampled(scores, size, coordinates, nearest))


@pytest.mark.parametrize("backend", BACKENDS)
@pytest.mark.parametrize("nearest", [(), (1,)])
def test_regions(backend, nearest):
    scores, size = scores_of(3, 4, 5, 6), (9, 11, 13)
    coordinates = (0.4, -0.3), (0.5, 0.1), (0.45, 0.0)
    expected = torch.zeros(size, dtype=torch.long)
    full = sampled(scores[None], size, coordinates, nearest)[0]
    for region, one in zip((2, 1, 3), full, strict=True):
        expected[one > 0] = region
    options = {"regions": (2, 1, 3), "nearest": nearest, "backend": backend}
    labels = argmax(scores, size, coordinates=coordinates, **options)
    assert (labels.long() != expected).float().mean() < 1e-3


@pytest.mark.parametrize("backend", BACKENDS)
def test_confidence(backend):
    coordinates = (0.4, -0.3), (0.5, 0.1), (0.45, 0.0)
    scores, size = scores_of(2, 4, 5, 6, 7), (9, 10, 11)
    for axes in (3, 2):
        given = scores if axes == 3 else scores[:, :, 0]
        own = coordinates[-axes:]
        options = {"return_confidence": "probability", "backend": backend}
        _, sure = argmax(given, size[-axes:], coordinates=own, **options)
        full = sampled(given, size[-axes:], own)
        torch.testing.assert_close(sure.double(), full.softmax(1).amax(1), atol=1e-5, rtol=0)


@pytest.mark.filterwarnings("error")
@pytest.mark.parametrize("backend", BACKENDS)
@pytest.mark.parametrize("axes", [2, 3])
def test_infinities_spread_as_in_torch(backend, axes):
    # Positions of which grid_sample's own arithmetic is exact.
    coordinates = ((0.5, -1.0), (0.5, 0.0), (0.25, 1.0))[-axes:]
    size = (14, 12, 40)[-axes:]
    scores = scores_of(1, 3, *(5, 5, 9)[-axes:]).double()
    scores[(0, 1, *(2, 3, 3)[-axes:])] = -torch.inf
    scores[(0, 2, *(4, 4, 8)[-axes:])] = torch.inf
    scores[(0, 0, *(0, 1, 8)[-axes:])] = torch.nan
    full = sampled(scores, size, coordinates)
    labels = argmax(scores, size, coordinates=coordinates, backend=backend)
    assert torch.equal(labels.long(), full.argmax(1))
    array = argmax(scores.numpy(), size, coordinates=coordinates, backend=backend)
    assert np.array_equal(array, full.argmax(1))


def test_they_name_the_grids_that_there_are():
    scores = scores_of(1, 4, 5, 6, 7)
    size = 9, 11, 12
    ratios = [n / m for n, m in zip(scores.shape[2:], size, strict=True)]
    half_pixel = [(ratio, (ratio - 1) / 2) for ratio in ratios]
    assert torch.equal(argmax(scores, size, coordinates=half_pixel), argmax(scores, size))
    corners = [((n - 1) / (m - 1), 0) for n, m in zip(scores.shape[2:], size, strict=True)]
    aligned = argmax(scores, size, align_corners=True)
    assert torch.equal(argmax(scores, size, coordinates=corners), aligned)


def test_affine_matrices_name_them():
    scores_affine = np.array([[0, -2.0, 0, 3], [1.5, 0, 0, -4], [0, 0, 3, 5], [0, 0, 0, 1]])
    matrix = np.diag([0.5, 0.4, 0.7, 1.0])
    matrix[:3, 3] = -0.2, 0.3, 0.0
    m = np.linalg.solve(scores_affine, scores_affine @ matrix)
    coordinates = tuple(zip(m.diagonal(), m[:-1, -1], strict=False))
    assert np.allclose(coordinates, [(0.5, -0.2), (0.4, 0.3), (0.7, 0.0)])
    scores = scores_of(3, 4, 5, 6)
    labels = argmax(scores, (8, 9, 7), coordinates=coordinates)
    check(labels[None], sampled(scores[None], (8, 9, 7), coordinates))


@pytest.mark.slow
@pytest.mark.parametrize("backend", ["auto", "eager"])
def test_compiles_without_a_graph_break(backend):
    def head(scores):
        return argmax(scores, (13, 21), coordinates=((0.3, -0.2), (0.4, 0.1)), backend=backend)

    torch.compiler.reset()
    compiled = torch.compile(head, fullgraph=True, backend="aot_eager")
    for shape in ((2, 4, 5, 6), (1, 4, 7, 8)):
        scores = scores_of(*shape)
        assert torch.equal(compiled(scores), head(scores))


@pytest.mark.parametrize(
    ("options", "error", "message"),
    [
        ({"coordinates": 3}, ArgumentTypeError, "coordinates must be (step, offset) for each of 2"),
        ({"coordinates": ((1, 0),)}, ArgumentTypeError, "for each of 2 axes, not ((1, 0),)"),
        ({"coordinates": ((1, 0), (1, 0, 0))}, ArgumentTypeError, "for each of 2 axes"),
        ({"coordinates": ((1, 0), ("a", 0))}, ArgumentTypeError, "for each of 2 axes"),
        ({"coordinates": ((1, 0), (0, 0))}, ArgumentError, "steps above 0"),
        ({"coordinates": ((1, 0), (-1, 3))}, ArgumentError, "not (-1.0, 3.0): flip an axis"),
        ({"coordinates": ((1, 0), (np.nan, 0))}, ArgumentError, "steps above 0"),
        ({"coordinates": ((1, 0), (1, np.inf))}, ArgumentError, "finite offsets"),
        ({"align_corners": True}, ArgumentError, "with none of scale, align_corners and stride"),
        ({"stride": 2}, ArgumentError, "with none of scale, align_corners and stride"),
        ({"size": None, "scale": 2}, ArgumentError, "coordinates go with size"),
    ],
)
def test_errors(options, error, message):
    given = {"size": (4, 4), "coordinates": ((1, 0), (1, 0))} | options
    with pytest.raises(error, match=re.escape(message)):
        argmax(np.zeros((3, 4, 4), np.float32), **given)
