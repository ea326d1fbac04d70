"""A plan: a recipe made from the data and the machine, with a reason for every choice."""

import json
import time as clock
from collections.abc import Collection, Mapping
from dataclasses import asdict, dataclass, fields, replace
from pathlib import Path
from typing import Any

import numpy as np
import psutil
import torch
from numpy.typing import NDArray
from rich.console import Console
from rich.markup import escape
from rich.table import Table

from upscore import data as datasets
from upscore.data import Dataset, Patterns, Survey, measure
from upscore.data.classes import read_mapping
from upscore.data.holdout import Fold, hold_out
from upscore.data.progress import progress_bar
from upscore.errors import ArgumentError, DataError
from upscore.evaluation.confusion import class_table
from upscore.io.atomic import make_folder, write_bytes, write_json
from upscore.models import Spec, preprocessing, read_checkpoint
from upscore.models.spec import spec_from
from upscore.training import sheet, sizes, timing
from upscore.training.choices import choose
from upscore.training.facts import Facts
from upscore.training.processes import agreed, process
from upscore.training.recipe import RECIPES, Recipe

CAUTION = 1.1  # how much longer steps may take than those that were timed
VALIDATIONS = 12  # in a run, where they cost no more than ...
VALIDATION_SHARE = 0.1  # ... this part of its time
BYTES_A_PIXEL = 4096  # of a crop, that a step needs: 2200 were measured with the default network
MEMORY_SHARE = 0.5  # of what is free, that a step may take
AROUND = 20.0  # seconds: to import what is needed, and to write the model for the first time


@dataclass(frozen=True)
class Plan:
    """What to do in a training run, and why.

    Attributes:
        recipe: every choice.
        reasons: for each field that was chosen for these data or this machine, why.
        training: the survey of the photos to learn from.
        validation: the photos that score what is learned; None where there are too few.
        split: how the two were found, in words.
        seconds: how long it will take on this machine.
        advice: what else might be tried.
    """

    recipe: Recipe
    reasons: Mapping[str, str]
    training: Survey
    validation: Dataset | None
    split: str
    seconds: float
    advice: tuple[str, ...] = ()

    def to_dict(self) -> dict[str, Any]:
        """Plain JSON values."""
        held = self.validation.samples if self.validation else ()
        return {
            "recipe": asdict(self.recipe),
            "reasons": dict(self.reasons),
            "split": self.split,
            "training": [sample.name for sample in self.training.dataset.samples],
            "validation": [sample.name for sample in held],
            "seconds": round(self.seconds, 1),
            "advice": list(self.advice),
        }

    def save(self, path: str | Path) -> None:
        """Write the plan as JSON."""
        write_json(path, self.to_dict())

    def print(self, console: Console | None = None) -> None:
        """Print the choices and their reasons as a table, and how long it will take."""
        console = console or Console(stderr=True)
        held = 0 if self.validation is None else len(self.validation)
        table = Table(box=None, pad_edge=False)
        for heading in ("choice", "value", "why"):
            table.add_column(heading)
        table.add_row("photos", f"{len(self.training)} + {held}", escape(self.split))
        if self.training.values is not None:
            table.add_row("bands", *map(escape, _measured(self.training.values)))
        for field in fields(Recipe):
            if field.name in self.reasons:
                value = str(getattr(self.recipe, field.name))
                table.add_row(field.name, escape(value), escape(self.reasons[field.name]))
        console.print(table)
        console.print(f"about {_duration(self.seconds)} on this machine")
        for line in self.advice:
            console.print(line)


