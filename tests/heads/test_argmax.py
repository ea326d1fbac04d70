"""The labels of `upscore.argmax` against interpolation in float64, and its errors."""

import os
import platform
import re
import subprocess
import sys

import numpy as np
import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st

from upscore import argmax
from upscore.definition import upsample_linear
from upscore.heads.argmax import torch_op
from upscore.heads.grid import HALF_PIXEL, Grid, interpolate_tensor

BACKENDS = ("cpu", "eager")
DTYPES = (torch.float32, torch.float16, torch.bfloat16, torch.float64)
GRIDS = ({}, {"align_corners": True}, {"stride": 8})


def truth(scores: torch.Tensor, size: tuple[int, int], **grid: object) -> torch.Tensor:
    """The full-resolution scores in float64, by the definition."""
    images = [upsample_linear(s, size, **grid) for s in scores.double().numpy()]
    return torch.from_numpy(np.stack(images)) if images else torch.empty(0, scores.shape[1], *size)


def check(
    scores: torch.Tensor, size: tuple[int, int], backend: str = "cpu", **grid: object
) -> None:
    """Hold the labels against the truth: only ties within rounding may differ."""
    full = truth(scores, size, **grid)
    labels = argmax(scores, size, backend=backend, **grid)
    assert labels.shape == (len(scores), *size)
    if not len(scores):
        return
    best, label = full.max(1)
    got = full.gather(1, labels.long()[:, None])[:, 0]
    # Torch computes positions in the precision of the scores, the kernels in float64.
    eps = torch.finfo(torch.promote_types(scores.dtype, torch.float32)).eps
    rounding = eps * (8 if backend == "cpu" else 8 + 4 * max(scores.shape[-2:]))
    assert (best - got <= rounding * scores.double().abs().max()).all()
    clear = best - full.scatter(1, label[:, None], -torch.inf).max(1).values > rounding * 100
    assert torch.equal(labels.long()[clear], label[clear])


@pytest.mark.parametrize("backend", BACKENDS)
@pytest.mark.parametrize("grid", GRIDS, ids=str)
@pytest.mark.parametrize(
    ("shape", "size"),
    [
        ((2, 5, 7, 9), (20, 31)),  # ragged
        ((1, 19, 16, 32), (128, 256)),  # whole blocks
        ((1, 21, 64, 64), (500, 375)),
        ((1, 3, 17, 29), (17, 29)),  # the same size
        ((1, 4, 50, 60), (70, 61)),  # barely larger
        ((1, 4, 50, 60), (20, 13)),  # smaller
        ((1, 4, 9, 70), (90, 13)),  # larger and smaller
        ((3, 1, 4, 5), (8, 10)),  # one class
        ((1, 6, 1, 5), (1, 40)),  # one row
        ((1, 6, 5, 1), (40, 3)),  # one column
        ((1, 3, 1, 1), (70, 300)),  # one pixel, bands of many rows
        ((0, 3, 4, 5), (8, 10)),  # no image
        ((1, 257, 5, 6), (11, 40)),
    ],
)
def test_labels_are_those_of_float64(backend, grid, shape, size):
    generator = torch.Generator().manual_seed(0)
    check(torch.randn(shape, generator=generator), size, backend, **grid)


@settings(max_examples=150, deadline=None)
@given(
    shape=st.tuples(st.integers(1, 2), st.integers(1, 20), st.integers(1, 12), st.integers(1, 40)),
    size=st.tuples(st.integers(1, 60), st.integers(1, 200)),
    grid=st.sampled_from(GRIDS),
    smooth=st.booleans(),
    seed=st.integers(0, 1000),
)
def test_any_size(shape, size, grid, smooth, seed):
    scores = torch.randn(shape, generator=torch.Generator().manual_seed(seed))
    if smooth:  # few classes can win
        scores = 5 * torch.nn.functional.avg_pool2d(scores, 3, 1, 1)
    check(scores, size, **grid)


