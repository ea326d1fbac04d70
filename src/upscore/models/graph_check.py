"""Check that an ONNX graph reads its tensors from one safetensors file and nowhere else.

A runtime opens whatever file a graph names. So before one sees a graph of unknown origin, every
tensor kept outside it is looked at here: the wire format of protocol buffers is walked through the
messages in which onnx.proto allows tensors. Needs no package.
"""

from collections.abc import Iterator
from pathlib import Path

from upscore.errors import ArgumentError
from upscore.models.protobuf import fields_of, message_in

# Field numbers of onnx.proto (https://github.com/onnx/onnx/blob/main/onnx/onnx.proto): in which
# message, which fields hold messages that may hold tensors.
_INSIDE = {
    "Model": {7: "Graph", 25: "Function"},
    "Graph": {1: "Node", 5: "Tensor"},
    "Function": {7: "Node", 11: "Attribute"},
    "Node": {5: "Attribute"},
    "Attribute": {5: "Tensor", 6: "Graph", 10: "Tensor", 11: "Graph"},
}
# Training graphs and sparse tensors: never written by upscore, so not looked into but refused.
_REFUSED = {"Model": {20}, "Graph": {15}, "Attribute": {22, 23}}
_EXTERNAL_DATA, _DATA_LOCATION = 13, 14  # of a Tensor
_KEY, _VALUE = 1, 2  # of an entry of its external data
_DEEPEST = 32  # graphs within graphs: a longer chain is no network


def check_external_data(graph: bytes, weights: Path) -> None:
    """Raise ArgumentError unless all external tensors of `graph` lie within the file `weights`."""
    size = weights.stat().st_size
    try:
        for entries in _tensors(memoryview(graph), "Model", 0):
            if not entries:
                continue
            if entries.keys() - {"location", "offset", "length"} or "location" not in entries:
                raise ArgumentError(f"external data with the entries {sorted(entries)}")
            if entries["location"] != weights.name:
                raise ArgumentError(
                    f"it reads {entries['location'][:80]!r}, and may only read {weights.name}"
                )
            offset, length = (entries.get(key, "") for key in ("offset", "length"))
            if not (offset.isdecimal() and length.isdecimal() and len(offset + length) < 32):
                raise ArgumentError(f"external data at offset {offset!r} of length {length!r}")
            if int(offset) + int(length) > size:
                raise ArgumentError(
                    f"it reads bytes {offset} to {int(offset) + int(length)} of {weights.name}, "
                    f"which has {size}"
                )
    except (IndexError, UnicodeDecodeError) as error:
        raise ArgumentError("it is no ONNX graph: cut short or not a protocol buffer") from error


def _tensors(message: memoryview, of: str, depth: int) -> Iterator[dict[str, str]]:
    """The entries of external data of every tensor in a message, none for those kept inside."""
    if depth > _DEEPEST:
        raise ArgumentError("its graphs are nested too deeply")
    if of == "Tensor":
        yield _external(message)
        return
    for number, value in fields_of(message):
        if number in _REFUSED.get(of, ()):
            raise ArgumentError(f"field {number} of a {of} is not allowed")
        inside = _INSIDE[of].get(number)
        if inside is not None:
            yield from _tensors(message_in(value), inside, depth + 1)


def _external(tensor: memoryview) -> dict[str, str]:
    """The key-value entries that say where a tensor is kept; empty if within the graph."""
    entries: dict[str, str] = {}
    outside = False
    for number, value in fields_of(tensor):
        if number == _EXTERNAL_DATA:
            pair = {n: bytes(message_in(v)).decode() for n, v in fields_of(message_in(value))}
            key = pair.get(_KEY, "")
            if key in entries:
                raise ArgumentError(f"external data with two entries {key!r}")
            entries[key] = pair.get(_VALUE, "")
        elif number == _DATA_LOCATION:
            outside = value != 0
    if outside and not entries:
        raise ArgumentError("a tensor kept outside that does not say where")
    return entries
