"""Upsample an image as the tutorial does: by a transposed convolution with a bilinear filter."""

from collections.abc import Sequence
from math import prod
from os import PathLike
from typing import Any

import numpy as np
from numpy.typing import NDArray

from upscore.arrays import TORCH, Framework, framework
from upscore.conv import conv_transpose2d
from upscore.errors import ArgumentError, ArgumentTypeError
from upscore.filters import bilinear_filter
from upscore.geometry import whole

# What is computed in float32; the other dtypes are computed in themselves.
_WIDENED = ("uint8", "uint16", "float16", "bfloat16")
_DTYPES = (*_WIDENED, "float32", "float64")
_TOO_MANY = 2**31  # elements, from which an index no longer fits in 32 bits


def upsample(image: Any, factor: int | Sequence[int], *, edges: str = "replicate") -> Any:
    """Return the image enlarged `factor` times by linear interpolation.

    Equivalent to `torch.nn.functional.interpolate(image, scale_factor=factor, mode="bilinear")`
    with `edges="replicate"`, also on pixels of 8 and 16 bits: output pixel i samples the input at
    (i + 0.5) / factor - 0.5.

    Args:
        image: a NumPy array (H, W) or (H, W, C), or a torch tensor (H, W), (C, H, W) or
            (N, C, H, W), of uint8, uint16 or floating point.
        factor: a whole number of at least 1, or one for each of height and width.
        edges: "replicate" repeats the border pixels outwards, as `interpolate` does; "zeros" is the
            layer alone, which sees zeros outside, so that the outermost factor // 2 pixels darken.

    Returns:
        The enlarged image, of the framework and dtype of `image`; integers are rounded half to
        even. Each channel is enlarged by itself, alpha too.

    Raises:
        ArgumentError: a shape, factor or `edges` does not fit, the image is empty, or the result
            would have 2**31 elements or more.
        ArgumentTypeError: no array, or one of another dtype.

    Source: the FCN upscore layer, Long et al. 2015.

    Examples:
        >>> import numpy as np
        >>> upsample(np.array([[0, 100]], np.uint8), (1, 2))
        array([[  0,  25,  75, 100]], dtype=uint8)
        >>> upsample(np.array([[100, 100]], np.uint8), (1, 2), edges="zeros")
        array([[ 75, 100, 100,  75]], dtype=uint8)
    """
    arrays, factors = framework(image, "image"), _per_axis(factor)
    _check(arrays, image, factors, edges)
    enlarged = _tensor if arrays is TORCH else _array
    return enlarged(image, factors, edges)


def _per_axis(factor: int | Sequence[int]) -> tuple[int, ...]:
    """The factors of height and width."""
    factors = tuple(factor) if isinstance(factor, Sequence) else (factor, factor)
    if len(factors) != 2:
        raise ArgumentError(
            f"factor must be one number or two, for height and width, not {factor!r}"
        )
    return tuple(whole("factor", f, 1) for f in factors)


def _check(arrays: Framework, image: Any, factors: tuple[int, ...], edges: str) -> None:
    """Raise for what `upsample` cannot serve."""
    if (dtype := arrays.dtype(image)) not in _DTYPES:
        raise ArgumentTypeError(f"image must be of {', '.join(_DTYPES)}, not {dtype}: convert it")
    if edges not in ("replicate", "zeros"):
        raise ArgumentError(f"edges must be 'replicate' or 'zeros', not {edges!r}")
    if image.ndim not in ((2, 3, 4) if arrays is TORCH else (2, 3)) or 0 in image.shape:
        raise ArgumentError(
            "image must be (H, W) or (H, W, C) in NumPy, (H, W), (C, H, W) or (N, C, H, W) in "
            f"torch, with a pixel at least, not {tuple(image.shape)}"
        )
    if (count := prod(image.shape) * prod(factors)) >= _TOO_MANY:
        raise ArgumentError(
            f"{tuple(image.shape)} enlarged by {factors} would be {count:,} elements, and at most "
            f"{_TOO_MANY - 1:,} are made at once: take a smaller factor, or parts of the image"
        )


def _array(image: NDArray[Any], factors: tuple[int, ...], edges: str) -> NDArray[Any]:
    """`upsample` for a NumPy array."""
    planes = image[None] if image.ndim == 2 else np.moveaxis(image, 2, 0)
    pixels = planes.astype(np.float32 if str(image.dtype) in _WIDENED else image.dtype)
    if edges == "replicate":
        pixels = np.pad(pixels, ((0, 0), (1, 1), (1, 1)), mode="edge")
    y = _enlarge(pixels[None], factors, edges)[0]
    if image.dtype.kind == "u":
        np.rint(y, out=y)
    y = np.asarray(y, image.dtype)
    return y[0] if image.ndim == 2 else np.ascontiguousarray(np.moveaxis(y, 0, 2))


def _tensor(image: Any, factors: tuple[int, ...], edges: str) -> Any:
    """`upsample` for a tensor."""
    import torch

    dtype = torch.float32 if TORCH.dtype(image) in _WIDENED else image.dtype
    pixels = image.to(dtype).reshape(-1, *image.shape[-3:] if image.ndim > 2 else (1, *image.shape))
    if edges == "replicate":
        pixels = torch.nn.functional.pad(pixels, (1, 1, 1, 1), mode="replicate")
    y = _enlarge(pixels, factors, edges)
    y = y if image.is_floating_point() else y.round()
    return y.to(image.dtype).reshape(*image.shape[:-2], *y.shape[-2:])


def _enlarge(pixels: Any, factors: tuple[int, ...], edges: str) -> Any:
    """The layer on (N, C, H, W), which cuts again what was repeated."""
    channels = pixels.shape[1]
    weight = np.broadcast_to(bilinear_filter(factors), (channels, 1, *_taps(factors)))
    if TORCH.owns(pixels):
        weight = pixels.new_tensor(np.array(weight))
    else:
        weight = weight.astype(pixels.dtype)
    cut = [f // 2 + (f if edges == "replicate" else 0) for f in factors]
    return conv_transpose2d(pixels, weight, None, factors, cut, groups=channels)


def _taps(factors: tuple[int, ...]) -> tuple[int, ...]:
    return tuple(2 * f - f % 2 for f in factors)


def upsample_file(
    source: str | PathLike[str],
    target: str | PathLike[str],
    factor: int | Sequence[int],
    *,
    edges: str = "replicate",
) -> NDArray[Any]:
    """Read an image file, write it enlarged by `factor`, and return the pixels written.

    Grey, RGB and alpha stay what they are, grey of 16 bits too; palettes and CMYK become RGB. The
    format follows the target's suffix. Raises ImageError for a file that is no usable image.
    """
    from PIL import Image, ImageOps

    from upscore.images.decode import opened
    from upscore.io.atomic import replacing

    with opened(source) as image:
        upright = ImageOps.exif_transpose(image)
        if upright.mode not in ("L", "LA", "RGB", "RGBA", "I;16", "F"):
            upright = upright.convert("RGBA" if upright.has_transparency_data else "RGB")
        pixels = np.asarray(upright)
    enlarged: NDArray[Any] = upsample(pixels, factor, edges=edges)
    with replacing(target) as part:
        Image.fromarray(enlarged).save(part)
    return enlarged
