"""The layers against PyTorch's: constructor, parameters, values, compilation, export."""

import copy
import io
import pickle

import numpy as np
import onnxruntime
import pytest
import torch
import torch.nn.functional as F

from upscore import nn
from upscore.filters import bilinear_weight

PAIRS = [
    (nn.ConvTranspose1d, torch.nn.ConvTranspose1d, (7,)),
    (nn.ConvTranspose2d, torch.nn.ConvTranspose2d, (7, 5)),
    (nn.ConvTranspose3d, torch.nn.ConvTranspose3d, (4, 3, 5)),
]


@pytest.mark.parametrize(("ours", "theirs", "size"), PAIRS)
@pytest.mark.parametrize("bias", [True, False])
def test_drop_in(ours, theirs, size, bias):
    arguments = (4, 6, 4, 2, 1)
    options = {"output_padding": 1, "groups": 2, "bias": bias, "dilation": 1}
    torch.manual_seed(3)
    layer = ours(*arguments, **options)
    torch.manual_seed(3)
    other = theirs(*arguments, **options)
    assert isinstance(layer, theirs)
    assert list(layer.state_dict()) == list(other.state_dict())
    for mine, yours in zip(layer.parameters(), other.parameters(), strict=True):
        assert torch.equal(mine, yours)
    other.load_state_dict(layer.state_dict())
    x = torch.randn(2, 4, *size)
    torch.testing.assert_close(layer(x), other(x))
    torch.testing.assert_close(layer(x[0]), other(x[0]))
    wanted = [2 * n for n in size]
    torch.testing.assert_close(layer(x, output_size=wanted), other(x, output_size=wanted))
    for twin in (copy.deepcopy(layer), pickle.loads(pickle.dumps(layer))):
        assert torch.equal(twin(x), layer(x))


@pytest.mark.parametrize("groups", [1, 3])
@pytest.mark.parametrize("factor", [2, 3, 8])
def test_bilinear_start_interpolates(groups, factor):
    kernel = 2 * factor - factor % 2
    layer = nn.ConvTranspose2d(
        3, 3, kernel, stride=factor, padding=factor // 2, groups=groups, init="bilinear"
    )
    weight = bilinear_weight(3, factor, groups=groups).astype(np.float32)
    np.testing.assert_array_equal(layer.weight.detach(), weight)
    assert not layer.bias.any()
    x = torch.randn(1, 3, 6, 7)
    expected = F.interpolate(x, scale_factor=factor, mode="bilinear")
    inner = (..., slice(factor, -factor), slice(factor, -factor))
    torch.testing.assert_close(layer(x)[inner], expected[inner])


def test_bilinear_start_needs_its_kernel():
    with pytest.raises(ValueError, match=r"stride \(2, 2\) needs kernel \(4, 4\)"):
        nn.ConvTranspose2d(3, 3, 3, stride=2, init="bilinear")
    with pytest.raises(ValueError, match="3 inputs and 2 outputs"):
        nn.ConvTranspose2d(3, 2, 4, stride=2, init="bilinear")
    with pytest.raises(ValueError, match="init must be None"):
        nn.ConvTranspose2d(3, 3, 4, stride=2, init="nearest")


def test_training_moves_the_weight_and_the_backend():
    layer = nn.ConvTranspose2d(2, 2, 4, stride=2, padding=1, groups=2, init="bilinear")
    other = torch.nn.ConvTranspose2d(2, 2, 4, stride=2, padding=1, groups=2)
    other.load_state_dict(layer.state_dict())
    x, target = torch.randn(1, 2, 5, 6), torch.randn(1, 2, 10, 12)
    for model in (layer, other):
        optimizer = torch.optim.SGD(model.parameters(), lr=0.1)
        for _ in range(3):
            optimizer.zero_grad()
            F.mse_loss(model(x), target).backward()
            optimizer.step()
    torch.testing.assert_close(layer.weight, other.weight)
    torch.testing.assert_close(layer(x), other(x))


@pytest.mark.slow
@pytest.mark.parametrize("backend", ["auto", "subkernels", "separable"])
def test_compiles_without_a_graph_break(backend):
    groups = 1 if backend == "subkernels" else 3
    layer = nn.ConvTranspose2d(
        3, 3, 4, stride=2, padding=1, groups=groups, init="bilinear", backend=backend
    )
    torch._dynamo.reset()
    compiled = torch.compile(layer, fullgraph=True, backend="aot_eager")
    for size in ((5, 6), (7, 9)):
        x = torch.randn(2, 3, *size, requires_grad=True)
        y, expected = compiled(x), layer(x)
        torch.testing.assert_close(y, expected)
        towards = torch.randn_like(expected)
        mine = torch.autograd.grad(y, (x, layer.weight), towards)
        yours = torch.autograd.grad(expected, (x, layer.weight), towards)
        torch.testing.assert_close(mine, yours)


def test_exports_to_onnx_with_explicit_pads():
    layer = nn.ConvTranspose2d(3, 3, 5, stride=3, padding=1, output_padding=1, init="bilinear")
    free = torch.export.Dim.DYNAMIC
    program = torch.onnx.export(
        layer.eval(),
        (torch.randn(2, 3, 8, 6),),
        dynamo=True,
        verbose=False,
        dynamic_shapes={"input": {0: free, 2: free, 3: free}},
    )
    (node,) = (n for n in program.model_proto.graph.node if n.op_type == "ConvTranspose")
    attributes = {a.name: a for a in node.attribute}
    assert list(attributes["pads"].ints) == [1, 1, 1, 1]
    assert list(attributes["output_padding"].ints) == [1, 1]
    assert attributes["auto_pad"].s == b"NOTSET"
    file = io.BytesIO()
    program.save(file)
    session = onnxruntime.InferenceSession(file.getvalue())
    x = torch.randn(1, 3, 5, 9)
    (y,) = session.run(None, {session.get_inputs()[0].name: x.numpy()})
    np.testing.assert_allclose(y, layer(x).detach(), atol=1e-5)


def test_a_kernel_of_this_package_is_not_exported():
    layer = nn.ConvTranspose2d(3, 3, 4, 2, 1, groups=3, backend="depthwise")
    with pytest.raises(Exception, match="must run where upscore is not installed"):
        torch.export.export(layer, (torch.randn(1, 3, 4, 4),))
