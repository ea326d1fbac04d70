"""Run a torch model once and record each upsampling it does."""

from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import contextmanager
from dataclasses import replace
from functools import partial
from math import prod
from typing import Any

import numpy as np
import torch
from torch import Tensor, nn
from torch.nn import functional as F
from torch.overrides import TorchFunctionMode

from upscore import filters, geometry
from upscore.conv import conv_transpose1d, conv_transpose2d, conv_transpose3d
from upscore.explanation.layers import Layer

PerAxis = int | Sequence[int]


def trace(module: nn.Module, shape: tuple[int, ...]) -> tuple[Layer, ...]:
    """Return the upsampling layers that `module` uses for an input of `shape`."""
    parameter = next(module.parameters(), torch.zeros(()))
    zeros = torch.zeros(shape, dtype=parameter.dtype, device=parameter.device)
    recorder = _Recorder()
    with _evaluating(module), _named(module, recorder), torch.inference_mode(), recorder:
        try:
            output = module(zeros)
        except Exception as error:
            error.add_note(f"raised by the model itself, run on zeros of {shape}")
            raise
    answers = output.values() if isinstance(output, Mapping) else (output,)
    return tuple(
        _with_last_step(layer, result, shape) if any(result is a for a in answers) else layer
        for layer, result in recorder.found
    )


class _Recorder(TorchFunctionMode):
    """Sees the functions that the model calls, and keeps a `Layer` for each upsampling.

    What such a function calls itself is not seen, so each upsampling is found once.
    """

    def __init__(self) -> None:
        super().__init__()
        self.path: list[str] = []
        self.found: list[tuple[Layer, Any]] = []

    def __torch_function__(
        self, function: Any, types: Any, args: Any = (), kwargs: Any = None
    ) -> Any:
        kwargs = kwargs or {}
        result = function(*args, **kwargs)
        if function in RECORDS:
            layer = RECORDS[function](self.path[-1], result, *args, **kwargs)
            if layer is not None:
                self.found.append((layer, result))
        return result


@contextmanager
def _evaluating(module: nn.Module) -> Iterator[None]:
    """Evaluation mode for a while; each submodule then returns to the mode it had."""
    modes = [(m, m.training) for m in module.modules()]
    module.eval()
    try:
        yield
    finally:
        for m, training in modes:
            m.training = training


@contextmanager
def _named(module: nn.Module, recorder: _Recorder) -> Iterator[None]:
    """Tell the recorder which module is running."""
    handles = []
    for name, part in module.named_modules():

        def enter(part: nn.Module, _: Any, name: str = name) -> None:
            recorder.path.append(name or type(part).__name__)

        def leave(*_: Any) -> None:
            recorder.path.pop()

        handles += [part.register_forward_pre_hook(enter), part.register_forward_hook(leave)]
    try:
        yield
    finally:
        for handle in handles:
            handle.remove()


def _transposed(
    function: str,
    name: str,
    result: Tensor,
    input: Tensor,
    weight: Tensor,
    bias: Tensor | None = None,
    stride: PerAxis = 1,
    padding: PerAxis = 0,
    output_padding: PerAxis = 0,
    groups: int = 1,
    dilation: PerAxis = 1,
    **_: Any,
) -> Layer:
    """Record a transposed convolution, from the arguments of PyTorch's function or of ours."""
    dim = weight.ndim - 2
    kernel, size_in, size_out = weight.shape[2:], input.shape[-dim:], result.shape[-dim:]
    axes = []
    for n, k, s, d, begin, size in zip(
        size_in, kernel, _each(stride, dim), _each(dilation, dim), _each(padding, dim), size_out,
        strict=True,
    ):  # fmt: skip
        whole = geometry.Axis(n, k, s, d)
        axes.append(geometry.Axis(n, k, s, d, begin, whole.full - begin - size))
    uneven = _checkerboard(weight, axes)
    shift = tuple(geometry.shift(a) / a.stride for a in axes)
    advice = []
    if uneven or any(shift):
        better = [_better(a, even=not uneven) for a in axes]
        kernels, paddings = (_say(column) for column in zip(*better, strict=True))
        advice.append(f"kernel {kernels} with padding {paddings}: even cover, no shift")
    if _diagonal(weight, groups):
        advice.append(f"groups={len(weight)}: the weight is zero off its diagonal")
    return Layer(
        name,
        function,
        tuple(kernel),
        tuple(a.stride for a in axes),
        tuple(size_in),
        tuple(size_out),
        shift,
        uneven,
        input.numel() * weight.shape[1] * prod(kernel),
        input.nbytes + weight.nbytes + result.nbytes,
        tuple(advice),
    )


