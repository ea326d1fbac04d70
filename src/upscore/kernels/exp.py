"""The exponential and the logarithm for kernels, in float32, without branches.

LLVM vectorises loops over `exp_single`, `log_single` and `log1p_single`; `exp_vector` is for
explicit vectors. The numbers are, but for one row, those of well-known libraries:

    Cephes, single precision (Stephen L. Moshier, 1992): expf.c, exp2f.c
    FreeBSD's msun, derived from Sun's fdlibm (1993): e_logf.c
"""

# mypy: disable-error-code="no-untyped-def, untyped-decorator"

import math

import numpy as np

from upscore.kernels.compile import by_precision, part
from upscore.kernels.simd import exponent, fma, splat, where

f32 = np.float32

LOG2E = f32(math.log2(math.e))
# log(2) in two parts (Cephes): a whole number times the first has no rounding.
LN2_HIGH = f32(0.693359375)
LN2_LOW = f32(-2.12194440e-4)
# Adding it rounds to a whole number, which the lowest bits then hold.
ROUND = f32(1.5 * 2**23)
MANTISSA = np.int32(23)  # bits below a float32's exponent
ONE = np.int32(0x3F800000)  # the bits of 1.0
ROOT_HALF = np.int32(0x3F3504F3)  # the bits of sqrt(0.5)
LEAST_EXPONENT = f32(-126)  # of a float32 that is not subnormal

LEAST = f32(-88)  # `exp_single` is 0, or nearly, from here on
# (exp(x) - 1 - x) / x**2 from -log(2)/2 to log(2)/2, highest power first (Cephes, expf.c).
E5, E4, E3, E2, E1, E0 = (
    f32(1.9875691500e-4),
    f32(1.3981999507e-3),
    f32(8.3334519073e-3),
    f32(4.1665795894e-2),
    f32(1.6666665459e-1),
    f32(5.0000001201e-1),
)
# (2**x - 1) / x from -0.5 to 0.5 (Cephes, exp2f.c).
T5, T4, T3, T2, T1, T0 = (
    f32(1.535336188319500e-4),
    f32(1.339887440266574e-3),
    f32(9.618437357674640e-3),
    f32(5.550332471162809e-2),
    f32(2.402264791363012e-1),
    f32(6.931472028550421e-1),
)
# (log((1 + s) / (1 - s)) / s - 2) / s**2 as a polynomial of s**2 (FreeBSD, e_logf.c, Lg4 to Lg1).
L3, L2, L1, L0 = (
    f32(0.24279078841),
    f32(0.28498786688),
    f32(0.40000972152),
    f32(0.66666662693),
)
# The same for s up to 1/3: interpolated at Chebyshev's points, off by less than 1e-9.
P4, P3, P2, P1, P0 = (
    f32(0.23224328),
    f32(0.21706576),
    f32(0.28592358),
    f32(0.39999706),
    f32(0.66666667),
)

_part = part(fastmath={"contract"})


@_part
def exp_single(x):
    """exp(x) for x < 88; 0 below -88."""
    x = LEAST if x < LEAST else x
    z = x * LOG2E + ROUND
    n = z - ROUND
    f = x - n * LN2_HIGH
    f = f - n * LN2_LOW
    p = E5 * f + E4
    p = p * f + E3
    p = p * f + E2
    p = p * f + E1
    p = p * f + E0
    p = p * (f * f) + f + f32(1)
    bits = np.int32(np.int32(f32(z).view(np.int32) << MANTISSA) + ONE)
    return p * np.int32(bits).view(np.float32)


@_part
def log_single(x):
    """log(x) of a normal x > 0; NaN for NaN and infinity."""
    bits = f32(x).view(np.int32)
    k = np.int32(np.int32(bits - ROOT_HALF) >> MANTISSA)
    m = np.int32(bits - np.int32(k << MANTISSA)).view(np.float32)
    f = m - f32(1)
    s = f / (m + f32(1))
    z = s * s
    p = L3 * z + L2
    p = p * z + L1
    p = p * z + L0
    half = f32(0.5) * f * f
    n = f32(k)
    return n * LN2_HIGH + (f - (half - (s * (half + z * p) + n * LN2_LOW))) + (x - x)


@_part
def log1p_single(x):
    """log(1 + x) for x from 0 to 1, as exact as x; NaN for NaN."""
    s = x / (x + f32(2))  # 1 + x is (1 + s) / (1 - s)
    z = s * s
    p = P4 * z + P3
    p = p * z + P2
    p = p * z + P1
    p = p * z + P0
    return s * z * p + (s + s)


exp = by_precision(exp_single, math.exp)
log = by_precision(log_single, math.log)
log1p = by_precision(log1p_single, math.log1p)


@part(forceinline=True)
def exp_vector(x):
    """exp(x) of a vector of float32 up to 87; NaN stays.

    As `x * log2(e)` is rounded, the relative error is up to (1 + |x|) * 2**-23: it grows as the
    result gets small, or large, beside exp(0).
    """
    t = x * splat(LOG2E)
    t = where(t < splat(LEAST_EXPONENT), splat(LEAST_EXPONENT), t)
    shifted = t + splat(ROUND)
    f = t - (shifted - splat(ROUND))
    p = fma(splat(T5), f, splat(T4))
    p = fma(p, f, splat(T3))
    p = fma(p, f, splat(T2))
    p = fma(p, f, splat(T1))
    p = fma(p, f, splat(T0))
    return fma(p, f, splat(f32(1))) * exponent(shifted)
