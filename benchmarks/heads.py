"""The fused heads on the CPU against the ways people have: time, peak memory, and the floor.

    python benchmarks/heads.py [--only TEXT] [--json PATH]

Install the peers with `pip install upscore[bench]`. Every case is timed in turn with its peers in
one run. The floor is what reading the scores and writing the labels take at the bandwidth measured
in the same run. `MB` is the peak of the process beyond what it held before the call, the result
counted. Nothing is timed that was not first found to agree with PyTorch.
"""

import ctypes
import gc
from collections.abc import Callable
from pathlib import Path
from typing import Any

import cv2
import numpy as np
import onnx
import onnxruntime
import openvino
import torch
from torch.nn import functional as F

import upscore
from _timing import arguments, in_turn, milliseconds, ratio, show, write

Call = Callable[[], Any]

LABELS = [
    # scores N x C x h x w, labels H x W
    ((1, 11, 90, 120), (360, 480)),
    ((1, 21, 64, 64), (500, 375)),
    ((1, 19, 128, 256), (1024, 2048)),
    ((1, 150, 128, 128), (512, 683)),
    ((1, 150, 128, 128), (1080, 1920)),
    ((8, 21, 64, 64), (500, 375)),
    ((1, 19, 256, 512), (4096, 8192)),
]
FUSED = ("smooth", "bfloat16", "random")  # the inputs of ours; to the peers all are alike


def bandwidth() -> float:
    """Bytes a second of copying 128 MB with every thread, read and write counted."""
    a = torch.ones(2**25)
    b = torch.empty_like(a)
    return 2 * a.nbytes / min(in_turn({"copy": lambda: b.copy_(a)})["copy"])


def peak(call: Call) -> float:
    """Megabytes at the peak of a call beyond what the process held before; nan if not on Linux."""

    def held(name: str) -> int:
        lines = Path("/proc/self/status").read_text().splitlines()
        return next(int(line.split()[1]) for line in lines if line.startswith(name))

    call()
    gc.collect()
    try:
        ctypes.CDLL(None).malloc_trim(0)  # what is free but held would hide what is used
        Path("/proc/self/clear_refs").write_text("5")  # forget the peak so far
        before = held("VmRSS")
        result = call()  # kept until the peak is read
    except (OSError, AttributeError):
        return float("nan")
    most = held("VmHWM")
    del result
    return (most - before) / 1024


