"""How long a run may be here: its steps and validations by the time, its batches by the memory."""

import time as clock
from collections.abc import Collection
from dataclasses import replace
from functools import partial

import psutil
import torch

from upscore.data import Dataset, Survey
from upscore.models import Spec
from upscore.training import sheet, sizes, timing
from upscore.training.processes import agreed, of_all, process
from upscore.training.recipe import Recipe

CAUTION = 1.1  # how much longer steps may take than those that were timed
VALIDATIONS = 12  # in a run, where they cost no more than ...
VALIDATION_SHARE = 0.1  # ... this part of its time
BYTES_A_PIXEL = 4096  # of a crop, that a step needs: 2200 were measured with tf_efficientnet_lite0
MEMORY_SHARE = 0.5  # of what is free, that a step may take
COMPILING = 5.0  # seconds beyond a usual first step, from which on kernels were compiled in it
AROUND = 20.0  # seconds: to import what is needed, and to write the model for the first time


def fitted(
    recipe: Recipe,
    reasons: dict[str, str],
    spec: Spec,
    survey: Survey,
    validation: Dataset | None,
    until: float | None,
    *,
    fixed: Collection[str],
    workers: int = timing.WORKERS,
) -> tuple[Recipe, dict[str, str], float]:
    """The recipe with as many steps and validations as the time allows, and what they will take.

    `until` is when the run has to end, on `time.monotonic`'s clock. Every process has to call it.
    """
    device, world = process().device, process().num_processes
    if "accumulate" not in fixed:
        recipe, why = agreed(partial(_in_parts, recipe))
        reasons |= why
    scored = validation or survey.dataset
    step, photo, once = timing.measure(recipe, spec, survey, scored, device, workers)
    held = len(validation) if validation else 0
    # The processes share the photos out; the first one draws the sheet.
    scoring = photo * (-(-held // world) + min(held, sheet.ROWS))
    # The size for prediction is chosen by four validations, with 5.4 times the pixels in all.
    afterwards = AROUND + 5.4 * photo * -(-min(held, sizes.PHOTOS) // world)
    if until is not None and "steps" not in fixed:
        # A compiler that had to run first would leave a short run no time to learn.
        compiling = once if once > COMPILING else 0.0
        left = min(of_all(until + compiling - clock.monotonic()))
        steps = int((1 - VALIDATION_SHARE) * (left - afterwards) / (CAUTION * step))
        recipe = replace(recipe, steps=max(1, steps))
        reasons["steps"] = f"what fits the time: a step takes {step:.2f} s here"
        if compiling:
            reasons["steps"] += f"; {compiling:.0f} s of compiling kernels, once, do not count"
        if steps < 1:
            reasons["steps"] = f"the time is too short: all but the steps take {afterwards:.0f} s"
    if "evaluate_every" not in fixed:
        affordable = VALIDATION_SHARE * recipe.steps * step / max(scoring, 1e-9)
        times = int(min(max(1, affordable), VALIDATIONS))
        recipe = replace(recipe, evaluate_every=max(1, -(-recipe.steps // times)))
        reasons["evaluate_every"] = f"{times} validations of {scoring:.0f} s each"
    validations = -(-recipe.steps // recipe.evaluate_every)
    return recipe, reasons, recipe.steps * step + validations * scoring + afterwards


def _in_parts(recipe: Recipe) -> tuple[Recipe, dict[str, str]]:
    """The recipe with batches worked through in parts, where they need more memory than is free."""
    share = recipe.batch_size // process().num_processes
    need = BYTES_A_PIXEL * share * recipe.crop**2
    free = MEMORY_SHARE * _free_memory()
    parts = 1
    while parts < share and need / parts > free:
        parts *= 2
    if parts == 1:
        return recipe, {}
    reason = f"a batch needs some {need >> 20} MiB, and {int(free) >> 20} may be taken"
    return replace(recipe, accumulate=parts), {"accumulate": reason}


def _free_memory() -> int:
    """Bytes that are free for each process where the network runs."""
    device = process().device
    if device.type == "cuda":
        return torch.cuda.mem_get_info(device)[0]
    return int(psutil.virtual_memory().available // process().num_processes)
