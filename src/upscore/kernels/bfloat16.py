"""bfloat16 in kernels: NumPy and Numba have no such type, so it travels as its bits, in int16.

(IEEE half precision travels as uint16: see `upscore.arrays` and `upscore.kernels.simd.widen`.)
"""

from typing import Any

import numpy as np
from numpy.typing import NDArray

from upscore.kernels.compile import part


@part()
def narrow(values: NDArray[Any], bits: NDArray[np.int16]) -> None:
    """Round float32 to the bits of bfloat16, half to even."""
    for i in range(len(bits)):
        word = np.float32(values[i]).view(np.uint32)
        odd = (word >> np.uint32(16)) & np.uint32(1)
        rounded = (word + np.uint32(0x7FFF) + odd) >> np.uint32(16)
        bits[i] = rounded if values[i] == values[i] else 0x7FC0


@part()
def widen(bits: NDArray[np.int16], values: NDArray[Any]) -> None:
    """Turn the bits of bfloat16 into float32."""
    for i in range(len(bits)):
        values[i] = np.uint32(np.uint32(bits[i]) << np.uint32(16)).view(np.float32)
