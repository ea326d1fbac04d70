"""Coarse scores of a picture too large for one call of the network, area by area."""

from collections.abc import Sequence
from fractions import Fraction
from functools import cached_property
from math import prod
from typing import Any, Protocol

from upscore.arrays import as_numpy
from upscore.inference.blending import Area, Blended
from upscore.inference.context import WHOLE, context_of
from upscore.inference.ensemble import Ensemble
from upscore.inference.fusion import Coarse, fused
from upscore.inference.halo import halo_of
from upscore.inference.sampling import resampled, sampling
from upscore.inference.segmenter import Segmenter
from upscore.inference.shown import Photo, Shown, Span
from upscore.models.spec import COARSEST
from upscore.rasters.raster import Window

_LEAST_TILE = 2 * COARSEST
_TILE = 512  # of a network that does not say what size it was trained at


class Source(Protocol):
    """What gives the scores of any area of a picture.

    cells: how many rows and columns of scores there are.
    steps: height and width of a cell, in pixels of the picture.
    halos: pixels that the tiles of each view need around them; None of those without a number.
    """

    cells: tuple[int, int]
    steps: tuple[Fraction, Fraction]
    halos: tuple[int | None, ...]

    def scores(self, area: Area) -> Any:
        """Scores 1 x C x h x w; a cell's scores do not depend on the rest of the area."""


def source_of(segmenter: Segmenter, photo: Photo, ratio: float, tile: int | None) -> Source:
    """Return what gives the scores of a picture, shown at `ratio` times its size."""
    if isinstance(segmenter, Ensemble):
        voters = [source_of(voter, photo, ratio, tile) for voter in segmenter.voters]
        return _fused(sorted(voters, key=lambda source: prod(source.cells), reverse=True))
    scales = sorted(segmenter.augmentation.scales, key=lambda scale: abs(scale - 1))
    return _fused([View(segmenter, photo, ratio * scale, tile) for scale in scales])


class View:
    """A picture at one scale as one model sees it, with its mirror images."""

    def __init__(self, segmenter: Segmenter, photo: Photo, ratio: float, tile: int | None) -> None:
        self._segmenter, self._mirrors = segmenter, segmenter.augmentation.mirrors
        self._stride = segmenter.spec.stride
        self.shown = Shown(photo, self._stride, ratio)
        height, width = (-(-side // self._stride) for side in self.shown.size)
        self.cells = height, width
        tall, wide = (
            Fraction(self._stride * side, shown)
            for side, shown in zip(photo.size, self.shown.size, strict=True)
        )
        self.steps = tall, wide
        self._halo = halo_of(segmenter)
        self.halos: tuple[int | None, ...] = (self._halo,)
        if self._halo is None:
            known = segmenter.spec.long_side or _TILE
            side = max(_LEAST_TILE, round(tile * ratio) if tile else known)
            side = -(-side // COARSEST) * COARSEST
            self._blended = Blended(self._seen, self.shown.padded, self._stride, side)

    def scores(self, area: Area) -> Any:
        """The scores of the cells in an area."""
        halo = self._halo
        if halo is None:
            return self._blended(area)
        height, width = self.shown.padded
        if height * width <= WHOLE:
            return self._whole[(..., *(slice(*cells) for cells in area))]
        rows, columns = (
            _around(cells, self._stride, halo, size)
            for cells, size in zip(area, self.shown.padded, strict=True)
        )
        scores = self._seen((rows, columns))
        y, x = (
            slice(cells[0] - pixels[0] // self._stride, cells[1] - pixels[0] // self._stride)
            for cells, pixels in zip(area, (rows, columns), strict=True)
        )
        return scores[..., y, x]

    def _seen(self, area: Area) -> Any:
        """The scores of an area, in pixels, by one call of the network for each mirror image."""
        (top, bottom), (left, right) = area
        pixels = self.shown.read(Window(top, left, bottom - top, right - left))[None]
        seen = [
            self._segmenter.seen(pixels, axes, context)
            for axes, context in zip(self._mirrors, self._contexts, strict=True)
        ]
        scores = fused(Coarse(scores, scores.shape[2:], None) for scores in seen).scores
        return scores if self._halo is not None else as_numpy(scores)

    @cached_property
    def _whole(self) -> Any:
        """All scores, of a picture that fits one call of the network."""
        height, width = self.shown.padded
        return self._seen(((0, height), (0, width)))

    @cached_property
    def _contexts(self) -> list[Sequence[Any]]:
        """What global poolings find in each mirror image; () where that is left to every tile."""
        if self._halo is None:
            return [() for _ in self._mirrors]
        return [context_of(self._segmenter, self.shown, axes) for axes in self._mirrors]


class Fused:
    """Several sources as one, on the grid of the first: each has a vote, by its probabilities."""

    def __init__(self, sources: Sequence[Source]) -> None:
        self._sources = sources
        self.cells, self.steps = sources[0].cells, sources[0].steps
        self.halos = tuple(halo for source in sources for halo in source.halos)

    def scores(self, area: Area) -> Any:
        """The scores of the cells in an area."""
        found = (self._of(source, area) for source in self._sources)
        return fused(Coarse(scores, scores.shape[2:], None) for scores in found).scores

    def _of(self, source: Source, area: Area) -> Any:
        """The scores of one source at the centres of the first one's cells."""
        if (source.cells, source.steps) == (self.cells, self.steps):
            return source.scores(area)
        at = [
            sampling(cells[0], cells[1] - cells[0], count, theirs / ours)
            for cells, count, theirs, ours in zip(
                area, source.cells, source.steps, self.steps, strict=True
            )
        ]
        scores = source.scores(((at[0].begin, at[0].end), (at[1].begin, at[1].end)))
        scores = as_numpy(scores)
        for axis, cells, places in zip((2, 3), area, at, strict=True):
            scores = resampled(scores, axis, cells[1] - cells[0], places)
        return scores


def _fused(sources: Sequence[Source]) -> Source:
    return sources[0] if len(sources) == 1 else Fused(sources)


def _around(cells: Span, stride: int, halo: int, size: int) -> Span:
    """The pixels that cells need: in whole cells of 32, with the halo, as far as the picture."""
    begin = cells[0] * stride // COARSEST * COARSEST - halo
    end = -(-cells[1] * stride // COARSEST) * COARSEST + halo
    return max(begin, 0), min(end, size)
