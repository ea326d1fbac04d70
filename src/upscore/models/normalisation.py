"""From the values of a photo to what a network takes: the one place that normalises."""

import torch
from torch import Tensor, nn

from upscore.models.spec import Spec


class Normalise(nn.Module):
    """Photos as they are decoded, N x B x H x W, to normalised float32.

    Pictures, bytes of RGB: `(photos / 255 - mean) / std`. Measurements, of ranges (low, high):
    `((photos.clip(low, high) - low) / (high - low) - mean) / std`, band by band; 0, the mean, where
    nothing was measured (NaN).
    """

    mean: Tensor
    std: Tensor
    low: Tensor
    high: Tensor

    def __init__(self, spec: Spec) -> None:
        super().__init__()
        low, high = _columns(*zip(*(spec.ranges or [(0.0, 255.0)] * 3), strict=True))
        mean, std = _columns(spec.mean, spec.std)
        self.clips = spec.ranges is not None
        # On the scale of the photos, so that two operations are enough.
        values = {"mean": low + mean * (high - low), "std": std * (high - low)}
        for name, value in (values | {"low": low, "high": high}).items():
            self.register_buffer(name, value, persistent=False)

    def forward(self, photos: Tensor) -> Tensor:
        pixels = photos.float()
        if not self.clips:
            return (pixels - self.mean) / self.std
        normalised = (pixels.clamp(self.low, self.high) - self.mean) / self.std
        return torch.where(torch.isnan(pixels), 0.0, normalised)


def normalise(photos: Tensor, spec: Spec) -> Tensor:
    """Return photos as the network takes them.

    Equivalent for pictures to `(photos / 255 - mean) / std`, for measurements of ranges (low, high)
    to `((photos.clip(low, high) - low) / (high - low) - mean) / std`, band by band, and 0 where
    nothing was measured (NaN).

    Args:
        photos: N x B x H x W as they are decoded: bytes of RGB, or measurements.
        spec: the model, which has `mean`, `std` and `ranges`.

    Returns:
        float32, N x B x H x W, on the same device.
    """
    normalised: Tensor = Normalise(spec).to(photos.device)(photos)
    return normalised


def _columns(*rows: tuple[float, ...]) -> list[Tensor]:
    """Values of the bands as tensors B x 1 x 1."""
    return [torch.tensor(row, dtype=torch.float64).view(-1, 1, 1).float() for row in rows]
