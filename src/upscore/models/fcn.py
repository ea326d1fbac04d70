"""Fully convolutional networks (Long, Shelhamer and Darrell, 2015): coarse class scores.

A stage scores the encoder's features with a 1x1 convolution (`score_16`), doubles the coarser
stage's map with a transposed convolution that starts as the bilinear filter (`upscore_16`), and
adds the two. FCN-32s has no such stage, FCN-16s one, FCN-8s two. FCN-4s, 2s and 1s go further, for
small and thin things: to the encoder's first features and to the image itself.
"""

from functools import partial

import torch
import torch.nn.functional as F
from torch import Tensor, nn

from upscore.errors import ArgumentError
from upscore.geometry import upscore_padding
from upscore.models.encoder import DEFAULT_ENCODER, Encoder, LayerNorm2d
from upscore.models.spec import COARSEST, STRIDES, Width
from upscore.nn import ConvTranspose2d


class FCN(nn.Module):
    """A fully convolutional network: photos to coarse class scores.

    H and W may be anything from 1 up. Score (i, j) is centred on image position
    ((i + 0.5) s, (j + 0.5) s), so `upscore.argmax(scores, size=(H, W), stride=s)` gives the labels.

    Args:
        classes: number of classes C.
        stride: s, the stride of the scores: 32, 16, 8, 4, 2 or 1.
        encoder: name of a timm model with features at reductions s (2 for a stride of 1) to 32.
        width: "classes" is the paper's form, as many channels as classes all the way. A number is
            a learned decoder of that many channels, half of them at stride 2 and a quarter at
            stride 1, with normalisation and a global context gate.
        pretrained: True for ImageNet weights, a path to a timm state dict, or False.
        bands: B, of the photos: 3 for RGB.

    Raises:
        ArgumentError: no such encoder, or no classes.

    Source: Long, Shelhamer and Darrell 2015, "Fully convolutional networks for semantic
    segmentation".
    """

    def __init__(
        self,
        classes: int,
        stride: int,
        *,
        encoder: str = DEFAULT_ENCODER,
        width: Width = 64,
        pretrained: bool | str = False,
        bands: int = 3,
    ) -> None:
        super().__init__()
        if classes < 1:
            raise ArgumentError(f"classes must be at least 1, got {classes}")
        learned = width != "classes"
        self.stride = stride
        self.strides = tuple(s for s in STRIDES.values() if s >= stride)
        reductions = sorted(s for s in self.strides if s > 1)
        self.encoder = Encoder(encoder, reductions, pretrained, bands)
        self.bands, skipped = bands, self.encoder.channels | {1: bands}
        channels = width if isinstance(width, int) else classes
        self.context = Context(skipped[COARSEST], channels) if learned else None
        for s in self.strides:
            coarser, channels = channels, _width(width, s) if isinstance(width, int) else classes
            score = Normalised if learned else partial(nn.Conv2d, kernel_size=1)
            self.add_module(f"score_{s}", score(skipped[s], channels))
            if s < COARSEST:
                self.add_module(f"upscore_{s}", _upscore(coarser, channels))
                self.add_module(f"refine_{s}", Refine(channels) if learned else nn.Identity())
            self.add_module(
                f"classify_{s}", nn.Conv2d(channels, classes, 1) if learned else nn.Identity()
            )

    def forward(self, images: Tensor) -> Tensor:
        """Return the class scores of photos.

        Args:
            images: N x B x H x W normalised floats; see `upscore.models.normalise`.

        Returns:
            N x C x ⌈H/s⌉ x ⌈W/s⌉ scores.
        """
        return self._scores(images, only_last=True)[-1]

    def stages(self, images: Tensor) -> list[Tensor]:
        """Return the class scores after each stage, coarse to fine.

        Args:
            images: as for `forward`.

        Returns:
            One tensor for each stage; the last is what `forward` returns.
        """
        return self._scores(images, only_last=False)

    def _scores(self, images: Tensor, *, only_last: bool) -> list[Tensor]:
        height, width = images.shape[-2:]
        images = _pad_to(images, COARSEST)
        features = self.encoder(images) | {1: images}
        answers = []
        for s in self.strides:
            score = self.get_submodule(f"score_{s}")(features[s])
            if s == COARSEST:
                x = score if self.context is None else score * self.context(features[s])
            else:
                x = self.get_submodule(f"upscore_{s}")(x) + score
                x = self.get_submodule(f"refine_{s}")(x)
            if s == self.stride or not only_last:
                scores = self.get_submodule(f"classify_{s}")(x)
                answers.append(scores[..., : -(-height // s), : -(-width // s)])
        return answers


class Normalised(nn.Sequential):
    """A 1x1 convolution, normalised over the channels of each pixel, and rectified.

    Layer normalisation looks at no other pixel and no other photo: scores depend neither on the
    batch they were computed in nor on the number of processes.
    """

    def __init__(self, channels_in: int, channels: int) -> None:
        super().__init__(
            nn.Conv2d(channels_in, channels, 1), LayerNorm2d(channels), nn.ReLU(inplace=True)
        )


class Refine(nn.Sequential):
    """A depthwise-separable 3x3 convolution: smooths what the sum of two stages left uneven."""

    def __init__(self, channels: int) -> None:
        super().__init__(
            nn.Conv2d(channels, channels, 3, padding=1, groups=channels, bias=False),
            Normalised(channels, channels),
        )


class Context(nn.Module):
    """A gate per channel from the whole image (as LR-ASPP, Howard et al. 2019)."""

    def __init__(self, channels_in: int, channels: int) -> None:
        super().__init__()
        self.gate = nn.Conv2d(channels_in, channels, 1)

    def forward(self, features: Tensor) -> Tensor:
        return torch.sigmoid(self.gate(features.mean((2, 3), keepdim=True)))


def _width(width: int, stride: int) -> int:
    """Channels of a learned stage: fewer where there are so many pixels."""
    return max(1, width * min(stride, 4) // 4)


def _upscore(channels_in: int, channels: int) -> nn.Module:
    """Double a map, n to 2n, aligned: the paper's crop is the transposed convolution's padding."""
    double = ConvTranspose2d(
        channels, channels, 4, stride=2, padding=upscore_padding(2), bias=False, init="bilinear"
    )
    if channels_in == channels:
        return double
    return nn.Sequential(nn.Conv2d(channels_in, channels, 1), double)


def _pad_to(images: Tensor, multiple: int) -> Tensor:
    """Repeat the last row and column up to a multiple, so that every stage has exactly half."""
    height, width = images.shape[-2:]
    down, right = -height % multiple, -width % multiple
    return F.pad(images, (0, right, 0, down), mode="replicate") if down or right else images
