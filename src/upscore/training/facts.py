"""What a survey says of a data set, in the numbers that a plan is made from."""

from dataclasses import dataclass
from functools import cached_property

import numpy as np

from upscore.data import Survey

RARE = 0.05  # of the pixels: a class below that is rare
SEEN = 1e-5  # of the pixels: a class below that in few photos is hardly there: it decides nothing
FEW = 8  # photos: too few to tell what chance explains


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
    def _there(self) -> list[int]:
        """The classes that decide something: seen well, or, however small, in several photos."""
        held = (self.survey.class_pixels > 0).sum(axis=0)
        several = max(2, self.photos // 10)
        return [i for i, share in enumerate(self.shares) if share > SEEN or held[i] >= several]

    @cached_property
    def rarest(self) -> tuple[str, float]:
        """The name and the share of the class with the fewest pixels, of those that are there."""
        share, i = min([(self.shares[i], i) for i in self._there], default=(1.0, 0))
        return self.survey.dataset.class_names[i], share

    @cached_property
    def thinnest(self) -> tuple[str, float]:
        """The class, but for the commonest, whose things are thinnest, and how thick they are.

        In pixels of photos of the median size; the lower quartile over photos. Where there are no
        things: no name, and as thick as photos are long.
        """
        sides = self.survey.sizes.max(axis=1, keepdims=True)
        scale = self.long_sides[1] / np.maximum(sides, 1) if self.grows_with_photos else 1.0
        thick = self.survey.thickness * scale
        found = []
        for i in self._there:
            values = thick[:, i][~np.isnan(thick[:, i])]
            if len(values) and i != self.commonest:
                name = self.survey.dataset.class_names[i]
                found.append((float(np.quantile(values, 0.25)), name))
        thickness, name = min(found, default=(float(self.long_sides[1]), ""))
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
    def may_have_an_up(self) -> bool:
        """Whether photos may be snapshots, which have an up and a down: most of them have colours.

        Grey photos are seldom snapshots, nor are measurements. Few are taken for snapshots too.
        """
        return self.photos < FEW or self.survey.colour.mean() > 0.5

    @cached_property
    def asymmetry(self) -> float:
        """How differently the classes fill the upper and the lower half, 0 to 1.

        Of the class that differs most: the pixels that one half has more than the other, as a share
        of all its pixels. The commonest class does not count, nor does what chance explains, as a
        few things lie higher or lower without a reason; but for photos that may have an up.
        """
        pixels = self.survey.class_pixels
        more = 2.0 * self.survey.upper_pixels - pixels  # of the upper half, in each photo
        chance = 0.0 if self.may_have_an_up else 2 * np.sqrt((more**2).sum(axis=0))
        per_class = np.abs(more.sum(axis=0)) - chance
        per_class = per_class.clip(0) / pixels.sum(axis=0).clip(1)
        others = [i for i in self._there if i != self.commonest]
        return float(per_class[others].max()) if others else 0.0