def plan(
    data: str | Path,
    *,
    recipe: str | Recipe | None = None,
    time: str | float | None = None,
    layout: str | Patterns | None = None,
    mapping: Any = None,
    skip: Collection[str | Path] = (),
    allow: Collection[str] = (),
    group_by: str | None = None,
    fold: str | None = None,
    out: str | Path | None = None,
    **changes: Any,
) -> Plan:
    """Look at a folder of photos and masks, and plan how to train on it.

    Args:
        data: the folder.
        recipe: a `Recipe` or the name of one (`upscore.training.recipe.RECIPES`) to follow;
            if not given, the data decide.
        time: how long all of it may take: "20m", "90s", "1.5h" or seconds. Not given: as many
            steps as the data ask for.
        layout, mapping, skip: as for `upscore.data.find`; the recipe may bring a mapping.
        allow: kinds of problems in the data to accept; see `upscore.data.check`.
        group_by: keep photos together whose names agree in what this regular expression matches,
            where a part is held out; see `upscore.data.holdout.hold_out`.
        fold: "0/5" holds out the first of five parts of train and val together, ...
        out: a folder for skip.txt, the list of broken files.
        changes: fields of the recipe to set, such as `steps=2000`.

    Raises:
        DataError: the data cannot be used.
        ArgumentError: no such recipe or field, or a value that cannot be.

    Example:
        >>> import upscore
        >>> made = upscore.plan("photos", time="20m")  # doctest: +SKIP
        >>> made.recipe.steps, made.reasons["steps"]  # doctest: +SKIP
    """
    begun = clock.monotonic()
    unknown = changes.keys() - {field.name for field in fields(Recipe)}
    if unknown:
        names = ", ".join(field.name for field in fields(Recipe))
        raise ArgumentError(f"a recipe has no {', '.join(sorted(unknown))}; it has {names}")
    seconds = None if time is None else timing.seconds_of(time)
    base = _base(recipe)
    replace(base or Recipe(), **changes)  # a value that cannot be is said before the work
    if isinstance(mapping, str | Path):
        mapping = read_mapping(Path(mapping))
    mapping = mapping or (base.mapping if base else None)
    options = {"layout": layout, "mapping": mapping, "skip": skip}
    training, validation, split = _parts(
        Path(data), options, allow, group_by, Fold.parse(fold) if fold else None, out
    )
    given = changes | ({} if mapping is None else {"mapping": mapping})
    # What a recipe says is as fixed as what is given, but for its length where there is a time.
    everything = {field.name for field in fields(Recipe)} - ({"steps"} if seconds else set())
    fixed = given.keys() | (everything if base else set())

    def decide() -> tuple[Recipe, dict[str, str], float]:
        chosen: dict[str, Any] = {}
        reasons = dict.fromkeys(changes, "as given")
        if base is None:
            chosen, why = choose(Facts(training, process().device.type == "cuda"), given)
            reasons |= why
        made = replace(base or Recipe(), **{**chosen, **given})
        left = None if seconds is None else seconds - (clock.monotonic() - begun)
        return _timed(made, reasons, training, validation, left, fixed=fixed)

    made, reasons, estimate = agreed(decide)
    return Plan(made, reasons, training, validation, split, estimate, _advice(made, training))


def spec_of(recipe: Recipe, survey: Survey) -> Spec:
    """What the checkpoint says of the network and of how to use it."""
    data = survey.dataset
    ranges, (mean, std) = None, preprocessing(recipe.encoder)
    if survey.values is not None:
        ranges, mean, std = measure.bands(survey.values)
    middle = (recipe.scale[0] * recipe.scale[1]) ** 0.5
    spec = Spec(
        architecture=recipe.architecture,
        encoder=recipe.encoder,
        width=recipe.width,
        class_names=data.class_names,
        palette=data.palette,
        mean=mean,
        std=std,
        # Between the smallest and the largest at which training shows them.
        long_side=None if recipe.long_side is None else round(recipe.long_side * middle),
        zoom=round(middle, 3) if recipe.long_side is None else 1.0,
        ranges=ranges,
        card={
            "data": data.root.name,
            "photos": len(data),
            "mapping": recipe.mapping,
            "recipe": asdict(recipe),
        },
    )
    return spec_from(json.loads(json.dumps(asdict(spec))))  # what could not be loaded is said now


def _base(recipe: str | Recipe | None) -> Recipe | None:
    if not isinstance(recipe, str):
        return recipe
    if recipe not in RECIPES:
        raise ArgumentError(f"no recipe {recipe!r}; there are {', '.join(RECIPES)}")
    return RECIPES[recipe]


def _parts(
    root: Path,
    options: Mapping[str, Any],
    allow: Collection[str],
    group_by: str | None,
    fold: Fold | None,
    out: str | Path | None,
) -> tuple[Survey, Dataset | None, str]:
    """The photos to learn from, those that score it, and in words how they were told apart."""
    available = datasets.splits(root, layout=options["layout"])
    if "train" not in available:
        raise DataError(
            f"{root}: no split 'train' to learn from; it has {', '.join(available)}: rename one, "
            "or put the photos into images/ and the masks into masks/"
        )
    # "all" is what an undivided folder has: it is divided here, by its classes and groups.
    names = ("all",) if "all" in available else ("train", "val", "test")
    found = {name: datasets.find(root, name, **options) for name in names if name in available}
    if "all" in found:
        found["train"] = found.pop("all")
    if "val" in found and fold is None:
        if group_by is not None:
            raise ArgumentError(f"{root} has its own val: group_by divides data without one")
        surveys = _surveyed(found, ("train", "val"), allow, out)
        class_table(found["val"].class_names, found["train"].class_names)  # or a DataError
        if not surveys["val"].class_pixels.any():
            raise DataError(f"{root}: the masks of 'val' are void everywhere: nothing to score")
        return surveys["train"], found["val"], "train and val of the data"
    if fold is not None and "val" in found:
        together = (*found["train"].samples, *found.pop("val").samples)
        found["train"] = replace(found["train"], samples=together)
    survey = _surveyed(found, ("train",), allow, out)["train"]
    parts = hold_out(survey, group_by=group_by, fold=fold)
    if not parts.validation:
        return survey, None, parts.reason
    if not survey.part(parts.validation).class_pixels.any():
        return survey, None, f"{parts.reason}; nothing is marked in those, so all are learned from"
    held = survey.part(parts.validation).dataset
    return survey.part(parts.training), held, parts.reason


