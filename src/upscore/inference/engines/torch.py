"""PyTorch: the engine on a GPU and in training."""

from collections.abc import Callable, Sequence
from contextlib import nullcontext
from typing import Any

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor, nn
from torch.nn import functional as F
from torch.overrides import TorchFunctionMode

from upscore.errors import ArgumentError
from upscore.inference.engines import no_memory
from upscore.models.normalisation import Normalise
from upscore.models.spec import Spec


class TorchEngine:
    """Runs a network of torch, on the device it is on."""

    name = "torch"

    def __init__(self, network: nn.Module, spec: Spec) -> None:
        self.network, self.normalise = network, Normalise(spec)

    def scores(self, photos: NDArray[Any], pooled: Sequence[Any] = ()) -> Tensor:
        """Coarse scores as a tensor on the network's device; float64 of a network in float64.

        Raises ArgumentError while the network is in training mode, which changes its answers.
        """
        return self._run(photos, Giving(pooled) if pooled else nullcontext())

    def pooled(self, photos: NDArray[Any]) -> tuple[Tensor, ...]:
        """What the network's global poolings find in photos, which `scores` takes."""
        keeping = Keeping()
        self._run(photos, keeping)
        return tuple(keeping.found)

    @torch.inference_mode()
    def _run(self, photos: NDArray[Any], poolings: Any) -> Tensor:
        if self.network.training:
            raise ArgumentError(
                "the model is in training mode, which changes its answers: call model.eval() first"
            )
        weight = next(self.network.parameters())
        pixels = torch.from_numpy(np.require(photos, requirements="W")).permute(0, 3, 1, 2)
        try:
            pixels = self.normalise.to(weight.device)(pixels.to(weight.device)).to(weight.dtype)
            with poolings:
                scores: Tensor = self.network(pixels.contiguous(memory_format=torch.channels_last))
        except RuntimeError as error:  # on a CPU, torch has no type of its own for this
            if isinstance(error, torch.OutOfMemoryError) or "allocate memory" in str(error):
                raise no_memory(photos.shape) from error
            raise
        return scores if scores.dtype == torch.float64 else scores.float()


class Poolings(TorchFunctionMode):
    """Meets every mean over all rows and columns that is taken within it."""

    def __torch_function__(
        self, function: Any, types: Any, args: Any = (), kwargs: Any = None
    ) -> Any:
        kwargs = kwargs or {}

        def compute() -> Any:
            return function(*args, **kwargs)

        return self.met(compute) if _is_pooling(function, args, kwargs) else compute()

    def met(self, compute: Callable[[], Any]) -> Any:
        """What to take for the pooling that `compute` would compute."""
        raise NotImplementedError


class Keeping(Poolings):
    """Keeps what the poolings find, in their order."""

    def __init__(self) -> None:
        super().__init__()
        self.found: list[Tensor] = []

    def met(self, compute: Callable[[], Any]) -> Any:
        self.found.append(compute())
        return self.found[-1]


class Giving(Poolings):
    """Gives what poolings found elsewhere instead of computing them."""

    def __init__(self, found: Sequence[Tensor]) -> None:
        super().__init__()
        self.rest = iter(found)

    def met(self, compute: Callable[[], Any]) -> Any:
        return next(self.rest)


_MEANS = (torch.mean, Tensor.mean)


def _is_pooling(function: Any, args: Any, kwargs: Any) -> bool:
    """Whether a call is a mean over the rows and columns of N x C x h x w."""
    if function is F.adaptive_avg_pool2d:
        size = args[1] if len(args) > 1 else kwargs.get("output_size")
        return args[0].ndim == 4 and size in (1, (1, 1), [1, 1])
    if function not in _MEANS or args[0].ndim != 4:
        return False
    dim = args[1] if len(args) > 1 else kwargs.get("dim")
    return isinstance(dim, list | tuple) and {axis % 4 for axis in dim} == {2, 3}