@pytest.mark.parametrize("dtype", DTYPES, ids=str)
@pytest.mark.parametrize("width", [3, 40])
def test_dtypes(dtype, width):
    scores = torch.randn(2, 9, 12, width, generator=torch.Generator().manual_seed(0)).to(dtype)
    check(scores, (50, 8 * width + 3))
    channels_last = scores.to(memory_format=torch.channels_last)
    assert torch.equal(argmax(channels_last, (50, 70)), argmax(scores, (50, 70)))


def test_float64_is_computed_in_float64():
    scores = torch.ones(1, 2, 3, 3, dtype=torch.float64)
    scores[:, 1] += 1e-12
    assert (argmax(scores, (9, 9)) == 1).all()


@pytest.mark.parametrize("backend", BACKENDS)
def test_arrays_of_any_strides(backend):
    base = np.random.default_rng(0).standard_normal((2, 14, 20, 66), dtype=np.float32)
    for view in (
        base[:, ::2, ::3, ::2],
        base[:, ::-1, ::-1, ::-1],
        base.transpose(0, 3, 1, 2)[:, :9],
        np.asfortranarray(base)[::-1],
        np.broadcast_to(base[:1, :, :1], base.shape),
    ):
        labels = argmax(view, (41, 77), backend=backend)
        assert np.array_equal(labels, argmax(view.copy(), (41, 77), backend=backend))
    crooked = np.frombuffer(b"x" + base.tobytes(), np.float32, base.size, 1).reshape(base.shape)
    assert np.array_equal(argmax(crooked, (41, 77)), argmax(base, (41, 77)))
    packed = np.zeros(base.shape, [("x", "u1"), ("score", "f4")])
    packed["score"] = base
    assert np.array_equal(argmax(packed["score"], (41, 77)), argmax(base, (41, 77)))
    frozen = base.copy()
    frozen.flags.writeable = False
    assert np.array_equal(argmax(frozen, (41, 77)), argmax(base, (41, 77)))


def test_one_image_and_scale():
    scores = np.random.default_rng(0).standard_normal((4, 6, 7), dtype=np.float32)
    assert argmax(scores, scale=2.5).shape == (15, 17)
    assert np.array_equal(argmax(scores, scale=(2, 3)), argmax(scores[None], (12, 21))[0])


@pytest.mark.parametrize("backend", BACKENDS)
@pytest.mark.parametrize(
    ("classes", "dtype"), [(256, "uint8"), (257, "int16"), (32_768, "int16"), (65_536, "int32")]
)
def test_many_classes(backend, classes, dtype):
    scores = np.zeros((classes, 2, 3), np.float32)
    scores[-1, :, 2] = 1
    labels = argmax(scores, (2, 6), backend=backend)
    assert labels.dtype == dtype
    assert labels[0].tolist() == [0, 0, 0, classes - 1, classes - 1, classes - 1]


@pytest.mark.parametrize("backend", BACKENDS)
def test_ties_go_to_the_lowest_class(backend):
    scores = torch.randn(1, 6, 9, 11, generator=torch.Generator().manual_seed(0))
    scores[:, 3:] = scores[:, :3]
    assert argmax(scores, (70, 90), backend=backend).max() < 3
    assert not argmax(torch.zeros(1, 6, 9, 11), (70, 90), backend=backend).any()


@pytest.mark.parametrize("backend", BACKENDS)
@pytest.mark.parametrize("value", [torch.nan, torch.inf, -torch.inf])
@pytest.mark.parametrize("grid", [{}, {"stride": 8}], ids=str)
def test_what_is_not_finite_is_as_in_torch(backend, value, grid):
    scores = torch.randn(2, 5, 8, 16, generator=torch.Generator().manual_seed(0))
    scores[torch.rand(scores.shape, generator=torch.Generator().manual_seed(1)) < 0.03] = value
    scores[:, 1] = -torch.inf
    size = (64, 128)
    expected = interpolate_tensor(
        scores.double(), size, Grid("fcn", **grid) if grid else HALF_PIXEL
    )
    expected = expected.argmax(1)
    assert torch.equal(argmax(scores, size, backend=backend, **grid).long(), expected)
    array = argmax(scores.numpy(), size, backend=backend, **grid)
    assert np.array_equal(array, expected.numpy())