def smooth(shape: tuple[int, ...]) -> torch.Tensor:
    """Scores of which few compete in one place, as a trained network's do."""
    n, classes, h, w = shape
    generator = torch.Generator().manual_seed(0)
    coarse = torch.randn(n, classes, h // 8 + 1, w // 8 + 1, generator=generator)
    noise = torch.randn(shape, generator=generator)
    return 10 * F.interpolate(coarse, (h, w), mode="bicubic") + 0.1 * noise


def real() -> tuple[torch.Tensor, tuple[int, int]]:
    """Scores of the bundled model on the cat of scikit-image, and the size of that photo."""
    from skimage.data import chelsea

    from upscore import models

    model, spec = models.load("bundled")
    photo = torch.from_numpy(np.ascontiguousarray(chelsea().transpose(2, 0, 1)))[None]
    with torch.inference_mode():
        return model(models.normalise(photo, spec)), tuple(photo.shape[-2:])


def resize_graph(shape: tuple[int, ...], size: tuple[int, int]) -> onnx.ModelProto:
    """Resize and ArgMax as an ONNX graph."""
    make = onnx.helper.make_node
    sizes = onnx.numpy_helper.from_array(np.array([*shape[:2], *size]), "sizes")
    graph = onnx.helper.make_graph(
        [
            make("Resize", ["scores", "", "", "sizes"], ["full"], mode="linear"),
            make("ArgMax", ["full"], ["labels"], axis=1, keepdims=0),
        ],
        "labels",
        [onnx.helper.make_tensor_value_info("scores", onnx.TensorProto.FLOAT, shape)],
        [onnx.helper.make_tensor_value_info("labels", onnx.TensorProto.INT64, None)],
        [sizes],
    )
    return onnx.helper.make_model(
        graph, opset_imports=[onnx.helper.make_opsetid("", 18)], ir_version=9
    )


def opencv_resize(image: np.ndarray, size: tuple[int, int]) -> np.ndarray:
    """Resize h x w x C; OpenCV takes at most 128 channels at a time."""
    parts = (image[..., c : c + 64] for c in range(0, image.shape[2], 64))
    resized = (cv2.resize(np.ascontiguousarray(part), size) for part in parts)
    return np.concatenate([np.atleast_3d(part) for part in resized], axis=2)


def peers(scores: torch.Tensor, size: tuple[int, int]) -> dict[str, Call]:
    """The other ways to the same labels, each in the layout that suits it."""

    def eager(x: torch.Tensor) -> torch.Tensor:
        return F.interpolate(x, size, mode="bilinear").argmax(1)

    array, height, width = scores.numpy(), *size
    model = resize_graph(tuple(scores.shape), size).SerializeToString()
    options = onnxruntime.SessionOptions()
    options.intra_op_num_threads = torch.get_num_threads()
    session = onnxruntime.InferenceSession(model, options, providers=["CPUExecutionProvider"])
    vino = openvino.Core().compile_model(
        openvino.Core().read_model(model),
        "CPU",
        {
            "PERFORMANCE_HINT": "LATENCY",
            "INFERENCE_PRECISION_HINT": "f32",
            "INFERENCE_NUM_THREADS": torch.get_num_threads(),
        },
    )
    compiled = torch.compile(eager, dynamic=False)
    last = scores.contiguous(memory_format=torch.channels_last)
    images = np.ascontiguousarray(array.transpose(0, 2, 3, 1))
    return {
        "eager": lambda: eager(scores),
        "channels-last": lambda: F.interpolate(last, size, mode="bilinear").max(1)[1],
        "compiled": lambda: compiled(scores),
        "onnxruntime": lambda: session.run(None, {"scores": array})[0],
        "openvino": lambda: vino({"scores": array})[0],
        "opencv": lambda: np.stack([opencv_resize(i, (width, height)).argmax(2) for i in images]),
    }


def label_row(
    name: str, scores: torch.Tensor, size: tuple[int, int], rate: float, rounds: int
) -> dict[str, Any]:
    """Time one case."""
    random = torch.randn(scores.shape, generator=torch.Generator().manual_seed(1))
    inputs = dict(zip(FUSED, (scores, scores.bfloat16(), random), strict=True))
    calls: dict[str, Call] = {
        kind: lambda x=x: upscore.argmax(x, size, backend="cpu") for kind, x in inputs.items()
    }
    others = peers(scores, size)
    expected = np.asarray(others["eager"]())
    for label, call in {"smooth": calls["smooth"], **others}.items():
        agree = (np.asarray(call()) == expected).mean()
        if agree < 0.999:  # their positions are rounded differently
            raise SystemExit(f"{name}: only {agree:.3%} of the labels of {label} are PyTorch's")
    times = in_turn({**calls, **others}, rounds=rounds)
    ms = milliseconds(times)
    best = min((other for other in others if other != "eager"), key=lambda other: ms[other])
    labels = scores.shape[0] * size[0] * size[1]
    return {
        "case": name,
        **{f"{call} ms": value for call, value in ms.items()},
        "floor ms": 1e3 * (scores.nbytes + labels) / rate,
        **{f"{kind} x eager": ratio(times, "eager", kind) for kind in FUSED},
        "best peer": best,
        **{f"{kind} x best": ratio(times, best, kind) for kind in FUSED},
        "labels MB": labels / 2**20,
        **{f"{call} MB": peak({**calls, **others}[call]) for call in ("smooth", *others)},
    }


def label_rows(rate: float, only: str, rounds: int) -> list[dict[str, Any]]:
    """Time the cases whose name contains `only`."""
    rows = []
    for shape, size in LABELS:
        name = f"{'x'.join(map(str, shape))} -> {size[0]}x{size[1]}"
        if only in name:
            few = min(rounds, 3) if size[0] > 4000 else rounds
            rows.append(label_row(name, smooth(shape), size, rate, few))
    if only in "real":
        try:
            scores, size = real()
        except FileNotFoundError as error:
            print(f"real scores left out: {error}")
        else:
            name = f"real {'x'.join(map(str, scores.shape))} -> {size[0]}x{size[1]}"
            rows.append(label_row(name, scores, size, rate, rounds))
    return rows


def parts(rows: list[dict[str, Any]], *endings: str) -> list[dict[str, Any]]:
    """The columns with these endings, for a table that fits a page."""
    return [{k: v for k, v in row.items() if k == "case" or k.endswith(endings)} for row in rows]


def main() -> None:
    options = arguments(__doc__.split("\n")[0]).parse_args()
    rate = bandwidth()
    print(f"memory: {rate / 1e9:.1f} GB/s")
    rows = label_rows(rate, options.only, options.rounds)
    if rows:
        show("Labels, milliseconds", parts(rows, " ms"))
        show("Labels, how many times faster", parts(rows, "eager", "peer", "best"))
        show("Labels, peak megabytes", parts(rows, " MB"))
    if options.json:
        write(options.json, bandwidth=rate, labels=rows)


if __name__ == "__main__":
    main()
