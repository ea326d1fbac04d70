"""The photos of each step of a run: they depend on seed, epoch and position alone."""

from collections.abc import Iterator

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor
from torch.utils.data import DataLoader
from torch.utils.data import Dataset as TorchDataset

from upscore.data import Survey, TrainTransform
from upscore.data.classes import VOID
from upscore.errors import ArgumentError
from upscore.training.decoded import Decoded
from upscore.training.recipe import Recipe


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
    """Augmented photos in the order of a run: item i is the i-th photo trained on.

    `among`: take the first so many photos alone.
    """

    def __init__(self, survey: Survey, recipe: Recipe, among: int | None = None) -> None:
        self.dataset, self.recipe, self.among = survey.dataset, recipe, among or len(survey)
        self.factors = repeat_factors(survey.class_pixels, recipe.repeat_rare)
        self.commonest = int(survey.class_pixels.sum(axis=0).argmax())
        others = np.delete(survey.class_pixels, self.commonest, axis=1)
        # Whether a photo holds a less common class.
        self.telling: NDArray[np.bool_] = np.asarray(others.any(axis=1))
        self.transform = TrainTransform(
            recipe.crop, recipe.scale, recipe.flip, recipe.colour, recipe.flip_ud, recipe.rotate
        )
        self._epoch, self._photos = -1, np.zeros(0, np.int64)
        self.decoded = Decoded(survey, recipe)

    def __getitem__(self, item: int) -> tuple[Tensor, Tensor]:
        epoch, position = divmod(item, len(self.dataset))
        photo = int(self._photos_of(epoch)[position])
        seed = seeded(self.recipe.seed, item)
        generator = np.random.default_rng(seed)
        focused = self.telling.any() and generator.random() < self.recipe.foreground
        if focused and not self.telling[photo]:
            weights = self.factors * self.telling
            photo = int(generator.choice(len(weights), p=weights / weights.sum()))
        (image, mask), by = self.decoded[photo % self.among]
        focus = self._focus(mask, generator) if focused else None
        return self.transform.by(by)(image, mask, torch.Generator().manual_seed(seed), focus)

    def _photos_of(self, epoch: int) -> NDArray[np.int64]:
        """An epoch's photos: drawn once by each process that loads them."""
        if epoch != self._epoch:
            generator = np.random.default_rng([self.recipe.seed, epoch])
            self._epoch, self._photos = epoch, drawn(self.factors, generator)
        return self._photos

    def _focus(
        self, mask: NDArray[np.uint8], generator: np.random.Generator
    ) -> tuple[int, int] | None:
        """A pixel that the crop shall hold: of a class drawn evenly from the less common ones.

        None where the mask has none any more, as shrinking took it away.
        """
        labels = np.unique(mask)
        labels = labels[(labels != VOID) & (labels != self.commonest)]
        if not len(labels):
            return None
        places = np.flatnonzero(mask == generator.choice(labels))
        row, column = divmod(int(generator.choice(places)), mask.shape[1])
        return row, column


def check_shared(size: int, world: int) -> None:
    """Raise ArgumentError where a batch cannot be shared evenly by several processes."""
    if size % world:
        raise ArgumentError(
            f"a batch of {size} photos cannot be shared evenly by {world} processes: choose a "
            f"multiple of {world} (--set batch_size={-(-size // world) * world})"
        )


def batches(
    survey: Survey,
    recipe: Recipe,
    steps: range,
    *,
    rank: int,
    world: int,
    workers: int,
    among: int | None = None,
) -> Iterator[tuple[Tensor, Tensor]]:
    """One process's share of the global batch of each step: every `world`-th photo."""
    size = recipe.batch_size
    check_shared(size, world)
    shares = [list(range(step * size + rank, (step + 1) * size, world)) for step in steps]
    loader = DataLoader(
        Crops(survey, recipe, among),
        batch_sampler=shares,
        num_workers=workers,
        pin_memory=torch.cuda.is_available(),
    )
    return iter(loader)
