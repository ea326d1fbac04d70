"""Training: a folder of photos and masks becomes a checkpoint."""

from collections.abc import Collection
from dataclasses import asdict, replace
from pathlib import Path
from typing import Any, cast

import torch
from accelerate import Accelerator, PartialState
from torch import Tensor
from torch.optim.swa_utils import AveragedModel

from upscore import data as datasets
from upscore.data import Dataset, Survey
from upscore.data.classes import read_mapping
from upscore.data.progress import progress_bar
from upscore.errors import ArgumentError, DataError
from upscore.evaluation import metrics
from upscore.evaluation.confusion import confusion_of
from upscore.inference.engines.torch import TorchEngine
from upscore.inference.segmenter import Segmenter
from upscore.io.atomic import make_folder, write_bytes
from upscore.models import FCN, Spec, preprocessing
from upscore.training.batches import batches, seeded, steps_per_epoch
from upscore.training.objective import (
    Objective,
    averaging,
    build_network,
    keep_depthwise_float32,
    median_frequency_weights,
    parameter_groups,
    precision,
    set_rates,
)
from upscore.training.recipe import RECIPES, Recipe
from upscore.training.run import Run


def train(
    data: str | Path,
    out: str | Path,
    recipe: str | Recipe = "default",
    *,
    layout: str | None = None,
    mapping: Any = None,
    skip: Collection[str | Path] = (),
    allow: Collection[str] = (),
    resume: bool = False,
    workers: int = 2,
    **changes: Any,
) -> Run:
    """Train a network on a folder of photos and masks.

    Args:
        data: a folder with a train and a val split; see `upscore.data.find` for layouts.
        out: the run's folder; its `best/` is what `upscore.Predictor` and `evaluate` take.
        recipe: a `Recipe`, or a name in `upscore.training.recipe.RECIPES`.
        layout, mapping, skip: as for `upscore.data.find`; the recipe may bring a mapping.
        allow: kinds of problems in the data to accept; see `upscore.data.check`.
        resume: go on with the run in `out`, to the weights it would have had without the stop.
        workers: processes that decode and augment photos.
        changes: fields of the recipe to change, such as `epochs=60`.

    Raises:
        DataError: the data cannot be used; files to skip are listed in `out/skip.txt`.
        RunError: `out` cannot be written, is nearly full, or holds another run.

    Example:
        >>> import upscore
        >>> run = upscore.train("photos", "runs/mine", epochs=60)  # doctest: +SKIP
        >>> upscore.Predictor("runs/mine")("photo.jpg").areas  # doctest: +SKIP
    """
    if isinstance(recipe, str):
        if recipe not in RECIPES:
            raise ArgumentError(f"no recipe {recipe!r}; there are {', '.join(RECIPES)}")
        recipe = RECIPES[recipe]
    if isinstance(mapping, str | Path):
        mapping = read_mapping(Path(mapping))
    recipe = replace(recipe, mapping=mapping or recipe.mapping, **changes)
    training, validation = (
        datasets.find(data, split, layout=layout, mapping=recipe.mapping, skip=skip)
        for split in ("train", "val")
    )
    survey = _survey(training, validation, allow, Path(out))
    return fit(recipe, survey, validation, out, resume=resume, workers=workers)


