"""A plan: a recipe made from the data and the machine, with a reason for every choice."""

import json
import time as clock
from collections.abc import Collection, Mapping
from dataclasses import asdict, dataclass, fields, replace
from functools import partial
from pathlib import Path
from typing import Any

from rich.console import Console
from rich.markup import escape
from rich.table import Table

from upscore import images
from upscore.data import Dataset, Patterns, Survey
from upscore.data.classes import read_mapping
from upscore.data.ranges import Normalisation
from upscore.errors import ArgumentError, DataError
from upscore.io.atomic import write_json
from upscore.models import Spec, preprocessing, read_checkpoint
from upscore.models.spec import spec_from
from upscore.training.batches import check_shared
from upscore.training.choices import choose
from upscore.training.facts import Facts
from upscore.training.length import fitted
from upscore.training.machines import require_same_data
from upscore.training.parts import found_parts
from upscore.training.processes import agreed, by_each, process
from upscore.training.reading import Reading
from upscore.training.recipe import RECIPES, Recipe, is_model
from upscore.training.timing import WORKERS, seconds_of


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
        resolution: metres a pixel of most photos; None where they do not tell.
    """

    recipe: Recipe
    reasons: Mapping[str, str]
    training: Survey
    validation: Dataset | None
    split: str
    seconds: float
    advice: tuple[str, ...] = ()
    resolution: float | None = None

    def to_dict(self) -> dict[str, Any]:
        """Return the plan as plain JSON values.

        Returns:
            The recipe, reasons, split, names of the photos, seconds and advice.
        """
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
        """Write the plan as JSON.

        Args:
            path: the file.

        Raises:
            OutputError: the file cannot be written.
        """
        write_json(path, self.to_dict())

    def print(self, console: Console | None = None) -> None:
        """Print the choices and their reasons as a table, and how long it will take.

        Args:
            console: where to print; standard error if not given.
        """
        console = console or Console(stderr=True)
        held = 0 if self.validation is None else len(self.validation)
        table = Table(box=None, pad_edge=False)
        for heading in ("choice", "value", "why"):
            table.add_column(heading)
        table.add_row("photos", f"{len(self.training)} + {held}", escape(self.split))
        if self.training.normalisation:
            table.add_row("bands", *_bands(self.training.normalisation))
        if self.resolution:
            table.add_row("ground", f"{self.resolution:g} m a pixel", "the median of the photos")
        for field in fields(Recipe):
            if field.name in self.reasons:
                value = str(getattr(self.recipe, field.name))
                table.add_row(field.name, escape(value), escape(self.reasons[field.name]))
        console.print(table)
        console.print(f"about {_duration(self.seconds)} on this machine")
        for line in self.advice:
            console.print(line, markup=False)


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
    workers: int = WORKERS,
    **changes: Any,
) -> Plan:
    """Look at a folder of photos and masks, and plan how to train on it.

    Args:
        data: the folder.
        recipe: a `Recipe` or the name of one (`upscore.training.recipe.RECIPES`) to follow;
            if not given, the data decide.
        time: how long all of it may take: "20m", "90s", "1.5h" or seconds. Not given: as many
            steps as the data ask for.
        layout: as for `upscore.data.find`.
        mapping: as for `upscore.data.find`; the recipe may bring one.
        skip: as for `upscore.data.find`.
        allow: kinds of problems in the data to accept; see `upscore.data.check`.
        group_by: keep photos together whose names, or else paths below the folder, agree in what
            this regular expression matches, where a part is held out; see
            `upscore.data.holdout.hold_out`.
        fold: "0/5" holds out the first of five parts of train and val together, ...
        out: a folder for skip.txt, the list of broken files.
        workers: processes that will decode photos, for the time of a step.
        **changes: fields of the recipe to set, such as `steps=2000`; see
            `upscore.training.recipe.Recipe`.

    Returns:
        A `Plan`, to read, print or save.

    Raises:
        DataError: the data cannot be used.
        ArgumentError: no such recipe or field, or a value that cannot be.

    Examples:
        >>> import upscore
        >>> made = upscore.plan("photos", time="20m")  # doctest: +SKIP
        >>> made.recipe.steps, made.reasons["steps"]  # doctest: +SKIP
    """
    begun = clock.monotonic()
    unknown = changes.keys() - {field.name for field in fields(Recipe)}
    if unknown:
        names = ", ".join(field.name for field in fields(Recipe))
        raise ArgumentError(f"a recipe has no {', '.join(sorted(unknown))}; it has {names}")
    seconds = None if time is None else seconds_of(time)
    base = _base(recipe)
    wanted = replace(base or Recipe(), **changes)  # what cannot be is said before the work
    if base or "batch_size" in changes:
        check_shared(wanted.batch_size, process().num_processes)
    if isinstance(mapping, str | Path):
        mapping = read_mapping(Path(mapping))
    mapping = mapping or (base.mapping if base else None)
    reading = Reading.of(
        {"layout": layout, "skip": skip, "allow": allow, "group_by": group_by, "fold": fold}
    )
    found = by_each(partial(found_parts, Path(data), reading, mapping, out))
    training, validation, split = found
    if not training.class_pixels.any():
        raise DataError(
            f"{data}: the masks to learn from are void everywhere: mark classes in them"
        )
    require_same_data(training, validation)
    given = changes | ({} if mapping is None else {"mapping": mapping})
    # What a recipe says is as fixed as what is given, but for its length where there is a time.
    everything = {field.name for field in fields(Recipe)} - (
        {"steps", "validation_photos"} if seconds else set()
    )
    fixed = given.keys() | (everything if base else set())

    def decide() -> tuple[Recipe, dict[str, str]]:
        as_given = dict.fromkeys(changes, "as given")
        if base is not None:
            return replace(base, **given), as_given
        state = process()
        facts = Facts(training, state.device.type == "cuda", state.num_processes)
        network = _network_of(wanted.pretrained)
        chosen, why = choose(facts, network | given)
        reasons = why | dict.fromkeys(network, f"that of {wanted.pretrained}") | as_given
        return Recipe(**(chosen | network | given)), reasons

    made, reasons = agreed(decide)
    spec = spec_of(made, training)
    until = None if seconds is None else begun + seconds
    timed: dict[str, Any] = {"fixed": fixed, "workers": workers}
    made, reasons, estimate = fitted(made, reasons, spec, training, validation, until, **timed)
    advice = _advice(made, training, "encoder" in fixed)
    return Plan(made, reasons, training, validation, split, estimate, advice, spec.resolution)


def spec_of(recipe: Recipe, survey: Survey) -> Spec:
    """What the checkpoint says of the network and of how to use it."""
    data = survey.dataset
    ranges, (mean, std) = None, preprocessing(recipe.encoder)
    if survey.normalisation:
        ranges, mean, std = survey.normalisation
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
        resolution=_resolution(survey),
        card={
            "data": data.root.resolve().name,
            "photos": len(data),
            "mapping": recipe.mapping,
            "allow": survey.allow,
            "recipe": asdict(recipe),
        },
    )
    return spec_from(json.loads(json.dumps(asdict(spec))))  # what could not be loaded is said now


def _resolution(survey: Survey) -> float | None:
    """Metres a pixel of the photos, the median; None unless most of them tell."""
    found = [images.resolution(sample.image) for sample in survey.dataset.samples]
    known = sorted(filter(None, found))
    return known[len(known) // 2] if len(known) > len(found) / 2 else None


def _base(recipe: str | Recipe | None) -> Recipe | None:
    if not isinstance(recipe, str):
        return recipe
    if recipe not in RECIPES:
        raise ArgumentError(f"no recipe {recipe!r}; there are {', '.join(RECIPES)}")
    return RECIPES[recipe]


def _network_of(pretrained: bool | str) -> dict[str, Any]:
    """The network of the model that a run begins from, if it does."""
    if not is_model(pretrained):
        return {}
    spec = read_checkpoint(str(pretrained)).spec
    return {"architecture": spec.architecture, "encoder": spec.encoder, "width": spec.width}


def _advice(recipe: Recipe, survey: Survey, fixed_encoder: bool) -> tuple[str, ...]:
    """Notes of the survey; classes without names or masks; what the bundled model knows."""
    dataset, names = survey.dataset, survey.dataset.class_names
    advice = [*survey.notes, *([dataset.hint] if dataset.hint else [])]
    pixels = dict(zip(names, survey.class_pixels.sum(axis=0), strict=True))
    missing = [name for name in names if not pixels[name]]
    if missing:
        advice.append(f"in no mask to learn from, so never found: {', '.join(missing)}")
    bundled = read_checkpoint("bundled").spec
    shared = [name for name in names if name in bundled.class_names and name != "background"]
    other = fixed_encoder and recipe.encoder != bundled.encoder
    if shared and not other and recipe.pretrained is True and dataset.bands is None:
        advice.append(
            f"the bundled model knows {', '.join(shared)}: --set pretrained=bundled starts from it "
            "instead of ImageNet weights"
        )
    return tuple(advice)


def _bands(found: Normalisation) -> tuple[str, str]:
    """How many bands photos have, and the ranges to which their values are clipped."""
    shown = ", ".join(f"{low:g} to {high:g}" for low, high in found.ranges[:4])
    more = ", ..." if len(found.ranges) > 4 else ""
    return str(len(found.ranges)), f"normalised one by one; values of {shown}{more}"


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
