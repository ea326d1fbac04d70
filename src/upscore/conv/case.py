"""Check the arguments of a transposed convolution once, and describe the case they make."""

from collections.abc import Sequence
from dataclasses import dataclass, replace
from functools import lru_cache
from typing import Any

from upscore.arrays import Framework, framework
from upscore.conv.outer_product import Factors, factors
from upscore.errors import ArgumentError, ArgumentTypeError
from upscore.geometry import Axis, pytorch, whole

Sizes = int | Sequence[int]
FLOATS = ("float16", "bfloat16", "float32", "float64")


@dataclass(frozen=True, eq=False)  # a case met again is the same object
class Case:
    """What a backend needs to know: all the arguments but the numbers in the arrays.

    `axes` hold size, kernel, stride, dilation and what is cut from the ends, first axis first; the
    tuples after it hold the same, a number an axis, in PyTorch's terms: `padding` is cut from the
    beginning of each axis and `output_padding` less than that from the end.
    `framework` is "numpy" or "torch".
    `rank_one` says whether every depthwise filter is an outer product of a column and a row, and
    `factors` holds those if so; None where the values were not looked at: not depthwise, one axis,
    not in main memory, or being traced by torch.compile or an exporter.
    """

    batch: int
    in_channels: int
    out_channels: int
    groups: int
    axes: tuple[Axis, ...]
    size_in: tuple[int, ...]
    size_out: tuple[int, ...]
    kernel: tuple[int, ...]
    stride: tuple[int, ...]
    padding: tuple[int, ...]
    output_padding: tuple[int, ...]
    dilation: tuple[int, ...]
    dtype: str
    device: str
    framework: str
    channels_last: bool
    tracing: bool
    exporting: bool
    rank_one: bool | None = None
    factors: Factors | None = None

    @property
    def depthwise(self) -> bool:
        """Whether each channel has one filter of its own."""
        return self.groups == self.in_channels == self.out_channels

    @property
    def has_numbers(self) -> bool:
        """Whether the numbers can be looked at: real ones in main memory, not being traced."""
        return not self.tracing and self.device == "cpu" and self.dtype in FLOATS

    @property
    def tiled(self) -> bool:
        """Whether the kernels lie side by side: stride as large as the kernel, nothing cut."""
        return self.kernel == self.stride and all(a.begin == a.end == 0 for a in self.axes)

    @property
    def outputs(self) -> int:
        """The number of elements of the output."""
        count = self.batch * self.out_channels
        for size in self.size_out:
            count *= size
        return count


def _each(name: str, value: Sizes, dim: int, least: int) -> tuple[int, ...]:
    """One number for each axis."""
    if not isinstance(value, Sequence):
        return (whole(name, value, least),) * dim
    if len(value) == 1:
        return _each(name, value[0], dim, least)
    if len(value) != dim:
        raise ArgumentError(f"{name} must be one number or {dim}, one for each axis, not {value!r}")
    return tuple(whole(name, one, least) for one in value)


def _output_size(value: Sizes | None, dim: int) -> tuple[int | None, ...]:
    """One number for each axis, batch and channels left away, or nothing said."""
    if value is None:
        return (None,) * dim
    if isinstance(value, Sequence) and len(value) == dim + 2:
        value = value[2:]
    return _each("output_size", value, dim, 1)


