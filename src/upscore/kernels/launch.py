"""Starting kernels from Python: their arguments as words, and the machine code for their types."""

import operator
import os
from array import array
from collections.abc import Callable
from ctypes import c_ssize_t
from functools import cached_property, partial
from importlib import import_module
from struct import pack, unpack
from threading import Lock
from typing import Any

import numpy as np
from numpy.typing import NDArray

from upscore.errors import ArgumentTypeError
from upscore.kernels import CACHE_LINE

Signature = tuple[Any, ...]

CHECKED = os.environ.get("NUMBA_BOUNDSCHECK", "0") not in ("", "0")  # read once, as by Numba

_LOADING = Lock()
_HEADER = object.__basicsize__


class Kernel:
    """A kernel by the names of its module and function.

    Its machine code for each combination of argument types is looked for in this process, then on
    disk. What is nowhere is compiled: only then is the module imported, and Numba with it.

    Arguments are C-contiguous NumPy arrays, whole numbers, floats, None, what is `Packed` (not in a
    named tuple), and tuples of these. With NUMBA_BOUNDSCHECK=1 in the environment Numba runs the
    kernel and checks every index.
    """

    def __init__(self, module: str, name: str) -> None:
        self.module, self.name = module, name
        self._codes: dict[Signature, Any] = {}

    def bind(self, *arguments: Any) -> Callable[[int, int], None]:
        """Return `call(first, last)`, which runs those tasks with these arguments."""
        if CHECKED:
            return lambda first, last: self._checked(first, last, *map(_unpacked, arguments))
        signature, words = in_words(arguments)
        code = self._codes.get(signature)
        if code is None:
            with _LOADING:
                code = self._codes[signature] = self._machine_code(signature, arguments)
        return partial(_run, code, words, arguments)

    @cached_property
    def function(self) -> Any:
        """What Numba made of the function."""
        return getattr(import_module(self.module), self.name)

    @cached_property
    def _checked(self) -> Any:
        from upscore.kernels.compile import plain

        return plain(self.function)

    def _machine_code(self, signature: Signature, arguments: tuple[Any, ...]) -> Any:
        from upscore.kernels import machine_code

        found = machine_code.find(self.module, self.name, str(signature))
        if found is None:
            from upscore.kernels.compile import object_code

            code, calls = object_code(self.function, tuple(map(_unpacked, arguments)))
            machine_code.keep(self.module, self.name, str(signature), code, calls)
            found = machine_code.MachineCode(code)
        return found


class Packed:
    """An argument in words already; `make` returns it as it was."""

    def __init__(self, make: Callable[[], Any], signature: Signature, words: "array[int]") -> None:
        self.make, self.signature, self.words = make, signature, words


def packed(value: Any) -> Packed:
    """Put what many calls share, such as a plan, into words once."""
    return Packed(lambda: value, *in_words((value,)))


class Workspace:
    """Uninitialised arrays of always the same shapes, all in one piece of memory.

    `workspace()` makes new ones, which is faster than making and packing each of them. Each begins
    where a line of the cache does.
    """

    def __init__(self, example: tuple[NDArray[Any], ...]) -> None:
        """`example` is a named tuple of arrays with those shapes and dtypes."""
        self._tuple: Any = type(example)
        self._arrays = [(array.dtype, array.shape) for array in example]
        sizes = [-(-array.nbytes // CACHE_LINE) * CACHE_LINE for array in example]
        self._starts = [sum(sizes[:i]) for i in range(len(sizes))]
        self._size = sum(sizes)
        self._signature, self._words = in_words((example,))
        # An array's words are its address and its shape.
        lengths = [1 + len(shape) for _, shape in self._arrays]
        self._addresses = [sum(lengths[:i]) for i in range(len(lengths))]

    def __call__(self) -> Packed:
        """Return the arrays, in words."""
        memory = np.empty(self._size + CACHE_LINE, np.uint8)
        begin = -(-address(memory) // CACHE_LINE) * CACHE_LINE
        words = self._words[:]
        for place, start in zip(self._addresses, self._starts, strict=True):
            words[place] = begin + start
        return Packed(partial(self._cut, memory, begin), self._signature, words)

    def _cut(self, memory: NDArray[np.uint8], begin: int) -> tuple[NDArray[Any], ...]:
        """Return the arrays as such."""
        first = begin - address(memory)
        arrays = [
            np.ndarray(shape, dtype, memory.data, first + start)
            for (dtype, shape), start in zip(self._arrays, self._starts, strict=True)
        ]
        cut: tuple[NDArray[Any], ...] = self._tuple(*arrays)
        return cut


def _unpacked(argument: Any) -> Any:
    if type(argument) is tuple:
        return tuple(map(_unpacked, argument))
    return argument.make() if isinstance(argument, Packed) else argument


def _run(code: Any, words: "array[int]", arguments: Any, first: int, last: int) -> None:
    """Call machine code; `arguments` keep alive the arrays whose addresses are among the words."""
    code(first, last, words.buffer_info()[0])


def in_words(arguments: tuple[Any, ...]) -> tuple[Signature, "array[int]"]:
    """Return the types of the arguments in short, and their values as words of 64 bits.

    An array gives its address and its shape, a float its bits.
    """
    signature: list[Any] = []
    words = array("q")
    _append(arguments, signature, words)
    return tuple(signature), words


def _append(values: tuple[Any, ...], signature: list[Any], words: "array[int]") -> None:
    """Append what `in_words` returns. Every call pays for this: it is written to be fast."""
    for value in values:
        python_type = type(value)
        if python_type is int:
            signature.append("int")
            words.append(value)
        elif python_type is np.ndarray:
            shape = value.shape
            if not value.flags.c_contiguous:
                raise ArgumentTypeError("kernels take C-contiguous arrays")
            signature.append(value.dtype.char)
            signature.append(len(shape))
            words.append(address(value))
            words.extend(shape)
        elif python_type is Packed:
            signature.append(value.signature)
            words.extend(value.words)
        elif isinstance(value, tuple):
            signature.append(python_type.__name__)
            signature.append(getattr(python_type, "_fields", len(value)))
            _append(value, signature, words)
        elif value is None:
            signature.append("None")
        elif python_type is np.float32:
            signature.append("float32")
            words.append(unpack("i", pack("f", value))[0])
        elif isinstance(value, float):
            signature.append("float")
            words.append(unpack("q", pack("d", value))[0])
        else:
            signature.append("int")
            words.append(operator.index(value))


def line_of(array: NDArray[Any]) -> tuple[NDArray[Any], int, tuple[int, ...]]:
    """Return the memory of an array as one line, with its offset and strides in elements.

    One compiled kernel then serves every layout; only elements between two addresses are copied.
    """
    if not array.flags.aligned:
        array = array.copy()
    item = array.itemsize
    steps = tuple([step // item for step in array.strides])
    if array.flags.c_contiguous:
        return array.reshape(-1), 0, steps
    ends = [(n - 1) * step for n, step in zip(array.shape, steps, strict=True)]
    corner = array[tuple(slice(-1, None) if step < 0 else slice(1) for step in steps)]
    size = sum(map(abs, ends)) + 1
    line = np.lib.stride_tricks.as_strided(corner, (size,), (item,))
    return line, -sum(end for end in ends if end < 0), steps


def address(numbers: Any) -> int:
    """Where the numbers of an array begin: its first field, read five times as fast as NumPy does.

    What comes after the header of the object is fixed by NumPy's binary interface.
    """
    return c_ssize_t.from_address(id(numbers) + _HEADER).value
