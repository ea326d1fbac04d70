"""Vectors for kernels: `LANES` numbers that LLVM maps to whatever registers the machine has.

LLVM vectorises simple loops by itself. Where a loop must keep several results in registers, these
say so.
"""

# mypy: disable-error-code="no-untyped-call, untyped-decorator"

import operator
from collections.abc import Callable
from typing import Any

from llvmlite import ir
from numba import types
from numba.core import cgutils
from numba.core.typing.templates import AbstractTemplate, infer_global, signature
from numba.extending import intrinsic, lower_builtin, models, register_model
from numba.np.arrayobj import make_array

from upscore.kernels import LANES

_intrinsic: Any = intrinsic  # kernels call what it makes without the first argument


class Vector(types.Type):
    """The Numba type of `LANES` numbers."""

    def __init__(self, element: Any) -> None:
        self.element = element
        super().__init__(name=f"vector({element})")


def _llvm(element: Any) -> Any:
    """Return the LLVM type of one element."""
    if isinstance(element, types.Float):
        return ir.FloatType() if element.bitwidth == 32 else ir.DoubleType()
    return ir.IntType(1 if element == types.boolean else element.bitwidth)


def _vector(element: Any) -> Any:
    return ir.VectorType(_llvm(element), LANES)


@register_model(Vector)
class _VectorModel(models.PrimitiveModel):
    def __init__(self, manager: Any, vector: Any) -> None:
        super().__init__(manager, vector, _vector(vector.element))


MASK = Vector(types.boolean)


def _address(context: Any, builder: Any, array_type: Any, array: Any, index: Any) -> Any:
    """Point at `LANES` elements of a one-dimensional array; both ends are checked if asked for."""
    view = make_array(array_type)(context, builder, array)
    if context.enable_boundscheck:
        (length,) = cgutils.unpack_tuple(builder, view.shape, 1)
        for end in (index, builder.add(index, index.type(LANES - 1))):
            cgutils.do_boundscheck(context, builder, end, length, 0)
    return builder.bitcast(builder.gep(view.data, [index]), _vector(array_type.dtype).as_pointer())


