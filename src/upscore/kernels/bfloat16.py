"""bfloat16 in kernels: NumPy and Numba have no such type, so it travels as its bits, in int16.

(IEEE half precision travels as uint16: see `upscore.arrays` and `upscore.kernels.simd.widen`.)

Kernels work on rows of numbers. They meet bits at both ends: a row that they read is `widened`
first, and one that they write is written in the `room` for it, and then `stored`.
"""

# mypy: disable-error-code="no-untyped-call, untyped-decorator"

from typing import Any

import numpy as np
from numba import types
from numba.extending import overload
from numpy.typing import NDArray

from upscore.errors import UnsupportedError
from upscore.kernels.compile import part

Row = NDArray[Any]


@part()
def _narrow(values: Row, bits: Row) -> None:
    """Round float32 to the bits of bfloat16, half to even."""
    for i in range(len(bits)):
        word = np.float32(values[i]).view(np.uint32)
        odd = (word >> np.uint32(16)) & np.uint32(1)
        rounded = (word + np.uint32(0x7FFF) + odd) >> np.uint32(16)
        bits[i] = rounded if values[i] == values[i] else 0x7FC0


@part()
def _widen(bits: Row, values: Row) -> None:
    """Turn the bits of bfloat16 into float32."""
    for i in range(len(bits)):
        values[i] = np.uint32(np.uint32(bits[i]) << np.uint32(16)).view(np.float32)


def _of_bits(row: Any) -> bool:
    return bool(row.dtype == types.int16)


def widened(row: Row, spare: Row) -> Row:
    """The row's numbers: the row itself, or `spare`, into which bits are widened."""
    raise UnsupportedError("for kernels only")


@overload(widened, strict=False)
def _widened(row: Any, spare: Any) -> Any:
    def widen(row: Any, spare: Any) -> Any:
        _widen(row, spare)
        return spare

    return widen if _of_bits(row) else lambda row, spare: row


def room(row: Row, spare: Row) -> Row:
    """Where to write the row's numbers: the row itself, or `spare` if it is of bits."""
    raise UnsupportedError("for kernels only")


@overload(room, strict=False)
def _room(row: Any, spare: Any) -> Any:
    return (lambda row, spare: spare) if _of_bits(row) else lambda row, spare: row


def stored(values: Row, row: Row) -> None:
    """Round what was written to `spare` into a row of bits."""
    raise UnsupportedError("for kernels only")


@overload(stored, strict=False)
def _stored(values: Any, row: Any) -> Any:
    return (lambda values, row: _narrow(values, row)) if _of_bits(row) else lambda values, row: None
