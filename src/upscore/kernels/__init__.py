"""What all compiled kernels share: how they are compiled, kept and started; vectors; exp.

A launcher names its kernel (`launch.Kernel`) and shares its tasks among threads (`threads.share`).
`machine_code` finds on disk what an earlier process compiled; `compile` asks Numba for the rest.
Only `compile`, `simd` and `bfloat16` import Numba, and with them `exp` and the files of kernels: a
process that finds its machine code never does.
"""

from importlib.util import find_spec

LANES = 16  # numbers in a vector: one register of AVX-512, two of AVX2, four of NEON
CACHE_LINE = 64  # bytes

# Whether kernels can be compiled: asked at every call, and looking takes longer than many a kernel.
NUMBA_IS_INSTALLED = find_spec("numba") is not None
