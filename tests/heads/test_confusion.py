"""The fused confusion matrix against labels that are made first and counted then."""

import subprocess
import sys

import numpy as np
import pytest
import torch

import upscore
from upscore.heads.confusion import cpu, torch_op

BACKENDS = ("cpu", "eager")
RAGGED = [
    ((2, 5, 7, 9), (33, 41), {}),
    ((1, 3, 4, 5), (64, 600), {}),  # more than one chunk of columns
    ((1, 7, 9, 11), (36, 44), {"align_corners": True}),
    ((2, 5, 4, 6), (14, 21), {"stride": 4}),
    ((1, 4, 2, 2), (40, 39), {"stride": 16}),  # held at the edges
    ((1, 3, 1, 1), (4, 5), {}),
    ((1, 1, 4, 3), (9, 10), {}),
    ((1, 6, 19, 1), (5, 3), {"align_corners": True}),
    ((2, 3, 20, 41), (10, 8), {}),  # smaller than the scores
    ((1, 3, 40, 5), (1, 1), {}),
    ((1, 300, 5, 6), (21, 40), {}),
    ((1, 3000, 2, 60), (5, 240), {}),  # more than one strip of columns
    ((0, 3, 4, 5), (8, 9), {}),
    ((1, 4, 3, 5, 6), (7, 20, 33), {}),  # volumes
    ((2, 3, 4, 5, 6), (2, 9, 11), {"align_corners": True}),
]
IDS = ["x".join(map(str, (*s, *size))) + "".join(grid) for s, size, grid in RAGGED]


