"""Layers: PyTorch's transposed convolutions, run by the fastest backend."""

from typing import Any, Literal

import torch
from torch import Tensor

from upscore.conv import conv_transpose1d, conv_transpose2d, conv_transpose3d
from upscore.conv.case import Sizes
from upscore.errors import ArgumentError
from upscore.filters import bilinear_weight

__all__ = ["ConvTranspose1d", "ConvTranspose2d", "ConvTranspose3d"]


class _Upscore:
    """What the three layers add to PyTorch's: how they start, and the backend they use."""

    init: str | None = None  # until __init__ has run, for the reset_parameters() within it

    def __init__(
        self,
        in_channels: int,
        out_channels: int,
        kernel_size: Sizes,
        stride: Sizes = 1,
        padding: Sizes = 0,
        output_padding: Sizes = 0,
        groups: int = 1,
        bias: bool = True,
        dilation: Sizes = 1,
        padding_mode: str = "zeros",
        device: torch.device | str | None = None,
        dtype: torch.dtype | None = None,
        *,
        init: Literal["bilinear"] | None = None,
        backend: str = "auto",
    ) -> None:
        super().__init__(  # type: ignore[call-arg]
            in_channels,
            out_channels,
            kernel_size,
            stride,
            padding,
            output_padding,
            groups,
            bias,
            dilation,
            padding_mode,
            device,
            dtype,
        )
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
    """A transposed convolution of sequences that runs on the fastest backend.

    Equivalent to `torch.nn.ConvTranspose1d`: the same arguments, parameters, `state_dict` and
    values.

    Args:
        in_channels: C, channels of the input.
        out_channels: O, channels of the output.
        kernel_size: taps of the kernel, one number or one for each axis.
        stride: output pixels from one input pixel to the next, one number or one for each axis.
        padding: pixels cut from both ends of the full output, one number or one for each axis.
        output_padding: pixels given back at the end, one number or one for each axis.
        groups: parts that the channels are divided into; each is computed by itself.
        bias: learn a number for each output channel.
        dilation: output pixels from one tap to the next, one number or one for each axis.
        padding_mode: "zeros", as in PyTorch.
        device: where the parameters are.
        dtype: of the parameters.
        init: "bilinear" starts as linear interpolation of each channel: kernel 2f - f % 2 at stride
            f, as many outputs as inputs. None starts as PyTorch does.
        backend: as for `upscore.conv_transpose1d`.

    Raises:
        ArgumentError: `init="bilinear"` with another kernel, or with other outputs than inputs.
    """

    def forward(self, input: Tensor, output_size: list[int] | None = None) -> Tensor:
        """Return the transposed convolution of a tensor.

        Args:
            input: (N, C, L) or (C, L).
            output_size: the output's size along each axis, instead of `output_padding`.

        Returns:
            (N, O, L_out) or (O, L_out).
        """
        return self._run(conv_transpose1d, input, output_size)


class ConvTranspose2d(_Upscore, torch.nn.ConvTranspose2d):
    """A transposed convolution of images that runs on the fastest backend.

    Equivalent to `torch.nn.ConvTranspose2d`: the same arguments, parameters, `state_dict` and
    values.

    Args:
        in_channels: C, channels of the input.
        out_channels: O, channels of the output.
        kernel_size: taps of the kernel, one number or one for each axis.
        stride: output pixels from one input pixel to the next, one number or one for each axis.
        padding: pixels cut from both ends of the full output, one number or one for each axis.
        output_padding: pixels given back at the end, one number or one for each axis.
        groups: parts that the channels are divided into; each is computed by itself.
        bias: learn a number for each output channel.
        dilation: output pixels from one tap to the next, one number or one for each axis.
        padding_mode: "zeros", as in PyTorch.
        device: where the parameters are.
        dtype: of the parameters.
        init: "bilinear" starts as linear interpolation of each channel: kernel 2f - f % 2 at stride
            f, as many outputs as inputs. None starts as PyTorch does.
        backend: as for `upscore.conv_transpose2d`.

    Raises:
        ArgumentError: `init="bilinear"` with another kernel, or with other outputs than inputs.

    Source: the upscore layers of FCN, Long et al. 2015.

    Examples:
        >>> layer = ConvTranspose2d(1, 1, 4, stride=2, padding=1, init="bilinear")
        >>> layer(torch.ones(1, 4, 4))[0, 1:-1, 1:-1].unique()
        tensor([1.], grad_fn=<...>)
    """

    def forward(self, input: Tensor, output_size: list[int] | None = None) -> Tensor:
        """Return the transposed convolution of a tensor.

        Args:
            input: (N, C, H, W) or (C, H, W).
            output_size: the output's size along each axis, instead of `output_padding`.

        Returns:
            (N, O, H_out, W_out) or (O, H_out, W_out).
        """
        return self._run(conv_transpose2d, input, output_size)


class ConvTranspose3d(_Upscore, torch.nn.ConvTranspose3d):
    """A transposed convolution of volumes that runs on the fastest backend.

    Equivalent to `torch.nn.ConvTranspose3d`: the same arguments, parameters, `state_dict` and
    values.

    Args:
        in_channels: C, channels of the input.
        out_channels: O, channels of the output.
        kernel_size: taps of the kernel, one number or one for each axis.
        stride: output pixels from one input pixel to the next, one number or one for each axis.
        padding: pixels cut from both ends of the full output, one number or one for each axis.
        output_padding: pixels given back at the end, one number or one for each axis.
        groups: parts that the channels are divided into; each is computed by itself.
        bias: learn a number for each output channel.
        dilation: output pixels from one tap to the next, one number or one for each axis.
        padding_mode: "zeros", as in PyTorch.
        device: where the parameters are.
        dtype: of the parameters.
        init: "bilinear" starts as linear interpolation of each channel: kernel 2f - f % 2 at stride
            f, as many outputs as inputs. None starts as PyTorch does.
        backend: as for `upscore.conv_transpose3d`.

    Raises:
        ArgumentError: `init="bilinear"` with another kernel, or with other outputs than inputs.
    """

    def forward(self, input: Tensor, output_size: list[int] | None = None) -> Tensor:
        """Return the transposed convolution of a tensor.

        Args:
            input: (N, C, D, H, W) or (C, D, H, W).
            output_size: the output's size along each axis, instead of `output_padding`.

        Returns:
            (N, O, D_out, H_out, W_out), or without N.
        """
        return self._run(conv_transpose3d, input, output_size)