@_intrinsic
def load(typing: Any, array: Any, index: Any) -> Any:
    """`array[index : index + LANES]` of a contiguous array."""

    def emit(context: Any, builder: Any, sig: Any, args: Any) -> Any:
        pointer = _address(context, builder, array, *args)
        return builder.load(pointer, align=array.dtype.bitwidth // 8)

    return Vector(array.dtype)(array, types.intp), emit


@_intrinsic
def store(typing: Any, array: Any, index: Any, vector: Any) -> Any:
    """`array[index : index + LANES] = vector`, integers cut to the array's type."""

    def emit(context: Any, builder: Any, sig: Any, args: Any) -> None:
        value, element = args[2], _vector(array.dtype)
        if value.type != element:
            value = builder.trunc(value, element)
        pointer = _address(context, builder, array, *args[:2])
        builder.store(value, pointer, align=array.dtype.bitwidth // 8)

    return types.void(array, types.intp, vector), emit


@_intrinsic
def prefetch(typing: Any, array: Any, index: Any) -> Any:
    """Ask for the memory around `array[index]`, which need not exist."""

    def emit(context: Any, builder: Any, sig: Any, args: Any) -> None:
        start = make_array(array)(context, builder, args[0]).data
        word = ir.IntType(32)
        pointer = builder.bitcast(builder.gep(start, [args[1]]), cgutils.voidptr_t)
        llvm_type = ir.FunctionType(ir.VoidType(), [cgutils.voidptr_t, word, word, word])
        ask = cgutils.get_or_insert_function(builder.module, llvm_type, "llvm.prefetch.p0")
        builder.call(ask, [pointer, word(0), word(2), word(1)])  # to read, into the second level

    return types.void(array, types.intp), emit


@_intrinsic
def copy(typing: Any, array: Any, to: Any, start: Any, count: Any) -> Any:
    """`array[to : to + count] = array[start : start + count]`, which must not overlap."""

    def emit(context: Any, builder: Any, sig: Any, args: Any) -> None:
        data = make_array(array)(context, builder, args[0]).data
        target, source = (builder.gep(data, [index]) for index in args[1:3])
        cgutils.raw_memcpy(builder, target, source, args[3], array.dtype.bitwidth // 8)

    return types.void(array, types.intp, types.intp, types.intp), emit


@_intrinsic
def clear(typing: Any, array: Any, start: Any, count: Any) -> Any:
    """`array[start : start + count] = 0`."""

    def emit(context: Any, builder: Any, sig: Any, args: Any) -> None:
        data = make_array(array)(context, builder, args[0]).data
        size = builder.mul(args[2], args[2].type(array.dtype.bitwidth // 8))
        cgutils.memset(builder, builder.gep(data, [args[1]]), size, 0)

    return types.void(array, types.intp, types.intp), emit


@_intrinsic
def splat(typing: Any, number: Any) -> Any:
    """`number` in every lane."""

    def emit(context: Any, builder: Any, sig: Any, args: Any) -> Any:
        one = builder.insert_element(_vector(number)(ir.Undefined), args[0], ir.IntType(32)(0))
        zeros = ir.Constant(ir.VectorType(ir.IntType(32), LANES), [0] * LANES)
        return builder.shuffle_vector(one, _vector(number)(ir.Undefined), zeros)

    return Vector(number)(number), emit


@_intrinsic
def widen(typing: Any, value: Any) -> Any:
    """A number or vector as float32 (float64 stays): uint16 holds IEEE halves, int16 bfloat16."""
    element = value.element if isinstance(value, Vector) else value
    wide = element if isinstance(element, types.Float) else types.float32
    result = Vector(wide) if isinstance(value, Vector) else wide

    def emit(context: Any, builder: Any, sig: Any, args: Any) -> Any:
        def shaped(one: Any) -> Any:
            return ir.VectorType(one, LANES) if isinstance(value, Vector) else one

        (x,) = args
        if element == types.uint16:
            return builder.fpext(builder.bitcast(x, shaped(ir.HalfType())), shaped(ir.FloatType()))
        if element == types.int16:
            word = shaped(ir.IntType(32))
            sixteen = ir.Constant(word, [16] * LANES if isinstance(value, Vector) else 16)
            return builder.bitcast(
                builder.shl(builder.zext(x, word), sixteen), shaped(ir.FloatType())
            )
        return x

    return result(value), emit


@_intrinsic
def narrow(typing: Any, value: Any) -> Any:
    """A vector of float64 as float32; one of float32 stays."""

    def emit(context: Any, builder: Any, sig: Any, args: Any) -> Any:
        return (
            args[0]
            if value.element == types.float32
            else builder.fptrunc(args[0], _vector(types.float32))
        )

    return Vector(types.float32)(value), emit


@_intrinsic
def fma(typing: Any, a: Any, b: Any, c: Any) -> Any:
    """`a * b + c`, rounded once where the machine can."""

    def emit(context: Any, builder: Any, sig: Any, args: Any) -> Any:
        vector = _vector(a.element)
        name = f"llvm.fmuladd.v{LANES}f{a.element.bitwidth}"
        function = cgutils.get_or_insert_function(
            builder.module, ir.FunctionType(vector, [vector] * 3), name
        )
        return builder.call(function, args)

    return a(a, b, c), emit


@_intrinsic
def where(typing: Any, mask: Any, a: Any, b: Any) -> Any:
    """Lane by lane, `a if mask else b`."""
    return a(mask, a, b), lambda context, builder, sig, args: builder.select(*args)


def _choose(sign: str) -> Any:
    """Make a function of two vectors that takes `a` where `a sign b`, elsewhere (NaN too) `b`."""

    @_intrinsic
    def choose(typing: Any, a: Any, b: Any) -> Any:
        def emit(context: Any, builder: Any, sig: Any, args: Any) -> Any:
            return builder.select(builder.fcmp_ordered(sign, *args), *args)

        return a(a, b), emit

    return choose


lesser, greater = _choose("<"), _choose(">")


@_intrinsic
def bits(typing: Any, mask: Any) -> Any:
    """A mask as an integer whose lowest bit is the first lane."""

    def emit(context: Any, builder: Any, sig: Any, args: Any) -> Any:
        return builder.zext(builder.bitcast(args[0], ir.IntType(LANES)), ir.IntType(32))

    return types.int32(mask), emit


@_intrinsic
def trailing_zeros(typing: Any, word: Any) -> Any:
    """How many bits of a word, which is not zero, are zero below the lowest one."""

    def emit(context: Any, builder: Any, sig: Any, args: Any) -> Any:
        return builder.cttz(args[0], ir.IntType(1)(1))

    return word(word), emit


@_intrinsic
def ones(typing: Any, word: Any) -> Any:
    """How many bits of a word are set."""
    return word(word), lambda context, builder, sig, args: builder.ctpop(args[0])


@_intrinsic
def exponent(typing: Any, shifted: Any) -> Any:
    """Two to the power of whole float32 numbers from -126 to 127 to which 1.5 * 2**23 was added."""

    def emit(context: Any, builder: Any, sig: Any, args: Any) -> Any:
        word = _vector(types.int32)
        whole = builder.shl(builder.bitcast(args[0], word), ir.Constant(word, [23] * LANES))
        biased = builder.add(whole, ir.Constant(word, [127 << 23] * LANES))
        return builder.bitcast(biased, _vector(types.float32))

    return shifted(shifted), emit


def _operator(function: Any, emit: Callable[..., Any], mask: bool = False) -> None:
    """Give an operator its meaning between two vectors of one type."""

    @infer_global(function)
    class Template(AbstractTemplate):
        def generic(self, args: Any, kws: Any) -> Any:
            if len(args) == 2 and isinstance(args[0], Vector) and args[0] == args[1]:
                return signature(MASK if mask else args[0], *args)
            return None

    @lower_builtin(function, Vector, Vector)
    def lower(context: Any, builder: Any, sig: Any, args: Any) -> Any:
        return emit(builder, *args)


_operator(operator.add, lambda builder, a, b: builder.fadd(a, b))
_operator(operator.sub, lambda builder, a, b: builder.fsub(a, b))
_operator(operator.mul, lambda builder, a, b: builder.fmul(a, b))
_operator(operator.truediv, lambda builder, a, b: builder.fdiv(a, b))
_operator(operator.and_, lambda builder, a, b: builder.and_(a, b))
_operator(operator.or_, lambda builder, a, b: builder.or_(a, b))
for _function, _sign in (
    (operator.lt, "<"),
    (operator.gt, ">"),
    (operator.ge, ">="),
    (operator.eq, "=="),
):
    _operator(_function, lambda builder, a, b, s=_sign: builder.fcmp_ordered(s, a, b), mask=True)
_operator(operator.ne, lambda builder, a, b: builder.fcmp_unordered("!=", a, b), mask=True)
