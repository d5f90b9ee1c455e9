"""From a formula to a kernel: machine code for one operation and dtype, over contiguous arrays only.

A kernel is ``void kernel(void **operands, intp n, intp how)``. The operands are the operation's
inputs, the function's parameters, the outputs, each contiguous, aligned and native. In `how`, ALIKE says that
each parameter is one number, PAST that outputs go past the caches: they then begin with a line, n elements are
whole lines, and the bits from FETCH on say how many lines ahead the inputs are fetched. Everything else brings its
data to this kernel (`driver`), so the bits of a result cannot depend on how the data lay in memory.
"""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import numba
import numpy as np
from llvmlite import ir
from numba import types
from numba.core import cgutils
from numba.extending import intrinsic

from ...formulas import numba as numba_formulas
from ...formulas import with_all_called
from ...functions.specification import Operation, Specification, read
from ..runtime.layout import ALIKE, FETCH, LINE, PAST
from .optimise import Optimised, optimise
from .target import Target, host

_I64 = ir.IntType(64)
_I32 = ir.IntType(32)
_I16 = ir.IntType(16)

FETCHED = 32  # lines
# Lines fetched ahead at a time, FETCHED before they are used, where float64 waits for a smooth derivative: dy is
# loaded under a mask that says where it is not 0, so not before that is known, and each line in turn is waited for. A
# million of sigmoid's backward took 10 ms, and 0.9 so.
LINES = 8
# Iterations side by side in a smooth function. A chain of 40 operations, each waiting for the one before it, fills the
# schedulers of a processor: 10,000 float32 of sigmoid took 3.9 us alone, 3.4 by four, of softplus 11.3 and 7.9. By
# eight, some functions run out of registers.
INTERLEAVE = 4

OPERANDS = types.CPointer(types.voidptr)
SIGNATURE = types.void(OPERANDS, types.intp, types.intp)


class _BFloat(ir.types._BaseFloatType):
    """LLVM's bfloat, which llvmlite lacks."""

    null = "0.0"
    intrinsic_name = "bf16"

    def __str__(self) -> str:
        return "bfloat"


_BFloat._create_instance()


class Storage:
    """How an operand lies in memory, and how it becomes a number to compute with and back.

    `selected` promises that a bfloat16 result is one of the operands, or a constant that bfloat16 holds.
    """

    def __init__(self, name: str, working: type[np.generic], selected: bool) -> None:
        self.name = name
        self.selected = selected
        self.wide = working is np.float64 and name != "float64"
        self.size = 1 if name == "bit" else 2 if name == "bfloat16" else np.dtype(name).itemsize
        self.working = types.boolean if name == "bit" else numba.from_dtype(np.dtype(working))
        self.type: ir.Type = {
            "float16": ir.HalfType(),
            "float32": ir.FloatType(),
            "float64": ir.DoubleType(),
        }.get(name) or ir.IntType(8 * self.size)

    def widen(self, builder: ir.IRBuilder, stored: ir.Value) -> ir.Value:
        """Make a number of what lies in memory."""
        if self.name == "bit":
            return builder.icmp_unsigned("!=", stored, ir.Constant(self.type, 0))
        number = stored
        if self.name == "float16":
            number = builder.fpext(stored, ir.FloatType())
        if self.name == "bfloat16" and self.selected:
            number = builder.fpext(builder.bitcast(stored, _BFloat()), ir.FloatType())
        elif self.name == "bfloat16":  # the upper half of a float32; LLVM does not vectorise arithmetic on a bfloat
            number = builder.bitcast(builder.shl(builder.zext(stored, _I32), ir.Constant(_I32, 16)), ir.FloatType())
        return builder.fpext(number, ir.DoubleType()) if self.wide else number

    def narrow(self, builder: ir.IRBuilder, number: ir.Value) -> ir.Value:
        """Round a number to what lies in memory."""
        if self.name == "bit":
            return builder.zext(number, self.type)
        if self.wide:
            number = number if self.name == "float32" else _to_odd(builder, number)
            number = builder.fptrunc(number, ir.FloatType())
        if self.name == "float16":
            return builder.fptrunc(number, self.type)
        if self.name == "bfloat16":
            return self._narrow_to_bfloat16(builder, number)
        return number

    def _narrow_to_bfloat16(self, builder: ir.IRBuilder, number: ir.Value) -> ir.Value:
        if self.selected:
            return builder.bitcast(builder.fptrunc(number, _BFloat()), _I16)
        # Round to even in integers: AVX-512's vcvtneps2bf16 flushes subnormals whatever MXCSR says. A NaN needs no
        # care: it is the default one or has the payload of an operand, so its lower half is 0.
        bits = builder.bitcast(number, _I32)
        odd = builder.and_(builder.lshr(bits, ir.Constant(_I32, 16)), ir.Constant(_I32, 1))
        rounded = builder.add(bits, builder.add(odd, ir.Constant(_I32, 0x7FFF)))
        return builder.trunc(builder.lshr(rounded, ir.Constant(_I32, 16)), _I16)


