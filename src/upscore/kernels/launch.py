"""Starting kernels from Python: their arguments as words, and the machine code for their types."""

import os
from array import array
from collections.abc import Callable
from ctypes import c_ssize_t
from functools import cached_property, partial
from importlib import import_module
from threading import Lock
from typing import Any

import numpy as np

from upscore.errors import ArgumentTypeError

_LOADING = Lock()
_HEADER = object.__basicsize__


class Kernel:
    """A kernel by the names of its module and function.

    Its machine code for each combination of argument types is looked for in this process, then on
    disk. What is nowhere is compiled: only then is the module imported, and Numba with it.

    Arguments are C-contiguous NumPy arrays, whole numbers, floats, None, and tuples of these. With
    NUMBA_BOUNDSCHECK=1 in the environment Numba runs the kernel and checks every index.
    """

    def __init__(self, module: str, name: str) -> None:
        self.module, self.name = module, name
        self._codes: dict[str, Any] = {}

    def bind(self, *arguments: Any) -> Callable[[int, int], None]:
        """Return `call(first, last)`, which runs those tasks with these arguments."""
        if os.environ.get("NUMBA_BOUNDSCHECK", "0") not in ("", "0"):
            return lambda first, last: self._checked(first, last, *map(_unpacked, arguments))
        signature, words = pack(arguments)
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

    def _machine_code(self, signature: str, arguments: tuple[Any, ...]) -> Any:
        from upscore.kernels import machine_code

        found = machine_code.find(self.module, self.name, signature)
        if found is None:
            from upscore.kernels.compile import object_code

            code, calls = object_code(self.function, tuple(map(_unpacked, arguments)))
            machine_code.keep(self.module, self.name, signature, code, calls)
            found = machine_code.MachineCode(code)
        return found


class Packed:
    """An argument of many calls, such as a plan, packed once."""

    def __init__(self, value: Any) -> None:
        self.value = value
        self.types, self.words = pack((value,))


def _unpacked(argument: Any) -> Any:
    return argument.value if isinstance(argument, Packed) else argument


def _run(code: Any, words: "array[int]", arguments: Any, first: int, last: int) -> None:
    """Call machine code; `arguments` keep alive the arrays whose addresses are among the words."""
    code(first, last, words.buffer_info()[0])


def pack(arguments: tuple[Any, ...]) -> tuple[str, "array[int]"]:
    """Return the types of the arguments in short, and their values as words of 64 bits.

    An array gives its address and its shape, a float its bits.
    """
    types: list[str] = []
    words = array("q")
    for argument in arguments:
        _pack(argument, types, words)
    return " ".join(types), words


def address(numbers: Any) -> int:
    """Where the numbers of an array begin: its first field, read five times as fast as NumPy does.

    What comes after the header of the object is fixed by NumPy's binary interface.
    """
    return c_ssize_t.from_address(id(numbers) + _HEADER).value


def _pack(value: Any, types: list[str], words: "array[int]") -> None:
    if isinstance(value, np.ndarray):
        if not value.flags.c_contiguous:
            raise ArgumentTypeError("kernels take C-contiguous arrays")
        types.append(f"{value.dtype.char}{value.ndim}")
        words.append(address(value))
        words.extend(value.shape)
    elif isinstance(value, Packed):
        types.append(value.types)
        words.extend(value.words)
    elif isinstance(value, tuple):
        types.append(f"{type(value).__name__}(")
        for item in value:
            _pack(item, types, words)
        types.append(")")
    elif value is None:
        types.append("none")
    elif isinstance(value, np.float32):
        types.append("float32")
        words.append(int(value.view(np.int32)))
    elif isinstance(value, float):
        types.append("float64")
        words.append(int(np.float64(value).view(np.int64)))
    else:
        types.append("int64")
        words.append(int(value))
