"""Frozen batch normalisation within the convolution before it: the same scores in less time.

With statistics that stay, a normalisation multiplies each channel by a number and adds another.
Filters times that number and a bias do the same without passing over all pixels once more, forwards
and backwards: a step of training takes a seventh less.
"""

from functools import partial

import torch
from timm.layers.conv2d_same import Conv2dSame
from timm.layers.norm_act import BatchNormAct2d
from timm.layers.padding import pad_same
from torch import Tensor, nn

from upscore.models.spec import COARSEST


def fold_norms(network: nn.Module, bands: int = 3) -> int:
    """Let a network's convolutions do the work of the frozen normalisations that follow them.

    The network keeps its parameters, their names and their gradients; only the path differs.
    Normalisations without a convolution before them stay. How many were folded is returned.
    """
    pairs = _pairs(network, bands)
    for conv, norm in pairs:
        # A partial's copy belongs to the copied modules, as a closure's would not.
        conv.forward = partial(_convolve, conv, norm)  # type: ignore[method-assign]
        norm.forward = partial(_activate, norm)  # type: ignore[method-assign]
    return len(pairs)


def _pairs(network: nn.Module, bands: int) -> list[tuple[nn.Conv2d, nn.BatchNorm2d]]:
    """The convolutions whose output a normalisation takes, found by running a small image."""
    made: dict[int, tuple[nn.Conv2d, Tensor]] = {}  # keeps the tensors, so that no id comes twice
    pairs = []

    def note(conv: nn.Conv2d, _: object, output: Tensor) -> None:
        made[id(output)] = conv, output

    def look(norm: nn.BatchNorm2d, inputs: tuple[Tensor, ...]) -> None:
        if id(inputs[0]) in made:
            pairs.append((made[id(inputs[0])][0], norm))

    hooks = []
    for module in network.modules():
        if type(module) in (nn.Conv2d, Conv2dSame):
            hooks.append(module.register_forward_hook(note))
        elif type(module) in (nn.BatchNorm2d, BatchNormAct2d):
            hooks.append(module.register_forward_pre_hook(look))
    training = network.training
    with torch.no_grad():
        side = 2 * COARSEST
        network.eval()(next(network.parameters()).new_zeros(1, bands, side, side))
    network.train(training)
    for hook in hooks:
        hook.remove()
    return pairs


def _convolve(conv: nn.Conv2d, norm: nn.BatchNorm2d, x: Tensor) -> Tensor:
    """`norm(conv(x))`, without the activation of `norm`."""
    assert norm.running_mean is not None
    assert norm.running_var is not None
    factor = norm.weight * torch.rsqrt(norm.running_var + norm.eps)
    bias = norm.bias - norm.running_mean * factor
    if conv.bias is not None:
        bias = bias + conv.bias * factor
    if isinstance(conv, Conv2dSame):
        x = pad_same(x, conv.kernel_size, conv.stride, conv.dilation)
    return conv._conv_forward(x, conv.weight * factor[:, None, None, None], bias)


def _activate(norm: nn.BatchNorm2d, x: Tensor) -> Tensor:
    """What is left of a normalisation: its activation, if it has one."""
    if isinstance(norm, BatchNormAct2d):
        x = norm.act(norm.drop(x))
    return x
