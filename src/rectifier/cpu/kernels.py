"""From a formula to a kernel: machine code for one direction and dtype, over contiguous arrays only.

A kernel is ``void kernel(void **operands, intp n, intp uniform)``. The operands are the direction's
inputs, the function's parameters, the outputs, each contiguous, aligned and native; `uniform` says that
each parameter is one number. Everything else brings its data to this kernel (`driver`), so the bits of a
result cannot depend on how the data lay in memory.
"""

from __future__ import annotations

from typing import Any

import numba
import numpy as np
from llvmlite import ir
from numba import types
from numba.extending import intrinsic

from .. import _dtypes
from .._block import Block, Direction
from ..words import cpu, read
from .store import Optimised, has, optimise

_I64 = ir.IntType(64)
_I32 = ir.IntType(32)
_I16 = ir.IntType(16)

OPERANDS = types.CPointer(types.voidptr)
SIGNATURE = types.void(OPERANDS, types.intp, types.intp)


class _BFloat(ir.types._BaseFloatType):
    """LLVM's bfloat, which llvmlite lacks."""

    null = "0.0"
    intrinsic_name = "bf16"

    def __str__(self) -> str:
        return "bfloat"


_BFloat._create_instance()


class _Storage:
    """How an operand lies in memory, and how it becomes a number to compute with and back.

    `selected` promises that a bfloat16 result is one of the operands, or a constant that bfloat16 holds.
    """

    def __init__(self, name: str, selected: bool) -> None:
        self.name = name
        self.selected = selected
        self.size = 1 if name == "bit" else 2 if name == "bfloat16" else np.dtype(name).itemsize
        self.working = types.boolean if name == "bit" else numba.from_dtype(np.dtype(_dtypes.WORKING[name]))
        self.type: ir.Type = {
            "float16": ir.HalfType(),
            "float32": ir.FloatType(),
            "float64": ir.DoubleType(),
        }.get(name) or ir.IntType(8 * self.size)

    def widen(self, builder: ir.IRBuilder, stored: ir.Value) -> ir.Value:
        if self.name == "bit":
            return builder.icmp_unsigned("!=", stored, ir.Constant(self.type, 0))
        if self.name == "float16":
            return builder.fpext(stored, ir.FloatType())
        if self.name == "bfloat16" and self.selected:
            return builder.fpext(builder.bitcast(stored, _BFloat()), ir.FloatType())
        if self.name == "bfloat16":  # the upper half of a float32; LLVM does not vectorise arithmetic on a bfloat
            return builder.bitcast(builder.shl(builder.zext(stored, _I32), ir.Constant(_I32, 16)), ir.FloatType())
        return stored

    def narrow(self, builder: ir.IRBuilder, number: ir.Value) -> ir.Value:
        if self.name == "bit":
            return builder.zext(number, self.type)
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


class _DistinctMetadata(ir.MDValue):
    """A metadata node equal to no other; llvmlite writes only nodes that LLVM may merge."""

    def descr(self, buf: list[str]) -> None:
        buf.append(f"distinct !{{ {', '.join(operand.get_reference() for operand in self.operands)} }}\n")


def _declare_iterations_independent(
    module: ir.Module, accesses: list[ir.Instruction], back_edge: ir.Instruction
) -> None:
    """Tell LLVM that no iteration reads what another wrote.

    In place, x and y are one array; LLVM's run-time overlap check then picks the scalar loop, which took
    3.6 us where the vector loop takes 1.1 (float32, 10,000 elements).
    """
    group = _DistinctMetadata(module, [], name=str(len(module.metadata)))
    for access in accesses:
        access.set_metadata("llvm.access.group", group)
    parallel = module.add_metadata([ir.MetaDataString(module, "llvm.loop.parallel_accesses"), group])
    loop = _DistinctMetadata(module, [], name=str(len(module.metadata)))
    loop.operands = (loop, parallel)
    back_edge.set_metadata("llvm.loop", loop)


