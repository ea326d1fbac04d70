"""How long a run may be here: its steps and validations by the time, its batches by the memory."""

import sys
import time as clock
from collections.abc import Collection
from dataclasses import dataclass, replace
from functools import partial

import torch

from upscore.data import Dataset, Survey
from upscore.errors import ArgumentError
from upscore.io.memory import free_memory
from upscore.models import Spec
from upscore.training import sheet, sizes, timing
from upscore.training.processes import agreed, of_all, process
from upscore.training.recipe import Recipe

CAUTION = 1.1  # how much longer steps may take than those that were timed
VALIDATIONS = 12  # in a run, where they cost no more than ...
VALIDATION_SHARE = 0.1  # ... this part of its time
ENDING_SHARE = 0.2  # of the time, that the last validation and the selection may take, ...
LEAST_SCORED = 8  # ... but with no fewer photos: they would tell too little
LEAST_STEPS = 10  # of a run: with fewer it learns nothing
BYTES_A_PIXEL = 4096  # of a crop, that a step needs: 2200 were measured with tf_efficientnet_lite0
MEMORY_SHARE = 0.5  # of what is free, that a step may take
COMPILING = 5.0  # seconds beyond a usual first step, from which on kernels were compiled in it
AROUND = 20.0  # seconds: to import what is needed, and to write the model for the first time


@dataclass(frozen=True)
class _Costs:
    """What validations take, in seconds, by how many photos they score; and what one photo does."""

    photo: float
    processes: int
    weighted: bool  # whether classes have weights, which may be taken back

    def validation(self, photos: int) -> float:
        """The processes share the photos out, and the first one draws the sheet."""
        return self.photo * (-(-photos // self.processes) + min(photos, sheet.ROWS))

    def selecting(self, photos: int) -> float:
        """What `training.selection` scores: some photos with two shares and at four sizes."""
        scored = sizes.PIXELS + (2 if self.weighted else 0)
        return self.photo * scored * -(-min(photos, sizes.PHOTOS) // self.processes)

    def affordable(self, photos: int, seconds: float) -> int:
        """As many of the photos as can be scored, at the end and to choose a size, in a time."""
        for few in range(photos, LEAST_SCORED, -1):
            if self.validation(few) + self.selecting(few) <= seconds:
                return few
        return min(photos, LEAST_SCORED)


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
    took = timing.measure(recipe, spec, survey, scored, device, workers)
    held, costs = (
        len(validation) if validation else 0,
        _Costs(took.photo, world, recipe.class_weights != "none"),
    )
    if until is not None and "steps" not in fixed:
        recipe, why = _within(until, recipe, took, held, costs, fixed)
        reasons |= why
    photos = min(held, recipe.validation_photos or held)
    scoring = costs.validation(photos)
    if "evaluate_every" not in fixed:
        affordable = VALIDATION_SHARE * recipe.steps * took.step / max(scoring, 1e-9)
        times = int(min(max(1, affordable), VALIDATIONS))
        recipe = replace(recipe, evaluate_every=max(1, -(-recipe.steps // times)))
        reasons["evaluate_every"] = f"{times} of {scoring:.1f} s each"
        if not held:
            reasons["evaluate_every"] = "no validation photos: how often the loss is noted"
    validations = -(-recipe.steps // recipe.evaluate_every)
    read = min(1.0, recipe.steps * recipe.batch_size / len(survey)) * took.decoding
    around = AROUND + read + costs.selecting(photos)
    return recipe, reasons, recipe.steps * took.step + validations * scoring + around


def _within(
    until: float,
    recipe: Recipe,
    took: timing.Timing,
    held: int,
    costs: _Costs,
    fixed: Collection[str],
) -> tuple[Recipe, dict[str, str]]:
    """The recipe with what fits the time: photos that are scored, and steps."""
    # A compiler that had to run first would leave a short run no time to learn.
    compiling = took.once if took.once > COMPILING else 0.0
    left = min(of_all(until + compiling - clock.monotonic()))
    reasons = {}
    if "validation_photos" not in fixed:
        most = costs.affordable(held, ENDING_SHARE * left)
        if most < held:
            recipe = replace(recipe, validation_photos=most)
            reasons["validation_photos"] = (
                f"{held} would leave too little time to learn: each takes {took.photo:.2f} s"
            )
    photos = min(held, recipe.validation_photos or held)
    last = costs.validation(photos)
    for_steps = left - AROUND - took.decoding - costs.selecting(photos)
    step = CAUTION * took.step
    steps = int((for_steps - max(last, VALIDATION_SHARE * for_steps)) / step)
    if "evaluate_every" in fixed:  # each step bears its part of a validation
        steps = int((for_steps - last) / (step + last / recipe.evaluate_every))
    if steps < LEAST_STEPS:
        around = left - for_steps + last
        missing = around + LEAST_STEPS * step / (1 - VALIDATION_SHARE) - left
        raise ArgumentError(
            f"the time is too short: {max(0, left):.0f} s are left after looking at the photos, "
            f"reading, scoring and writing take {around:.0f} s, and a step {took.step:.1f} s. "
            f"Give at least {missing + 5:.0f} s more (--time), or a number of steps (--steps)"
        )
    reasons["steps"] = f"what fits the time: a step takes {took.step:.2f} s here"
    if compiling:
        reasons["steps"] += f"; {compiling:.0f} s of compiling kernels, once, do not count"
    return replace(recipe, steps=steps), reasons


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
    return int((free_memory() or sys.maxsize) // process().num_processes)
