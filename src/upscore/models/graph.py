"""The network as an ONNX graph without weights, beside the safetensors file that holds them.

    photos (N x H x W x B) -> normalisation -> network -> scores (N x C x H/s x W/s)

Photos are uint8 of RGB, or float32 of as many bands as the spec has ranges. H and W are multiples
of 32, N is any number. The network is traced at two sizes: equal graphs show that nothing in them
depends on the size. (With sizes as symbols, tracing takes minutes.) Every parameter keeps its name
and becomes external data: a place in the safetensors file.
"""

import json
import warnings
from dataclasses import replace
from functools import lru_cache
from typing import Any

import torch
from torch import Tensor, nn

from upscore.errors import MissingPackageError
from upscore.models.architectures import build_for
from upscore.models.normalisation import Normalise
from upscore.models.spec import COARSEST, Spec

_SIZES = ((1, 2 * COARSEST, 3 * COARSEST), (2, 4 * COARSEST, 2 * COARSEST))  # N, H, W
_PREFIX = "network."  # what `FromPhotos` puts before the names of the network's parameters


class FromPhotos(nn.Module):
    """A network on photos as they are decoded: N x H x W x B, normalised inside."""

    def __init__(self, network: nn.Module, spec: Spec) -> None:
        super().__init__()
        self.network, self.normalise, self.bands = network, Normalise(spec), spec.bands

    def forward(self, photos: Tensor) -> Tensor:
        scores: Tensor = self.network(self.normalise(photos.permute(0, 3, 1, 2)))
        return scores

    def blank(self, count: int, height: int, width: int) -> Tensor:
        """Photos of zeros, as an example of what it takes."""
        dtype = torch.uint8 if self.bands is None else torch.float32
        return torch.zeros((count, height, width, self.bands or 3), dtype=dtype)


def graph_of(spec: Spec, weights: bytes, location: str) -> bytes | None:
    """Return the graph of a spec, its tensors external data in a safetensors file.

    weights: the content of that file; the graph casts half-precision tensors to float32.
    location: its name, in the folder of the graph.

    None, with a warning, where the network's graph depends on the photos' size: such a network is
    still a model, for the torch engine.
    """
    import onnx

    traced = _traced(replace(spec, card={}, palette=(), long_side=None, zoom=1.0))
    if traced is None:
        warnings.warn(
            f"no graph is written: that of {spec.architecture} on {spec.encoder} depends on the "
            "size of the photos, so predictions need torch",
            stacklevel=3,
        )
        return None
    model = onnx.load_from_string(traced)
    _refer_to(model, weights, location)
    return bytes(model.SerializeToString(deterministic=True))


# All weights of a network have one trace, which takes seconds: a training run makes it once.
@lru_cache(8)
def _traced(spec: Spec) -> bytes | None:
    """The graph of a network, made from its description alone."""
    return trace(FromPhotos(build_for(spec), spec).eval())


def trace(module: FromPhotos) -> bytes | None:
    """The graph of a network on photos for every size, or None where it depends on the size.

    Its tensors have names, types and shapes, but no content.
    """
    found = {_trace_at(module, size) for size in _SIZES}
    return _folded(found.pop()) if len(found) == 1 else None


def _trace_at(module: FromPhotos, size: tuple[int, int, int]) -> bytes:
    """The graph of a network on photos, with all that speaks of their size or of this code removed.

    Raises MissingPackageError where torch's exporter is not installed.
    """
    model = exported(module, module.blank(*size))
    names = {name for name, _ in module.named_parameters()} | {
        name for name, _ in module.named_buffers() if name.startswith(_PREFIX)
    }
    for tensor in model.graph.initializer:
        if tensor.name in names:
            tensor.ClearField("raw_data")
    for value, dims in ((model.graph.input[0], "NHWB"), (model.graph.output[0], "NChw")):
        shape = value.type.tensor_type.shape.dim
        for dim, name in zip(shape, dims, strict=True):
            if name not in "BC":
                dim.dim_param = name
    return bytes(model.SerializeToString(deterministic=True))


def _folded(traced: bytes) -> bytes:
    """The graph without what is the same for all weights, such as the zeros for a missing bias.

    Runtimes merge a convolution with the normalisation after it only where nothing of that kind
    stands between. Parameters are inputs meanwhile, so that they keep their names.
    """
    import onnx
    from onnx import helper
    from onnxscript import optimizer

    model = onnx.load_from_string(traced)
    tensors = list(model.graph.initializer)
    parameters = [tensor for tensor in tensors if not tensor.HasField("raw_data")]
    del model.graph.initializer[:]
    model.graph.initializer.extend(t for t in tensors if t.HasField("raw_data"))
    model.graph.input.extend(
        helper.make_tensor_value_info(t.name, t.data_type, list(t.dims)) for t in parameters
    )
    model = optimizer.optimize(model)
    del model.graph.input[1:]
    model.graph.initializer.extend(parameters)
    return bytes(_without_notes(model).SerializeToString(deterministic=True))


def exported(module: nn.Module, photos: Tensor) -> Any:
    """Export a module of photos with torch's exporter, as it stands and without debugging text."""
    try:
        import onnxscript  # noqa: F401
    except ModuleNotFoundError:
        raise MissingPackageError(
            "writing a model's graph needs onnxscript: pip install 'upscore[export]'"
        ) from None
    with warnings.catch_warnings(), torch.no_grad():
        warnings.simplefilter("ignore")  # of the exporter, about itself
        program = torch.onnx.export(
            module,
            (photos,),
            dynamo=True,
            optimize=False,
            verbose=False,
            input_names=["photos"],
            output_names=["scores"],
        )
    assert program is not None
    return _without_notes(program.model_proto)


def _without_notes(model: Any) -> Any:
    """The same model, without what its makers noted for debugging."""
    graph = model.graph
    del graph.value_info[:], model.metadata_props[:]
    for item in (*graph.node, *graph.input, *graph.output, *graph.initializer):
        item.ClearField("doc_string")
        del item.metadata_props[:]
    return model


def _refer_to(model: Any, weights: bytes, location: str) -> None:
    """Make a graph's tensors those of the same names in a safetensors file."""
    from onnx import TensorProto, helper

    size = int.from_bytes(weights[:8], "little")
    header = json.loads(weights[8 : 8 + size])
    casts = []
    for tensor in model.graph.initializer:
        entry = header.get(tensor.name.removeprefix(_PREFIX))
        if entry is None:  # a constant of the code, not a parameter
            continue
        first, last = entry["data_offsets"]
        tensor.data_location = TensorProto.EXTERNAL
        place = {"location": location, "offset": 8 + size + first, "length": last - first}
        for key, value in place.items():
            tensor.external_data.add(key=key, value=str(value))
        if entry["dtype"] == "F16":
            name = tensor.name
            tensor.name, tensor.data_type = f"{name}.half", TensorProto.FLOAT16
            casts.append(helper.make_node("Cast", [tensor.name], [name], to=TensorProto.FLOAT))
    nodes = [*casts, *model.graph.node]
    del model.graph.node[:]
    model.graph.node.extend(nodes)
