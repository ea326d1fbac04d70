"""How long a step and a validation take here: measured before a run, to plan its length."""

import math
import re
import time
from typing import Any, NamedTuple

import numpy as np
import torch
from accelerate.utils import reduce

from upscore.data import Dataset, Survey
from upscore.errors import ArgumentError
from upscore.images import size
from upscore.inference.engines.torch import TorchEngine
from upscore.inference.segmenter import Segmenter
from upscore.models import Spec
from upscore.training.batches import batches
from upscore.training.decoded import Decoded
from upscore.training.objective import Objective, autocast, learner
from upscore.training.processes import of_all, process
from upscore.training.recipe import Recipe

_STEPS, _WARM = 12, 4  # steps that are timed, and the first of them that do not count
_PHOTOS = 3  # that are scored, or read
_KEPT = 4  # photos that timed steps are taken from where photos stay in memory
WORKERS = 2  # processes that decode photos, if the user asks for no others
_UNITS = {"s": 1.0, "m": 60.0, "h": 3600.0}


class Timing(NamedTuple):
    """Seconds that a step of training and the validation of one photo take, and what comes once.

    `once` is what the first step and the first photo took beyond that: where kernels are not
    compiled yet, most of it is the compiler's. `decoding` is what reading all photos takes, where
    they are read once in a run and not in each step.
    """

    step: float
    photo: float
    once: float = 0.0
    decoding: float = 0.0


def seconds_of(duration: str | float) -> float:
    """The seconds that "90s", "20m", "1.5h" or a number mean.

    >>> seconds_of("20m"), seconds_of(90)
    (1200.0, 90.0)
    """
    match = re.fullmatch(r"\s*(\d+(?:\.\d+)?)\s*([smh]?)\s*", str(duration))
    if match is None or float(match[1]) == 0:
        raise ArgumentError(f"time is {duration!r}; expected seconds, or 90s, 20m, 1.5h")
    return float(match[1]) * _UNITS[match[2] or "s"]


def measure(
    recipe: Recipe,
    spec: Spec,
    survey: Survey,
    validation: Dataset,
    device: torch.device,
    workers: int = WORKERS,
) -> Timing:
    """Take some steps of a run, with its own photos, and label some photos; nothing is kept.

    All processes do it at once, each with its share of a batch; the times of the slowest count.
    """
    model, optimizer = learner(recipe, spec, survey, device)
    keeps = Decoded(survey, recipe).keeps
    # Where photos are decoded once, most steps of a run find them in memory, as these shall.
    among = min(_KEPT, len(survey)) if keeps else None
    state = process()
    rank, world = state.process_index, state.num_processes
    # Loaded as in the run: on few cores, decoding takes its time from the network's.
    options: Any = {"rank": rank, "world": world, "workers": workers, "among": among}
    begun = started = time.perf_counter()
    first = 0.0
    for step, (images, target) in enumerate(batches(survey, recipe, range(_STEPS), **options)):
        if step == _WARM:
            begun = time.perf_counter()
        for photos, masks in zip(
            images.chunk(recipe.accumulate), target.chunk(recipe.accumulate), strict=True
        ):
            with autocast(recipe, device):
                loss = model(photos.to(device), masks.to(device))
            loss.backward()
        if world > 1:
            _sum_gradients(model)
        optimizer.step()
        optimizer.zero_grad()
        if device.type == "cuda":
            torch.cuda.synchronize()
        first = first or time.perf_counter() - started
    seconds = (time.perf_counter() - begun) / (_STEPS - _WARM)
    photo, first_photo = _photo_seconds(model, recipe, spec, validation)
    once = max(0.0, first - seconds) + first_photo - photo
    decoding = _reading_seconds(survey) * len(survey) if keeps else 0.0
    return Timing(*map(max, zip(*of_all((seconds, photo, once, decoding)), strict=True)))


def _reading_seconds(survey: Survey) -> float:
    """Seconds that it takes to read a photo and its mask."""
    begun, some = time.perf_counter(), min(_PHOTOS, len(survey))
    for i in range(some):
        survey.dataset.read(i)
    return (time.perf_counter() - begun) / some


def _sum_gradients(model: Objective) -> None:
    """Take the time that processes need to exchange their gradients; the sum is not used."""
    found = [p.grad.flatten() for p in model.parameters() if p.grad is not None]
    reduce(torch.cat(found), "sum")


def _of_mean_size(photos: Dataset) -> list[int]:
    """Some fifty photos, those first that have about as many pixels as their mean."""
    some = range(0, len(photos), -(-len(photos) // 50))
    pixels = {i: math.prod(size(photos.samples[i].image)) for i in some}
    mean = sum(pixels.values()) / len(pixels)
    return sorted(some, key=lambda i: abs(pixels[i] - mean))


def _photo_seconds(
    model: Objective, recipe: Recipe, spec: Spec, photos: Dataset
) -> tuple[float, float]:
    """Seconds that one photo of a validation takes, and that the first one took."""
    network = model.network.eval()
    segmenter = Segmenter(spec, TorchEngine(network, spec))
    times = []
    device = next(network.parameters()).device
    for i in _of_mean_size(photos)[:_PHOTOS]:
        begun = time.perf_counter()
        photo, _ = photos.read(i)
        with autocast(recipe, device):
            segmenter.labels(photo)
        times.append(time.perf_counter() - begun)
    usual = float(np.median(times or [0.0]))
    return usual, max([usual, *times[:1]])
