"""Instructions that Python cannot say: words at addresses, atomics, calls by address; `subset` emits them.

An address is an integer, and a word 64 bits at it. Each instruction is one or a few of the processor's. Every atomic
access is sequentially consistent.
"""

from __future__ import annotations

from collections.abc import Callable
from typing import Any, NamedTuple, TypeVar, overload

from llvmlite import ir

from ..runtime.structure import Array, Structure, Words
from .rounding import round_to_bfloat, to_odd_single
from .target import Target

_I1, _I8, _I32, _I64 = (ir.IntType(bits) for bits in (1, 8, 32, 64))
_BYTES = _I8.as_pointer()
_LINE_BITS = 512
_VOID = ir.VoidType()
_REGISTERS = ("fpcr", "fpsr")  # of AArch64: how it computes in floating point, and the flags that this raised


class Module(ir.Module):  # type: ignore[misc]
    """A module that knows what it is made for."""

    def __init__(self, target: Target) -> None:
        super().__init__()
        self.target, self.triple, self.data_layout = target, target.triple, str(target.machine().target_data)


class Number(NamedTuple):
    """A constant that each architecture has its own of."""

    x86_64: int
    aarch64: int


class Instruction(NamedTuple):
    """A function that is written as a call and emitted as instructions."""

    emit: Callable[..., Any]
    number: int | None = None  # of arguments, where `emit` takes any

    @property
    def arguments(self) -> int:
        """How many arguments a call has."""
        return int(self.emit.__code__.co_argcount) - 1 if self.number is None else self.number

    def __call__(self, *values: int | Number) -> int:
        """Stand for a value in code that is translated and never run."""
        raise TypeError("code for translation is not called as written")


def at(builder: ir.IRBuilder, address: ir.Value, kind: ir.Type) -> ir.Value:
    """View an address as a pointer."""
    return builder.inttoptr(address, kind.as_pointer())


def external(builder: ir.IRBuilder, name: str, result: ir.Type, arguments: list[ir.Type]) -> ir.Value:
    """Return a function that LLVM knows by its name."""
    return builder.module.globals.get(name) or ir.Function(builder.module, ir.FunctionType(result, arguments), name)


def _load(builder: ir.IRBuilder, address: ir.Value, k: ir.Value) -> ir.Value:
    return builder.load(builder.gep(at(builder, address, _I64), [k]))


def _store(builder: ir.IRBuilder, address: ir.Value, k: ir.Value, value: ir.Value) -> None:
    builder.store(value, builder.gep(at(builder, address, _I64), [k]))


def _compare_and_swap(kind: ir.Type) -> Any:
    def emit(builder: ir.IRBuilder, address: ir.Value, old: ir.Value, new: ir.Value) -> ir.Value:
        old, new = (builder.trunc(value, kind) if kind is _I32 else value for value in (old, new))
        pair = builder.cmpxchg(at(builder, address, kind), old, new, "seq_cst", "seq_cst")
        return builder.zext(builder.extract_value(pair, 1), _I64)

    return emit


def _update32(operation: str) -> Any:
    def emit(builder: ir.IRBuilder, address: ir.Value, value: ir.Value) -> ir.Value:
        old = builder.atomic_rmw(operation, at(builder, address, _I32), builder.trunc(value, _I32), "seq_cst")
        return builder.zext(old, _I64)

    return emit


def _is_x86(builder: ir.IRBuilder) -> bool:
    return bool(builder.module.target.architecture == "x86_64")


# No inline assembly: LLVM has a parser for it only where one was initialised, and else ends the process.
def _pause(builder: ir.IRBuilder) -> None:
    if _is_x86(builder):
        builder.call(external(builder, "llvm.x86.sse2.pause", _VOID, []), [])
    else:
        builder.call(external(builder, "llvm.aarch64.hint", _VOID, [_I32]), [_I32(1)])  # yield


def _ticks(builder: ir.IRBuilder) -> ir.Value:
    if _is_x86(builder):
        return builder.call(external(builder, "llvm.readcyclecounter", _I64, []), [])
    # By its name. What llvm.readcyclecounter reads is LLVM's choice: CNTVCT_EL0 in 20 and 22, PMCCNTR_EL0 before 18,
    # at which Linux and macOS end a process that reads it.
    read = external(builder, "llvm.read_volatile_register.i64", _I64, [ir.MetaDataType()])
    return builder.call(read, [builder.module.add_metadata(["cntvct_el0"])])


