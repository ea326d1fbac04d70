"""The photos of each step of a run: they depend on seed, epoch and position alone."""

from collections.abc import Iterator

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor
from torch.utils.data import DataLoader
from torch.utils.data import Dataset as TorchDataset

from upscore.data import Dataset, Survey, TrainTransform
from upscore.errors import ArgumentError
from upscore.training.recipe import Recipe


def steps_per_epoch(dataset: Dataset, recipe: Recipe) -> int:
    """Steps in an epoch; photos that would not fill a batch wait for the next shuffle."""
    return max(1, len(dataset) // recipe.batch_size)


def seeded(*numbers: int) -> int:
    """One well-mixed seed from several small numbers."""
    return int(np.random.SeedSequence(numbers).generate_state(1, np.uint64)[0] >> 1)


def repeat_factors(class_pixels: NDArray[np.int64], threshold: float) -> NDArray[np.float64]:
    """How often to show each photo, relative to one of common classes, from N x C pixel counts.

    A class in a share f of the photos asks for max(1, sqrt(threshold / f)), and a photo gets what
    its rarest class asks for (LVIS, Gupta et al. 2019). A threshold of 0 treats all photos alike.
    """
    present = class_pixels > 0
    share = present.mean(axis=0).clip(1 / len(class_pixels))
    wanted = np.sqrt(threshold / share).clip(1)
    return np.asarray(np.where(present, wanted, 1.0).max(axis=1))


def drawn(factors: NDArray[np.float64], generator: np.random.Generator) -> NDArray[np.int64]:
    """The photos of one epoch, shuffled: as many as there are; factors of 1 give each once."""
    ends = np.floor(factors.cumsum() * (len(factors) / factors.sum()) + generator.random())
    times = np.diff(ends, prepend=0).astype(int)
    return generator.permutation(np.repeat(np.arange(len(factors)), times))


class Crops(TorchDataset[tuple[Tensor, Tensor]]):
    """Augmented photos in the order of a run: item i is the i-th photo trained on."""

    def __init__(self, survey: Survey, recipe: Recipe) -> None:
        self.dataset, self.seed = survey.dataset, recipe.seed
        self.per_epoch = steps_per_epoch(self.dataset, recipe) * recipe.batch_size
        self.factors = repeat_factors(survey.class_pixels, recipe.repeat_rare)
        self.transform = TrainTransform(recipe.crop, recipe.scale, recipe.flip, recipe.colour)
        self._epoch, self._photos = -1, np.zeros(0, np.int64)

    def __getitem__(self, item: int) -> tuple[Tensor, Tensor]:
        epoch, position = divmod(item, self.per_epoch)
        photos = self._photos_of(epoch)
        image, mask = self.dataset.read(int(photos[position % len(photos)]))
        generator = torch.Generator().manual_seed(seeded(self.seed, item))
        return self.transform(image, mask, generator)

    def _photos_of(self, epoch: int) -> NDArray[np.int64]:
        """An epoch's photos: drawn once by each process that loads them."""
        if epoch != self._epoch:
            generator = np.random.default_rng([self.seed, epoch])
            self._epoch, self._photos = epoch, drawn(self.factors, generator)
        return self._photos


def batches(
    survey: Survey, recipe: Recipe, steps: range, *, rank: int, world: int, workers: int
) -> Iterator[tuple[Tensor, Tensor]]:
    """One process's share of the global batch of each step: every `world`-th photo."""
    size = recipe.batch_size
    if size % world:
        raise ArgumentError(
            f"a batch of {size} photos cannot be shared evenly by {world} processes"
        )
    shares = [list(range(step * size + rank, (step + 1) * size, world)) for step in steps]
    loader = DataLoader(
        Crops(survey, recipe),
        batch_sampler=shares,
        num_workers=workers,
        pin_memory=torch.cuda.is_available(),
    )
    return iter(loader)
