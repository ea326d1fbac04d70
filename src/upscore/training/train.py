"""Training: a folder of photos and masks becomes a checkpoint."""

from collections.abc import Collection
from dataclasses import asdict, replace
from pathlib import Path
from typing import Any, cast

import torch
from accelerate import Accelerator, PartialState
from torch.optim.swa_utils import AveragedModel

from upscore import data as datasets
from upscore import metrics
from upscore.data import DataError, Dataset
from upscore.data.classes import read_mapping
from upscore.errors import ArgumentError
from upscore.evaluation.evaluate import confusion_of
from upscore.models import FCN, Spec, preprocessing
from upscore.training.batches import batches, per_epoch, seeded
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
        >>> upscore.Predictor("runs/mine")("photo.jpg").classes  # doctest: +SKIP
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
    _refuse_broken(training, validation, allow, Path(out))
    return fit(recipe, training, validation, out, resume=resume, workers=workers)


def fit(
    recipe: Recipe,
    training: Dataset,
    validation: Dataset,
    out: str | Path,
    *,
    resume: bool = False,
    workers: int = 2,
    save_every: int = 100,
) -> Run:
    """Train by a recipe on data that were found and checked; `train` without its looking around.

    Every draw is a function of the seed and the global step: a resumed run goes on as if it had
    never stopped, and the number of processes does not change what a step sees or does.
    """
    cpu = not torch.accelerator.is_available()  # else Accelerate leaves CPU processes unconnected
    device = PartialState(cpu=cpu).device
    accelerator = Accelerator(cpu=cpu, mixed_precision=precision(recipe.precision, device))
    world = accelerator.num_processes
    network = build_network(recipe, len(training.classes))
    average = AveragedModel(network, multi_avg_fn=averaging(recipe.ema), use_buffers=True)
    average = average.to(device).to(memory_format=torch.channels_last)
    average.eval().requires_grad_(False)
    spec = _spec(recipe, training)
    weights = None
    if recipe.class_weights == "sqrt-median":
        weights = median_frequency_weights(datasets.class_pixels(training))
    if device.type == "cpu":
        keep_depthwise_float32(network)
    model = Objective(network, recipe, spec, weights)
    model = model.to(device).to(memory_format=torch.channels_last).train()
    optimizer = torch.optim.AdamW(parameter_groups(network, recipe))
    model, optimizer = accelerator.prepare(model, optimizer)

    epoch = per_epoch(training, recipe)
    total = epoch * recipe.epochs
    run = Run(Path(out), recipe, training, main=accelerator.is_main_process)
    accelerator.wait_for_everyone()
    step = run.start(network, average, optimizer, accelerator.scaler, resume=resume)
    rank = accelerator.process_index
    crops = batches(training, recipe, range(step, total), rank=rank, world=world, workers=workers)
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
                mine = range(rank, len(validation), world)
                with accelerator.autocast():
                    counts, _ = confusion_of(cast(FCN, average.module), spec, validation, mine)
                counts = accelerator.reduce(torch.from_numpy(counts).to(device), "sum")
                scores = metrics.scores(counts.cpu().numpy())
                if run.record(step // epoch, step, scores):
                    run.save("best", average.module, spec)
            if within == 0 or step % save_every == 0:
                run.save_state(step, network, average, optimizer, accelerator.scaler)
    run.save("last", average.module, spec)
    accelerator.end_training()
    return run


def _refuse_broken(
    training: Dataset, validation: Dataset, allow: Collection[str], out: Path
) -> None:
    """Check all files before the first step, and say which to mend or skip."""
    problems = [
        *datasets.check(training, against=[validation], allow=allow),
        *datasets.check(validation, allow=allow),
    ]
    if not problems:
        return
    message = datasets.report(problems)
    skippable = datasets.skip_list(training, problems) + datasets.skip_list(validation, problems)
    if skippable:
        out.mkdir(parents=True, exist_ok=True)
        (out / "skip.txt").write_text(skippable, encoding="utf-8")
        message += f"\nMend them, or leave them out with --skip {out / 'skip.txt'}"
    raise DataError(message)


def _spec(recipe: Recipe, data: Dataset) -> Spec:
    mean, std = preprocessing(recipe.encoder)
    return Spec(
        architecture=recipe.architecture,
        encoder=recipe.encoder,
        width=recipe.width,
        classes=data.classes,
        palette=data.palette,
        mean=mean,
        std=std,
        # Halfway between the photos' own size and the largest at which training shows them: small
        # things are found better when enlarged.
        long_side=round(datasets.long_side(data) * (1 + recipe.scale[1]) / 2),
        card={
            "data": data.root.name,
            "photos": len(data),
            "mapping": recipe.mapping,
            "recipe": asdict(recipe),
        },
    )
