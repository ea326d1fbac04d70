"""Training: a folder of photos and masks becomes a checkpoint."""

from collections.abc import Collection, Mapping, Sequence
from dataclasses import asdict, replace
from functools import partial
from pathlib import Path
from typing import Any, cast

import numpy as np
import torch
from accelerate import Accelerator
from PIL.Image import Image
from torch.optim.swa_utils import AveragedModel

from upscore.data import Dataset, Patterns, Survey
from upscore.data.classes import read_mapping
from upscore.data.holdout import digests
from upscore.evaluation import metrics
from upscore.evaluation.confusion import confusion_of
from upscore.inference.engines.torch import TorchEngine
from upscore.inference.segmenter import Segmenter
from upscore.models import FCN, Spec
from upscore.training import loggers
from upscore.training.batches import batches, seeded
from upscore.training.machines import keeps, require_alike, several, share_run
from upscore.training.objective import averaging, gradients, learner, precision, set_rates
from upscore.training.plan import plan, spec_of
from upscore.training.processes import by_each, process, share_buffers
from upscore.training.reading import Reading, require_same
from upscore.training.recipe import Recipe
from upscore.training.run import Run, require_new
from upscore.training.selection import select
from upscore.training.sheet import draw_sheet
from upscore.training.sizes import spread
from upscore.training.timing import WORKERS
from upscore.version import __version__


def train(
    data: str | Path,
    out: str | Path,
    recipe: str | Recipe | None = None,
    *,
    time: str | float | None = None,
    layout: str | Patterns | None = None,
    mapping: Any = None,
    skip: Collection[str | Path] = (),
    allow: Collection[str] = (),
    group_by: str | None = None,
    fold: str | None = None,
    resume: bool = False,
    workers: int = WORKERS,
    log: Sequence[str] = ("tensorboard",),
    show: bool = True,
    **changes: Any,
) -> Run:
    """Plan a training run from a folder of photos and masks, and follow the plan.

    Args:
        data: the folder; see `upscore.data.find` for layouts. Where it has no "val", a part of
            "train" is held out; "test" is only compared with it, to find photos that are in both.
        out: the run's folder; its `best/` is what `upscore.Predictor` and `evaluate` take.
        recipe: as for `upscore.plan`.
        time: as for `upscore.plan`.
        layout: as for `upscore.data.find`.
        mapping: as for `upscore.data.find`; the recipe may bring one.
        skip: as for `upscore.data.find`.
        allow: as for `upscore.plan`.
        group_by: as for `upscore.plan`.
        fold: as for `upscore.plan`.
        resume: go on with the run in `out`, by its own plan, to the weights it would have had
            without the stop. How its data are read is kept with it and need not be said again.
        workers: processes that decode and augment photos.
        log: where scores and pictures are noted too: "tensorboard", "wandb", "mlflow", ...; one
            that is not installed is an error.
        show: print the plan on standard error.
        **changes: fields of the recipe to set, such as `steps=2000`; see
            `upscore.training.recipe.Recipe`.

    Returns:
        The finished run: `folder` holds its files, `best` is the mIoU that the weights in `best/`
        had when training validated them, `history` has the rows of metrics.csv.

    Raises:
        DataError: the data cannot be used; files to skip are listed in `out/skip.txt`.
        RunError: `out` cannot be written, is nearly full, or holds another run; what is said again
            of the data differs from what the run began with.
        ArgumentError: no such recipe, field or logger, or a value that cannot be.

    Examples:
        >>> import upscore
        >>> run = upscore.train("photos", "runs/mine", time="20m")  # doctest: +SKIP
        >>> upscore.Predictor("runs/mine")("photo.jpg").areas  # doctest: +SKIP
    """
    out = Path(out)
    asked = {"recipe": recipe, "changes to the recipe": changes, "time": time, "resume": resume}
    require_alike({"version of upscore": __version__} | asked)
    if resume:
        share_run(out)
    reading = Reading.of(
        {"layout": layout, "skip": skip, "allow": allow, "group_by": group_by, "fold": fold}
    )
    begun = resume and (out / "plan.json").is_file()

    def begin() -> tuple[str | Recipe | None, Reading, Any]:
        loggers.checked(log)  # now, not after the plan
        require_new(out, resume)
        given = read_mapping(Path(mapping)) if isinstance(mapping, str | Path) else mapping
        if not begun:
            return recipe, reading, given
        first, kept = Run.begun_with(out)
        mine = asdict(kept) | {"mapping": first.mapping}
        require_same(out, mine, asdict(reading) | {"mapping": given})
        return first, kept, None  # the recipe has the mapping

    recipe, reading, mapping = by_each(begin)
    made = plan(
        data,
        recipe=recipe,
        time=None if begun else time,
        mapping=mapping,
        out=out,
        workers=workers,
        **vars(reading),
        **changes,
    )
    if show and process().is_main_process:
        made.print()
    about = made.to_dict() | asdict(reading)
    return fit(
        made.recipe,
        made.training,
        made.validation,
        out,
        about=about,
        resume=resume,
        workers=workers,
        log=log,
    )


