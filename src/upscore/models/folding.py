"""Frozen batch normalisation within the convolution before it: the same scores in less time.

With statistics that stay, a normalisation multiplies each channel by a number and adds another.
Filters times that number and a bias do the same without passing over all pixels once more, forwards
and backwards.
"""

from functools import partial

import torch
from timm.layers.conv2d_same import Conv2dSame
from timm.layers.norm_act import BatchNormAct2d
from timm.layers.padding import pad_same
from torch import Tensor, nn

from upscore.models.spec import COARSEST


def fold_norms(network: nn.Module, bands: int = 3) -> None:
    """Let a network's convolutions do the work of the frozen normalisations that follow them.

    The network keeps its parameters, their names and their gradients; only the path differs.
    Normalisations without a convolution before them stay. Where the network also uses what a
    convolution gives in another way, so that its answers would differ, all stay.
    """
    with torch.random.fork_rng(devices=[]):
        image = torch.rand(1, bands, 2 * COARSEST, 2 * COARSEST) - 0.5
    image = image.to(next(network.parameters()))
    before, pairs = _run(network, image)
    for conv, norm in pairs:
        # A partial's copy belongs to the copied modules, as a closure's would not.
        conv.forward = partial(_convolve, conv, norm)  # type: ignore[method-assign]
        norm.forward = partial(_activate, norm)  # type: ignore[method-assign]
    after, _ = _run(network, image)
    same = (
        torch.allclose(a, b, rtol=1e-2, atol=1e-3 * float(a.std()))
        for a, b in zip(before, after, strict=True)
    )
    if not all(same):
        for module in {module for pair in pairs for module in pair}:
            del module.forward


def _run(
    network: nn.Module, image: Tensor
) -> tuple[list[Tensor], list[tuple[nn.Conv2d, nn.BatchNorm2d]]]:
    """A network's features of an image, and which normalisations took a convolution's output."""
    made: dict[int, tuple[nn.Conv2d, Tensor]] = {}  # keeps the tensors, so that no id comes twice
    pairs = []

    def note(conv: nn.Conv2d, _: object, output: Tensor) -> None:
        made[id(output)] = conv, output

    def look(norm: nn.BatchNorm2d, inputs: tuple[Tensor, ...]) -> None:
        complete = norm.affine and norm.track_running_stats
        if complete and id(inputs[0]) in made:
            pairs.append((made[id(inputs[0])][0], norm))

    hooks = []
    for module in network.modules():
        if type(module) in (nn.Conv2d, Conv2dSame):
            hooks.append(module.register_forward_hook(note))
        elif type(module) in (nn.BatchNorm2d, BatchNormAct2d):
            hooks.append(module.register_forward_pre_hook(look))
    training = network.training
    with torch.no_grad():
        features = network.eval()(image)
    network.train(training)
    for hook in hooks:
        hook.remove()
    return features, pairs


def _convolve(conv: nn.Conv2d, norm: nn.BatchNorm2d, x: Tensor) -> Tensor:
    """`norm(conv(x))`, without the activation of `norm`."""
    assert norm.running_mean is not None
    assert norm.running_var is not None
    factor = norm.weight * torch.rsqrt(norm.running_var + norm.eps)
    bias = norm.bias - norm.running_mean * factor
    if conv.bias is not None:
        bias = bias + conv.bias * factor
    if isinstance(conv, Conv2dSame):
        x = pad_same(x, list(conv.kernel_size), list(conv.stride), list(conv.dilation))
    found: Tensor = conv._conv_forward(x, conv.weight * factor[:, None, None, None], bias)
    return found


def _activate(norm: nn.BatchNorm2d, x: Tensor) -> Tensor:
    """What is left of a normalisation: its activation, if it has one."""
    if isinstance(norm, BatchNormAct2d):
        x = norm.act(norm.drop(x))
    return x
