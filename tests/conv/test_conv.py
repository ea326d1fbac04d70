"""Every backend of the transposed convolution against the definition, values and gradients."""

import subprocess
import sys

import numpy as np
import pytest
import torch
import torch.nn.functional as F
from hypothesis import given, settings
from hypothesis import strategies as st

import upscore
from upscore.conv import composed, describe, outer_product, plan
from upscore.conv.backends import BACKENDS
from upscore.conv.interleave import Interleave
from upscore.conv.plan import choose
from upscore.definition import conv_transpose

OURS = {1: upscore.conv_transpose1d, 2: upscore.conv_transpose2d, 3: upscore.conv_transpose3d}
THEIRS = {1: F.conv_transpose1d, 2: F.conv_transpose2d, 3: F.conv_transpose3d}

# (in, out, groups, kernel, stride, padding, output_padding, dilation)
CASES = {
    "tiled": (4, 6, 1, 2, 2, 0, 0, 1),
    "grouped": (4, 6, 2, 4, 2, 1, 0, 1),
    "fsrcnn": (4, 1, 1, 9, 3, 4, 2, 1),
    "dilated": (4, 2, 2, 3, 1, 1, 0, 2),
    "gaps": (4, 3, 1, 2, 3, 0, 0, 1),
    "multiplied": (4, 8, 4, 5, 3, 0, 2, 1),
    "depthwise": (3, 3, 3, 4, 2, 1, 0, 1),
    "depthwise odd": (3, 3, 3, 5, 3, 1, 1, 1),
    "depthwise gaps": (3, 3, 3, 2, 4, 0, 3, 1),
    "depthwise stride 1": (3, 3, 3, 3, 1, 2, 0, 1),
    "beyond the kernel": (3, 3, 3, 3, 2, 4, 0, 1),
    "beyond the kernel, dense": (3, 2, 1, 3, 2, 4, 0, 1),
}