def _call(builder: ir.IRBuilder, address: ir.Value, *arguments: ir.Value) -> ir.Value:
    kind = ir.FunctionType(_I64, [_I64] * len(arguments))
    return builder.call(builder.inttoptr(address, kind.as_pointer()), arguments)


def _copy_memory(builder: ir.IRBuilder, target: ir.Value, source: ir.Value, size: ir.Value) -> None:
    copy = external(builder, "llvm.memcpy.p0i8.p0i8.i64", _VOID, [_BYTES, _BYTES, _I64, _I1])
    builder.call(copy, [at(builder, target, _I8), at(builder, source, _I8), size, _I1(0)])


def _stream_line(builder: ir.IRBuilder, target: ir.Value, source: ir.Value) -> None:
    line = ir.VectorType(_I32, 16)
    load = builder.load(at(builder, source, line))
    load.align = 4
    store = builder.store(load, at(builder, target, line))
    store.align = 64
    store.set_metadata("nontemporal", builder.module.add_metadata([_I32(1)]))


def _copy_element(bits: int) -> Any:
    """Copy one element; at no point is it a floating-point number, which could lose a NaN's payload."""

    def emit(builder: ir.IRBuilder, target: ir.Value, source: ir.Value) -> None:
        element = builder.load(at(builder, source, ir.IntType(bits)))
        element.align = 1
        builder.store(element, at(builder, target, ir.IntType(bits))).align = 1

    return emit


def _split_line(bits: int) -> Any:
    """Move the elements at even places of two lines to a line, those at odd places to another."""
    lanes = _LINE_BITS // bits
    line, lines = (ir.VectorType(ir.IntType(bits), count) for count in (lanes, 2 * lanes))

    def emit(builder: ir.IRBuilder, even: ir.Value, odd: ir.Value, source: ir.Value) -> None:
        both = builder.load(at(builder, source, lines), align=1)
        for target, first in ((even, 0), (odd, 1)):
            places = ir.Constant(ir.VectorType(_I32, lanes), [2 * k + first for k in range(lanes)])
            part = builder.shuffle_vector(both, ir.Constant(lines, ir.Undefined), places)
            builder.store(part, at(builder, target, line), align=1)

    return emit


