"""Masks whose runs lie on a GPU: pixels, areas and boxes are made there."""

from functools import cached_property
from typing import Any

import numpy as np
import torch
from torch.nn import functional as F

from upscore.heads.masks.result import Masks
from upscore.heads.masks.sampling import Indices


class DeviceMasks(Masks):
    """`Masks` that copy their runs to main memory only when `runs`, `rle` or `polygons` ask."""

    _found: torch.Tensor

    def dense(self, out: Any = None) -> Any:
        """Return N x H x W bool, or write to `out`, bool or uint8 of that shape."""
        from upscore.heads.masks.gpu import paint

        if out is None:
            out = self._found.new_empty((len(self), *self.size), dtype=torch.bool)
        else:
            self._check_out(out)
            if not isinstance(out, torch.Tensor) or out.device != self._found.device:
                return super().dense(out)
        paint(self._found, self._starts, out)
        return out

    def label_map(self, order: Any = None, *, background: int = -1) -> Any:
        """Return H x W int32: at each pixel the number of the mask that covers it."""
        from upscore.heads.masks.gpu import label

        masks = self._numbers("order", slice(None) if order is None else order)
        labels = self._found.new_full(self.size, background, dtype=torch.int32)
        label(self._found, self._starts, self._placed(masks), labels)
        return labels

    def _some(self, masks: Indices) -> Masks:
        parts = [self._found[self.offsets[i] : self.offsets[i + 1]] for i in masks.tolist()]
        return DeviceMasks(
            self.size,
            torch.cat([self._found[:0], *parts]),
            np.append(0, np.cumsum([len(part) for part in parts], dtype=np.int64)),
            like=self._found,
            stability=None if self._stability is None else self._stability[masks],
        )

    @property
    def _starts(self) -> torch.Tensor:
        """The offsets, where the runs are."""
        return torch.from_numpy(self.offsets).to(self._found.device)

    @cached_property
    def _areas(self) -> Indices:
        lengths = self._found[:, 1] - self._found[:, 0]
        ends = F.pad(lengths.cumsum(0), (1, 0))[self._starts]
        return (ends[1:] - ends[:-1]).cpu().numpy()

    @cached_property
    def _boxes(self) -> Indices:
        height = self.size[0]
        numbers = torch.arange(len(self), device=self._found.device)
        masks = numbers.repeat_interleave(self._starts.diff(), output_size=len(self._found))
        first, last = self._found[:, 0], self._found[:, 1] - 1
        left, right = first // height, last // height
        # A run that goes on in the next column reaches the bottom, and begins again at the top.
        wraps = left < right
        top = torch.where(wraps, 0, first % height)
        bottom = torch.where(wraps, height - 1, last % height)
        least = torch.stack((left, top, -right - 1, -bottom - 1), 1)
        boxes = least.new_zeros((len(self), 4))
        boxes.scatter_reduce_(0, masks[:, None].expand(-1, 4), least, "amin", include_self=False)
        boxes[:, 2:] *= -1
        return boxes.cpu().numpy()
