"""The kernels' exponentials and logarithm against float64."""

import numpy as np
import pytest
from numba import njit

from upscore.kernels import LANES, exp
from upscore.kernels.simd import load, store


def ulps(found, exact):
    """The largest error in units in the last place of float32."""
    return np.abs((found.astype(np.float64) - exact) / np.spacing(exact.astype(np.float32))).max()


def applied(function, x):
    @njit(error_model="numpy")
    def run(x, out):
        for i in range(len(x)):
            out[i] = function(x[i])

    out = np.full_like(x, np.nan)
    run(x, out)
    return out


@pytest.mark.parametrize("name", ["exp_single", "log_single"])
def test_scalars_are_within_two_units(name):
    x = np.linspace(-80, 80, 200_001).astype(np.float32)
    if name == "log_single":
        x = np.exp(x)
    exact = (np.exp if name == "exp_single" else np.log)(x.astype(np.float64))
    found = applied(getattr(exp, name), x)
    near_zero = np.abs(exact) < 1e-3  # of the logarithm: there the error is absolute
    assert ulps(found[~near_zero], exact[~near_zero]) <= 2
    assert np.abs(found - exact)[near_zero].max(initial=0) < 1e-9


def test_the_logarithm_near_one_is_within_two_units():
    x = np.concatenate([np.geomspace(1e-37, 1, 100_000), np.linspace(1e-3, 1, 100_000)])
    x = x.astype(np.float32)
    assert ulps(applied(exp.log1p_single, x), np.log1p(x.astype(np.float64))) <= 2
    assert applied(exp.log1p_single, np.zeros(1, np.float32)) == 0


def test_vectors_are_exact_beside_one():
    @njit(error_model="numpy")
    def run(x, out):
        for i in range(0, len(x), LANES):
            store(out, i, exp.exp_vector(load(x, i)))

    x = np.linspace(-87, 87, 200_000).astype(np.float32)
    x[:LANES] = np.nan
    found = np.empty_like(x)
    run(x, found)
    exact = np.exp(x[LANES:].astype(np.float64))
    bound = (1 + np.abs(x[LANES:])) * 2.0**-23
    assert (np.abs(found[LANES:] / exact - 1) <= bound).all()
    assert np.isnan(found[:LANES]).all()
