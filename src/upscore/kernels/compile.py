"""How Numba compiles kernels, and what it makes of one: machine code that runs without Numba.

A kernel is a function of the first and the last of its tasks and of arrays, numbers and tuples. It
allocates nothing and raises nothing: its launcher hands it what it writes to.
"""

# mypy: disable-error-code="no-untyped-call, untyped-decorator"

from collections.abc import Callable, Iterator
from typing import Any

import llvmlite.binding as llvm
import numpy as np
from llvmlite import ir
from numba import njit, types
from numba.core import compiler, registry
from numba.core.compiler_lock import global_compiler_lock
from numba.extending import overload
from numba.np.arrayobj import get_itemsize, make_array, populate_array
from numba.np.numpy_support import from_dtype

from upscore.errors import UnsupportedError
from upscore.kernels.machine_code import SYMBOL

STATUS, WORD = ir.IntType(32), ir.IntType(64)

# Without `_nrt` Numba counts no users of arrays, which costs time, and refuses to allocate. The
# wrappers left out would take longer to compile than many a part.
_OPTIONS: Any = {
    "error_model": "numpy",
    "_nrt": False,
    "no_cpython_wrapper": True,
    "no_cfunc_wrapper": True,
}


def part(**options: Any) -> Callable[[Callable[..., Any]], Callable[..., Any]]:
    """Mark a kernel or what kernels call. Python itself cannot call it (`plain` lets it)."""
    mark: Callable[..., Any] = njit(**_OPTIONS, **options)
    return mark


def plain(function: Any) -> Callable[..., Any]:
    """Return what calls a part from Python by Numba's own means, and raises what it raises."""

    @njit(error_model="numpy")
    def call(arguments: Any) -> Any:
        return function(*arguments)

    return lambda *arguments: call(arguments)


def by_precision(single: Callable[..., Any], double: Callable[..., Any]) -> Callable[..., Any]:
    """Return what kernels call as `single` on a float32 and as `double` on a float64."""

    def choose(x: Any) -> Any:
        raise UnsupportedError("for kernels only")

    @overload(choose, strict=False)
    def compiled(x: Any) -> Any:
        return (lambda x: single(x)) if x == types.float32 else (lambda x: double(x))

    return choose


@global_compiler_lock
def object_code(function: Any, arguments: tuple[Any, ...]) -> tuple[bytes, list[str]]:
    """Compile the kernel `function(first, last, *arguments)` for arguments of these types.

    Return an object file with the function `SYMBOL`, and the names of what it calls elsewhere. In
    C it is `int SYMBOL(int64_t first, int64_t last, const int64_t *words)`, where `words` are those
    of `launch.in_words`; it returns 0, or another number if the kernel raised.
    """
    target = registry.cpu_target
    argument_types = (types.int64, types.int64, *map(_type, arguments))
    flags: Any = compiler.Flags()
    target.options.parse_as_flags(flags, function.targetoptions)
    flags.no_compile = True  # the entry is still missing
    compiled = compiler.compile_extra(
        target.typing_context,
        target.target_context,
        function.py_func,
        argument_types,
        types.none,
        flags,
        {},
    )
    library = compiled.library
    library.add_ir_module(_entry(target.target_context, compiled.fndesc))
    library.enable_object_caching()
    library.finalize()
    _, _, (code, _) = library.serialize_using_object_code()
    module = llvm.parse_assembly(library.get_llvm_str())
    calls = [f.name for f in module.functions if f.is_declaration and f.name[:5] != "llvm."]
    return code, calls


def _type(value: Any) -> Any:
    """The Numba type of an argument, as `launch.in_words` tells arguments apart."""
    if isinstance(value, np.ndarray):
        return types.Array(from_dtype(value.dtype), value.ndim, "C")
    if isinstance(value, tuple):
        return types.BaseTuple.from_types([_type(item) for item in value], type(value))
    if value is None:
        return types.none
    if isinstance(value, np.float32):
        return types.float32
    return types.float64 if isinstance(value, float) else types.int64


def _entry(context: Any, function: Any) -> Any:
    """Make a module with the function that turns words into arguments and calls the kernel."""
    module = context.create_module("entry")
    llvm_type = context.call_conv.get_function_type(function.restype, function.argtypes)
    kernel = ir.Function(module, llvm_type, function.llvm_func_name)
    entry = ir.Function(module, ir.FunctionType(STATUS, [WORD, WORD, WORD.as_pointer()]), SYMBOL)
    builder = ir.IRBuilder(entry.append_basic_block())
    first, last, words = entry.args
    found = _loads(builder, words)
    values = [first, last, *(_value(context, builder, t, found) for t in function.argtypes[2:])]
    status, _ = context.call_conv.call_function(
        builder, kernel, function.restype, function.argtypes, values
    )
    builder.ret(status.code)
    return module


def _loads(builder: Any, words: Any) -> Iterator[Any]:
    """The words one after another."""
    i = 0
    while True:
        yield builder.load(builder.gep(words, [WORD(i)]))
        i += 1


def _value(context: Any, builder: Any, numba_type: Any, words: Iterator[Any]) -> Any:
    """Make a value of Numba's type `numba_type` from the next words."""
    if isinstance(numba_type, types.BaseTuple):
        items = [_value(context, builder, item, words) for item in numba_type]  # type: ignore[attr-defined]
        return context.make_tuple(builder, numba_type, items)
    if isinstance(numba_type, types.NoneType):
        return context.get_dummy_value()
    if isinstance(numba_type, types.Float):
        whole = ir.IntType(numba_type.bitwidth)
        word = next(words)
        word = word if whole == WORD else builder.trunc(word, whole)
        return builder.bitcast(word, context.get_value_type(numba_type))
    if not isinstance(numba_type, types.Array):
        return next(words)
    array = make_array(numba_type)(context, builder)
    item = context.get_constant(types.intp, get_itemsize(context, numba_type))
    data = builder.inttoptr(next(words), array.data.type)
    shape = [next(words) for _ in range(numba_type.ndim)]
    strides = [item]
    for size in reversed(shape[1:]):
        strides.insert(0, builder.mul(strides[0], size))
    populate_array(array, data, shape, strides, item, meminfo=None)
    return array._getvalue()