def test_scores_near_overflow():
    scores = 3e38 * (2 * torch.rand(1, 5, 8, 16, generator=torch.Generator().manual_seed(0)) - 1)
    check(scores, (70, 90))


@pytest.mark.parametrize("backend", BACKENDS)
@pytest.mark.parametrize("measure", ["probability", "margin", "entropy"])
@pytest.mark.parametrize("classes", [1, 2, 19])
@pytest.mark.parametrize("spread", [1, 30])
def test_confidence(backend, measure, classes, spread):
    scores = spread * torch.randn(2, classes, 9, 11, generator=torch.Generator().manual_seed(0))
    full = truth(scores, (40, 60))
    p = full.softmax(1)
    expected = {
        "probability": p.amax(1),
        "margin": full[:, 0] + torch.inf
        if classes == 1
        else full.topk(2, 1).values.diff(dim=1)[:, 0].neg(),
        "entropy": torch.special.entr(p).sum(1),
    }[measure]
    labels, confidence = argmax(scores, (40, 60), return_confidence=measure, backend=backend)
    assert torch.equal(labels, argmax(scores, (40, 60), backend=backend))
    assert confidence.dtype == torch.float32
    atol = spread * (1e-6 if backend == "cpu" else 5e-6)  # torch computes positions in float32
    torch.testing.assert_close(confidence.double(), expected, rtol=2e-6, atol=atol)
    array = argmax(scores.numpy()[0], (40, 60), return_confidence=measure, backend=backend)[1]
    np.testing.assert_allclose(array, expected[0], rtol=2e-6, atol=atol)


def test_confidence_of_what_is_not_finite():
    scores = torch.randn(1, 4, 8, 8, generator=torch.Generator().manual_seed(0))
    scores[0, 2, 3, 3], scores[0, 1] = torch.nan, -torch.inf
    for measure in ("probability", "margin", "entropy"):
        _, confidence = argmax(scores, (32, 32), return_confidence=measure)
        _, expected = argmax(scores, (32, 32), return_confidence=measure, backend="eager")
        torch.testing.assert_close(confidence, expected, equal_nan=True)


@pytest.mark.parametrize("backend", BACKENDS)
def test_out(backend):
    scores = np.random.default_rng(0).standard_normal((2, 4, 6, 7), dtype=np.float32)
    expected = argmax(scores, (23, 37), backend=backend)
    for out in (
        np.full((2, 23, 37), 99, np.uint8),
        np.full((2, 46, 111), 99, np.uint8)[:, ::2, ::3],
        np.full((37, 23, 2), 99, np.uint8).T[:, ::-1],
    ):
        around = out.base if out.base is not None else out
        assert argmax(scores, (23, 37), out=out, backend=backend) is out
        assert np.array_equal(out, expected)
        assert (around != 99).sum() == expected.size  # and nothing beside it
    tensor = torch.full((23, 37), 99, dtype=torch.uint8)
    assert argmax(torch.from_numpy(scores[1]), (23, 37), out=tensor, backend=backend) is tensor
    assert np.array_equal(tensor, expected[1])


def test_backends_by_name():
    scores = torch.randn(1, 3, 4, 5, requires_grad=True)
    assert not argmax(scores, (8, 10)).requires_grad
    with pytest.raises(ValueError, match="'auto', 'eager', 'cpu', 'gpu'"):
        argmax(scores, (8, 10), backend="fast")
    with pytest.raises(ValueError, match="takes torch tensors"):
        argmax(np.zeros((3, 4, 5), np.float32), (8, 10), backend="gpu")
    with pytest.raises(ValueError, match="the scores are on meta"):
        argmax(torch.empty(1, 3, 4, 5, device="meta"), (8, 10), backend="cpu")


