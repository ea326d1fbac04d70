"""The transposed convolution against PyTorch: contiguous, channels-last, and inserting zeros.

    python benchmarks/conv_transpose.py --json conv_transpose.json

Each row is one case, forward or forward and backward; the calls of a row are timed in turn in one
run. `x torch` is how many times faster upscore is than PyTorch as users call it (contiguous);
`x best` than the faster of PyTorch's two layouts, where channels-last is handed contiguous arrays
and gives them back, as upscore does; `x zeros` than inserting zeros. `floor` is the larger of two
times: reading the inputs and writing the output once at the measured bandwidth, and the
multiply-adds at the measured rate of a large matrix product. `--backends` times every backend:
the rules in `upscore.conv.plan` are read off that table.
"""

import math
from collections.abc import Callable
from functools import partial
from typing import NamedTuple

import torch
import torch.nn.functional as F

import upscore
from _timing import arguments, geometric_mean, in_turn, milliseconds, ratio, show, write
from upscore.conv import describe
from upscore.conv.backends import BACKENDS
from upscore.conv.plan import choose
from upscore.filters import bilinear_weight

# Above this many multiply-adds inserting zeros takes seconds, and is left out.
ZEROS_AT_MOST = 4e9
DTYPES = {"float32": torch.float32, "bfloat16": torch.bfloat16}
THEIRS = {1: F.conv_transpose1d, 2: F.conv_transpose2d, 3: F.conv_transpose3d}
OURS = {1: upscore.conv_transpose1d, 2: upscore.conv_transpose2d, 3: upscore.conv_transpose3d}


class Layer(NamedTuple):
    """A layer and the input it meets."""

    name: str
    batch: int
    inputs: int
    outputs: int
    size: tuple[int, ...]
    kernel: int
    stride: int
    padding: int
    output_padding: int = 0
    depthwise: bool = False
    backward: bool = False


def fcn(classes: int, size: tuple[int, int], factor: int, **options: bool) -> Layer:
    """The upscore layer of an FCN: bilinear, one filter a class."""
    return Layer(
        f"FCN {classes} classes, stride {factor}",
        1, classes, classes, size, 2 * factor, factor, factor // 2, 0, True, **options,
    )  # fmt: skip


LAYERS = [
    Layer("U-Net 512 > 256", 1, 512, 256, (32, 32), 2, 2, 0),
    Layer("U-Net 256 > 128", 1, 256, 128, (64, 64), 2, 2, 0),
    Layer("U-Net 128 > 64", 1, 128, 64, (128, 128), 2, 2, 0),
    Layer("U-Net 64 > 32", 1, 64, 32, (256, 256), 2, 2, 0),
    Layer("U-Net 32 > 2", 1, 32, 2, (256, 256), 2, 2, 0),
    Layer("DCGAN 100 > 512", 16, 100, 512, (1, 1), 4, 1, 0),
    Layer("DCGAN 512 > 256", 16, 512, 256, (4, 4), 4, 2, 1),
    Layer("DCGAN 128 > 64", 16, 128, 64, (16, 16), 4, 2, 1),
    Layer("DCGAN 64 > 3", 16, 64, 3, (32, 32), 4, 2, 1),
    Layer("image 64 > 3", 1, 64, 3, (64, 64), 4, 2, 1),
    Layer("image 32 > 3", 1, 32, 3, (256, 256), 4, 2, 1),
    Layer("scores 32 > 21", 1, 32, 21, (256, 256), 4, 2, 1),
    Layer("scores 64 > 19", 1, 64, 19, (128, 256), 4, 4, 0),
    Layer("FSRCNN x3", 1, 56, 1, (64, 64), 9, 3, 4, 2),
    Layer("FSRCNN x2", 1, 56, 1, (128, 128), 9, 2, 4, 1),
    Layer("FSRCNN x4", 1, 56, 1, (64, 64), 9, 4, 4, 3),
    Layer("ViT neck 768 > 256", 1, 768, 256, (16, 16), 2, 2, 0),
    Layer("ViT neck 256 > 256, x4", 1, 256, 256, (16, 16), 4, 4, 0),
    Layer("ViT neck 256 > 64", 1, 256, 64, (64, 64), 2, 2, 0),
    Layer("mask head 256 > 256", 8, 256, 256, (14, 14), 2, 2, 0),
    Layer("pose 256 > 256", 1, 256, 256, (16, 12), 4, 2, 1),
    fcn(21, (16, 16), 32),
    fcn(21, (32, 32), 16),
    fcn(21, (64, 64), 8),
    fcn(21, (32, 32), 2),
    fcn(19, (64, 128), 16),
    fcn(19, (128, 256), 8),
    fcn(19, (128, 256), 2),
    Layer("audio 512 > 256", 1, 512, 256, (64,), 16, 8, 4),
    Layer("audio 64 > 32", 1, 64, 32, (4096,), 4, 2, 1),
    Layer("audio 32 > 1", 1, 32, 1, (8192,), 16, 8, 4),
    Layer("volume 64 > 32", 1, 64, 32, (16, 16, 16), 2, 2, 0),
    Layer("volume 32 > 4", 1, 32, 4, (24, 24, 24), 2, 2, 0),
    Layer("volume upscore 4", 1, 4, 4, (24, 24, 24), 4, 2, 1, 0, True),
    Layer("U-Net 128 > 64", 1, 128, 64, (64, 64), 2, 2, 0, backward=True),
    Layer("DCGAN 128 > 64", 4, 128, 64, (16, 16), 4, 2, 1, backward=True),
    Layer("image 64 > 3", 1, 64, 3, (64, 64), 4, 2, 1, backward=True),
    Layer("FSRCNN x3", 1, 56, 1, (64, 64), 9, 3, 4, 2, backward=True),
    fcn(21, (64, 64), 8, backward=True),
    fcn(19, (128, 256), 2, backward=True),
    fcn(21, (16, 16), 32, backward=True),
]


