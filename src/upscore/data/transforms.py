"""Augmentation of one photo and its mask."""

import math
from dataclasses import dataclass, replace
from typing import Any

import numpy as np
import torch
from numpy.typing import NDArray
from PIL import Image
from torch import Tensor
from torchvision.transforms import InterpolationMode
from torchvision.transforms.v2 import functional as F

from upscore.data.classes import VOID
from upscore.errors import ArgumentError
from upscore.images import resized

GREY = (0.299, 0.587, 0.114)  # the weights of luma, ITU-R BT.601
HUE = 0.1  # of the strength of the other changes of colour, in full turns


@dataclass(frozen=True)
class _Window:
    """Along one axis: the part of the photo taken, its length in the crop, the padding around."""

    source: slice
    length: int
    before: int
    after: int


def _window(size: int, crop: int, scale: float, draw: float, focus: int | None = None) -> _Window:
    """Where a crop of a photo of `size` pixels, enlarged by `scale`, lies; `draw` in [0, 1).

    A crop that has a focus holds that pixel.
    """
    wanted = max(1, round(crop / scale))
    if wanted <= size:
        first, last = 0, size - wanted
        if focus is not None:
            first, last = max(first, focus - wanted + 1), min(last, focus)
        start = first + int(draw * (last - first + 1))
        return _Window(slice(start, start + wanted), crop, 0, 0)
    length = min(crop, max(1, round(size * scale)))
    before = int(draw * (crop - length + 1))
    return _Window(slice(0, size), length, before, crop - length - before)


@dataclass(frozen=True)
class TrainTransform:
    """Random scale, crop, turn, flips and colour: any photo becomes a square of `crop` pixels.

    Equivalent to a `RandomResize` by a factor drawn from `scale` (evenly in its logarithm), a
    `RandomRotation` by up to `rotate` degrees either way, a `RandomCrop` padded with the photo's
    mean colour (the mask with 255), a `RandomHorizontalFlip`, a `RandomVerticalFlip` and a
    `ColorJitter`, of `torchvision.transforms.v2`; but the window is cut out before it is resized,
    so the cost does not grow with the photo. Masks are resized by the nearest pixel.

    Args:
        crop: pixels of a side.
        scale: (low, high), the factors by which photos are resized.
        flip: mirror half of the crops left to right.
        colour: from 0 (as it is) to below 1: brightness, contrast and saturation are multiplied by
            factors of 1 - colour to 1 + colour, and the hue is turned by up to colour / 10 of a
            full turn. Measurements have no hue: their brightness and contrast change.
        flip_ud: mirror half of the crops upside down.
        rotate: turn by up to so many degrees, either way.

    Raises:
        ArgumentError: a crop, scale or colour that cannot be.

    Examples:
        >>> photo, mask = np.zeros((3, 5, 3), np.uint8), np.ones((3, 5), np.uint8)
        >>> image, labels = TrainTransform(8)(photo, mask, torch.Generator().manual_seed(0))
        >>> image.shape, labels.shape, labels.unique().tolist()
        (torch.Size([3, 8, 8]), torch.Size([8, 8]), [1, 255])
    """

    crop: int
    scale: tuple[float, float] = (0.5, 2.0)
    flip: bool = True
    colour: float = 0.5
    flip_ud: bool = False
    rotate: float = 0.0

    def __post_init__(self) -> None:
        if self.crop < 1 or not 0 < self.scale[0] <= self.scale[1]:
            raise ArgumentError(
                f"crop {self.crop} and scale {self.scale}; expected a crop of 1 or more pixels "
                "and a scale (low, high) with 0 < low <= high"
            )
        if not 0 <= self.colour < 1:
            raise ArgumentError(f"colour is {self.colour}; expected 0 or more and less than 1")

    def by(self, factor: float) -> "TrainTransform":
        """Return the same for photos that are to be enlarged first.

        Args:
            factor: by which they are enlarged.

        Returns:
            A new TrainTransform.
        """
        return replace(self, scale=(self.scale[0] * factor, self.scale[1] * factor))

    def __call__(
        self,
        image: NDArray[Any],
        mask: NDArray[np.uint8],
        generator: torch.Generator,
        focus: tuple[int, int] | None = None,
    ) -> tuple[Tensor, Tensor]:
        """Return a random crop of a photo and its mask.

        Args:
            image: uint8, H x W x 3, or float32, H x W x B.
            mask: uint8, H x W.
            generator: every draw comes from it: the same state, the same result.
            focus: row and column of a pixel that the crop shall hold.

        Returns:
            Tensors of the same types: 3 x crop x crop (or B), and crop x crop.
        """
        draws = torch.rand(10, generator=generator, dtype=torch.float64).tolist()
        low, high = self.scale
        scale = low * (high / low) ** draws[0]
        angle = self.rotate * (2 * draws[9] - 1)
        side = _around(self.crop, angle)
        row, column = focus or (None, None)
        rows = _window(image.shape[0], side, scale, draws[1], row)
        columns = _window(image.shape[1], side, scale, draws[2], column)
        cut = np.s_[rows.source, columns.source]
        size = [rows.length, columns.length]

        part = _resized(image[cut], size)
        ids = torch.from_numpy(mask[cut].copy())[None]
        ids = F.resize(ids, size, InterpolationMode.NEAREST_EXACT)

        padding = [columns.before, rows.before, columns.after, rows.after]
        mean = _mean(part) if any(padding) or angle else []
        if any(padding):
            part = F.pad(part, padding, fill=mean)
            ids = F.pad(ids, padding, fill=[VOID])
        if angle:
            part, ids = _turned(part, ids, angle, self.crop, mean)
        if self.flip and draws[3] < 0.5:
            part, ids = F.horizontal_flip(part), F.horizontal_flip(ids)
        if self.flip_ud and draws[8] < 0.5:
            part, ids = F.vertical_flip(part), F.vertical_flip(ids)
        if self.colour:
            jitter = _jitter if part.dtype == torch.uint8 else _jitter_values
            part = jitter(part, draws[4:8], self.colour)
        return part.contiguous(), ids[0].contiguous()