def _surveyed(
    found: Mapping[str, Dataset],
    names: Collection[str],
    allow: Collection[str],
    out: str | Path | None,
) -> dict[str, Survey]:
    """Look into all files before the first step; if some are broken, say which to mend or skip."""
    main = process().is_main_process
    surveys = {}
    for name in names:
        others = [dataset for other, dataset in found.items() if other != name]
        with progress_bar(f"checking {name}", shown=main) as progress:
            surveys[name] = datasets.survey(
                found[name], against=others, allow=allow, progress=progress
            )
    problems = [problem for survey in surveys.values() for problem in survey.problems]
    if not problems:
        return surveys
    message = datasets.report(problems)
    skippable = datasets.skip_list(found["train"], problems)
    if skippable and out is not None:
        listing = make_folder(out) / "skip.txt"
        write_bytes(listing, skippable.encode())
        message += f"\nMend them, or leave them out with --skip {listing}"
    raise DataError(message)


def _timed(
    recipe: Recipe,
    reasons: dict[str, str],
    survey: Survey,
    validation: Dataset | None,
    left: float | None,
    *,
    fixed: Collection[str],
) -> tuple[Recipe, dict[str, str], float]:
    """The recipe with as many steps and validations as the time allows, and what they will take."""
    begun = clock.monotonic()
    device = process().device
    if "accumulate" not in fixed:
        recipe, why = _fitting(recipe)
        reasons |= why
    spec = spec_of(recipe, survey)
    step, photo = timing.measure(recipe, spec, survey, validation or survey.dataset, device)
    held = len(validation) if validation else 0
    scoring = photo * (held + min(held, sheet.ROWS))
    # The size for prediction is chosen by four validations, with 5.4 times the pixels in all.
    afterwards = AROUND + 5.4 * photo * min(held, sizes.PHOTOS)
    if left is not None and "steps" not in fixed:
        left -= clock.monotonic() - begun
        steps = int((1 - VALIDATION_SHARE) * (left - afterwards) / (CAUTION * step))
        recipe = replace(recipe, steps=max(1, steps))
        reasons["steps"] = f"what fits the time: a step takes {step:.2f} s here"
        if steps < 1:
            reasons["steps"] = f"the time is too short: all but the steps take {afterwards:.0f} s"
    if "evaluate_every" not in fixed:
        affordable = VALIDATION_SHARE * recipe.steps * step / max(scoring, 1e-9)
        times = int(min(max(1, affordable), VALIDATIONS))
        recipe = replace(recipe, evaluate_every=max(1, -(-recipe.steps // times)))
        reasons["evaluate_every"] = f"{times} validations of {scoring:.0f} s each"
    validations = -(-recipe.steps // recipe.evaluate_every)
    return recipe, reasons, recipe.steps * step + validations * scoring + afterwards


def _fitting(recipe: Recipe) -> tuple[Recipe, dict[str, str]]:
    """The recipe with batches worked through in parts, where they need more memory than is free."""
    need = BYTES_A_PIXEL * recipe.batch_size * recipe.crop**2
    free = MEMORY_SHARE * _free_memory()
    parts = 1
    while parts < recipe.batch_size and need / parts > free:
        parts *= 2
    if parts == 1:
        return recipe, {}
    reason = f"a batch needs some {need >> 20} MiB, and {int(free) >> 20} may be taken"
    return replace(recipe, accumulate=parts), {"accumulate": reason}


def _free_memory() -> int:
    """Bytes that are free where the network runs."""
    device = process().device
    if device.type == "cuda":
        return torch.cuda.mem_get_info(device)[0]
    return int(psutil.virtual_memory().available)


def _advice(recipe: Recipe, survey: Survey) -> tuple[str, ...]:
    """Where the bundled model knows some of the classes, that one can start from it."""
    bundled = read_checkpoint("bundled").spec
    known = set(bundled.class_names) - {"background"}
    shared = [name for name in survey.dataset.class_names if name in known]
    if not shared or recipe.pretrained is not True or recipe.encoder != bundled.encoder:
        return ()
    return (
        f"the bundled model knows {', '.join(shared)}: --set pretrained=bundled starts from it "
        "instead of ImageNet weights",
    )


def _measured(values: NDArray[np.float32]) -> tuple[str, str]:
    """How many bands photos have, and the ranges to which their values are clipped."""
    ranges = ", ".join(f"{low:g} to {high:g}" for low, high in measure.bands(values).ranges[:4])
    more = ", ..." if values.shape[-1] > 4 else ""
    return str(values.shape[-1]), f"normalised one by one; values of {ranges}{more}"


def _duration(seconds: float) -> str:
    """Seconds in words.

    >>> _duration(50), _duration(500), _duration(9000)
    ('50 seconds', '8 minutes', '2.5 hours')
    """
    if seconds < 90:
        return f"{seconds:.0f} seconds"
    if seconds < 5400:
        return f"{seconds / 60:.0f} minutes"
    return f"{seconds / 3600:.1f} hours"