def tensors(layer: Layer, dtype: torch.dtype, device: str) -> list[torch.Tensor]:
    """Input, weight and bias."""
    dim, groups = len(layer.size), layer.inputs if layer.depthwise else 1
    x = torch.randn(layer.batch, layer.inputs, *layer.size)
    if layer.depthwise:
        weight = torch.from_numpy(bilinear_weight(groups, layer.stride, dim=dim, groups=groups))
    else:
        weight = torch.randn(layer.inputs, layer.outputs, *(layer.kernel,) * dim)
        weight /= math.sqrt(layer.inputs)
    made = [x, weight, torch.randn(layer.outputs)]
    return [t.to(device, dtype).requires_grad_(layer.backward) for t in made]


def calls(
    layer: Layer, arrays: list[torch.Tensor], backends: bool
) -> dict[str, Callable[[], object]]:
    """What is timed, by name."""
    dim, groups = len(layer.size), layer.inputs if layer.depthwise else 1
    geometry = (layer.stride, layer.padding, layer.output_padding, groups)
    x, weight, bias = arrays
    theirs, ours = THEIRS[dim], OURS[dim]
    last = {2: torch.channels_last, 3: torch.channels_last_3d}.get(dim, torch.contiguous_format)

    def default() -> torch.Tensor:
        return theirs(x, weight, bias, *geometry)

    def channels_last() -> torch.Tensor:
        y = theirs(x.contiguous(memory_format=last), weight, bias, *geometry)
        return y.contiguous()

    def backend(name: str) -> Callable[[], torch.Tensor]:
        return lambda: ours(x, weight, bias, *geometry, backend=name)

    forward = {"torch": default, "channels-last": channels_last}
    if backends:
        case = describe(*arrays, *geometry)
        serving = [name for name, one in BACKENDS.items() if one.why_not(case) is None]
        forward |= {
            name: backend(name) for name in serving if name not in ("torch", "zero_insertion")
        }
    else:
        forward["upscore"] = backend("auto")
        inserted = describe(*arrays, *geometry)
        products = inserted.outputs * math.prod(weight.shape[2:]) * layer.inputs / groups
        if products < ZEROS_AT_MOST:
            forward["zeros"] = backend("zero_insertion")
    expected = default().detach().float()
    for name, call in forward.items():
        tolerance = 3e-4 if x.dtype == torch.float32 else 5e-2
        error = (call().detach().float() - expected).abs().max() / expected.abs().max()
        if not error < tolerance:
            raise AssertionError(f"{layer.name}: {name} differs by {error:.1e}")
    if not layer.backward:
        return forward
    towards = torch.randn_like(default())
    return {
        name: lambda call=call: torch.autograd.grad(call(), arrays, towards)
        for name, call in forward.items()
    }