def fit(
    recipe: Recipe,
    survey: Survey,
    validation: Dataset,
    out: str | Path,
    *,
    resume: bool = False,
    workers: int = 2,
    save_every: int = 100,
) -> Run:
    """Train by a recipe on the photos of a survey; `train` without its looking around.

    Every draw is a function of the seed and the global step: a resumed run goes on as if it had
    never stopped, and the number of processes does not change what a step sees or does.
    """
    training = survey.dataset
    device = _process().device
    accelerator = Accelerator(
        cpu=not torch.accelerator.is_available(),
        mixed_precision=precision(recipe.precision, device),
    )
    rank, world = accelerator.process_index, accelerator.num_processes
    network = build_network(recipe, len(training.class_names))
    average = _averaged(network, recipe.ema).to(device)
    if device.type == "cpu":
        keep_depthwise_float32(network)
    spec = _spec(recipe, survey)
    model = Objective(
        network,
        recipe,
        mean=spec.mean,
        std=spec.std,
        class_weights=_class_weights(recipe, survey),
    )
    model = model.to(device).to(memory_format=torch.channels_last).train()
    optimizer = torch.optim.AdamW(parameter_groups(network, recipe))
    model, optimizer = accelerator.prepare(model, optimizer)

    epoch = steps_per_epoch(training, recipe)
    total = epoch * recipe.epochs
    run = Run(Path(out), recipe, training, main=accelerator.is_main_process)
    accelerator.wait_for_everyone()
    step = run.start(network, average, optimizer, accelerator.scaler, resume=resume)
    crops = batches(survey, recipe, range(step, total), rank=rank, world=world, workers=workers)
    averaged = cast(FCN, average.module)
    with run.progress(step, total) as advance:
        for images, target in crops:
            set_rates(optimizer, recipe, step / total)
            torch.manual_seed(seeded(recipe.seed, step))  # stochastic depth and dropout
            loss, count = model(images.to(device), target.to(device))
            count = accelerator.reduce(count, "sum").clamp_min(1)
            # The processes' gradients are averaged, but the loss is one sum over all their pixels.
            accelerator.backward(loss * (world / count))
            optimizer.step()
            optimizer.zero_grad()
            average.update_parameters(network)
            step += 1
            advance(accelerator.reduce(loss.detach(), "sum") / count)
            left, within = divmod(total - step, epoch)
            if within == 0 and left % recipe.evaluate_every == 0:
                scores = _validate(accelerator, averaged, spec, validation)
                if run.record(step // epoch, step, scores):
                    run.save("best", averaged, spec)
            if within == 0 or step % save_every == 0:
                run.save_state(step, network, average, optimizer, accelerator.scaler)
    run.save("last", averaged, spec)
    accelerator.end_training()
    return run


def _process() -> PartialState:
    """This process among those that train together."""
    # Without cpu=True, Accelerate leaves processes on CPUs unconnected.
    return PartialState(cpu=not torch.accelerator.is_available())


def _survey(training: Dataset, validation: Dataset, allow: Collection[str], out: Path) -> Survey:
    """Look into all files before the first step; if some are broken, say which to mend or skip."""
    main = _process().is_main_process
    with progress_bar(f"checking {training.split}", shown=main) as progress:
        survey = datasets.survey(training, against=[validation], allow=allow, progress=progress)
    with progress_bar(f"checking {validation.split}", shown=main) as progress:
        problems = [*survey.problems, *datasets.check(validation, allow=allow, progress=progress)]
    if not problems:
        return survey
    message = datasets.report(problems)
    skippable = datasets.skip_list(training, problems)
    if skippable:
        write_bytes(make_folder(out) / "skip.txt", skippable.encode())
        message += f"\nMend them, or leave them out with --skip {out / 'skip.txt'}"
    raise DataError(message)


def _averaged(network: FCN, decay: float) -> AveragedModel:
    """A copy of the network that will hold the average of its weights."""
    average = AveragedModel(network, multi_avg_fn=averaging(decay), use_buffers=True)
    return average.to(memory_format=torch.channels_last).eval().requires_grad_(False)


def _class_weights(recipe: Recipe, survey: Survey) -> Tensor | None:
    if recipe.class_weights == "none":
        return None
    return median_frequency_weights(survey.class_pixels)


def _validate(
    accelerator: Accelerator, network: FCN, spec: Spec, validation: Dataset
) -> metrics.Scores:
    """The scores on all validation photos, which the processes share out."""
    mine = range(accelerator.process_index, len(validation), accelerator.num_processes)
    segmenter = Segmenter(spec, TorchEngine(network, spec))
    with accelerator.autocast():
        counts, _ = confusion_of(segmenter, validation, mine)
    total = accelerator.reduce(torch.from_numpy(counts).to(accelerator.device), "sum")
    return metrics.scores(total.cpu().numpy())


def _spec(recipe: Recipe, survey: Survey) -> Spec:
    """What the checkpoint says of the network and of how to use it."""
    data = survey.dataset
    mean, std = preprocessing(recipe.encoder)
    return Spec(
        architecture=recipe.architecture,
        encoder=recipe.encoder,
        width=recipe.width,
        class_names=data.class_names,
        palette=data.palette,
        mean=mean,
        std=std,
        # Halfway between the photos' own size and the largest at which training shows them: small
        # things are found better when enlarged.
        long_side=round(survey.long_side * (1 + recipe.scale[1]) / 2),
        card={
            "data": data.root.name,
            "photos": len(data),
            "mapping": recipe.mapping,
            "recipe": asdict(recipe),
        },
    )