def case(shape, size, *, ignored=0.2, dtype=torch.int64):
    """Random scores; a target of equal runs and of noise, some of it to be ignored."""
    generator = torch.Generator().manual_seed(0)
    scores = torch.randn(shape, generator=generator)
    target = torch.randint(shape[1], (shape[0], *size), generator=generator)
    target[..., size[-1] // 2 :] = target[..., :1]
    ignore = torch.rand(target.shape, generator=generator) < ignored
    return scores, target.masked_fill(ignore, 255 if shape[1] < 255 else -1).to(dtype)


def counted(scores, target, ignore_index, **grid):
    """The definition: labels, then counts."""
    labels = upscore.argmax(scores, tuple(target.shape[2 - scores.ndim :]), **grid).numpy()
    target = target.numpy().astype(np.int64)
    valid = target != ignore_index
    counts = np.zeros((scores.shape[1], scores.shape[1]), np.int64)
    np.add.at(counts, (target[valid], labels[valid]), 1)
    return counts


@pytest.fixture
def poisoned(monkeypatch):
    """Fill every array that is handed to the kernel without being cleared."""
    empty = np.empty

    def poison(*shape, **options):
        array = empty(*shape, **options)
        array.fill(np.nan if array.dtype.kind == "f" else 111)
        return array

    monkeypatch.setattr(cpu.np, "empty", poison)


@pytest.mark.parametrize("backend", BACKENDS)
@pytest.mark.parametrize(("shape", "size", "grid"), RAGGED, ids=IDS)
def test_counts_of_ragged_shapes(shape, size, grid, backend, poisoned):
    scores, target = case(shape, size)
    ignore = 255 if shape[1] < 255 else -1
    found = upscore.confusion(scores, target, ignore_index=ignore, backend=backend, **grid)
    assert found.dtype == torch.int64
    np.testing.assert_array_equal(found, counted(scores, target, ignore, **grid))
    array = upscore.confusion(
        scores.numpy(), target.numpy(), ignore_index=ignore, backend=backend, **grid
    )
    assert array.dtype == np.int64
    np.testing.assert_array_equal(array, found)


@pytest.mark.parametrize(
    ("dtype", "target_dtype"),  # each pair is a kernel to compile
    [
        *((dtype, torch.uint8) for dtype in (torch.bfloat16, torch.float64)),
        pytest.param(torch.float16, torch.uint8, marks=pytest.mark.release),
        *((torch.float32, kind) for kind in (torch.uint8, torch.int16, torch.int32, torch.int64)),
    ],
    ids=str,
)
def test_types(dtype, target_dtype):
    scores, target = case((2, 5, 6, 7), (48, 55), dtype=target_dtype)
    scores = scores.to(dtype)
    for backend in BACKENDS:
        found = upscore.confusion(scores, target, backend=backend)
        np.testing.assert_array_equal(found, counted(scores, target, 255))


@pytest.mark.parametrize("backend", BACKENDS)
def test_arrays_of_any_strides(backend):
    scores, target = (x.numpy() for x in case((2, 6, 9, 10), (40, 50)))
    expected = upscore.confusion(scores, target)
    wide = np.zeros((2, 40, 150), np.int64)
    wide[..., ::3] = target
    crooked = np.frombuffer(b"x" + target.tobytes(), np.int64, target.size, 1).reshape(target.shape)
    turned = np.ascontiguousarray(target[:, ::-1, ::-1])[:, ::-1, ::-1]
    for other in (wide[..., ::3], crooked, turned, np.asfortranarray(target)):
        found = upscore.confusion(np.asfortranarray(scores), other, backend=backend)
        np.testing.assert_array_equal(found, expected)
    one = np.broadcast_to(target[:, :, :1], target.shape)
    np.testing.assert_array_equal(
        upscore.confusion(scores, one, backend=backend), upscore.confusion(scores, one.copy())
    )


@pytest.mark.parametrize("backend", BACKENDS)
@pytest.mark.parametrize("value", [np.nan, np.inf, -np.inf])
def test_scores_that_are_not_finite(value, backend):
    scores, target = case((1, 4, 8, 8), (64, 64))
    scores[0, 2, 3, 2:6] = value
    found = upscore.confusion(scores, target, backend=backend)
    np.testing.assert_array_equal(found, counted(scores, target, 255))


@pytest.mark.parametrize("backend", BACKENDS)
@pytest.mark.parametrize("ignore", [-100, 2, 1000])
def test_other_values_to_ignore(ignore, backend):
    scores, target = case((1, 3, 4, 5), (13, 14), ignored=0)
    target[0, 3:7] = ignore
    found = upscore.confusion(scores, target, ignore_index=ignore, backend=backend)
    np.testing.assert_array_equal(found, counted(scores, target, ignore))
    target[:] = ignore
    assert not upscore.confusion(scores, target, ignore_index=ignore, backend=backend).any()


def test_one_image_without_a_batch():
    scores, target = case((1, 3, 4, 5), (13, 14))
    found = upscore.confusion(scores[0], target[0], size=(13, 14))
    assert torch.equal(found, upscore.confusion(scores, target))


def test_same_counts_whatever_the_threads():
    scores, target = case((3, 5, 33, 20), (260, 300))
    before = torch.get_num_threads()
    try:
        for threads in (1, 2, 3, 7):
            torch.set_num_threads(threads)
            found = upscore.confusion(scores, target)
            np.testing.assert_array_equal(found, counted(scores, target, 255))
    finally:
        torch.set_num_threads(before)


def test_opcheck():
    scores, target = case((1, 3, 3, 4), (9, 7))
    torch.library.opcheck(torch_op.operator, (scores, target, 255, "fcn", 2, "cpu"))


@pytest.mark.slow
@pytest.mark.parametrize("backend", ["auto", *BACKENDS])
@pytest.mark.parametrize("shape", [(2, 3, 3, 4), (1, 3, 2, 3, 4)])
def test_compiles_without_a_graph_break(shape, backend):
    scores, target = case(shape, (9, 9, 7)[-len(shape) + 2 :])

    def count(scores, target):
        return upscore.confusion(scores, target, backend=backend) + 1

    compiled = torch.compile(count, fullgraph=True, backend="aot_eager")
    assert torch.equal(compiled(scores, target), count(scores, target))


@pytest.mark.parametrize("backend", BACKENDS)
def test_a_label_outside_the_classes_is_named(backend):
    scores, target = case((2, 3, 4, 5), (40, 300))
    target[1, 30, 290] = 7
    for value, place in ((3, (1, 20, 280)), (-1, (1, 20, 270)), (254, (0, 39, 299))):
        target[place] = value
        with pytest.raises(ValueError, match=rf"{value} at \({', '.join(map(str, place))}\)"):
            upscore.confusion(scores, target, backend=backend)


@pytest.mark.parametrize(
    ("change", "message"),
    [
        ({"scores": torch.zeros(2, 3, 4, dtype=torch.int32)}, "convert them first"),
        ({"scores": torch.zeros(4, 5)}, "C x h x w"),
        ({"scores": torch.zeros(1, 3, 0, 5, 6)}, "hold pixels"),
        ({"scores": [[1.0]]}, "NumPy array or a torch tensor"),
        ({"scores": torch.zeros(1, 3, 2, 4, 5)}, "1 x D x H x W"),
        ({"target": torch.zeros(1, 8, 9)}, "class numbers of uint8"),
        ({"target": torch.zeros(8, 9, dtype=torch.uint8)}, "1 x H x W"),
        ({"target": torch.zeros(1, 0, 9, dtype=torch.uint8)}, "no pixels"),
        ({"target": np.zeros((1, 8, 9), np.uint8)}, "like the scores"),
        ({"size": (8, 8)}, r"size is \(8, 8\), but the target's is \(8, 9\)"),
        ({"size": 8}, r"size must be \(height, width\)"),
        ({"ignore_index": 2.5}, "whole number"),
        ({"stride": 2, "align_corners": True}, "two different grids"),
        ({"backend": "fast"}, "backend"),
    ],
)
def test_bad_input_says_what_to_do(change, message):
    good = {"scores": torch.zeros(1, 3, 4, 5), "target": torch.zeros(1, 8, 9, dtype=torch.uint8)}
    upscore.confusion(**good)
    with pytest.raises((ValueError, TypeError), match=message):
        upscore.confusion(**{**good, **change})


def test_volumes_have_no_stride():
    scores, target = case((1, 3, 2, 3, 4), (4, 5, 6))
    with pytest.raises(ValueError, match="stride is for images"):
        upscore.confusion(scores, target, stride=2)


@pytest.mark.release  # kernels that check every index are compiled for minutes
def test_nothing_is_read_or_written_out_of_bounds(with_checked_indices):
    with_checked_indices(__file__, "ragged or finite or strides")


@pytest.mark.skipif(not sys.platform.startswith("linux"), reason="reads the peak in /proc")
def test_no_label_map_is_kept():
    code = """
import numpy as np
from pathlib import Path
from upscore import confusion

def held(name):
    lines = Path("/proc/self/status").read_text().splitlines()
    return next(int(line.split()[1]) for line in lines if line.startswith(name))

target = np.zeros((8, 10), np.uint8)
confusion(np.zeros((3, 4, 5), np.float32), target, backend="cpu")
scores = np.random.default_rng(0).standard_normal((19, 128, 512), dtype=np.float32)
target = np.ones((2048, 8192), np.uint8)
Path("/proc/self/clear_refs").write_text("5")
before = held("VmRSS")
confusion(scores, target, backend="cpu")
print(held("VmHWM") - before)
"""
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True)
    assert int(done.stdout) < 2048  # kilobytes; a label map has 16 MB
