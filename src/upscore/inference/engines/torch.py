"""PyTorch: the engine on a GPU and in training."""

from typing import Any

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor, nn

from upscore.errors import ArgumentError
from upscore.models.normalisation import Normalise
from upscore.models.spec import Spec


class TorchEngine:
    """Runs a network of torch, on the device it is on."""

    name = "torch"

    def __init__(self, network: nn.Module, spec: Spec) -> None:
        self.network, self.normalise = network, Normalise(spec)

    @torch.inference_mode()
    def scores(self, photos: NDArray[Any]) -> Tensor:
        """Coarse scores as a tensor on the network's device.

        Raises ArgumentError while the network is in training mode, which changes its answers.
        """
        if self.network.training:
            raise ArgumentError(
                "the model is in training mode, which changes its answers: model.eval()"
            )
        device = next(self.network.parameters()).device
        pixels = torch.from_numpy(np.require(photos, requirements="W")).permute(0, 3, 1, 2)
        try:
            pixels = self.normalise.to(device)(pixels.to(device))
            scores: Tensor = self.network(pixels.contiguous(memory_format=torch.channels_last))
        except RuntimeError as error:  # on a CPU, torch has no type of its own for this
            if isinstance(error, torch.OutOfMemoryError) or "allocate memory" in str(error):
                raise MemoryError(f"not enough memory for photos of {photos.shape}") from error
            raise
        return scores.float()
