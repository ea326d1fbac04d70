"""The photos that each step of a run sees: a function of seed, epoch and position alone."""

from collections.abc import Iterator

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor
from torch.utils.data import DataLoader
from torch.utils.data import Dataset as TorchDataset

from upscore.data import Dataset, TrainTransform, class_pixels
from upscore.errors import ArgumentError
from upscore.training.recipe import Recipe


def per_epoch(data: Dataset, recipe: Recipe) -> int:
    """Steps in an epoch; photos that would not fill a batch wait for the next shuffle."""
    return max(1, len(data) // recipe.batch_size)


def seeded(*numbers: int) -> int:
    """One well-mixed seed from several small numbers."""
    return int(np.random.SeedSequence(numbers).generate_state(1, np.uint64)[0] >> 1)


def repeat_factors(pixels: NDArray[np.int64], threshold: float) -> NDArray[np.float64]:
    """How often to show each photo, relative to one of common classes, from pixels by class.

    A class in a share f of the photos asks for max(1, sqrt(threshold / f)), and a photo gets what
    its rarest class asks for (LVIS, Gupta et al. 2019). A threshold of 0 treats all photos alike.
    """
    present = pixels > 0
    share = present.mean(axis=0).clip(1 / len(pixels))
    wanted = np.sqrt(threshold / share).clip(1)
    return np.asarray(np.where(present, wanted, 1.0).max(axis=1))


def drawn(factors: NDArray[np.float64], generator: np.random.Generator) -> NDArray[np.int64]:
    """A shuffled epoch of as many places as photos; factors of 1 give each photo once."""
    ends = np.floor(factors.cumsum() * (len(factors) / factors.sum()) + generator.random())
    times = np.diff(ends, prepend=0).astype(int)
    return generator.permutation(np.repeat(np.arange(len(factors)), times))


class Crops(TorchDataset[tuple[Tensor, Tensor]]):
    """Augmented photos by place: place p of a run is the p-th photo trained on."""

    def __init__(self, data: Dataset, recipe: Recipe) -> None:
        self.data, self.seed = data, recipe.seed
        self.per_epoch = per_epoch(data, recipe) * recipe.batch_size
        counts = class_pixels(data) if recipe.repeat_rare else np.ones((len(data), 1), int)
        self.factors = repeat_factors(counts, recipe.repeat_rare)
        self.transform = TrainTransform(recipe.crop, recipe.scale, recipe.flip, recipe.colour)

    def __getitem__(self, place: int) -> tuple[Tensor, Tensor]:
        epoch, position = divmod(place, self.per_epoch)
        order = drawn(self.factors, np.random.default_rng([self.seed, epoch]))
        image, mask = self.data.read(int(order[position % len(order)]))
        generator = torch.Generator().manual_seed(seeded(self.seed, place))
        return self.transform(image, mask, generator)


def batches(
    data: Dataset, recipe: Recipe, steps: range, *, rank: int, world: int, workers: int
) -> Iterator[tuple[Tensor, Tensor]]:
    """One process's share of the global batch of each step: every `world`-th photo."""
    size = recipe.batch_size
    if size % world:
        raise ArgumentError(
            f"a batch of {size} photos cannot be shared evenly by {world} processes"
        )
    shares = [list(range(step * size + rank, (step + 1) * size, world)) for step in steps]
    loader = DataLoader(
        Crops(data, recipe),
        batch_sampler=shares,
        num_workers=workers,
        pin_memory=torch.cuda.is_available(),
    )
    return iter(loader)