@pytest.mark.slow
@pytest.mark.parametrize("backend", ["auto", "cpu", "eager"])
@pytest.mark.parametrize("measure", [None, "margin"])
@pytest.mark.parametrize("dynamic", [False, True])
def test_compiles_without_a_graph_break(backend, measure, dynamic):
    def head(scores, out):
        labels = argmax(scores, (30, 41), return_confidence=measure, backend=backend)
        argmax(scores[0], scale=2, stride=2, out=out, backend=backend)
        return labels

    torch.compiler.reset()
    compiled = torch.compile(head, fullgraph=True, backend="aot_eager", dynamic=dynamic)
    for shape in ((2, 4, 5, 6), (1, 4, 7, 8)):
        scores = torch.randn(shape, generator=torch.Generator().manual_seed(0))
        outs = torch.zeros(2, 2 * shape[2], 2 * shape[3], dtype=torch.uint8)
        expected, found = head(scores, outs[0]), compiled(scores, outs[1])
        torch.testing.assert_close(found, expected)
        assert outs.any()
        assert torch.equal(*outs)


@pytest.mark.parametrize("backend", ["auto", "cpu"])
def test_exports(backend):
    class Head(torch.nn.Module):
        def forward(self, scores):
            return argmax(scores, (30, 41), backend=backend)

    scores = torch.randn(2, 4, 5, 6, generator=torch.Generator().manual_seed(0))
    program = torch.export.export(Head(), (scores,))
    assert torch.equal(program.module()(scores), argmax(scores, (30, 41)))
    assert ("upscore" in str(program.graph)) == (backend == "cpu")


@pytest.mark.parametrize("measure", [None, "entropy"])
def test_opcheck(measure):
    scores = torch.randn(2, 4, 5, 6, generator=torch.Generator().manual_seed(0))
    torch.library.opcheck(
        torch_op.operator, (scores, (20, 31), "fcn", 4, (), (), None, measure, "cpu")
    )


ZEROS = np.zeros((3, 4, 5), np.float32)


@pytest.mark.parametrize(
    ("scores", "arguments", "message"),
    [
        ([[1.0]], {"scale": 2}, "NumPy array or a torch tensor, not list"),
        (np.zeros((3, 4, 5), int), {"scale": 2}, "not int64.*convert them first"),
        (np.zeros((3, 4, 5), complex), {"scale": 2}, "not complex128"),
        (ZEROS[0], {"scale": 2}, r"C x h x w.*\(4, 5\)"),
        (ZEROS[:0], {"scale": 2}, "1 to 65,536 classes, not 0"),
        (np.zeros((65_537, 1, 1), np.float32), {"scale": 2}, "not 65,537"),
        (ZEROS[:, :0], {"scale": 2}, "hold no pixel"),
        (ZEROS, {}, "neither was given"),
        (ZEROS, {"size": (4, 4), "scale": 2}, "both were given"),
        (ZEROS, {"size": (0, 4)}, "height must be at least 1, not 0"),
        (ZEROS, {"size": (4, -1)}, "width must be at least 1, not -1"),
        (ZEROS, {"size": (4, 2.5)}, "width must be a whole number"),
        (ZEROS, {"size": 4}, r"size must be \(height, width\)"),
        (ZEROS, {"scale": -1}, "positive factor"),
        (ZEROS, {"scale": (1, 2, 3)}, "positive factor"),
        (ZEROS, {"scale": float("nan")}, "positive factor"),
        (ZEROS, {"scale": 0.1}, "leaves no pixel"),
        (ZEROS, {"size": (8, 8), "stride": 0}, "stride must be at least 1"),
        (ZEROS, {"size": (8, 8), "stride": 2, "align_corners": True}, "two different grids"),
        (ZEROS, {"scale": 2, "return_confidence": "sure"}, "return_confidence must be one of"),
        (ZEROS, {"size": (1 << 32, 1 << 32)}, "pixels"),
        (ZEROS, {"scale": 2, "out": np.zeros((8, 9), np.uint8)}, r"\(8, 10\) and uint8"),
        (ZEROS, {"scale": 2, "out": np.zeros((8, 10), np.int64)}, "not .* and int64"),
        (ZEROS, {"scale": 2, "out": np.broadcast_to(np.uint8(0), (8, 10))}, "read-only"),
        (ZEROS, {"scale": 2, "out": [0]}, "out must be a ndarray like the scores, not list"),
        (ZEROS, {"scale": 2, "out": torch.zeros(8, 10, dtype=torch.uint8)}, "not Tensor"),
        (
            torch.zeros(3, 4, 5),
            {"scale": 2, "out": torch.zeros(8, 10, dtype=torch.uint8, device="meta")},
            "out is on meta, the scores on cpu",
        ),
    ],
)
def test_bad_input_says_what_is_wrong(scores, arguments, message):
    with pytest.raises((ValueError, TypeError), match=message):
        argmax(scores, **arguments)