def _checkerboard(weight: Tensor, axes: Sequence[geometry.Axis]) -> float:
    """Return how uneven equal taps are, or 0 if this weight's own are even, as a tent's are."""
    strides = [a.stride for a in axes]
    spread = tuple(slice(None, None, a.dilation) for a in axes)

    def measure(taps: Any) -> float:
        cover = np.zeros([a.extent for a in axes])
        cover[spread] = taps
        return filters.checkerboard(cover, strides)

    own = weight.detach().double().mean((0, 1)).cpu().numpy()
    if np.all(own >= 0) and own.any() and measure(own) < 1e-5:  # float32 sums to 1e-7 or so
        return 0.0
    return measure(1.0)


def _better(axis: geometry.Axis, *, even: bool) -> tuple[int, int]:
    """Return the kernel, as small as can be, and the padding with an even cover and no shift."""
    cut = axis.extent - axis.stride
    if even and cut >= 0 and cut % 2 == 0:
        return axis.kernel, cut // 2
    multiple = -(-axis.kernel // axis.stride)
    multiple += (multiple - 1) * axis.stride % 2  # an odd stride needs an odd multiple
    return multiple * axis.stride, (multiple - 1) * axis.stride // 2


def _diagonal(weight: Tensor, groups: int) -> bool:
    """Whether a full weight filters each channel alone, as a bilinear start in one group does."""
    if groups != 1 or weight.shape[0] != weight.shape[1] or len(weight) == 1:
        return False
    taps = weight.detach().flatten(2).any(2)
    return bool((taps == torch.eye(len(weight), dtype=torch.bool, device=taps.device)).all())


def _interpolate(
    name: str,
    result: Tensor,
    input: Tensor,
    size: Any = None,
    scale_factor: Any = None,
    mode: str = "nearest",
    align_corners: bool | None = None,
    recompute_scale_factor: bool | None = None,
    antialias: bool = False,
) -> Layer | None:
    """Record an enlargement by `interpolate`, from its arguments."""
    size_in, size_out = tuple(input.shape[2:]), tuple(result.shape[2:])
    if not any(after > before for before, after in zip(size_in, size_out, strict=True)):
        return None
    ratios = tuple(after / before for before, after in zip(size_in, size_out, strict=True))
    whole = all(ratio.is_integer() for ratio in ratios)
    # Input pixels mixed on either side of an output pixel.
    side = 0 if "nearest" in mode else 2 if mode == "bicubic" else 1
    kernel = tuple(int(2 * side * r - r % 2) if side else int(r) for r in ratios) if whole else ()
    shift, advice = 0.0, []
    if align_corners:
        shift = float("nan")
        advice.append("align_corners=False: the grid of strided convolutions, at any size")
    elif mode == "nearest" and not whole:
        shift = float("nan")
        advice.append('mode="nearest-exact": "nearest" is off by up to half a pixel here')
    taps = (2 * side) ** len(ratios) if side else 0
    return Layer(
        name,
        f"interpolate {mode}",
        kernel,
        tuple(int(r) if r.is_integer() else r for r in ratios),
        size_in,
        size_out,
        (shift,) * len(ratios),
        0.0,
        result.numel() * taps,
        input.nbytes + result.nbytes,
        tuple(advice),
    )


def _pixel_shuffle(name: str, result: Tensor, input: Tensor, upscale_factor: int) -> Layer:
    """Record a sub-pixel convolution's rearrangement."""
    return Layer(
        name,
        "pixel_shuffle",
        (upscale_factor,) * 2,
        (upscale_factor,) * 2,
        tuple(input.shape[-2:]),
        tuple(result.shape[-2:]),
        (0.0, 0.0),
        float("nan"),
        0,
        input.nbytes + result.nbytes,
        ("start the convolution before it with upscore.filters.icnr",),
    )


RECORDS: dict[Callable[..., Any], Callable[..., Layer | None]] = {
    torch.conv_transpose1d: partial(_transposed, "conv_transpose1d"),
    torch.conv_transpose2d: partial(_transposed, "conv_transpose2d"),
    torch.conv_transpose3d: partial(_transposed, "conv_transpose3d"),
    conv_transpose1d: partial(_transposed, "conv_transpose1d"),
    conv_transpose2d: partial(_transposed, "conv_transpose2d"),
    conv_transpose3d: partial(_transposed, "conv_transpose3d"),
    F.interpolate: _interpolate,
    F.pixel_shuffle: _pixel_shuffle,
}


def _with_last_step(layer: Layer, scores: Tensor, photo: tuple[int, ...]) -> Layer:
    """Add the advice for scores that are enlarged only to leave the model."""
    linear = layer.function == "interpolate bilinear"
    if not (linear and scores.shape[1] > 1 and layer.size_out == photo[2:]):
        return layer
    fused = "leave the scores coarse, for upscore.argmax or upscore.cross_entropy to enlarge"
    return replace(layer, advice=(*layer.advice, fused))


def _each(value: PerAxis, dim: int) -> tuple[int, ...]:
    """Return one number for each axis."""
    return (value,) * dim if isinstance(value, int) else tuple(value) * (dim // len(value))


def _say(values: Sequence[int]) -> str:
    """Return one number if all are the same, else all of them."""
    return str(values[0]) if len(set(values)) == 1 else str(tuple(values))
