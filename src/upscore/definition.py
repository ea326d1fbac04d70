"""The specification: transposed convolution and linear upsampling in readable NumPy."""

from collections.abc import Sequence

import numpy as np
from numpy.typing import ArrayLike, NDArray

from upscore.geometry import linear_positions, transposed_size


def conv_transpose(
    x: ArrayLike,
    weight: ArrayLike,
    bias: ArrayLike | None = None,
    *,
    stride: int | Sequence[int] = 1,
    padding: int | Sequence[int] = 0,
    output_padding: int | Sequence[int] = 0,
    dilation: int | Sequence[int] = 1,
    groups: int = 1,
    view: str = "scatter",
) -> NDArray[np.float64]:
    """Return the transposed convolution of `x` (N, C, *spatial) with `weight` (C, O/groups, *k)."""
    x, weight = np.asarray(x), np.asarray(weight)
    dim = weight.ndim - 2
    s, p, op, d = (
        (v,) * dim if isinstance(v, int) else tuple(v)
        for v in (stride, padding, output_padding, dilation)
    )
    size = [transposed_size(*case) for case in zip(x.shape[2:], weight.shape[2:], s, p, op, d)]
    full_size = [n + 2 * q for n, q in zip(size, p)]
    outputs = []
    for xg, wg in zip(np.split(x, groups, 1), np.split(weight, groups, 0), strict=True):
        full = np.zeros((len(x), wg.shape[1], *full_size), np.result_type(x, weight, np.int64))
        for tap in np.ndindex(wg.shape[2:]):
            where = tuple(
                slice(t * dd, t * dd + (n - 1) * ss + 1, ss)
                for t, dd, n, ss in zip(tap, d, x.shape[2:], s)
            )
            full[:, :, *where] += np.einsum("ni...,io->no...", xg, wg[:, :, *tap])
        outputs.append(full[:, :, *(slice(q, q + n) for q, n in zip(p, size))])
    y = np.concatenate(outputs, axis=1)
    return y if bias is None else y + np.reshape(bias, (-1, *(1,) * dim))


def upsample_linear(
    scores: ArrayLike,
    size: int | Sequence[int],
    *,
    align_corners: bool = False,
    stride: int | None = None,
) -> NDArray[np.float64]:
    """Return `scores` (..., h, w) interpolated linearly to `size` (H, W).

    `torch.nn.functional.interpolate(scores, size, mode="bilinear", align_corners=...)`.
    """
    y = np.asarray(scores, np.float64)
    sizes = (size, size) if isinstance(size, int) else tuple(size)
    for axis, size_out in enumerate(sizes, start=y.ndim - len(sizes)):
        low, high, weight = linear_positions(
            y.shape[axis], size_out, align_corners=align_corners, stride=stride
        )
        weight = weight.reshape(-1, *(1,) * (y.ndim - 1 - axis))
        y = y.take(low, axis) * (1 - weight) + y.take(high, axis) * weight
    return y