def run(code: str, **environment: str) -> str:
    """Run code in a process of its own."""
    result = subprocess.run(
        [sys.executable, "-W", "error", "-c", code],
        env={**os.environ, **environment},
        capture_output=True,
        text=True,
        timeout=300,
    )
    assert result.returncode == 0, result.stderr
    return result.stdout


@pytest.mark.slow
def test_bounds_are_kept(tmp_path):
    code = """
import numpy as np
from upscore import argmax
from numba import njit
from upscore.kernels.simd import load
rng = np.random.default_rng(0)
for c, h, w, size, grid in (
    (3, 5, 7, (23, 41), {}), (4, 1, 1, (3, 70), {}), (2, 3, 40, (3, 9), {}),
    (3, 4, 5, (50, 50), {"stride": 8}), (5, 9, 33, (40, 130), {"align_corners": True}),
    (9000, 2, 40, (3, 90), {}),
):
    scores = rng.standard_normal((c, h, w), dtype=np.float32)
    argmax(scores, size, backend="cpu", return_confidence="entropy", **grid)
    scores[0, 0, 0] = np.nan
    argmax(scores, size, backend="cpu", return_confidence="margin", **grid)
    argmax(scores.transpose(1, 2, 0).copy().transpose(2, 0, 1), size, backend="cpu",
           return_confidence="probability", **grid)

@njit
def beyond(a):
    load(a, 1)
try:
    beyond(np.zeros(16, np.float32))
except IndexError:
    print("checked")
"""
    assert run(code, NUMBA_BOUNDSCHECK="1", NUMBA_CACHE_DIR=str(tmp_path)) == "checked\n"


def test_importing_the_heads_loads_neither_torch_nor_numba():
    code = (
        "import sys, upscore; upscore.argmax, upscore.cross_entropy\n"
        "print({'torch', 'numba'} & {*sys.modules})"
    )
    assert run(code) == "set()\n"


@pytest.mark.slow
@pytest.mark.skipif(
    platform.machine() not in ("x86_64", "AMD64"), reason="reads the instructions of x86-64"
)
def test_inner_loops_are_packed(tmp_path):
    code = """
import numpy as np
from upscore.heads.argmax import cpu, cpu_kernels
cpu.argmax(np.zeros((1, 3, 4, 5), np.float32), np.empty((1, 8, 10), np.uint8))
for function in (cpu_kernels._compare, cpu_kernels._candidates):
    print(*function.inspect_asm().values())
"""
    assembly = run(code, NUMBA_CACHE_DIR=str(tmp_path))
    for packed in (r"vf?(madd|mul)\w*ps\s.*[yz]mm", r"v(min|max|cmp\w*)ps\s.*[yz]mm"):
        assert len(re.findall(packed, assembly)) > 4


@pytest.mark.skipif(not sys.platform.startswith("linux"), reason="reads the peak in /proc")
def test_labels_need_little_memory():
    code = """
import numpy as np
from pathlib import Path
from upscore import argmax

def held(name):
    lines = Path("/proc/self/status").read_text().splitlines()
    return next(int(line.split()[1]) for line in lines if line.startswith(name))

argmax(np.zeros((3, 4, 5), np.float32), (8, 10), backend="cpu")
for shape, size in (((150, 128, 128), (1080, 1920)), ((19, 128, 512), (2048, 8192))):
    scores = np.random.default_rng(0).standard_normal(shape, dtype=np.float32)
    out = np.ones(size, np.uint8)
    Path("/proc/self/clear_refs").write_text("5")
    before = held("VmRSS")
    argmax(scores, size, out=out, backend="cpu")
    print(held("VmHWM") - before)
"""
    for kilobytes in run(code).split():
        assert int(kilobytes) < 2048