def describe(
    x: Any,
    weight: Any,
    bias: Any = None,
    stride: Sizes = 1,
    padding: Sizes = 0,
    output_padding: Sizes = 0,
    groups: int = 1,
    dilation: Sizes = 1,
    *,
    output_size: Sizes | None = None,
) -> Case:
    """Return the case that these arguments of `conv_transpose1d`, `2d` or `3d` make.

    The number of axes is that of `weight`: (in, out // groups, *kernel). `x` has a batch axis.

    Raises TypeError for what is no array, and for arrays of two frameworks, of two dtypes or on two
    devices; ValueError for shapes that do not fit each other and for outputs that cannot be.

    >>> import numpy as np
    >>> describe(np.ones((1, 3, 5, 5)), np.ones((3, 8, 4, 4)), stride=2, padding=1).size_out
    (10, 10)
    """
    arrays = framework(x)
    for name, other in (("weight", weight), ("bias", bias)):
        if other is not None:
            _check_alike(arrays, x, name, other)
    dim = weight.ndim - 2
    if not 1 <= dim <= 3:
        raise ArgumentError(
            f"weight must be (in, out // groups, *kernel) with 1 to 3 kernel axes, "
            f"not {tuple(weight.shape)}"
        )
    tracing = arrays.traced(x)
    # A network asks for the same few cases again and again; symbols cannot be remembered.
    case = (_case if tracing else _known_case)(
        tuple(x.shape),
        tuple(weight.shape),
        None if bias is None else tuple(bias.shape),
        _each("stride", stride, dim, 1),
        _each("padding", padding, dim, 0),
        _each("output_padding", output_padding, dim, 0),
        _each("dilation", dilation, dim, 1),
        _output_size(output_size, dim),
        whole("groups", groups, 1),
        arrays.dtype(x),
        arrays.device(x).partition(":")[0],
        arrays.name,
        arrays.channels_last(x),
        tracing,
        arrays.exporting(),
    )
    if case.has_numbers and case.depthwise and dim > 1:
        case = _with_factors(case, factors(weight))
    return case


def _check_alike(arrays: Framework, x: Any, name: str, other: Any) -> None:
    """Raise TypeError for arrays that cannot be computed with together."""
    if not arrays.owns(other):
        found = framework(other, name).name
        raise ArgumentTypeError(
            f"input is of {arrays.name} and {name} of {found}: give both in one framework"
        )
    if other.dtype != x.dtype:
        raise ArgumentTypeError(f"input is {x.dtype} and {name} {other.dtype}: convert one of them")
    if not arrays.together(x, other):
        raise ArgumentTypeError(
            f"input is on {arrays.device(x)} and {name} on {arrays.device(other)}: move one of them"
        )


def _case(
    shape: tuple[int, ...],
    weight: tuple[int, ...],
    bias: tuple[int, ...] | None,
    stride: tuple[int, ...],
    padding: tuple[int, ...],
    output_padding: tuple[int, ...],
    dilation: tuple[int, ...],
    output_size: tuple[int | None, ...],
    groups: int,
    dtype: str,
    *circumstances: Any,
) -> Case:
    """The case of checked numbers and of arrays that fit each other in all but shape."""
    dim = len(stride)
    if len(shape) != dim + 2:
        raise ArgumentError(
            f"input must have {dim + 2} axes (batch, channels and {dim} of the {dim}-D weight "
            f"{weight}), not {shape}"
        )
    batch, channels, *size = shape
    if channels != weight[0]:
        raise ArgumentError(
            f"input has {channels} channels and weight takes {weight[0]}: "
            f"weight is (in, out // groups, *kernel), here {weight}"
        )
    if channels == 0 or channels % groups:
        raise ArgumentError(f"{channels} input channels cannot be split into {groups} groups")
    out_channels = weight[1] * groups
    if out_channels == 0:
        raise ArgumentError(f"weight {weight} makes no output channels")
    if bias is not None and bias != (out_channels,):
        raise ArgumentError(
            f"bias must hold {out_channels} numbers, one an output channel, not {bias}"
        )
    axes = tuple(
        pytorch(*numbers, output_size=wanted)
        for *numbers, wanted in zip(
            size,
            weight[2:],
            stride,
            padding,
            output_padding,
            dilation,
            output_size,
            strict=True,
        )
    )
    return Case(
        batch,
        channels,
        out_channels,
        groups,
        axes,
        tuple(a.size_in for a in axes),
        tuple(a.size_out for a in axes),
        tuple(a.kernel for a in axes),
        tuple(a.stride for a in axes),
        tuple(a.begin for a in axes),
        tuple(a.begin - a.end for a in axes),
        tuple(a.dilation for a in axes),
        dtype,
        *circumstances,
    )


_known_case = lru_cache(1024)(_case)


@lru_cache(64)  # these hold arrays; the filters that `factors` remembers at a few sizes each
def _with_factors(case: Case, found: Factors | None) -> Case:
    return replace(case, rank_one=found is not None, factors=found)
