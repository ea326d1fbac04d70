"""Masks as runs of pixels, and what can be had from them without a pixel being looked at."""

import operator
from collections.abc import Iterator
from functools import cached_property
from itertools import pairwise
from typing import Any

import numpy as np
from numpy.typing import NDArray

from upscore.arrays import framework
from upscore.errors import ArgumentError, MissingPackageError
from upscore.heads.masks.rle import lengths_of, packed
from upscore.heads.masks.sampling import Indices
from upscore.kernels import NUMBA_IS_INSTALLED


class Masks:
    """Masks at full resolution, kept as runs of pixels down their columns.

    `len(masks)` is their number, `masks[3]` one of them as H x W bool, `masks[2:5]`,
    `masks[[4, 0]]` and `masks[keep]`, where `keep` is an array or tensor of bools, some of them as
    `Masks`. Arrays are of the framework of the scores they come from, and on their device.
    `upscore.masks` makes one.

    Args:
        size: height and width.
        runs: R x 2 whole numbers; see the property of that name.
        offsets: N + 1 int64; the runs of mask i are `runs[offsets[i] : offsets[i + 1]]`.
        like: an array or tensor; what the masks give out is like it. NumPy arrays if not given.
        stability: N float32, what `stability` returns.
    """

    def __init__(
        self,
        size: tuple[int, int],
        runs: Any,
        offsets: Indices,
        *,
        like: Any = None,
        stability: NDArray[np.float32] | None = None,
    ) -> None:
        self.size, self._found, self.offsets = size, runs, offsets
        self._like = np.empty(0) if like is None else like
        self._stability = stability

    def __len__(self) -> int:
        return len(self.offsets) - 1

    def __repr__(self) -> str:
        return f"<{len(self)} masks of {self.size[0]} x {self.size[1]}, {self.offsets[-1]} runs>"

    def __iter__(self) -> Iterator[Any]:
        return (self[i] for i in range(len(self)))

    def __getitem__(self, which: Any) -> Any:
        try:
            number = operator.index(which)
        except TypeError:
            return self._some(self._numbers("an index", which))
        return self._some(self._numbers("an index", [number])).dense()[0]

    def _numbers(self, name: str, which: Any) -> Indices:
        """The numbers of the masks that an index means."""
        if isinstance(which, list | tuple | range):
            which = np.asarray(which, None if len(which) else np.int64)
        if not isinstance(which, slice):
            which = framework(which, name).numpy(which)
        numbers: Indices = np.arange(len(self))[which]
        if numbers.ndim != 1:
            raise ArgumentError(f"{name} must have one dimension, not {which.ndim}")
        return np.ascontiguousarray(numbers)  # a slice may go backwards

    def _some(self, masks: Indices) -> "Masks":
        lengths = np.diff(self.offsets)[masks]
        offsets = np.append(0, np.cumsum(lengths))
        runs = np.arange(offsets[-1]) + np.repeat(self.offsets[masks] - offsets[:-1], lengths)
        stability = None if self._stability is None else self._stability[masks]
        return Masks(self.size, self.runs[runs], offsets, like=self._like, stability=stability)

    @cached_property
    def runs(self) -> Indices:
        """R x 2 int64, the first pixel of each run and the one after its last.

        Pixel (y, x) is number `x * height + y`. Runs of a mask ascend and do not touch.
        """
        return framework(self._found).numpy(self._found)

    @property
    def areas(self) -> Any:
        """N int64: the pixels of each mask."""
        return self._placed(self._areas.copy())

    @property
    def boxes(self) -> Any:
        """N x 4 int64: left, top, right, bottom; `mask[top:bottom, left:right]` is all of it.

        torchvision's `masks_to_boxes` and Segment Anything count the last pixel in (subtract 1 from
        right and bottom), COCO has left, top, width, height. All are 0 for an empty mask.
        """
        return self._placed(self._boxes.copy())

    @property
    def stability(self) -> Any:
        """N float32: the area above the threshold + d over that above the threshold - d.

        `d` is `stability` of `upscore.masks`, without which this raises ArgumentError. NaN where
        both are empty.
        """
        if self._stability is None:
            raise ArgumentError("give stability=d to upscore.masks to have it")
        return self._placed(self._stability.copy())

    def dense(self, out: Any = None) -> Any:
        """Return the masks as pixels.

        Args:
            out: where to write them: bool or uint8, N x H x W. A new array if not given.

        Returns:
            N x H x W bool, or `out`.

        Raises:
            ArgumentError: `out` has another shape or type, or cannot be written.
        """
        if out is None:
            canvas = np.zeros((len(self), *self.size), bool)
            self._paint(canvas, fresh=True)
            return self._placed(canvas)
        self._check_out(out)
        arrays = framework(out)
        if arrays.device(out) == "cpu" and arrays.memory(out).flags.c_contiguous:
            self._paint(arrays.memory(out), fresh=False)
        else:
            for i in range(len(self)):
                one = np.zeros((1, *self.size), bool)
                self._some(np.array([i]))._paint(one, fresh=True)
                out[i] = arrays.placed(out, one[0])
        return out

    def rle(self, compressed: bool = True) -> list[dict[str, Any]]:
        """Return COCO's run lengths of each mask, as `pycocotools.mask.encode` does.

        Args:
            compressed: counts as bytes in COCO's compressed form (`.decode()` them for JSON); else
                a list of numbers.

        Returns:
            `{"size": [height, width], "counts": ...}` for each mask.
        """
        result = []
        for first, last in pairwise(self.offsets.tolist()):
            lengths = lengths_of(self.runs[first:last], self.size[0] * self.size[1])
            counts = packed(lengths) if compressed else lengths.tolist()
            result.append({"size": list(self.size), "counts": counts})
        return result

    def polygons(self) -> list[list[NDArray[np.int32]]]:
        """Return the outer outlines of each mask.

        Equivalent to `cv2.findContours(mask, cv2.RETR_EXTERNAL, cv2.CHAIN_APPROX_SIMPLE)`: corners
        are numbers of pixels that belong to the mask.

        Returns:
            For each mask a list of its parts, each an int32 array of K x 2 corners (x, y).

        Raises:
            MissingPackageError: OpenCV is not installed.
        """
        try:
            import cv2
        except ImportError as error:
            raise MissingPackageError(
                "polygons need OpenCV: pip install 'upscore[masks]'"
            ) from error
        result = []
        for i, (left, top, *_) in enumerate(self._boxes.tolist()):
            crop = self._crop(i).view(np.uint8)
            found = cv2.RETR_EXTERNAL, cv2.CHAIN_APPROX_SIMPLE
            outlines: Any = (
                cv2.findContours(crop, *found, offset=(left, top))[0] if crop.size else ()
            )
            result.append([outline.reshape(-1, 2) for outline in outlines])
        return result

    def label_map(self, order: Any = None, *, background: int = -1) -> Any:
        """Return at each pixel the number of the mask that covers it.

        Equivalent to `for i in order: labels[masks[i]] = i`: of several the last in `order` wins.

        Args:
            order: numbers of masks, or N bools; all masks as they come if not given.
            background: the label of pixels of no mask.

        Returns:
            H x W int32.

        Raises:
            ArgumentError: `order` has more than one dimension.
        """
        height, width = self.size
        masks = self._numbers("order", slice(None) if order is None else order)
        columns = np.full(width * height, background, np.int32)
        if NUMBA_IS_INSTALLED:
            from upscore.heads.masks.painting import label

            label(self.runs, self.offsets, masks, columns)
        else:
            for i in masks.tolist():
                columns[self._column_pixels(i)] = i
        return self._placed(np.ascontiguousarray(columns.reshape(width, height).T))

    def _check_out(self, out: Any) -> None:
        shape, arrays = (len(self), *self.size), framework(out, "out")
        if tuple(out.shape) != shape or arrays.dtype(out) not in ("bool", "uint8"):
            raise ArgumentError(
                f"out must be bool or uint8 of shape {shape}, "
                f"not {arrays.dtype(out)} of {tuple(out.shape)}"
            )
        if not arrays.writeable(out):
            raise ArgumentError("out is read-only: give an array that can be written")

    @cached_property
    def _areas(self) -> Indices:
        ends: Indices = np.append(0, np.cumsum(self.runs[:, 1] - self.runs[:, 0]))[self.offsets]
        return ends[1:] - ends[:-1]

    @cached_property
    def _boxes(self) -> Indices:
        height = self.size[0]
        boxes = np.zeros((len(self), 4), np.int64)
        full = np.flatnonzero(np.diff(self.offsets))
        if len(full):
            first, at = self.offsets[full], self.runs // height
            ends = (self.runs[:, 1] - 1) // height
            # A run that goes on in the next column reaches the bottom, and begins again at the top.
            wraps = ends > at[:, 0]
            tops = np.where(wraps, 0, self.runs[:, 0] - at[:, 0] * height)
            bottoms = np.where(wraps, height, self.runs[:, 1] - ends * height)
            boxes[full] = np.stack(
                (
                    at[first, 0],
                    np.minimum.reduceat(tops, first),
                    ends[self.offsets[full + 1] - 1] + 1,
                    np.maximum.reduceat(bottoms, first),
                ),
                1,
            )
        return boxes

    def _paint(self, canvas: NDArray[Any], fresh: bool) -> None:
        """Write the masks to contiguous N x H x W pixels, which are zeros already if `fresh`."""
        if NUMBA_IS_INSTALLED:
            from upscore.heads.masks.painting import paint

            paint(self.runs, self.offsets, self._boxes, self.size[0], canvas, fresh)
        else:
            for i in range(len(self)):
                canvas[i] = self._column_pixels(i).reshape(self.size[::-1]).T

    def _crop(self, i: int) -> NDArray[np.bool_]:
        """The pixels of a mask's box."""
        left, top, right, bottom = self._boxes[i].tolist()
        runs = self.runs[self.offsets[i] : self.offsets[i + 1]] - (0, 1)  # first and last pixels
        column, row = np.divmod(runs, self.size[0])
        runs = (column - left) * (bottom - top) + row - top + (0, 1)
        crop = np.zeros((bottom - top, right - left), bool)
        Masks(crop.shape, runs, np.array([0, len(runs)]))._paint(crop[None], fresh=True)
        return crop

    def _column_pixels(self, i: int) -> NDArray[np.bool_]:
        """The pixels of a mask, one column after another."""
        turns = np.zeros(self.size[0] * self.size[1] + 1, np.int8)
        runs = self.runs[self.offsets[i] : self.offsets[i + 1]]
        turns[runs[:, 0]], turns[runs[:, 1]] = 1, -1
        inside: NDArray[np.bool_] = np.cumsum(turns[:-1], dtype=np.int8) > 0
        return inside

    def _placed(self, numbers: NDArray[Any]) -> Any:
        return framework(self._like).placed(self._like, numbers)


def stability_of(higher: Masks, lower: Masks) -> NDArray[np.float32]:
    """How much of each mask stays, from those above a higher and a lower threshold."""
    with np.errstate(invalid="ignore"):
        return (higher._areas / lower._areas).astype(np.float32)