def _resized(image: NDArray[Any], size: list[int]) -> Tensor:
    """Antialiased; torch does it fastest for bytes, and knows nothing of what was not measured."""
    if image.dtype != np.uint8:
        return torch.from_numpy(resized(image, (size[0], size[1]))).permute(2, 0, 1)
    part = torch.from_numpy(image.copy()).permute(2, 0, 1)  # never read-only or oddly strided
    whole: Tensor = F.resize(part, size, InterpolationMode.BILINEAR, antialias=True)
    return whole


def _mean(image: Tensor) -> list[float]:
    """The mean of each band, as a value that the band can have."""
    mean = image.float().nanmean((1, 2))
    values: list[float] = (mean if image.is_floating_point() else mean.round()).tolist()
    return values


def _around(side: int, angle: float) -> int:
    """The side of a square that holds a turned square."""
    turn = math.radians(angle)
    return math.ceil(side * (abs(math.cos(turn)) + abs(math.sin(turn))) - 1e-9)


def _turned(
    image: Tensor, mask: Tensor, angle: float, crop: int, fill: list[float]
) -> tuple[Tensor, Tensor]:
    """Turn both about their middle and cut out a square; Pillow turns bytes fastest."""
    smooth, nearest = Image.Resampling.BILINEAR, Image.Resampling.NEAREST
    whole = int if image.dtype == torch.uint8 else float
    bands = (
        Image.fromarray(band.contiguous().numpy()).rotate(angle, smooth, fillcolor=whole(value))
        for band, value in zip(image, fill, strict=True)
    )
    labels = Image.fromarray(mask[0].numpy()).rotate(angle, nearest, fillcolor=VOID)
    start = (labels.width - crop) // 2
    middle = np.s_[..., start : start + crop, start : start + crop]
    return (
        torch.from_numpy(np.stack([np.asarray(band) for band in bands])[middle].copy()),
        torch.from_numpy(np.asarray(labels)[None][middle].copy()),
    )


def _jitter(image: Tensor, draws: list[float], colour: float) -> Tensor:
    """Brightness, contrast, saturation and hue at once; four draws in [0, 1).

    Each of them maps colours linearly (the hue turns about the grey axis), so one 3 x 3 matrix
    does what takes four steps, one of them through HSV, over 30 times as long.
    """
    brightness, contrast, saturation, hue = (colour * (2 * draw - 1) for draw in draws)
    gain = 1 + contrast
    luma = torch.tensor(GREY)
    saturate = torch.lerp(luma.expand(3, 3), torch.eye(3), 1 + saturation)
    angle = 2 * math.pi * hue * HUE
    one = (1 - math.cos(angle)) / 3
    turn = math.sin(angle) / math.sqrt(3)
    same = math.cos(angle) + one
    rotate = torch.tensor(
        [
            [same, one - turn, one + turn],
            [one + turn, same, one - turn],
            [one - turn, one + turn, same],
        ]
    )
    pixels = image.flatten(1).float() * (1 + brightness)
    mean = luma @ pixels.mean(1)
    pixels = torch.addmm(((1 - gain) * mean).expand(3, 1), gain * rotate @ saturate, pixels)
    return pixels.round_().clamp_(0, 255).to(torch.uint8).reshape(image.shape)


def _jitter_values(photo: Tensor, draws: list[float], colour: float) -> Tensor:
    """Brightness and contrast of measured values, in units of their own spread."""
    brightness, contrast = (colour * (2 * draw - 1) for draw in draws[:2])
    mean = photo.nanmean((1, 2), keepdim=True)
    std = (photo - mean).square().nanmean((1, 2), keepdim=True).sqrt()
    return (photo - mean) * (1 + contrast) + mean + brightness * std
