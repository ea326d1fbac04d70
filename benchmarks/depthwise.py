"""Depthwise convolutions that learn, on the CPU: forward and all gradients, against PyTorch's.

    python benchmarks/depthwise.py [--only TEXT] [--json PATH]

The layers of tf_efficientnet_lite2 for a batch of four crops of 256 pixels, as `upscore train`
plans them; channels last, photos and gradients in bfloat16, weights in float32. `bfloat16` is
PyTorch under autocast; `float32` is PyTorch with such layers taken out of autocast, and so with
conversions there and back; `upscore` is what training does. The floor is what reading the photos
and the output's gradient twice, and writing the output and the input's gradient once, take at the
bandwidth measured in the same run. Nothing is timed before the gradients of `upscore` were found to
agree with those in float64.

The last row is the whole network of the plan, forward and backward, without its loss.
"""

import copy
from collections.abc import Callable
from functools import partial
from typing import Any

import numpy as np
import torch
from torch import Tensor, nn

from _timing import Times, arguments, in_turn, milliseconds, ratio, show, write
from heads import bandwidth
from upscore.models import build
from upscore.models.folding import fold_norms
from upscore.training.allocator import keep_freed
from upscore.training.choices import ENCODER
from upscore.training.depthwise import quicken

PHOTOS = 4
LAYERS = [  # channels, height and width, kernel, stride; the padding is as in PyTorch
    (32, 128, 3, 1),
    (96, 128, 3, 2),
    (144, 64, 3, 1),
    (144, 64, 5, 2),
    (288, 32, 5, 1),
    (528, 16, 3, 1),
    (720, 16, 5, 1),
    (1248, 8, 5, 1),
]
WAYS = ("bfloat16", "float32", "upscore")
NETWORK = f"fcn4s on {ENCODER}"


def in_float32(forward: Callable[[Tensor], Tensor], x: Tensor) -> Tensor:
    """What PyTorch alone allows: a layer taken out of autocast."""
    with torch.autocast("cpu", enabled=False):
        return forward(x.float()).to(x.dtype)


def prepared(network: nn.Module, way: str) -> nn.Module:
    """A copy of a network whose depthwise layers are computed in this way."""
    network = copy.deepcopy(network)
    if way == "upscore":
        quicken(network)
    if way == "float32":
        for conv in network.modules():
            if isinstance(conv, nn.Conv2d) and conv.groups == conv.in_channels > 1:
                conv.forward = partial(in_float32, conv.forward)
    return network


def gradients(layer: nn.Module, x: Tensor, upstream: Tensor) -> tuple[Tensor, ...]:
    """Forward, and the gradients to the photos and the weight."""
    with torch.autocast("cpu", torch.bfloat16, enabled=x.dtype != torch.float64):
        y = layer(x)
    return torch.autograd.grad(y, [x, *layer.parameters()], upstream)


def of_layer(
    case: str, layer: tuple[int, int, int, int], rate: float, rounds: int
) -> dict[str, Any]:
    """Time one layer."""
    channels, size, kernel, stride = layer
    torch.manual_seed(0)
    conv = nn.Conv2d(channels, channels, kernel, stride, kernel // 2, groups=channels, bias=False)
    conv.load_state_dict({name: v.bfloat16() for name, v in conv.state_dict().items()})
    x = torch.randn(PHOTOS, channels, size, size).to(torch.bfloat16)
    x = x.contiguous(memory_format=torch.channels_last).requires_grad_()
    upstream = torch.randn_like(conv(x.float()), dtype=x.dtype)
    upstream = upstream.contiguous(memory_format=torch.channels_last)

    layers = {way: prepared(conv, way) for way in WAYS}
    exact = copy.deepcopy(conv).double()
    truth = gradients(exact, x.detach().double().requires_grad_(), upstream.double())
    found = [part.double() for part in gradients(layers["upscore"], x, upstream)]
    torch.testing.assert_close(found, list(truth), rtol=2**-8, atol=1e-3)
    calls = {way: lambda way=way: gradients(layers[way], x, upstream) for way in WAYS}
    floor = 3 * (x.nbytes + upstream.nbytes) / rate
    return figures(case, in_turn(calls, rounds=rounds), floor)


def of_network(rounds: int) -> dict[str, Any]:
    """Time the whole network, forward and backward."""
    network = build("fcn4s", classes=2, encoder=ENCODER, pretrained=True)
    for norm in network.encoder.modules():
        if isinstance(norm, nn.BatchNorm2d):
            norm.eval().requires_grad_(False)
    fold_norms(network.encoder.network)
    network = network.to(memory_format=torch.channels_last)
    photos = torch.randn(PHOTOS, 3, 256, 256).contiguous(memory_format=torch.channels_last)
    networks = {way: prepared(network, way) for way in WAYS}

    def step(way: str) -> None:
        with torch.autocast("cpu", torch.bfloat16):
            scores = networks[way](photos)
        scores.float().square().mean().backward()

    times = in_turn({way: lambda way=way: step(way) for way in WAYS}, rounds=rounds)
    return figures(NETWORK, times, np.nan)


def figures(case: str, times: Times, floor: float) -> dict[str, Any]:
    return {
        "case": case,
        **{f"{way} ms": value for way, value in milliseconds(times).items()},
        "floor ms": 1e3 * floor,
        "x bfloat16": ratio(times, "bfloat16", "upscore"),
        "x float32": ratio(times, "float32", "upscore"),
    }


def main() -> None:
    options = arguments(__doc__.split("\n")[0]).parse_args()
    keep_freed()  # as training does
    rate = bandwidth()
    print(f"memory: {rate / 1e9:.1f} GB/s")
    rows = []
    for layer in LAYERS:
        case = "{} channels, {} pixels a side, kernel {}, stride {}".format(*layer)
        if options.only in case:
            rows.append(of_layer(case, layer, rate, options.rounds))
    if options.only in NETWORK:
        rows.append(of_network(options.rounds))
    show("Depthwise convolutions, forward and backward", rows)
    if options.json:
        write(options.json, bandwidth=rate, depthwise=rows)


if __name__ == "__main__":
    main()
