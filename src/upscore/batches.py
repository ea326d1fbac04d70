"""The photos that each step of a run sees: a function of seed, epoch and position alone."""

from collections.abc import Iterator

import numpy as np
import torch
from torch import Tensor
from torch.utils.data import DataLoader
from torch.utils.data import Dataset as TorchDataset

from upscore.data import Dataset, TrainTransform
from upscore.recipes import Recipe


def per_epoch(data: Dataset, recipe: Recipe) -> int:
    """Steps in an epoch; photos that would not fill a batch wait for the next shuffle."""
    return max(1, len(data) // recipe.batch_size)


def seeded(*numbers: int) -> int:
    """One well-mixed seed from several small numbers."""
    return int(np.random.SeedSequence(numbers).generate_state(1, np.uint64)[0] >> 1)


class Crops(TorchDataset[tuple[Tensor, Tensor]]):
    """Augmented photos by place: place p of a run is the p-th photo trained on."""

    def __init__(self, data: Dataset, recipe: Recipe) -> None:
        self.data, self.seed = data, recipe.seed
        self.per_epoch = per_epoch(data, recipe) * recipe.batch_size
        self.transform = TrainTransform(recipe.crop, recipe.scale, recipe.flip, recipe.colour)

    def __getitem__(self, place: int) -> tuple[Tensor, Tensor]:
        epoch, position = divmod(place, self.per_epoch)
        order = np.random.default_rng([self.seed, epoch]).permutation(len(self.data))
        image, mask = self.data.read(int(order[position % len(order)]))
        generator = torch.Generator().manual_seed(seeded(self.seed, place))
        return self.transform(image, mask, generator)


def batches(
    data: Dataset, recipe: Recipe, steps: range, *, rank: int, world: int, workers: int
) -> Iterator[tuple[Tensor, Tensor]]:
    """One process's share of the global batch of each step: every `world`-th photo."""
    size = recipe.batch_size
    if size % world:
        raise ValueError(f"a batch of {size} photos cannot be shared evenly by {world} processes")
    shares = [list(range(step * size + rank, (step + 1) * size, world)) for step in steps]
    loader = DataLoader(
        Crops(data, recipe),
        batch_sampler=shares,
        num_workers=workers,
        pin_memory=torch.cuda.is_available(),
    )
    return iter(loader)