def fit(
    recipe: Recipe,
    training: Survey,
    validation: Dataset | None,
    out: str | Path,
    *,
    about: Mapping[str, Any] | None = None,
    resume: bool = False,
    workers: int = WORKERS,
    save_every: int = 100,
    log: Sequence[str] = ("tensorboard",),
) -> Run:
    """Train by a recipe on the photos of a survey; `train` without its looking around.

    Every draw is a function of the seed and the global step: a resumed run goes on as if it had
    never stopped, and the number of processes does not change what a step sees, nor what it does
    but for the overlap losses, which each process takes of its own share.
    """
    device = process().device
    accelerator = Accelerator(
        cpu=not torch.accelerator.is_available(),
        mixed_precision=precision(recipe.precision, device),
        log_with=loggers.checked(log) or None,
        project_dir=str(out),
    )
    rank, world = accelerator.process_index, accelerator.num_processes
    spec = spec_of(recipe, training)
    parts = _parts(training.dataset, validation, (about or {}).get("fold"))
    spec = replace(spec, card={**spec.card, **parts})
    if validation is not None and recipe.validation_photos:
        validation = spread(validation, recipe.validation_photos)
    model, optimizer = learner(recipe, spec, training, device)
    network, weights = model.network, model.class_weights
    average = _averaged(network, recipe.ema).to(device)
    averaged = cast(FCN, average.module)
    model, optimizer = accelerator.prepare(model, optimizer)

    run = Run(Path(out), recipe, training.dataset, about or {}, main=keeps(Path(out)))
    accelerator.wait_for_everyone()
    total, apart = recipe.steps, several()
    known: dict[str, metrics.Counts] = {}  # of the validations of "best" and "last"
    start = partial(run.start, network, average, optimizer, accelerator.scaler, resume=resume)
    step = by_each(start)
    accelerator.init_trackers("tensorboard")
    crops = batches(training, recipe, range(step, total), rank=rank, world=world, workers=workers)
    with run.progress(step, total) as advance:
        for images, target in crops:
            if run.stale(recipe.patience):
                break
            set_rates(optimizer, recipe, (step + 0.5) / total)
            torch.manual_seed(seeded(recipe.seed, step))  # stochastic depth and dropout
            loss = gradients(
                accelerator, model, images.to(device), target.to(device), recipe, weights
            )
            optimizer.step()
            optimizer.zero_grad()
            average.update_parameters(network)
            step += 1
            advance(loss)
            scored = step == total or step % recipe.evaluate_every == 0
            saved = scored or step % save_every == 0
            if saved and apart:
                share_buffers(network, average)
            if scored:
                scores = picture = None
                if validation is not None:
                    known["last"] = _validate(accelerator, averaged, spec, validation)
                    scores = metrics.pooled(known["last"])
                    picture = _sheet(run, averaged, spec, validation)
                if run.record(step, scores):
                    run.save("best", averaged, spec)
                    if "last" in known:
                        known["best"] = known["last"]
                loggers.note(accelerator, run.history[-1], picture, step)
            if saved:
                run.save_state(step, network, average, optimizer, accelerator.scaler)
    if validation is None:
        run.save("last", averaged, spec)
    else:
        accelerator.wait_for_everyone()
        select(run, averaged, spec, validation, weights, partial(_validate, accelerator), known)
    accelerator.end_training()
    return run


def _parts(training: Dataset, validation: Dataset | None, fold: str | None) -> dict[str, Any]:
    """What tells an evaluation which photos were not learned from: the names of those held out.

    Digests of some tell the photos from others of the same names.
    """
    if validation is not None and validation.split == "val":  # the data's own
        return {"digests": digests(training.samples)}
    held = validation.samples if validation else ()
    names = [sample.name for sample in held]
    return {"held_out": names, "fold": fold, "digests": digests(held or training.samples)}


def _averaged(network: FCN, decay: float) -> AveragedModel:
    """A copy of the network that will hold the average of its weights."""
    average = AveragedModel(network, multi_avg_fn=averaging(decay), use_buffers=True)
    return average.to(memory_format=torch.channels_last).eval().requires_grad_(False)


def _validate(
    accelerator: Accelerator, network: FCN, spec: Spec, validation: Dataset
) -> metrics.Counts:
    """The counts of all validation photos, N x C x 3; the processes share the photos out."""
    counts = np.zeros((len(validation), len(spec.class_names), 3), np.int64)
    mine = range(accelerator.process_index, len(validation), accelerator.num_processes)
    segmenter = Segmenter(spec, TorchEngine(network, spec))
    with accelerator.autocast():
        _, counts[mine.start :: mine.step] = confusion_of(segmenter, validation, mine)
    total = accelerator.reduce(torch.from_numpy(counts).to(accelerator.device), "sum")
    return cast(metrics.Counts, total.cpu().numpy())


def _sheet(run: Run, network: FCN, spec: Spec, validation: Dataset) -> Image | None:
    """Draw the sheet of validation photos, in the main process alone."""
    if not run.main:
        return None
    sheet = draw_sheet(Segmenter(spec, TorchEngine(network, spec)), validation)
    run.save_picture("validation.jpg", sheet)
    return sheet