def _arrays(name, dim, dtype=torch.float64, rank_one=False):
    inputs, outputs, groups, kernel, *geometry = CASES[name]
    stride, padding, output_padding, dilation = geometry
    generator = torch.Generator().manual_seed(len(name) + dim)
    size = (7, 6, 5)[:dim] if padding < kernel else (9, 8, 7)[:dim]
    x = torch.randn(2, inputs, *size, generator=generator, dtype=torch.float64)
    weight = torch.randn(inputs, outputs // groups, *(kernel,) * dim, generator=generator)
    weight = weight.double()
    if rank_one:
        weight = weight[..., :1] * torch.randn(inputs, 1, *(1,) * (dim - 1), kernel).double()
    bias = torch.randn(outputs, generator=generator, dtype=torch.float64)
    arguments = (stride, padding, output_padding, groups, dilation)
    return [t.to(dtype) for t in (x, weight, bias)], arguments


def _definition(arrays, arguments):
    stride, padding, output_padding, groups, dilation = arguments
    return conv_transpose(
        *(a.double().numpy() for a in arrays),
        stride=stride,
        padding=padding,
        output_padding=output_padding,
        groups=groups,
        dilation=dilation,
    )


def _serving(arrays, arguments):
    case = describe(*arrays, *arguments)
    return [name for name, backend in BACKENDS.items() if backend.why_not(case) is None]


@pytest.mark.parametrize("dim", [1, 2, 3])
@pytest.mark.parametrize("name", CASES)
def test_every_backend_equals_the_definition(name, dim):
    rank_one = name.startswith("depthwise") and dim > 1
    arrays, arguments = _arrays(name, dim, rank_one=rank_one)
    expected = _definition(arrays, arguments)
    np.testing.assert_allclose(THEIRS[dim](*arrays, *arguments), expected, rtol=0, atol=1e-12)
    serving = _serving(arrays, arguments)
    assert "torch" in serving
    assert ("separable" in serving) == rank_one
    assert ("depthwise" in serving) == (arguments[3] == 3)
    for backend in ["auto", *serving]:
        y = OURS[dim](*arrays, *arguments, backend=backend)
        np.testing.assert_allclose(y, expected, rtol=0, atol=1e-12, err_msg=backend)
        assert y.is_contiguous()


@pytest.mark.parametrize("dtype", [torch.float32, torch.bfloat16, torch.float16])
@pytest.mark.parametrize("name", ["tiled", "grouped", "fsrcnn", "depthwise", "depthwise odd"])
def test_no_backend_is_less_exact_than_pytorch(name, dtype):
    arrays, arguments = _arrays(name, 2, dtype, rank_one=name == "depthwise")
    truth = _definition(arrays, arguments)
    theirs = np.abs(THEIRS[2](*arrays, *arguments).double().numpy() - truth).max()
    for backend in _serving(arrays, arguments):
        y = OURS[2](*arrays, *arguments, backend=backend)
        assert y.dtype == dtype
        allowed = theirs + torch.finfo(dtype).eps * np.abs(truth).max()
        assert np.abs(y.double().numpy() - truth).max() <= allowed, backend


@pytest.mark.parametrize("name", ["tiled", "grouped", "fsrcnn", "depthwise", "depthwise odd"])
def test_the_output_has_the_layout_of_the_input(name):
    (x, weight, bias), arguments = _arrays(name, 2)
    expected = _definition((x, weight, bias), arguments)
    x = x.contiguous(memory_format=torch.channels_last)
    for backend in ["auto", *_serving((x, weight, bias), arguments)]:
        y = OURS[2](x, weight, bias, *arguments, backend=backend)
        assert y.is_contiguous(memory_format=torch.channels_last), backend
        np.testing.assert_allclose(y, expected, rtol=0, atol=1e-12)


@pytest.mark.parametrize("name", CASES)
@pytest.mark.parametrize("dim", [1, 2, 3])
def test_gradients_equal_pytorchs(name, dim):
    arrays, arguments = _arrays(name, dim, rank_one=name == "depthwise" and dim > 1)
    for array in arrays:
        array.requires_grad_()
    y = THEIRS[dim](*arrays, *arguments)
    towards = torch.randn(y.shape, dtype=y.dtype).transpose(-1, 0).contiguous().transpose(-1, 0)
    expected = torch.autograd.grad(y, arrays, towards)
    for backend in _serving([a.detach() for a in arrays], arguments):
        y = OURS[dim](*arrays, *arguments, backend=backend)
        for ours, theirs in zip(torch.autograd.grad(y, arrays, towards), expected, strict=True):
            torch.testing.assert_close(ours, theirs, rtol=0, atol=1e-11, msg=backend)


@pytest.mark.parametrize("backend", ["torch", "subkernels", "matmul", "depthwise"])
def test_first_and_second_derivatives(backend):
    groups = 2 if backend == "depthwise" else 1
    x = torch.randn(1, 2, 3, 2, dtype=torch.float64, requires_grad=True)
    weight = torch.randn(2, 1, 3, 3, dtype=torch.float64, requires_grad=True)
    bias = torch.randn(groups, dtype=torch.float64, requires_grad=True)

    def run(x, weight, bias):
        return upscore.conv_transpose2d(
            x, weight, bias, stride=2, padding=1, groups=groups, backend=backend
        )

    assert torch.autograd.gradcheck(run, (x, weight, bias))
    assert torch.autograd.gradgradcheck(run, (x, weight, bias))


@pytest.mark.parametrize("dim", [1, 2, 3])
@pytest.mark.parametrize("name", [name for name in CASES if "dilated" not in name])
def test_large_outputs_are_interleaved_in_one_pass(name, dim, monkeypatch):
    monkeypatch.setattr(composed, "INTERLEAVE_BY_KERNEL", 0)
    arrays, arguments = _arrays(name, dim)
    for array in arrays:
        array.requires_grad_()
    y = THEIRS[dim](*arrays, *arguments)
    towards = torch.randn(y.shape, dtype=y.dtype)
    expected = torch.autograd.grad(y, arrays, towards)
    for backend in ("subkernels", "matmul"):
        if BACKENDS[backend].why_not(describe(*arrays, *arguments)) is None:
            ours = OURS[dim](*arrays, *arguments, backend=backend)
            torch.testing.assert_close(ours, y, rtol=0, atol=1e-12)
            found = torch.autograd.grad(ours, arrays, towards)
            torch.testing.assert_close(found, expected, rtol=0, atol=1e-11)


@pytest.mark.parametrize("dtype", [torch.bfloat16, torch.float32])
def test_interleaving_is_differentiable_twice_and_keeps_every_bit(dtype):
    blocks = torch.randn(2, 3 * 6, 4, 5).to(dtype)
    geometry = ((2, 3), (1, 2), (6, 11))
    whole = blocks.reshape(2, 3, 2, 3, 4, 5).permute(0, 1, 4, 2, 5, 3).reshape(2, 3, 8, 15)
    torch.testing.assert_close(
        Interleave.apply(blocks, *geometry), whole[:, :, 1:7, 2:13], rtol=0, atol=0
    )
    blocks = torch.randn(1, 6, 2, 2, dtype=torch.float64, requires_grad=True)

    def run(blocks):
        return Interleave.apply(blocks, (2, 3), (1, 2), (3, 4)) ** 2

    assert torch.autograd.gradcheck(run, (blocks,))
    assert torch.autograd.gradgradcheck(run, (blocks,))


@settings(max_examples=40, deadline=None)
@given(st.data())
def test_any_geometry(data):
    def pair(least, most):
        return tuple(data.draw(st.integers(least, most)) for _ in range(2))

    kernel, stride, size = pair(1, 7), pair(1, 5), pair(1, 6)
    channels = data.draw(st.integers(1, 3))
    full = [(n - 1) * s + k for n, s, k in zip(size, stride, kernel, strict=True)]
    padding = tuple(data.draw(st.integers(0, (f - 1) // 2)) for f in full)
    output_padding = tuple(data.draw(st.integers(0, s - 1)) for s in stride)
    rng = np.random.default_rng(data.draw(st.integers(0, 99)))
    x = rng.integers(-9, 9, (2, channels, *size)).astype(np.float64)
    weight = rng.integers(-9, 9, (channels, 1, *kernel)).astype(np.float64)
    arguments = (stride, padding, output_padding, channels)
    expected = upscore.conv_transpose2d(x, weight, None, *arguments, backend="definition")
    for backend in ("depthwise", "subkernels"):
        y = upscore.conv_transpose2d(x, weight, None, *arguments, backend=backend)
        np.testing.assert_array_equal(y, expected)
    outer = weight[..., :1] * rng.integers(1, 9, (channels, 1, 1, kernel[1]))
    expected = upscore.conv_transpose2d(x, outer, None, *arguments, backend="definition")
    y = upscore.conv_transpose2d(x, outer, None, *arguments, backend="separable")
    np.testing.assert_allclose(y, expected, rtol=0, atol=1e-10)


def test_a_chunk_ends_inside_the_row():
    (x, weight, bias), arguments = _arrays("depthwise odd", 2, rank_one=True)
    x = torch.randn(1, 3, 4, 700, dtype=torch.float64)
    expected = _definition((x, weight, bias), arguments)
    for backend in ("depthwise", "separable"):
        y = OURS[2](x, weight, bias, *arguments, backend=backend)
        np.testing.assert_allclose(y, expected, rtol=0, atol=1e-12)


@pytest.mark.parametrize("backend", ["auto", "depthwise", "separable"])
def test_every_output_is_written(backend, monkeypatch):
    real = np.empty

    def poisoned(shape, dtype=float, *rest, **options):
        array = real(shape, dtype, *rest, **options)
        array.fill(np.nan if array.dtype.kind == "f" else 0x7FC0 % 2 ** (8 * array.itemsize))
        return array

    monkeypatch.setattr(np, "empty", poisoned)
    arrays, arguments = _arrays("depthwise odd", 2, rank_one=True)
    for array in arrays:
        array.requires_grad_()
    y = OURS[2](*arrays, *arguments, backend=backend)
    y.sum().backward()
    assert all(torch.isfinite(t).all() for t in (y, arrays[0].grad, arrays[1].grad))


@pytest.mark.parametrize("backend", ["torch", "depthwise", "separable", "definition"])
@pytest.mark.parametrize("value", [np.nan, np.inf])
def test_a_number_that_is_none_stays_within_its_kernel(backend, value):
    x, weight = np.zeros((1, 1, 5, 5)), np.ones((1, 1, 3, 3))
    x[0, 0, 2, 2] = value
    y = upscore.conv_transpose2d(x, weight, stride=2, backend=backend)
    expected = np.zeros((11, 11))
    expected[4:7, 4:7] = value
    np.testing.assert_array_equal(y[0, 0], expected)


# --- Arrays of every kind ------------------------------------------------------------------------


def test_strided_reversed_read_only_and_foreign_arrays():
    (x, weight, bias), arguments = _arrays("depthwise", 2)
    expected = _definition((x, weight, bias), arguments)
    x, weight, bias = x.numpy(), weight.numpy(), bias.numpy()
    wide = np.zeros((*x.shape[:3], 2 * x.shape[3]))
    wide[..., ::2] = x
    frozen = x.copy()
    frozen.flags.writeable = False
    variants = (wide[..., ::2], x[:, :, ::-1].copy()[:, :, ::-1], frozen, np.asfortranarray(x))
    for variant in (*variants, x.astype(">f8")):
        for backend in ("auto", "torch", "depthwise", "definition"):
            y = upscore.conv_transpose2d(variant, weight, bias, *arguments, backend=backend)
            assert isinstance(y, np.ndarray)
            np.testing.assert_allclose(y, expected, rtol=0, atol=1e-12)
    tensor = torch.from_numpy(x).transpose(2, 3).contiguous().transpose(2, 3)
    y = upscore.conv_transpose2d(
        tensor, torch.from_numpy(weight).flip(0).flip(0), torch.from_numpy(bias), *arguments
    )
    np.testing.assert_allclose(y, expected, rtol=0, atol=1e-12)


def test_integers_are_exact_in_numpy_and_refused_in_torch():
    x, weight = np.full((1, 1, 3), 2**40), np.array([[[1, 3]]])
    y = upscore.conv_transpose1d(x, weight, stride=2)
    assert y.dtype == np.int64
    assert y.ravel().tolist() == [2**40, 3 * 2**40] * 3
    with pytest.raises(ValueError, match=r"floating point, and the arrays are int64"):
        upscore.conv_transpose1d(torch.from_numpy(x), torch.from_numpy(weight))


@pytest.mark.parametrize("backend", ["auto", "torch", "subkernels", "depthwise"])
def test_an_empty_batch(backend):
    x = torch.zeros(0, 3, 4, 4, requires_grad=True)
    weight = torch.randn(3, 1, 4, 4, requires_grad=True)
    y = upscore.conv_transpose2d(x, weight, stride=2, padding=1, groups=3, backend=backend)
    assert y.shape == (0, 3, 8, 8)
    y.sum().backward()
    assert not weight.grad.any()
    array = upscore.conv_transpose2d(np.zeros((0, 3, 4, 4)), np.ones((3, 2, 2, 2)), stride=2)
    assert array.shape == (0, 2, 8, 8)


def test_without_a_batch():
    arrays, arguments = _arrays("grouped", 2)
    x, weight, bias = arrays
    y = upscore.conv_transpose2d(x[0], weight, bias, *arguments)
    torch.testing.assert_close(y, F.conv_transpose2d(x[0], weight, bias, *arguments))


def test_numpy_alone_imports_no_torch():
    code = (
        "import sys, numpy as np, upscore;"
        "x = np.ones((1, 2, 5, 5)); w = np.ones((2, 1, 4, 4));"
        "y = upscore.conv_transpose2d(x, w, stride=2, groups=2);"
        "z = upscore.conv_transpose2d(x, np.ones((2, 3, 4, 4)), stride=2);"
        "assert y.shape == (1, 2, 12, 12) and z.max() == 8, (y.shape, z.max());"
        "assert 'torch' not in sys.modules"
    )
    subprocess.run([sys.executable, "-c", code], check=True)


# --- PyTorch's machinery -------------------------------------------------------------------------


# opcheck itself looks at the .grad of tensors that are not leaves.
@pytest.mark.filterwarnings("ignore:The .grad attribute of a Tensor that is not a leaf")
@pytest.mark.parametrize("separable", [False, True])
def test_the_operator_is_well_registered(separable):
    from upscore.conv import torch_op

    x = torch.randn(2, 3, 4, 5, requires_grad=True)
    weight = torch.ones(3, 1, 4, 4, requires_grad=True)
    bias = torch.randn(3, requires_grad=True)
    geometry = ((8, 10), (2, 2), (1, 1))
    torch.library.opcheck(torch_op.forward, (x, weight, bias, *geometry, separable))
    y = torch.randn(2, 3, 8, 10)
    x, weight = x.detach(), weight.detach()
    torch.library.opcheck(torch_op.input_gradient, (y, x, weight, *geometry[1:], separable))
    torch.library.opcheck(torch_op.weight_gradient, (y, x, weight, *geometry[1:]))


@pytest.mark.parametrize("backend", ["torch", "subkernels", "matmul", "depthwise", "separable"])
def test_autocast_makes_bfloat16(backend):
    groups = 2 if backend in ("depthwise", "separable") else 1
    x = torch.randn(1, 2, 4, 4, requires_grad=True)
    weight = torch.ones(2, 1, 4, 4, requires_grad=True)
    with torch.autocast("cpu", torch.bfloat16):
        y = upscore.conv_transpose2d(x, weight, stride=2, groups=groups, backend=backend)
        theirs = F.conv_transpose2d(x, weight, stride=2, groups=groups)
    assert y.dtype == theirs.dtype == torch.bfloat16
    torch.testing.assert_close(y, theirs, rtol=2e-2, atol=2e-2)
    y.float().sum().backward()
    assert x.grad.dtype == weight.grad.dtype == torch.float32


def test_a_mode_sees_the_call_itself():
    seen = []

    class Watch(torch.overrides.TorchFunctionMode):
        def __torch_function__(self, function, types, args=(), kwargs=None):
            seen.append((function, args[3:], kwargs))
            return function(*args, **kwargs or {})

    x, weight = torch.randn(2, 8, 8), torch.randn(2, 1, 3, 3)
    expected = upscore.conv_transpose2d(x, weight, None, 2, 1, groups=2)
    with Watch():
        y = upscore.conv_transpose2d(x, weight, None, 2, 1, groups=2)
        array = upscore.conv_transpose2d(x.numpy(), weight.numpy(), None, 2, 1, groups=2)
    torch.testing.assert_close(y, expected, rtol=0, atol=0)
    np.testing.assert_allclose(array, expected, rtol=0, atol=1e-5)
    options = {"output_size": None, "backend": "auto"}
    ours = [call for call in seen if call[0] is upscore.conv_transpose2d]
    assert ours == [(upscore.conv_transpose2d, (2, 1, 0, 2, 1), options)]


def test_a_subclass_of_tensors_comes_back():
    class Mine(torch.Tensor):
        pass

    x, weight = torch.randn(1, 2, 8, 8), torch.randn(2, 1, 4, 4)
    y = upscore.conv_transpose2d(x.as_subclass(Mine), weight, stride=2, groups=2)
    assert type(y) is Mine
    torch.testing.assert_close(
        y.as_subclass(torch.Tensor), F.conv_transpose2d(x, weight, stride=2, groups=2)
    )


@pytest.mark.parametrize("array", [torch.from_numpy, np.asarray])
def test_filters_are_looked_at_once_a_call(array, monkeypatch):
    looked = []
    real = outer_product._remembered
    monkeypatch.setattr(outer_product, "_remembered", lambda *key: looked.append(key) or real(*key))
    x, weight = np.ones((1, 2, 128, 128), "f"), np.ones((2, 1, 4, 4), "f")
    case = describe(array(x), array(weight), stride=2, groups=2)
    assert plan(case).backend == "separable"
    looked.clear()
    upscore.conv_transpose2d(array(x), array(weight), stride=2, groups=2)
    assert len(looked) == 1


# --- Planning and bad input ----------------------------------------------------------------------


def test_a_plan_names_the_backend_and_why_not_the_others():
    x, weight = torch.zeros(1, 2, 128, 128), torch.ones(2, 1, 4, 4)
    made = plan(describe(x, weight, stride=2, groups=2))
    assert made.backend == "separable"
    assert set(made.why_not) == set(BACKENDS) - {"separable"}
    assert made.why_not["matmul"] == "one matrix product is one group, and there are 2"
    assert made.why_not["torch"] == "it could, but separable comes first"
    assert str(made).startswith("separable: ")


def test_a_backend_asked_for_works_or_raises():
    x, weight = torch.zeros(1, 2, 8, 8), torch.randn(2, 1, 4, 4)
    with pytest.raises(ValueError, match="'separable' cannot serve this: the filters are not"):
        upscore.conv_transpose2d(x, weight, groups=2, backend="separable")
    with pytest.raises(ValueError, match=r"'matmul' cannot serve this: .* there are 2"):
        upscore.conv_transpose2d(x, weight, groups=2, backend="matmul")
    with pytest.raises(ValueError, match="backend must be auto, torch, subkernels"):
        upscore.conv_transpose2d(x, weight, groups=2, backend="fast")
    with pytest.raises(
        ValueError, match=r"no backend can serve(.|\n)*definition: the definition is"
    ):
        choose(describe(x.int(), weight.int(), groups=2))


X, W = torch.zeros(1, 2, 5, 5), torch.zeros(2, 3, 4, 4)


@pytest.mark.parametrize(
    ("arguments", "options", "error", "message"),
    [
        (([1.0], W), {}, TypeError, "input must be a NumPy array or a torch tensor, not list"),
        ((X.numpy(), W), {}, TypeError, "input is of numpy and weight of torch"),
        ((X, W.double()), {}, TypeError, "input is torch.float32 and weight torch.float64"),
        ((X, W.to("meta")), {}, TypeError, "input is on cpu and weight on meta"),
        ((X, W[0]), {}, ValueError, "weight of a 2-D transposed convolution must have 4 axes"),
        ((X[0, 0], W), {}, ValueError, "input must have 4 axes"),
        ((X[:, :1], W), {}, ValueError, "input has 1 channels and weight takes 2"),
        ((X[..., :0], W), {}, ValueError, "size_in must be at least 1, not 0"),
        ((X, W, torch.zeros(2)), {}, ValueError, "bias must hold 3 numbers"),
        ((X, W[:, :0]), {}, ValueError, "makes no output channels"),
        ((X, W), {"groups": 3}, ValueError, "2 input channels cannot be split into 3 groups"),
        ((X, W), {"groups": 0}, ValueError, "groups must be at least 1, not 0"),
        ((X, W), {"stride": 0}, ValueError, "stride must be at least 1, not 0"),
        ((X, W), {"stride": (2, 2, 2)}, ValueError, "stride must be one number or 2"),
        ((X, W), {"stride": 1.5}, TypeError, "stride must be a whole number, not 1.5"),
        ((X, W), {"padding": -1}, ValueError, "padding must be at least 0, not -1"),
        ((X, W), {"padding": 4}, ValueError, "leaves nothing"),
        ((X, W), {"output_padding": 1}, ValueError, "output_padding must be below the stride"),
        ((X, W), {"stride": 2, "output_size": 14}, ValueError, "possible sizes are 12 to 13"),
    ],
)
def test_bad_input_says_what_is_possible(arguments, options, error, message):
    with pytest.raises(error, match=message):
        upscore.conv_transpose2d(*arguments, **options)


@pytest.mark.parametrize("wrong", [2.0, (2.0, 2.0), np.array([2, 2]), [[2], [2]]])
def test_bad_input_is_refused_after_its_equal_was_served(wrong):
    for stride in (2, (2, 2)):
        upscore.conv_transpose2d(X, W, stride=stride)
    with pytest.raises(TypeError, match="stride must be a whole number"):
        upscore.conv_transpose2d(X, W, stride=wrong)


def test_output_size_is_that_of_the_layer():
    layer = torch.nn.ConvTranspose2d(2, 3, 4, stride=(2, 3), padding=1)
    x = torch.randn(1, 2, 5, 5)
    for size in ([10, 15], [11, 14], [1, 3, 10, 14]):
        y = upscore.conv_transpose2d(
            x, layer.weight, layer.bias, (2, 3), 1, output_size=tuple(size)
        )
        torch.testing.assert_close(y, layer(x, output_size=size))