def rates(dtype: torch.dtype, device: str) -> tuple[float, float]:
    """Bytes a second of filling memory, and multiply-adds a second of a matrix product."""
    memory, square = torch.empty(2**25, device=device), torch.randn(1024, 1024, device=device)
    square = square.to(dtype)
    found = in_turn({"fill": lambda: memory.fill_(1), "product": lambda: square @ square}, rounds=3)
    times = milliseconds(found)
    return 4e3 * memory.numel() / times["fill"], 1e3 * 1024**3 / times["product"]


def _floor(bandwidth: float, products: float, moved: float, multiplied: float) -> float:
    """Milliseconds that the memory or the arithmetic alone would take."""
    return 1e3 * max(moved / bandwidth, multiplied / products)


def main() -> None:
    """Print the table."""
    parser = arguments(__doc__.splitlines()[0])
    parser.add_argument("--backends", action="store_true", help="time every backend")
    parser.add_argument("--dtype", choices=DTYPES, action="append", help="only this dtype")
    parser.add_argument("--device", default="cpu")
    parser.add_argument("--seconds", type=float, default=0.02, help="how long one figure is timed")
    options = parser.parse_args()
    wait = torch.cuda.synchronize if options.device == "cuda" else lambda: None
    everything = []
    torch.manual_seed(0)
    for dtype in options.dtype or DTYPES:
        bandwidth, products = rates(DTYPES[dtype], options.device)
        floor = partial(_floor, bandwidth, products)
        rows = []
        for layer in (one for one in LAYERS if options.only in one.name):
            arrays = tensors(layer, DTYPES[dtype], options.device)
            rows.append(row(layer, arrays, options, wait, floor))
        show(f"{dtype} on {options.device}, milliseconds", rows)
        everything += [{"dtype": dtype, **one} for one in rows]
        if not options.backends:
            summary(rows)
    if options.json:
        write(options.json, rows=everything)


def row(layer, arrays, options, wait, floor) -> dict[str, object]:  # type: ignore[no-untyped-def]
    """Time one case."""
    timed = calls(layer, arrays, options.backends)
    times = in_turn(timed, rounds=options.rounds, seconds=options.seconds, synchronise=wait)
    made: dict[str, object] = {
        "case": layer.name + (", backward" if layer.backward else ""),
        "size": "x".join(map(str, layer.size)),
    }
    made |= {name: milliseconds(times).get(name, "") for name in _columns(options)}
    if options.backends:
        return made
    groups = layer.inputs if layer.depthwise else 1
    case = describe(*arrays, layer.stride, layer.padding, layer.output_padding, groups)
    taps = case.batch * math.prod(layer.size) * math.prod(case.kernel)
    moved = arrays[0].element_size() * (case.outputs + sum(a.numel() for a in arrays))
    passes = 3 if layer.backward else 1
    better = min(("torch", "channels-last"), key=lambda name: milliseconds(times)[name])
    return made | {
        "floor": floor(passes * moved, passes * taps * layer.inputs * layer.outputs / groups),
        "backend": choose(case)[0],
        "x torch": ratio(times, "torch", "upscore"),
        "x best": ratio(times, better, "upscore"),
        "x zeros": ratio(times, "zeros", "upscore") if "zeros" in times else "",
    }


def _columns(options) -> list[str]:  # type: ignore[no-untyped-def]
    backends = [name for name in BACKENDS if name not in ("torch", "zero_insertion", "definition")]
    return ["torch", "channels-last", *(backends if options.backends else ["zeros", "upscore"])]


def summary(rows) -> None:  # type: ignore[no-untyped-def]
    """Print the mean and the worst of each ratio."""
    for column in ("x torch", "x best", "x zeros"):
        timed = [one for one in rows if one[column] != ""]
        values = [one[column] for one in timed]
        worst = min(timed, key=lambda one: one[column])
        print(
            f"{column}: geometric mean {geometric_mean(values):.2f}, "
            f"least {min(values):.2f} ({worst['case']} {worst['size']})"
        )


if __name__ == "__main__":
    main()
