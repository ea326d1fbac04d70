"""Which learning rate suits a run: tried by raising it step by step (Smith 2017)."""

from pathlib import Path

import numpy as np
from numpy.typing import NDArray

from upscore.data.progress import progress_bar
from upscore.errors import RunError
from upscore.io.atomic import replacing
from upscore.training.batches import batches
from upscore.training.losses import weight_of
from upscore.training.objective import autocast, learner
from upscore.training.plan import Plan, spec_of
from upscore.training.processes import process

STEPS = 60
LOWEST, HIGHEST = 1e-5, 0.3
SMOOTHING = 0.8  # of the running mean of the losses
FEWEST = 5  # losses that a curve is drawn through
DIVERGED = 3.0  # times the lowest loss: higher rates need not be tried


def find_rate(plan: Plan, picture: str | Path) -> float:
    """Raise the decoder's rate from step to step, draw the losses, and return a good rate.

    The encoder's rate keeps its ratio to the decoder's. The rate returned is the one at which the
    loss falls fastest, which suits as the peak of a run. Nothing of the training is kept.
    """
    rates, losses = _try_rates(plan)
    smooth = smoothed(losses)
    best = steepest(rates, smooth)
    with replacing(picture) as path:
        _draw(rates, losses, smooth, best, path)
    return best


def _try_rates(plan: Plan) -> tuple[NDArray[np.float64], NDArray[np.float64]]:
    recipe, survey, device = plan.recipe, plan.training, process().device
    model, optimizer = learner(recipe, spec_of(recipe, survey), survey, device)
    rates = np.geomspace(LOWEST, HIGHEST, STEPS)
    losses: list[float] = []
    crops = batches(survey, recipe, range(STEPS), rank=0, world=1, workers=0)
    with progress_bar("trying rates") as progress:
        for rate, (images, target) in zip(rates, crops, strict=True):
            for group in optimizer.param_groups:
                group["lr"] = rate * group["peak"] / recipe.decoder_rate
            target = target.to(device)
            with autocast(recipe, device):
                loss = model(images.to(device), target)
            loss = loss / weight_of(target, model.class_weights).clamp_min(1e-6)
            loss.backward()
            optimizer.step()
            optimizer.zero_grad()
            found = float(loss.detach())
            if not np.isfinite(found) or found > DIVERGED * min(losses, default=found):
                break
            losses.append(found)
            progress(len(losses), STEPS)
    if len(losses) < FEWEST:
        raise RunError(
            f"the loss diverges even at a rate of {LOWEST:g}: look at photos and masks "
            "(upscore check)"
        )
    return rates[: len(losses)], np.array(losses)


def smoothed(losses: NDArray[np.float64]) -> NDArray[np.float64]:
    """The running mean of losses, corrected for its start.

    >>> smoothed(np.array([2.0, 2.0, 2.0])).round(6).tolist()
    [2.0, 2.0, 2.0]
    """
    mean, found = 0.0, []
    for step, loss in enumerate(losses, 1):
        mean = SMOOTHING * mean + (1 - SMOOTHING) * loss
        found.append(mean / (1 - SMOOTHING**step))
    return np.array(found)


def steepest(rates: NDArray[np.float64], losses: NDArray[np.float64]) -> float:
    """The rate at which the loss falls fastest over the rate's logarithm, before its minimum."""
    end = max(2, int(np.nanargmin(losses)) + 1)
    slopes = np.gradient(losses[:end], np.log(rates[:end]))
    return float(rates[int(np.nanargmin(slopes))])


def _draw(
    rates: NDArray[np.float64],
    losses: NDArray[np.float64],
    smooth: NDArray[np.float64],
    best: float,
    path: Path,
) -> None:
    from matplotlib.figure import Figure

    figure = Figure(figsize=(6, 3.6), layout="constrained")
    axes = figure.subplots()
    axes.plot(rates, losses, ".", alpha=0.4, label="steps")
    axes.plot(rates, smooth, label="running mean")
    axes.axvline(best, color="tab:red", label=f"falls fastest: {best:.1e}")
    axes.set(xscale="log", xlabel="decoder's learning rate", ylabel="training loss")
    axes.legend()
    axes.grid(alpha=0.3)
    figure.savefig(path, dpi=120)
