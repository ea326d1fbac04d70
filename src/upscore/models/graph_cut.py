"""Cut an ONNX graph at its global poolings, which see the whole photo.

    features (N x C x h x w) -> mean over h and w -> gate, ...

A graph whose poolings are outputs shows what they find in one photo; a graph in which they are
inputs takes what they found elsewhere. Needs no package: the messages of onnx.proto are taken apart
and put together again.
"""

from typing import NamedTuple

from upscore.models.protobuf import field, fields_of, message_in

# Field numbers of onnx.proto: of a Model, a Graph, a Node and a Tensor.
_GRAPH = 7
_NODE, _TENSOR, _INPUT, _OUTPUT = 1, 5, 11, 12
_TAKES, _GIVES, _KIND = 1, 2, 4
_NAME, _RAW = 8, 9
_FLOAT = 1  # of the types of elements

# The rows and columns of N x C x h x w. A normalisation of layers is a mean over other axes.
_SPATIAL = ({2, 3}, {-2, -1})


class Cut(NamedTuple):
    """Two graphs made of one, and the names of the tensors that its global poolings make.

    showing: the graph with these tensors as its only outputs.
    taking: the graph with them as inputs, the nodes that made them gone.
    """

    pools: tuple[str, ...]
    showing: bytes
    taking: bytes


def cut(model: bytes) -> Cut:
    """Cut a graph at its global poolings; without any, `pools` is empty."""
    outside, graph = b"", b""
    for number, value in fields_of(memoryview(model)):
        if number == _GRAPH:  # occurrences of one message are merged by putting them together
            graph += message_in(value)
        else:
            outside += field(number, value)
    parts = list(fields_of(memoryview(graph)))
    axes = dict(_axes_of(message_in(value)) for number, value in parts if number == _TENSOR)
    pools, rest = [], []
    for number, value in parts:
        pooled = _pooled(message_in(value), axes) if number == _NODE else None
        if pooled is None:
            rest.append(field(number, value))
        else:
            pools.append(pooled)
    shown = b"".join(field(n, v) for n, v in parts if n != _OUTPUT)
    showing = shown + b"".join(field(_OUTPUT, _tensor_of_floats(name)) for name in pools)
    rest += [field(_INPUT, _tensor_of_floats(name)) for name in pools]
    taking = b"".join(rest)
    return Cut(tuple(pools), outside + field(_GRAPH, showing), outside + field(_GRAPH, taking))


def _pooled(node: memoryview, axes: dict[str, set[int]]) -> str | None:
    """The name of what a node makes if it is a mean over all rows and columns."""
    takes, gives, kind = [], "", ""
    for number, value in fields_of(node):
        if number == _TAKES:
            takes.append(_text(value))
        elif number == _GIVES:
            gives = _text(value)
        elif number == _KIND:
            kind = _text(value)
    spatial = kind == "ReduceMean" and len(takes) == 2 and axes.get(takes[1]) in _SPATIAL
    return gives if spatial or kind == "GlobalAveragePool" else None


def _axes_of(tensor: memoryview) -> tuple[str, set[int]]:
    """A tensor's name, and its values if it may hold the two axes of a mean."""
    name, values = "", set()
    for number, value in fields_of(tensor):
        if number == _NAME:
            name = _text(value)
        elif number == _RAW and len(message_in(value)) == 2 * 8:
            raw = bytes(message_in(value))
            values = {int.from_bytes(raw[i : i + 8], "little", signed=True) for i in (0, 8)}
    return name, values


def _tensor_of_floats(name: str) -> bytes:
    """The declaration of a tensor of any shape as an input or output."""
    kind = field(1, field(1, _FLOAT))
    return field(1, name.encode()) + field(2, kind)


def _text(value: memoryview | int) -> str:
    return bytes(message_in(value)).decode()