def _join_line(bits: int) -> Any:
    """Move the elements of a line to the even places of two lines, those of another to the odd places."""
    lanes = _LINE_BITS // bits
    line, lines = (ir.VectorType(ir.IntType(bits), count) for count in (lanes, 2 * lanes))

    def emit(builder: ir.IRBuilder, target: ir.Value, even: ir.Value, odd: ir.Value) -> None:
        parts = [builder.load(at(builder, source, line), align=1) for source in (even, odd)]
        places = ir.Constant(ir.VectorType(_I32, 2 * lanes), [k // 2 + k % 2 * lanes for k in range(2 * lanes)])
        builder.store(builder.shuffle_vector(*parts, places), at(builder, target, lines), align=1)

    return emit


def _local(builder: ir.IRBuilder) -> ir.Value:
    return ir.IRBuilder(builder.function.blocks[0]).alloca(_I32)


def _enter_default_floating_point(builder: ir.IRBuilder) -> ir.Value:
    if _is_x86(builder):
        saved, default = _local(builder), _local(builder)
        builder.store(ir.Constant(_I32, 0x1F80), default)
        builder.call(external(builder, "llvm.x86.sse.stmxcsr", _VOID, [_BYTES]), [builder.bitcast(saved, _BYTES)])
        builder.call(external(builder, "llvm.x86.sse.ldmxcsr", _VOID, [_BYTES]), [builder.bitcast(default, _BYTES)])
        return builder.zext(builder.load(saved), _I64)
    # The flags have a register of their own there; both have 32 bits that mean something.
    control, flags = (builder.call(external(builder, f"llvm.aarch64.get.{name}", _I64, []), []) for name in _REGISTERS)
    builder.call(external(builder, "llvm.aarch64.set.fpcr", _VOID, [_I64]), [_I64(0)])
    return builder.or_(builder.shl(flags, _I64(32)), builder.and_(control, _I64(0xFFFFFFFF)))


def _leave_default_floating_point(builder: ir.IRBuilder, saved: ir.Value) -> None:
    if _is_x86(builder):
        word = _local(builder)
        builder.store(builder.trunc(saved, _I32), word)
        builder.call(external(builder, "llvm.x86.sse.ldmxcsr", _VOID, [_BYTES]), [builder.bitcast(word, _BYTES)])
        return
    for name, part in zip(
        _REGISTERS, (builder.and_(saved, _I64(0xFFFFFFFF)), builder.lshr(saved, _I64(32))), strict=True
    ):
        builder.call(external(builder, f"llvm.aarch64.set.{name}", _VOID, [_I64]), [part])


load = Instruction(_load)  # word k at an address
store = Instruction(_store)
load32 = Instruction(lambda b, p: b.zext(b.load(at(b, p, _I32)), _I64))
store32 = Instruction(lambda b, p, v: b.store(b.trunc(v, _I32), at(b, p, _I32)))
atomic_load = Instruction(lambda b, p: b.load_atomic(at(b, p, _I64), "seq_cst", 8))
atomic_store = Instruction(lambda b, p, v: b.store_atomic(v, at(b, p, _I64), "seq_cst", 8))
atomic_add = Instruction(lambda b, p, v: b.atomic_rmw("add", at(b, p, _I64), v, "seq_cst"))  # gives the old value
compare_and_swap = Instruction(_compare_and_swap(_I64))  # gives whether it was done
atomic_load32 = Instruction(lambda b, p: b.zext(b.load_atomic(at(b, p, _I32), "seq_cst", 4), _I64))
exchange32, add32, and32, or32 = (Instruction(_update32(name)) for name in ("xchg", "add", "and", "or"))
compare_and_swap32 = Instruction(_compare_and_swap(_I32))
fence = Instruction(lambda b: b.fence("seq_cst"))
pause = Instruction(_pause)
ticks = Instruction(_ticks)  # of a clock that runs at a constant rate
divide = Instruction(lambda b, x, y: b.udiv(x, y))  # of numbers that are not negative; // has a branch for each sign
count_bits = Instruction(lambda b, x: b.ctpop(x))
call0, call1, call2, call3, call4, call5, call6, call8 = (Instruction(_call, n + 1) for n in (0, 1, 2, 3, 4, 5, 6, 8))
copy_memory = Instruction(_copy_memory)
stream_line = Instruction(_stream_line)  # 64 bytes, past the caches; the target is aligned
# Of two lines of elements of so many bits, at any place: those at even and at odd places.
split16, split32, split64 = (Instruction(_split_line(bits)) for bits in (16, 32, 64))
join16, join32, join64 = (Instruction(_join_line(bits)) for bits in (16, 32, 64))
copy8, copy16, copy32, copy64 = (Instruction(_copy_element(bits)) for bits in (8, 16, 32, 64))
# Save the floating-point control word and the flags, and set the default: to nearest, subnormals kept, nothing traps.
# After the restoring no caller sees a flag raised that was not raised before.
enter_default_floating_point = Instruction(_enter_default_floating_point)
leave_default_floating_point = Instruction(_leave_default_floating_point)


def _double(builder: ir.IRBuilder, address: ir.Value) -> ir.Value:
    return builder.load(at(builder, address, ir.DoubleType()))


def _put_float(builder: ir.IRBuilder, address: ir.Value, source: ir.Value) -> None:
    number = _double(builder, source)
    builder.store(builder.fptrunc(number, ir.FloatType()), at(builder, address, ir.FloatType()))


def _put_half(builder: ir.IRBuilder, address: ir.Value, source: ir.Value) -> None:
    number = _double(builder, source)
    if builder.module.target.converts_halves:  # else there is no kernel that would ask
        single = builder.bitcast(to_odd_single(builder, number), ir.FloatType())
        builder.store(builder.fptrunc(single, ir.HalfType()), at(builder, address, ir.HalfType()))


def _put_bfloat(builder: ir.IRBuilder, address: ir.Value, source: ir.Value) -> None:
    number = _double(builder, source)
    rounded = round_to_bfloat(builder, to_odd_single(builder, number))
    nan = builder.fcmp_unordered("uno", number, number)
    half = builder.select(nan, ir.IntType(16)(0x7FC0), rounded)
    builder.store(half, at(builder, address, ir.IntType(16)))


# Write the float64 at the second address to the first in another format, rounded once.
put_half, put_bfloat, put_float = map(Instruction, (_put_half, _put_bfloat, _put_float))
put_double = Instruction(lambda b, p, q: b.store(_double(b, q), at(b, p, ir.DoubleType())))


S = TypeVar("S", bound=Structure)


@overload
def stack(room: type[S]) -> S: ...
@overload
def stack(room: int) -> Words: ...
def stack(room: Any) -> Any:
    """Stand for a structure or so many words on the stack, aligned to a cache line, with anything in them."""
    raise TypeError("code for translation is not called as written")


def address(field: int | Array) -> int:
    """Stand for the address of a field of a structure, or of an element of one."""
    raise TypeError("code for translation is not called as written")
