"""Upsample an image as the tutorial does: by a transposed convolution with a bilinear filter."""

from collections.abc import Sequence
from math import prod
from os import PathLike
from typing import Any

import numpy as np
from numpy.typing import NDArray

from upscore.conv import conv_transpose2d
from upscore.conv.case import kind
from upscore.errors import ArgumentError, ArgumentTypeError
from upscore.filters import bilinear_filter
from upscore.geometry import whole

_WORK = {"uint8": "float32", "uint16": "float32", "float16": "float32", "bfloat16": "float32"}
_DTYPES = (*_WORK, "float32", "float64")
_LIMIT = 2**31


def upsample(image: Any, factor: int | Sequence[int], *, edges: str = "held") -> Any:
    """Return the image enlarged `factor` times by linear interpolation.

    `torch.nn.functional.interpolate(image, scale_factor=factor, mode="bilinear")`, also on pixels
    of 8 and 16 bits: output pixel i samples the input at (i + 0.5) / factor - 0.5.

    image: a NumPy array (H, W) or (H, W, C), or a torch tensor (H, W), (C, H, W) or (N, C, H, W),
    of uint8, uint16 or floating point; the result is of the same kind and dtype, integers rounded
    half to even. Each channel is enlarged by itself, alpha too.
    factor: a whole number of at least 1, or one for each of height and width.
    edges: "held" repeats the border pixels outwards, as `interpolate` does; "zeros" is the layer
    alone, for which the image is zero outside, so that the outermost factor // 2 pixels darken.

    Raises TypeError for other arrays and dtypes, ValueError for other shapes, an empty image, and
    results of 2**31 elements or more.

    Source: the FCN upscore layer, Long et al. 2015.

    >>> upsample(np.array([[0, 100]], np.uint8), (1, 2))
    array([[  0,  25,  75, 100]], dtype=uint8)
    >>> upsample(np.array([[100, 100]], np.uint8), (1, 2), edges="zeros")
    array([[ 75, 100, 100,  75]], dtype=uint8)
    """
    array, dtype = kind("image", image), str(image.dtype).removeprefix("torch.")
    if dtype not in _DTYPES:
        raise ArgumentTypeError(f"image must be of {', '.join(_DTYPES)}, not {dtype}: convert it")
    if edges not in ("held", "zeros"):
        raise ArgumentError(f"edges must be 'held' or 'zeros', not {edges!r}")
    factors = tuple(factor) if isinstance(factor, Sequence) else (factor, factor)
    if len(factors) != 2:
        raise ArgumentError(
            f"factor must be one number or two, for height and width, not {factor!r}"
        )
    factors = tuple(whole("factor", f, 1) for f in factors)
    if image.ndim not in ((2, 3) if array == "numpy" else (2, 3, 4)) or 0 in image.shape:
        raise ArgumentError(
            "image must be (H, W) or (H, W, C) in NumPy, (H, W), (C, H, W) or (N, C, H, W) in "
            f"torch, with a pixel at least, not {tuple(image.shape)}"
        )
    if (count := prod(image.shape) * prod(factors)) >= _LIMIT:
        raise ArgumentError(
            f"{tuple(image.shape)} enlarged by {factors} would be {count:,} elements, and at most "
            f"{_LIMIT - 1:,} are made at once: take a smaller factor, or parts of the image"
        )
    if array == "torch":
        return _tensor(image, factors, edges)
    planes = image[None] if image.ndim == 2 else np.moveaxis(image, 2, 0)
    pixels = planes.astype(_WORK.get(dtype, dtype))
    if edges == "held":
        pixels = np.pad(pixels, ((0, 0), (1, 1), (1, 1)), mode="edge")
    y = _enlarge(pixels[None], factors, edges)[0]
    if image.dtype.kind == "u":
        np.rint(y, out=y)
    y = np.asarray(y, image.dtype)
    return y[0] if image.ndim == 2 else np.ascontiguousarray(np.moveaxis(y, 0, 2))


def _tensor(image: Any, factors: tuple[int, ...], edges: str) -> Any:
    """`upsample` for a tensor."""
    import torch

    dtype = image.dtype if image.is_floating_point() and image.itemsize > 2 else torch.float32
    pixels = image.to(dtype).reshape(-1, *image.shape[-3:] if image.ndim > 2 else (1, *image.shape))
    if edges == "held":
        pixels = torch.nn.functional.pad(pixels, (1, 1, 1, 1), mode="replicate")
    y = _enlarge(pixels, factors, edges)
    y = y if image.is_floating_point() else y.round()
    return y.to(image.dtype).reshape(*image.shape[:-2], *y.shape[-2:])


def _enlarge(pixels: Any, factors: tuple[int, ...], edges: str) -> Any:
    """The layer on (N, C, H, W), which cuts again what was repeated."""
    channels = pixels.shape[1]
    weight = np.broadcast_to(bilinear_filter(factors), (channels, 1, *_taps(factors)))
    if kind("image", pixels) == "torch":
        weight = pixels.new_tensor(np.array(weight))
    else:
        weight = weight.astype(pixels.dtype)
    cut = [f // 2 + (f if edges == "held" else 0) for f in factors]
    return conv_transpose2d(pixels, weight, None, factors, cut, groups=channels)


def _taps(factors: tuple[int, ...]) -> tuple[int, ...]:
    return tuple(2 * f - f % 2 for f in factors)


def upsample_file(
    source: str | PathLike[str],
    target: str | PathLike[str],
    factor: int | Sequence[int],
    *,
    edges: str = "held",
) -> NDArray[Any]:
    """Read an image file, write it enlarged by `factor`, and return the pixels written.

    Grey, RGB and alpha stay what they are, grey of 16 bits too; palettes and CMYK become RGB. The
    format follows the target's suffix. Raises ImageError for a file that is no usable image.
    """
    from PIL import Image, ImageOps

    from upscore import files, images

    with images.opened(source) as image:
        upright = ImageOps.exif_transpose(image)
        if upright.mode not in ("L", "LA", "RGB", "RGBA", "I;16", "F"):
            upright = upright.convert("RGBA" if upright.has_transparency_data else "RGB")
        pixels = np.asarray(upright)
    enlarged: NDArray[Any] = upsample(pixels, factor, edges=edges)
    with files.replacing(target) as part:
        Image.fromarray(enlarged).save(part)
    return enlarged
