"""The Triton kernels: run by Triton's interpreter everywhere, compiled for a GPU everywhere.

The cases are in gpu_cases.py. They run in a process of their own, because Triton decides when it is
imported whether it interprets.
"""

import os
import re
import subprocess
import sys
from importlib import import_module
from pathlib import Path

import pytest
import torch

import upscore

pytestmark = pytest.mark.slow

pytest.importorskip("triton", reason="Triton is not installed (PyTorch for the CPU lacks it)")

CASES = Path(__file__).with_name("gpu_cases.py")


@pytest.mark.parametrize(
    ("device", "which"),
    [
        ("interpreter", "not release"),
        pytest.param("interpreter", "release", marks=pytest.mark.release),
        ("cuda", "release or not release"),
    ],
)
def test_the_cases_hold(device: str, which: str) -> None:
    if device == "cuda" and not torch.cuda.is_available():
        pytest.skip("no CUDA device is available")
    environment = {**os.environ, "TRITON_INTERPRET": "1" if device == "interpreter" else "0"}
    run = subprocess.run(
        [sys.executable, "-m", "pytest", "-x", "-p", "no:cacheprovider", "-m", which, CASES],
        env=environment,
        capture_output=True,
        text=True,
    )
    assert run.returncode == 0, run.stdout + run.stderr
    assert " passed" in run.stdout


@pytest.mark.skipif(torch.cuda.is_available(), reason="there is a CUDA device")
def test_scores_elsewhere_are_refused_with_the_reason() -> None:
    scores = torch.zeros(2, 3, 4)
    with pytest.raises(ValueError, match="works on CUDA devices, but the scores are on cpu"):
        upscore.argmax(scores, size=(6, 8), backend="gpu")
    target = torch.zeros(6, 8, dtype=torch.int64)
    with pytest.raises(ValueError, match="works on CUDA devices, but the scores are on cpu"):
        upscore.cross_entropy(scores, target, backend="gpu")
    with pytest.raises(ValueError, match="works on CUDA devices, but the scores are on cpu"):
        upscore.masks(scores, size=(6, 8), backend="gpu")


POINTERS = {"labels": "*u8", "target": "*i64", "faults": "*i64", "x_low": "*i32"}
POINTERS |= {"x_edges": "*i32", "y_edges": "*i32"}
FLOATS = (
    "confidence",
    "x_weight",
    "y_weight",
    "factors",
    "every_class",
    "log_sum",
    "losses",
    "tilt",
    "weight",
    "slopes",
    "parts",
    "less",
)
POINTERS |= dict.fromkeys((*FLOATS, "totals", "factor", "gradient"), "*fp32")
POINTERS |= dict.fromkeys(("limit", "row_weights", "column_weights"), "*fp32")
POINTERS |= dict.fromkeys(("row_taps", "row_ends", "column_taps", "counts"), "*i32")
POINTERS |= dict.fromkeys(("places", "starts", "turns", "offsets", "order"), "*i64")
TILE = {"ROWS": 8, "COLUMNS": 128}
SAMPLED = TILE | {"COPIED": False}
PATCH = {"CLASSES": 16, "PATCH_ROWS": 8, "PATCH_COLUMNS": 16, "VISITED": 32, "COPIED": False}
KERNELS = {
    "labels": (
        "argmax",
        "_labels",
        TILE | {"MEASURE": None, "BOUNDED": True, "CLASSES": 16, "CELLS": 32},
    ),
    "confidence": (
        "argmax",
        "_labels",
        TILE | {"MEASURE": "entropy", "BOUNDED": False, "CLASSES": 1, "CELLS": 1},
    ),
    "loss": ("cross_entropy", "_forward", SAMPLED | {"PER_PIXEL": False, "SMOOTHED": True}),
    "gradient": (
        "cross_entropy",
        "_gradient",
        PATCH | {"SMOOTHED": True, "TILTED": False},
    ),
    "tilted": (
        "cross_entropy",
        "_gradient",
        PATCH | {"SMOOTHED": False, "TILTED": True},
    ),
    "sums": (
        "overlap",
        "_pixels",
        SAMPLED | {"SUMS": True, "SIGMOID": False, "CHANNELS": False, "LOSSES": True},
    ),
    "binary": (
        "overlap",
        "_pixels",
        SAMPLED | {"SUMS": True, "SIGMOID": True, "CHANNELS": True, "LOSSES": True},
    ),
    "slopes": (
        "overlap",
        "_pixels",
        SAMPLED | {"SUMS": False, "SIGMOID": False, "CHANNELS": False, "LOSSES": True},
    ),
    "copied_loss": (
        "cross_entropy",
        "_forward",
        SAMPLED | {"PER_PIXEL": False, "SMOOTHED": False, "COPIED": True},
    ),
    "copied_gradient": (
        "cross_entropy",
        "_gradient",
        PATCH | {"SMOOTHED": False, "TILTED": False, "COPIED": True},
    ),
    "copied_sums": (
        "overlap",
        "_pixels",
        SAMPLED
        | {"SUMS": True, "SIGMOID": False, "CHANNELS": False, "LOSSES": True, "COPIED": True},
    ),
    "copied": (
        "overlap",
        "_gradient",
        PATCH | {"SIGMOID": False, "CHANNELS": False, "LOSSES": False, "COPIED": True},
    ),
    "overlap": (
        "overlap",
        "_gradient",
        PATCH | {"SIGMOID": True, "CHANNELS": True, "LOSSES": True},
    ),
    "counts": ("masks", "_turns", {"THROUGH": False, "LISTING": False, "COLUMNS": 128}),
    "turns": ("masks", "_turns", {"THROUGH": True, "LISTING": True, "COLUMNS": 128}),
    "pixels": ("masks", "_paint", TILE | {"LABELLING": False}),
    "numbers": ("masks", "_paint", TILE | {"LABELLING": True}),
}


@pytest.mark.parametrize("scores", ["fp32", "bf16"])
@pytest.mark.parametrize("name", KERNELS)
def test_a_kernel_compiles_for_hopper(name: str, scores: str) -> None:
    """The real compiler needs no GPU; it sees what the interpreter does not."""
    import triton
    from triton.backends.compiler import GPUTarget
    from triton.compiler import ASTSource

    if triton.knobs.runtime.interpret:
        pytest.skip("TRITON_INTERPRET=1 is set")
    head, function, constants = KERNELS[name]
    kernel = getattr(import_module(f"upscore.heads.{head}.gpu"), function)
    pointers = POINTERS | {"scores": f"*{scores}"}
    pointers["canvas"] = "*i32" if name == "numbers" else "*u8"
    fused = function != "_turns"  # its two launches must round alike
    types = {name: pointers.get(name, "i32") for name in kernel.arg_names}
    types |= dict.fromkeys(constants, "constexpr")
    built = triton.compile(
        ASTSource(kernel, types, constants),
        target=GPUTarget("cuda", 90, 32),
        options={"num_warps": 4, "enable_fp_fusion": fused},
    )
    assert built.asm["cubin"]
    assert not re.search(r"\b(atom|red)\.", built.asm["ptx"])  # so it is deterministic
    assert fused or "fma." not in built.asm["ptx"]