def storages(block: Block, direction: Direction, dtype: str) -> tuple[list[str], int, int]:
    """List the storage of each operand, and where the parameters begin and end among them."""
    inputs = ["bit" if name == "mask" else dtype for name in direction.inputs]
    outputs = ["bit" if name == "mask" else dtype for name in direction.outputs]
    first, last = len(inputs), len(inputs) + len(block.parameters)
    return [*inputs, *[dtype] * len(block.parameters), *outputs], first, last


def compile_kernel(block: Block, direction: Direction, dtype: str) -> Optimised:
    """Compile one kernel.

    Raises
    ------
    NotImplementedError
        If the processor lacks the instructions; the NumPy reading takes over.
    """
    if dtype == "bfloat16" and block.selects:
        kernel = _compile(block, direction, dtype, selected=True)
        # LLVM sees that narrowing undoes widening and selects the 16 bits themselves, 2.5 times as fast.
        # Where it does not, as behind a product, the result must be rounded.
        if "fptrunc" not in str(kernel.module):
            return kernel
    if dtype == "float16" and not has("f16c"):
        raise NotImplementedError("float16 needs the F16C instructions")
    return _compile(block, direction, dtype, selected=False)


def _compile(block: Block, direction: Direction, dtype: str, selected: bool) -> Optimised:
    jit = numba.njit(error_model="numpy", nogil=True, no_cpython_wrapper=True)
    scalar = jit(read(block, direction, cpu.words(_dtypes.WORKING[dtype]), as_word=jit))
    names, first, last = storages(block, direction, dtype)
    operands = [_Storage(name, selected) for name in names]
    inputs, outputs = operands[:last], operands[last:]

    @intrinsic
    def sweep(typingctx, pointers, n, uniform):
        function = numba.typeof(scalar)
        call = function.get_call_type(typingctx, [operand.working for operand in inputs], {})

        def codegen(context, builder, signature, arguments):
            formula = context.get_function(function, call)
            context.add_linking_libs(getattr(formula, "libs", ()))
            pointers, n, uniform = arguments
            arrays = [
                builder.bitcast(builder.load(builder.gep(pointers, [_I64(k)])), operand.type.as_pointer())
                for k, operand in enumerate(operands)
            ]

            def load(k: int, i: ir.Value) -> tuple[ir.Instruction, ir.Value]:
                stored = builder.load(builder.gep(arrays[k], [i], inbounds=True))
                stored.align = operands[k].size
                return stored, operands[k].widen(builder, stored)

            def loop(hoisted: dict[int, ir.Value]) -> None:
                entry, body, after = builder.block, builder.append_basic_block(), builder.append_basic_block()
                builder.cbranch(builder.icmp_signed(">", n, _I64(0)), body, after)
                builder.position_at_end(body)
                i = builder.phi(_I64)
                i.add_incoming(_I64(0), entry)
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
                for k, (operand, number, kind) in enumerate(
                    zip(outputs, results, _kinds(call.return_type), strict=True), last
                ):
                    number = context.cast(builder, number, kind, operand.working)
                    access = builder.store(operand.narrow(builder, number), builder.gep(arrays[k], [i], inbounds=True))
                    access.align = operand.size
                    accesses.append(access)
                following = builder.add(i, _I64(1), flags=("nuw", "nsw"))
                i.add_incoming(following, builder.block)
                back_edge = builder.cbranch(builder.icmp_signed("<", following, n), body, after)
                _declare_iterations_independent(builder.module, accesses, back_edge)
                builder.position_at_end(after)

            if first == last:
                loop({})
            else:
                with builder.if_else(builder.icmp_signed("!=", uniform, _I64(0))) as (one_number_each, arrays_of_them):
                    with one_number_each:
                        loop({k: load(k, _I64(0))[1] for k in range(first, last)})
                    with arrays_of_them:
                        loop({})
            return context.get_dummy_value()

        return types.void(OPERANDS, types.intp, types.intp), codegen

    def kernel(operands, n, uniform):
        sweep(operands, n, uniform)

    return optimise({"kernel": (SIGNATURE, kernel)})


def _kinds(result: Any) -> tuple[Any, ...]:
    return tuple(result.types) if isinstance(result, types.BaseTuple) else (result,)
