"""The array frameworks: whose array something is, and the operations in which they differ.

One class a framework. `framework(x)` finds the one that `x` belongs to without importing any: torch
is looked for among the modules already loaded.
"""

import sys
from functools import cache
from types import ModuleType
from typing import Any, Protocol

import numpy as np
from numpy.typing import NDArray

from upscore.errors import ArgumentTypeError


class Framework(Protocol):
    """What the rest of the package asks of a framework's arrays."""

    name: str

    def owns(self, x: object) -> bool:
        """Whether `x` is one of this framework's arrays."""

    def dtype(self, x: Any) -> str:
        """The name of the element type: "float32", "bfloat16", ..."""

    def device(self, x: Any) -> str:
        """Where the numbers are: "cpu", "cuda:0", ..."""

    def together(self, x: Any, y: Any) -> bool:
        """Whether both are on one device."""

    def count(self, x: Any) -> int:
        """The number of elements."""

    def detached(self, x: Any) -> Any:
        """The same numbers, cut off from any graph of gradients."""

    def plain(self, x: Any) -> Any:
        """The same numbers without what a subclass adds."""

    def finite(self, x: Any) -> bool:
        """Whether no number is infinite or NaN."""

    def writeable(self, x: Any) -> bool:
        """Whether the numbers may be changed."""

    def empty(self, like: Any, shape: tuple[int, ...], dtype: str) -> Any:
        """An uninitialised array of another shape and dtype, where `like` is."""

    def placed(self, like: Any, numbers: NDArray[Any]) -> Any:
        """Numbers from main memory as an array of this framework, where `like` is."""

    def taken(self, x: Any, indices: NDArray[np.int64], axis: int) -> Any:
        """The numbers at some indices of an axis."""

    def numpy(self, x: Any) -> NDArray[Any]:
        """The numbers in main memory as a NumPy array, bfloat16 widened to float32."""

    def memory(self, x: Any) -> NDArray[Any]:
        """The memory itself for a compiled kernel: float16 as uint16, bfloat16 as int16 bits."""

    def channels_last(self, x: Any) -> bool:
        """Whether the channels lie next to each other in memory, where the columns usually do."""

    def traced(self, x: Any) -> bool:
        """Whether `x` has no numbers to look at, because a graph is made of what happens to it."""

    def exporting(self) -> bool:
        """Whether that graph will run elsewhere."""


class NumPy:
    """NumPy arrays."""

    name = "numpy"

    def owns(self, x: object) -> bool:
        return isinstance(x, np.ndarray)

    def dtype(self, x: Any) -> str:
        return _name(x.dtype)

    def device(self, x: Any) -> str:
        return "cpu"

    def together(self, x: Any, y: Any) -> bool:
        return True

    def count(self, x: Any) -> int:
        return int(x.size)

    def detached(self, x: Any) -> Any:
        return x

    def plain(self, x: Any) -> Any:
        return np.asarray(x)

    def finite(self, x: Any) -> bool:
        return bool(np.isfinite(x).all())

    def writeable(self, x: Any) -> bool:
        return bool(x.flags.writeable)

    def empty(self, like: Any, shape: tuple[int, ...], dtype: str) -> Any:
        return np.empty(shape, dtype)

    def placed(self, like: Any, numbers: NDArray[Any]) -> Any:
        return numbers

    def taken(self, x: Any, indices: NDArray[np.int64], axis: int) -> Any:
        return x.take(indices, axis)

    def numpy(self, x: Any) -> NDArray[Any]:
        return np.asarray(x)

    def memory(self, x: Any) -> NDArray[Any]:
        return np.asarray(x.view(np.uint16) if x.dtype == np.float16 else x)

    def channels_last(self, x: Any) -> bool:
        return False

    def traced(self, x: Any) -> bool:
        return False

    def exporting(self) -> bool:
        return False


class Torch:
    """Torch tensors."""

    name = "torch"

    def owns(self, x: object) -> bool:
        torch = self.module()
        return torch is not None and isinstance(x, torch.Tensor)

    def module(self) -> ModuleType | None:
        """Torch, if something has imported it."""
        return sys.modules.get("torch")

    def dtype(self, x: Any) -> str:
        return str(x.dtype).removeprefix("torch.")

    def device(self, x: Any) -> str:
        return str(x.device)

    def together(self, x: Any, y: Any) -> bool:
        return bool(x.device == y.device)

    def count(self, x: Any) -> int:
        return int(x.numel())

    def detached(self, x: Any) -> Any:
        return x.detach()

    def plain(self, x: Any) -> Any:
        import torch

        kept = type(x) is torch.Tensor or torch.compiler.is_compiling()  # of fake tensors
        return x if kept else x.as_subclass(torch.Tensor)

    def finite(self, x: Any) -> bool:
        return bool(x.isfinite().all())

    def writeable(self, x: Any) -> bool:
        return True

    def empty(self, like: Any, shape: tuple[int, ...], dtype: str) -> Any:
        import torch

        # NumPy asks for large pages, which are faster to fill.
        if like.device.type == "cpu" and not self.traced(like):
            return torch.from_numpy(np.empty(shape, dtype))
        return torch.empty(shape, dtype=getattr(torch, dtype), device=like.device)

    def placed(self, like: Any, numbers: NDArray[Any]) -> Any:
        import torch

        return torch.from_numpy(numbers).to(like.device)

    def taken(self, x: Any, indices: NDArray[np.int64], axis: int) -> Any:
        return x.index_select(axis, self.placed(x, indices))

    def numpy(self, x: Any) -> NDArray[Any]:
        x = x.detach()
        return np.asarray((x.float() if self.dtype(x) == "bfloat16" else x).cpu().numpy())

    def memory(self, x: Any) -> NDArray[Any]:
        import torch

        if x.dtype == torch.bfloat16:
            return np.asarray(x.view(torch.int16).numpy())
        return NUMPY.memory(x.numpy())

    def channels_last(self, x: Any) -> bool:
        import torch

        layout = {4: torch.channels_last, 5: torch.channels_last_3d}.get(x.ndim)
        if layout is None or x.is_contiguous():
            return False
        return bool(x.is_contiguous(memory_format=layout))

    def traced(self, x: Any) -> bool:
        import torch

        # Subclasses are fake tensors and the like.
        plain = type(x) in (torch.Tensor, torch.nn.Parameter)
        return not plain or torch.compiler.is_compiling() or self.exporting()

    def exporting(self) -> bool:
        import torch

        tracing = torch.jit.is_tracing()  # type: ignore[attr-defined, no-untyped-call]
        return bool(torch.compiler.is_exporting() or tracing)


@cache
def _name(dtype: np.dtype[Any]) -> str:
    """The name of a dtype, which NumPy takes longer to make than a small head takes in all."""
    return str(dtype)


NUMPY = NumPy()
TORCH = Torch()


def framework(x: object, name: str = "input") -> Framework:
    """Return the framework of `x`; raise ArgumentTypeError, naming the argument, if it has none.

    >>> framework(np.zeros(3)).name
    'numpy'
    """
    for candidate in (NUMPY, TORCH):
        if candidate.owns(x):
            return candidate
    raise ArgumentTypeError(
        f"{name} must be a NumPy array or a torch tensor, not {type(x).__name__}"
    )


def as_numpy(x: object) -> NDArray[Any]:
    """Return the numbers of an array or a tensor in main memory, bfloat16 widened to float32."""
    return framework(x).numpy(x)
