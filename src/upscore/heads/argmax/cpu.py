"""Labels on the CPU: takes scores of any layout to the kernel that never upsamples them whole."""

import math
import sys
from typing import Any

import numpy as np
from numpy.typing import NDArray

from upscore.heads.argmax.cpu_kernels import KINDS, label_bands
from upscore.heads.argmax.cpu_plan import plan_labels
from upscore.kernels.threads import share

_AWAKE = 150_000  # nanoseconds of work for which a thread is worth waking


def argmax(
    scores: Any,
    labels: Any,
    confidence: Any = None,
    *,
    kind: str | None = None,
    align_corners: bool = False,
    stride: int | None = None,
) -> None:
    """Write the labels of N x C x h x w scores in main memory and, if asked, their confidence."""
    n, classes, h, w = scores.shape
    line, place = _line(_array(scores), writeable=False)
    target = _array(labels)
    whole = target if target.flags.aligned else np.empty_like(target)
    out, out_place = _line(whole, writeable=True)
    real = np.dtype("float64" if line.dtype == np.float64 else "float32").type
    size = tuple(labels.shape[1:])
    plan, tasks, pitch = plan_labels((h, w), size, align_corners, stride, classes, real.__name__)
    cost = 1.2 * classes * w * h / tasks + 0.4 * size[0] * size[1] / tasks  # nanoseconds a task
    share(
        label_bands,
        n * tasks,
        line,
        place,
        plan,
        pitch,
        classes,
        real(np.finfo(real).max / 4),
        out,
        out_place,
        size[1],
        None if confidence is None else _array(confidence).reshape(-1),
        KINDS[kind],
        real(0 if kind in (None, "margin") else 20 + math.log(classes)),
        least=math.ceil(_AWAKE / cost),
        pieces=4,
    )
    if whole is not target:
        target[...] = whole


def _array(x: Any) -> NDArray[Any]:
    """View an array or a CPU tensor as an array: float16 as uint16, bfloat16 as int16."""
    if not isinstance(x, np.ndarray):
        torch = sys.modules["torch"]
        x = (x.view(torch.int16) if x.dtype == torch.bfloat16 else x).numpy()
    array: NDArray[Any] = x.view(np.uint16) if x.dtype == np.float16 else x
    return array


def _line(array: NDArray[Any], *, writeable: bool) -> tuple[NDArray[Any], tuple[int, ...]]:
    """Return the memory of an array as one line, with its offset and strides in elements.

    One compiled kernel then serves every layout; only elements between two addresses are copied.
    """
    if not array.flags.aligned:
        array = array.copy()
    if array.flags.c_contiguous:
        line = array.reshape(-1)
        line.flags.writeable = writeable
        return line, (0, *(step // array.itemsize for step in array.strides))
    steps = [step // array.itemsize for step in array.strides]
    ends = [(n - 1) * step for n, step in zip(array.shape, steps, strict=True)]
    corner = array[tuple(slice(-1, None) if step < 0 else slice(1) for step in steps)]
    line = np.lib.stride_tricks.as_strided(
        corner, (sum(map(abs, ends)) + 1,), (array.itemsize,), writeable=writeable
    )
    return line, (-sum(end for end in ends if end < 0), *steps)
