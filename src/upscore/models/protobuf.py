"""The wire format of protocol buffers, in which ONNX graphs are written; needs no package."""

from collections.abc import Iterator

from upscore.errors import ArgumentError

_VARINT, _FIXED64, _BYTES, _FIXED32 = 0, 1, 2, 5


def fields_of(message: memoryview) -> Iterator[tuple[int, memoryview | int]]:
    """The field numbers and values of a message; IndexError where it is cut short."""
    at = 0
    while at < len(message):
        tag, at = _varint(message, at)
        number, wire = tag >> 3, tag & 7
        if not 0 < tag < 1 << 32:  # parsers disagree about longer ones
            raise ArgumentError(f"it is no ONNX graph: tag {tag}")
        if wire == _VARINT:
            value, at = _varint(message, at)
            yield number, value
            continue
        if wire == _BYTES:
            size, at = _varint(message, at)
        elif wire in (_FIXED64, _FIXED32):
            size = 8 if wire == _FIXED64 else 4
        else:
            raise ArgumentError(f"it is no ONNX graph: wire type {wire}")
        if at + size > len(message):
            raise ArgumentError("it is no ONNX graph: cut short")
        yield number, message[at : at + size]
        at += size


def message_in(value: memoryview | int) -> memoryview:
    """The value of a field that holds a message, text or bytes."""
    if isinstance(value, int):
        raise ArgumentError("it is no ONNX graph: a number where a message was expected")
    return value


def field(number: int, value: bytes | memoryview | int) -> bytes:
    """Write a field: a number, or a message, text or bytes.

    >>> field(1, 300), field(2, b"hi")
    (b'\\x08\\xac\\x02', b'\\x12\\x02hi')
    """
    if isinstance(value, int):
        return _number(number << 3 | _VARINT) + _number(value)
    return _number(number << 3 | _BYTES) + _number(len(value)) + value


def _varint(message: memoryview, at: int) -> tuple[int, int]:
    """A number of seven bits a byte, and the place after it."""
    value = 0
    for shift in range(0, 70, 7):
        byte = message[at]
        at += 1
        value |= (byte & 0x7F) << shift
        if byte < 0x80:
            return value, at
    raise ArgumentError("it is no ONNX graph: a number of more than 64 bits")


def _number(value: int) -> bytes:
    """A number in seven bits a byte, the lowest first."""
    parts = bytearray()
    while value > 0x7F:
        parts.append(value & 0x7F | 0x80)
        value >>= 7
    return bytes([*parts, value])
