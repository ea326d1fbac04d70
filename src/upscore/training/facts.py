"""What a survey says of a data set, in the numbers that a plan is made from."""

from dataclasses import dataclass
from functools import cached_property

import numpy as np

from upscore.data import Survey

RARE = 0.05  # of the pixels: a class below that is rare
SEEN = 1e-5  # of the pixels: a class below that is hardly there, and decides nothing


@dataclass(frozen=True)
class Facts:
    """The numbers of a survey, whether there is a GPU, and how many processes share a batch."""

    survey: Survey
    on_gpu: bool = False
    processes: int = 1

    @property
    def photos(self) -> int:
        """How many there are."""
        return len(self.survey)

    @property
    def classes(self) -> int:
        """How many classes."""
        return len(self.survey.dataset.class_names)

    @cached_property
    def long_sides(self) -> tuple[int, int, int]:
        """The photos' longer sides: nearly the smallest, the median and nearly the largest."""
        sides = self.survey.sizes.max(axis=1)
        low, median, high = np.quantile(sides[sides > 0], (0.05, 0.5, 0.95))
        return int(low), int(median), int(high)

    @cached_property
    def shares(self) -> list[float]:
        """The share of all pixels that each class has."""
        pixels = self.survey.class_pixels.sum(axis=0)
        return [float(share) for share in pixels / max(1, pixels.sum())]

    @cached_property
    def commonest(self) -> int:
        """The class with the most pixels."""
        return int(np.argmax(self.shares))

    @cached_property
    def rarest(self) -> tuple[str, float]:
        """The name and the share of the class with the fewest pixels, of those that are there."""
        found = [(share, i) for i, share in enumerate(self.shares) if share > SEEN]
        share, i = min(found, default=(1.0, 0))
        return self.survey.dataset.class_names[i], share

    @cached_property
    def thinnest(self) -> tuple[str, float]:
        """The class, but for the commonest, whose things are thinnest, and how thick they are.

        In pixels of photos of the median size; the lower quartile over photos.
        """
        sides = self.survey.sizes.max(axis=1, keepdims=True)
        scale = self.long_sides[1] / np.maximum(sides, 1) if self.grows_with_photos else 1.0
        thick = self.survey.thickness * scale
        found = []
        for i, name in enumerate(self.survey.dataset.class_names):
            values = thick[:, i][~np.isnan(thick[:, i])]
            if len(values) and self.shares[i] > SEEN and i != self.commonest:
                found.append((float(np.quantile(values, 0.25)), name))
        thickness, name = min(found, default=(float(self.long_sides[1]), "nothing"))
        return name, thickness

    @cached_property
    def grows_with_photos(self) -> bool:
        """Whether things are larger in larger photos, as they are in snapshots; not so in scans.

        From the slope of the things' thickness over the photos' sizes, both logarithms. Where the
        photos are nearly of one size it makes no difference.
        """
        low, _, high = self.long_sides
        if high < 1.3 * low:
            return True
        sides = np.log(self.survey.sizes.max(axis=1).clip(1))
        x, y = [], []
        for i in range(self.classes):
            values = self.survey.thickness[:, i]
            here = ~np.isnan(values) & (values > 0)
            if i != self.commonest and here.sum() > 1:
                logs = np.log(values[here])
                x.append(sides[here] - sides[here].mean())
                y.append(logs - logs.mean())
        if not x:
            return True
        across, up = np.concatenate(x), np.concatenate(y)
        slope = float((across * up).sum() / max(1e-9, (across**2).sum()))
        return slope > 0.5

    @cached_property
    def asymmetry(self) -> float:
        """How differently the classes fill the upper and the lower half, 0 to 1.

        Of the class that differs most: the pixels that one half has more than the other, as a share
        of all its pixels. The commonest class does not count.
        """
        upper = self.survey.upper_pixels.sum(axis=0)
        lower = self.survey.class_pixels.sum(axis=0) - upper
        per_class = np.abs(upper - lower) / np.maximum(upper + lower, 1)
        others = [i for i in range(self.classes) if i != self.commonest and self.shares[i] > SEEN]
        return float(per_class[others].max()) if others else 0.0
