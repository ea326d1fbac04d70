"""One axis of a transposed convolution: its sizes, and what is cut from its ends."""

import operator
from dataclasses import dataclass, replace

from upscore.errors import ArgumentError, ArgumentTypeError


def whole(name: str, value: object, least: int = 0) -> int:
    """Return a whole number, or say what was expected.

    Args:
        name: what to call it in an error.
        value: what was given.
        least: the least that it may be.

    Returns:
        `value` as an int.

    Raises:
        ArgumentError: it is below `least`.
        ArgumentTypeError: it is no whole number.
    """
    try:
        # While torch.compile or an exporter traces, sizes are symbols: index would make them fixed.
        symbol = type(value).__name__ == "SymInt"
        number: int = value if symbol else operator.index(value)  # type: ignore[arg-type, assignment]
    except TypeError:
        raise ArgumentTypeError(f"{name} must be a whole number, not {value!r}") from None
    if number < least:
        raise ArgumentError(f"{name} must be at least {least}, not {number}")
    return number


@dataclass(frozen=True)
class Axis:
    """One axis of a transposed convolution, and what is cut from the ends of its full output.

    Args:
        size_in: pixels of the input.
        kernel: taps of the kernel.
        stride: output pixels from one input pixel to the next.
        dilation: output pixels from one tap to the next.
        begin: pixels cut from the beginning of the full output.
        end: pixels cut from its end; below 0, so many zeros are appended.

    Raises:
        ArgumentError: a number is below 1 (`begin` below 0), or nothing is left of the output.
        ArgumentTypeError: a number is not whole.

    Examples:
        >>> Axis(size_in=5, kernel=4, stride=2, begin=1, end=1).size_out
        10
    """

    size_in: int
    kernel: int
    stride: int = 1
    dilation: int = 1
    begin: int = 0
    end: int = 0

    def __post_init__(self) -> None:
        for name in ("size_in", "kernel", "stride", "dilation"):
            whole(name, getattr(self, name), 1)
        whole("padding at the beginning", self.begin)
        if self.size_out < 1:
            raise ArgumentError(
                f"cutting {self.begin} and {self.end} pixels from the ends of a full output of "
                f"{self.full} leaves nothing: cut at most {self.full - 1} in all"
            )

    @property
    def extent(self) -> int:
        """From the kernel's first tap to its last."""
        return (self.kernel - 1) * self.dilation + 1

    @property
    def full(self) -> int:
        """The size of the output before anything is cut."""
        return (self.size_in - 1) * self.stride + self.extent

    @property
    def size_out(self) -> int:
        """The size of the output."""
        return self.full - self.begin - self.end

    def cut(self, begin: int, size_out: int, possible: range) -> "Axis":
        """Return this axis with an output of another size.

        Args:
            begin: pixels cut from the beginning of the full output.
            size_out: pixels of the output.
            possible: the sizes that may be asked for.

        Returns:
            A new Axis.

        Raises:
            ArgumentError: `size_out` is not possible; the message says which sizes are.
        """
        if whole("the output's size", size_out) not in possible:
            sizes = f"{possible[0]} to {possible[-1]}" if possible else "none"
            raise ArgumentError(
                f"no output of {size_out} pixels from {self.size_in} with kernel {self.kernel}, "
                f"stride {self.stride}, dilation {self.dilation} and {begin} pixels cut from the "
                f"beginning: possible sizes are {sizes}"
            )
        return replace(self, begin=begin, end=self.full - begin - size_out)