def _to_odd(builder: ir.IRBuilder, number: ir.Value) -> ir.Value:
    """Round a float64 to 24 bits, inexact results to the odd neighbour: a second rounding takes it for the exact one.

    S. Boldo and G. Melquiond, "Emulation of FMA and correctly rounded sums", IEEE Trans. Computers 57 (2008).
    """
    lost = _I64((1 << 29) - 1)
    bits = builder.bitcast(number, _I64)
    sticky = builder.add(builder.and_(bits, lost), lost)
    return builder.bitcast(builder.and_(builder.or_(bits, sticky), builder.not_(lost)), ir.DoubleType())


class _DistinctMetadata(ir.MDValue):
    """A metadata node equal to no other; llvmlite writes only nodes that LLVM may merge."""

    __eq__, __hash__ = object.__eq__, object.__hash__

    def descr(self, buf: list[str]) -> None:
        buf.append(f"distinct !{{ {', '.join(operand.get_reference() for operand in self.operands)} }}\n")


def declare_iterations_independent(
    module: ir.Module, accesses: list[ir.Instruction], back_edge: ir.Instruction, *,
    wide: bool, line: bool = False, width: int = 0,
) -> None:  # fmt: skip
    """Tell LLVM that no iteration reads what another wrote.

    In place, x and y are one array; LLVM's run-time overlap check then picks the scalar loop, which took
    3.6 us where the vector loop takes 1.1 (float32, 10,000 elements).
    """
    group = _DistinctMetadata(module, [], name=str(len(module.metadata)))
    for access in accesses:
        access.set_metadata("llvm.access.group", group)
    parallel = module.add_metadata([ir.MetaDataString(module, "llvm.loop.parallel_accesses"), group])
    itself = _DistinctMetadata(module, [], name=str(len(module.metadata)))

    def option(name: str, *value: ir.Value) -> ir.MDValue:
        return module.add_metadata([ir.MetaDataString(module, f"llvm.loop.{name}"), *value])

    how = []
    if line:  # of 16 elements it would be unrolled before it could be made a vector
        how.append(option("unroll.disable"))
    elif wide:
        how.append(option("interleave.count", _I32(INTERLEAVE)))
    if width:
        how.append(option("vectorize.width", _I32(width)))
    itself.operands = (itself, parallel, *how)
    back_edge.set_metadata("llvm.loop", itself)


def loop(builder: ir.IRBuilder, n: ir.Value, body: Callable[[ir.Value], None]) -> ir.Instruction:
    """Do `body` for each number from 0 to n; give the jump back."""
    entry, inside, after = builder.block, builder.append_basic_block(), builder.append_basic_block()
    builder.cbranch(builder.icmp_signed(">", n, _I64(0)), inside, after)
    builder.position_at_end(inside)
    i = builder.phi(_I64)
    i.add_incoming(_I64(0), entry)
    body(i)
    following = builder.add(i, _I64(1), flags=("nuw", "nsw"))
    i.add_incoming(following, builder.block)
    back_edge = builder.cbranch(builder.icmp_signed("<", following, n), inside, after)
    builder.position_at_end(after)
    return back_edge


def _fetch(builder: ir.IRBuilder, address: ir.Value) -> None:
    pointer = ir.IntType(8).as_pointer()
    kind = ir.FunctionType(ir.VoidType(), [pointer, _I32, _I32, _I32])
    function = builder.module.declare_intrinsic("llvm.prefetch", [pointer], kind)
    builder.call(function, [builder.bitcast(address, pointer), _I32(0), _I32(3), _I32(1)])


