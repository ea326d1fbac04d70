"""Layers: PyTorch's transposed convolutions, run by the fastest backend."""

from typing import Any

import torch
from torch import Tensor

from upscore.conv import conv_transpose1d, conv_transpose2d, conv_transpose3d
from upscore.errors import ArgumentError
from upscore.filters import bilinear_weight

__all__ = ["ConvTranspose1d", "ConvTranspose2d", "ConvTranspose3d"]


class _Upscore:
    """What the three layers add to PyTorch's: how they start, and the backend they use."""

    init: str | None = None  # until __init__ has run, for the reset_parameters() within it

    def __init__(
        self, *arguments: Any, init: str | None = None, backend: str = "auto", **options: Any
    ) -> None:
        super().__init__(*arguments, **options)
        if init not in (None, "bilinear"):
            raise ArgumentError(f"init must be None, PyTorch's own, or 'bilinear', not {init!r}")
        self.init, self.backend = init, backend
        if init is not None:
            self.reset_parameters()

    def reset_parameters(self: Any) -> None:
        """Draw the parameters as PyTorch does, or set them to enlarge each channel linearly."""
        if self.init is None:
            super().reset_parameters()  # type: ignore[misc]
            return
        kernel = tuple(2 * factor - factor % 2 for factor in self.stride)
        if self.in_channels != self.out_channels or self.kernel_size != kernel:
            raise ArgumentError(
                f"init='bilinear' with stride {self.stride} needs kernel {kernel} and as many "
                f"outputs as inputs, not kernel {self.kernel_size}, {self.in_channels} inputs and "
                f"{self.out_channels} outputs"
            )
        weight = bilinear_weight(self.in_channels, self.stride, groups=self.groups)
        with torch.no_grad():
            self.weight.copy_(torch.from_numpy(weight))
            if self.bias is not None:
                self.bias.zero_()

    def _run(self: Any, function: Any, x: Tensor, output_size: Any) -> Tensor:
        extra = {"output_padding": self.output_padding} if output_size is None else {}
        y: Tensor = function(
            x,
            self.weight,
            self.bias,
            self.stride,
            self.padding,
            groups=self.groups,
            dilation=self.dilation,
            output_size=output_size,
            backend=self.backend,
            **extra,
        )
        return y


class ConvTranspose1d(_Upscore, torch.nn.ConvTranspose1d):
    """`torch.nn.ConvTranspose1d`, with the options of `ConvTranspose2d` below."""

    def forward(self, input: Tensor, output_size: list[int] | None = None) -> Tensor:
        """(N, C, L) or (C, L) to (N, O, L_out) or (O, L_out)."""
        return self._run(conv_transpose1d, input, output_size)


class ConvTranspose2d(_Upscore, torch.nn.ConvTranspose2d):
    """`torch.nn.ConvTranspose2d`: the same arguments, parameters, `state_dict` and values.

    `init="bilinear"` starts as linear interpolation of each channel (the upscore layers of FCN,
    Long et al. 2015): kernel 2f - f % 2 at stride f, as many outputs as inputs. `backend` is
    that of `upscore.conv_transpose2d`.

    >>> layer = ConvTranspose2d(1, 1, 4, stride=2, padding=1, init="bilinear")
    >>> layer(torch.ones(1, 4, 4))[0, 1:-1, 1:-1].unique()
    tensor([1.], grad_fn=<...>)
    """

    def forward(self, input: Tensor, output_size: list[int] | None = None) -> Tensor:
        """(N, C, H, W) or (C, H, W) to (N, O, H_out, W_out) or (O, H_out, W_out)."""
        return self._run(conv_transpose2d, input, output_size)


class ConvTranspose3d(_Upscore, torch.nn.ConvTranspose3d):
    """`torch.nn.ConvTranspose3d`, with the options of `ConvTranspose2d` above."""

    def forward(self, input: Tensor, output_size: list[int] | None = None) -> Tensor:
        """(N, C, D, H, W) or (C, D, H, W) to the same with O channels, enlarged."""
        return self._run(conv_transpose3d, input, output_size)