def _store_past_the_caches(builder: ir.IRBuilder, target: ir.Value, buffer: ir.Value) -> None:
    """Write a line; only of a vector LLVM makes a non-temporal store without taking the loop apart."""
    line = ir.VectorType(_I32, LINE // 4).as_pointer()
    load = builder.load(builder.bitcast(buffer, line))
    store = builder.store(load, builder.bitcast(target, line))
    load.align = store.align = LINE
    store.set_metadata("nontemporal", builder.module.add_metadata([_I32(1)]))


def storages(block: Specification, operation: Operation, dtype: str) -> tuple[list[str], int, int]:
    """List the storage of each operand, and where the parameters begin and end among them."""
    inputs, uniform, outputs = block.operands(operation)
    kinds = ["bit" if name == "mask" else dtype for name in (*inputs, *uniform, *outputs)]
    return kinds, len(inputs), len(inputs) + len(uniform)


def compile_kernel(block: Specification, operation: Operation, dtype: str, target: Target | None = None) -> Optimised:
    """Compile one kernel; `target`, by default this machine, says which instructions there are.

    Raises
    ------
    NotImplementedError
        If the processor lacks the instructions; the NumPy reading takes over.
    """
    machine = target or host()
    # An x86-64 without bfloat16 of its own selects by widening again (10,000 of relu: 7.6 us, 1.6 by rounding), or
    # calls a library for it.
    if dtype == "bfloat16" and block.selects and machine.selects_bfloats:
        kernel = _compile(block, operation, dtype, machine, selected=True)
        # LLVM sees that narrowing undoes widening and selects the 16 bits themselves, 2.5 times as fast.
        # Where it does not, as behind a product, the result must be rounded.
        if "fptrunc" not in str(kernel.module):
            return kernel
    if dtype == "float16" and not machine.converts_halves:
        raise NotImplementedError("float16 needs the F16C instructions")
    if not machine.fuses and any("fma" in _words_of(getattr(block, part)) for part in operation.parts):
        raise NotImplementedError("a formula needs the FMA instructions")
    return _compile(block, operation, dtype, machine, selected=False)


def _words_of(formula: Any) -> set[str]:
    """List the words of a formula, with those that some of them are made of."""
    used = {name for part in with_all_called(formula) for name in part.__code__.co_names}
    return used | {"fma"} if used & {"exp", "exp_parts", "expm1", "log1p", "erfcx"} else used


def _compile(block: Specification, operation: Operation, dtype: str, machine: Target, selected: bool) -> Optimised:
    jit = numba.njit(error_model="numpy", nogil=True, no_cpython_wrapper=True, forceinline=True)
    working = block.working(dtype)
    scalar = jit(
        read(
            block,
            operation,
            numba_formulas.primitives(working, narrow=dtype != "float64", dtype=dtype),
            compile_primitive=jit,
        )
    )
    names, first, last = storages(block, operation, dtype)
    operands = [Storage(name, working, selected) for name in names]
    inputs, outputs = operands[:last], operands[last:]

    @intrinsic
    def sweep(typingctx, pointers, n, how):
        function = numba.typeof(scalar)
        call = function.get_call_type(typingctx, [operand.working for operand in inputs], {})

        def codegen(context, builder, signature, arguments):
            formula = context.get_function(function, call)
            context.add_linking_libs(getattr(formula, "libs", ()))
            pointers, n, how = arguments
            arrays = [
                builder.bitcast(builder.load(builder.gep(pointers, [_I64(k)])), operand.type.as_pointer())
                for k, operand in enumerate(operands)
            ]

            def load(k: int, i: ir.Value) -> tuple[ir.Instruction, ir.Value]:
                stored = builder.load(builder.gep(arrays[k], [i], inbounds=True))
                stored.align = operands[k].size
                return stored, operands[k].widen(builder, stored)

            def compute(i: ir.Value, hoisted: dict[int, ir.Value], targets: list[ir.Value], j: ir.Value) -> Any:
                """Compute element i, and put it where the targets have index j; give the accesses to memory."""
                accesses, numbers = [], []
                for k in range(last):
                    if k in hoisted:
                        numbers.append(hoisted[k])
                    else:
                        access, number = load(k, i)
                        accesses.append(access)
                        numbers.append(number)
                parameters = context.make_tuple(builder, call.args[-1], numbers[first:])
                result = formula(builder, [*numbers[:first], parameters])
                results = [result]
                if isinstance(call.return_type, types.BaseTuple):
                    results = [builder.extract_value(result, k) for k in range(len(outputs))]
                for target, operand, number, kind in zip(
                    targets, outputs, results, _kinds(call.return_type), strict=True
                ):
                    number = context.cast(builder, number, kind, operand.working)
                    access = builder.store(operand.narrow(builder, number), builder.gep(target, [j], inbounds=True))
                    access.align = operand.size
                    accesses.append(access)
                return accesses

            def sweep_part(hoisted: dict[int, ir.Value], start: ir.Value, count: ir.Value) -> None:
                def body(j: ir.Value) -> None:
                    i = builder.add(start, j)
                    accesses.extend(compute(i, hoisted, arrays[last:], i))

                accesses: list[ir.Instruction] = []
                declare_iterations_independent(builder.module, accesses, loop(builder, count, body), wide=block.wide)

            def sweep_through(hoisted: dict[int, ir.Value]) -> None:
                done = _I64(0)
                if block.wide and dtype == "float64" and "dy" in operation.inputs:
                    elements = LINES * LINE // operands[0].size

                    def fetching(number: ir.Value) -> None:
                        start = builder.mul(number, _I64(elements))
                        for array in arrays[:first]:
                            for line in range(LINES):
                                ahead = _I64((FETCHED + line) * elements // LINES)
                                _fetch(builder, builder.gep(array, [builder.add(start, ahead)]))
                        sweep_part(hoisted, start, _I64(elements))

                    blocks = builder.udiv(n, _I64(elements))
                    loop(builder, blocks, fetching)
                    done = builder.mul(blocks, _I64(elements))
                sweep_part(hoisted, done, builder.sub(n, done))

            def sweep_past(hoisted: dict[int, ir.Value]) -> None:
                """Let each line of the outputs leave a buffer, which LLVM keeps in a register."""
                elements = LINE // max(operand.size for operand in outputs)
                ahead = builder.mul(builder.ashr(how, _I64(FETCH)), _I64(elements))

                def line(number: ir.Value) -> None:
                    start = builder.mul(number, _I64(elements))
                    for k, operand in enumerate(operands[:first]):
                        if operand.name != "bit":
                            _fetch(builder, builder.gep(arrays[k], [builder.add(start, ahead)]))

                    def body(j: ir.Value) -> None:
                        accesses.extend(compute(builder.add(start, j), hoisted, targets, j))

                    targets = [
                        builder.gep(array, [start], inbounds=True) if buffer is None else buffer
                        for array, buffer in zip(arrays[last:], buffers, strict=True)
                    ]
                    accesses: list[ir.Instruction] = []
                    back_edge = loop(builder, _I64(elements), body)
                    # Of NEON's registers a line takes four. In a loop over them it would go to the stack and be read
                    # back: 37 instructions, where one vector of them all takes 16 (AVX2 is as fast either way; and
                    # where vectors scale, LLVM remarks on a width, on the user's stderr).
                    neon = machine.architecture == "aarch64" and not machine.scales
                    width = elements if neon and not block.wide else 0
                    declare_iterations_independent(
                        builder.module, accesses, back_edge, wide=block.wide, line=True, width=width
                    )
                    for array, buffer in zip(arrays[last:], buffers, strict=True):
                        if buffer is not None:
                            _store_past_the_caches(builder, builder.gep(array, [start], inbounds=True), buffer)

                buffers = [
                    None
                    if operand.name == "bit"
                    else cgutils.alloca_once(builder, ir.ArrayType(operand.type, elements))
                    for operand in outputs
                ]
                for buffer in filter(None, buffers):
                    buffer.align = LINE
                buffers = [
                    buffer and builder.bitcast(buffer, operand.type.as_pointer())
                    for buffer, operand in zip(buffers, outputs, strict=True)
                ]
                loop(builder, builder.udiv(n, _I64(elements)), line)

            def either(hoisted: dict[int, ir.Value]) -> None:
                past = builder.icmp_signed("!=", builder.and_(how, _I64(PAST)), _I64(0))
                with builder.if_else(past) as (past_the_caches, through_them):
                    with past_the_caches:
                        sweep_past(hoisted)
                    with through_them:
                        sweep_through(hoisted)

            if first == last:
                either({})
            else:
                alike = builder.icmp_signed("!=", builder.and_(how, _I64(ALIKE)), _I64(0))
                with builder.if_else(alike) as (one_number_each, arrays_of_them):
                    with one_number_each:
                        either({k: load(k, _I64(0))[1] for k in range(first, last)})
                    with arrays_of_them:
                        either({})
            return context.get_dummy_value()

        return types.void(OPERANDS, types.intp, types.intp), codegen

    def kernel(operands, n, how):
        sweep(operands, n, how)

    return optimise({"kernel": (SIGNATURE, kernel)}, machine)


def _kinds(result: Any) -> tuple[Any, ...]:
    return tuple(result.types) if isinstance(result, types.BaseTuple) else (result,)
