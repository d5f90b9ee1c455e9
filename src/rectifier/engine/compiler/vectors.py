"""Vectors in LLVM: their types, constants, and one number in each lane."""

from __future__ import annotations

from collections.abc import Callable, Iterable
from functools import partial
from typing import Any

from llvmlite import ir

from .target import Target

_I1, _I8, _I32, _I64 = (ir.IntType(bits) for bits in (1, 8, 32, 64))
_QUARTER = ir.VectorType(_I8, 16)


def constant(kind: ir.Type, number: Any) -> ir.Constant:
    """Make a constant: one number, or a vector with it in each lane."""
    if isinstance(kind, ir.VectorType):
        return ir.Constant(kind, [number] * kind.count)
    return ir.Constant(kind, number)


def like(kind: ir.Type, element: ir.Type) -> ir.Type:
    """Return the type of other elements in as many lanes as a type has."""
    return ir.VectorType(element, kind.count) if isinstance(kind, ir.VectorType) else element


def spread(builder: ir.IRBuilder, number: ir.Value, lanes: int) -> ir.Value:
    """Make a vector with a number in each lane."""
    nothing = ir.Constant(ir.VectorType(number.type, lanes), ir.Undefined)
    first = constant(ir.VectorType(_I32, lanes), 0)
    return builder.shuffle_vector(builder.insert_element(nothing, number, _I32(0)), nothing, first)


def inside(b: ir.IRBuilder, vector: ir.Value, left: ir.Value) -> ir.Value:
    """Keep the first lanes of a vector, and clear the others."""
    return b.select(b.icmp_signed("<", lane_numbers(vector), spread(b, left, vector.type.count)), vector, zero(vector))


def lane_numbers(vector: ir.Value) -> ir.Constant:
    """Return the number of each lane of a vector."""
    lanes = vector.type.count
    return ir.Constant(ir.VectorType(_I64, lanes), list(range(lanes)))


def zero(vector: ir.Value) -> ir.Constant:
    """Return zeros of the type of a vector."""
    return ir.Constant(vector.type, None)


def halve(b: ir.IRBuilder, vector: ir.Value, join: Callable[[ir.Value, ir.Value], ir.Value]) -> ir.Value:
    """Join the lanes of a vector, the lower half with the upper, until one is left."""
    lanes = vector.type.count
    while lanes > 1:
        lanes //= 2
        halves = [
            b.shuffle_vector(vector, vector, ir.Constant(ir.VectorType(_I32, lanes), list(range(k, k + lanes))))
            for k in (0, lanes)
        ]
        vector = join(*halves)
    return b.extract_element(vector, _I32(0))


# AVX-512 has masks of bits, AVX2 gathers the upper bits of lanes; LLVM makes that of i1 by itself. NEON has neither.
# What LLVM makes of 64 times i1 there takes 135 instructions to unpack; by shifts of bytes it takes 17, and 14 to pack.
def bits_to_conditions(builder: ir.IRBuilder, bits: ir.Value) -> ir.Value:
    """Make a condition a lane of the bits of a number, the lowest first."""
    lanes = bits.type.width
    if _is_x86(builder):
        return builder.bitcast(bits, ir.VectorType(_I1, lanes))
    each = _pick(builder, builder.bitcast(bits, ir.VectorType(_I8, lanes // 8)), [k // 8 for k in range(lanes)])
    own = builder.and_(each, ir.Constant(each.type, [1 << k % 8 for k in range(lanes)]))
    return builder.icmp_unsigned("!=", own, constant(each.type, 0))


def conditions_to_bits(builder: ir.IRBuilder, conditions: ir.Value) -> ir.Value:
    """Make a number of the conditions of all lanes, the first the lowest bit."""
    lanes = conditions.type.count
    if _is_x86(builder):
        return builder.bitcast(conditions, ir.IntType(lanes))
    flags = builder.zext(conditions, ir.VectorType(_I8, lanes))
    bits = builder.shl(flags, ir.Constant(flags.type, [k % 8 for k in range(lanes)]))
    add = _intrinsic(builder, "llvm.aarch64.neon.addp.v16i8", _QUARTER, [_QUARTER, _QUARTER])
    parts = [_pick(builder, bits, range(k, k + 16)) for k in range(0, lanes, 16)]
    for _ in range(3):
        parts += parts[-1:] * (len(parts) % 2)
        parts = [builder.call(add, pair) for pair in zip(parts[::2], parts[1::2], strict=True)]
    return builder.bitcast(_pick(builder, parts[0], range(lanes // 8)), ir.IntType(lanes))


def permutation(target: Target) -> Callable[[ir.IRBuilder, ir.Value, tuple[float, ...]], ir.Value] | None:
    """Return what looks numbers up in a table of eight by the last bits of integers; None without an instruction."""
    if target.architecture == "x86_64" and target.register == _QUARTER.count:
        return None
    return partial(_permute, target.register // 4)


def _permute(size: int, builder: ir.IRBuilder, index: ir.Value, table: tuple[float, ...]) -> ir.Value:
    lanes = index.type.count
    look = _look_up_on_x86 if _is_x86(builder) else _look_up_on_arm
    parts = [
        look(builder, _pick(builder, index, range(k, k + size)), list(table) * (max(8, size) // 8))
        for k in range(0, lanes, size)
    ]
    while len(parts) > 1:
        both = range(2 * parts[0].type.count)
        parts = [
            builder.shuffle_vector(x, y, ir.Constant(ir.VectorType(_I32, len(both)), list(both)))
            for x, y in zip(parts[::2], parts[1::2], strict=True)
        ]
    return parts[0]


def _look_up_on_x86(builder: ir.IRBuilder, index: ir.Value, table: list[float]) -> ir.Value:
    kind = ir.VectorType(ir.FloatType(), len(table))
    name = {8: "llvm.x86.avx2.permps", 16: "llvm.x86.avx512.permvar.sf.512"}[len(table)]
    return builder.call(_intrinsic(builder, name, kind, [kind, index.type]), [ir.Constant(kind, table), index])


def _look_up_on_arm(builder: ir.IRBuilder, index: ir.Value, table: list[float]) -> ir.Value:
    # Of bytes: four of each number, from two registers.
    place = builder.and_(index, constant(index.type, len(table) - 1))
    place = builder.add(builder.mul(place, constant(index.type, 0x04040404)), constant(index.type, 0x03020100))
    halves = [
        builder.bitcast(ir.Constant(ir.VectorType(ir.FloatType(), 4), table[k : k + 4]), _QUARTER) for k in (0, 4)
    ]
    look = _intrinsic(builder, "llvm.aarch64.neon.tbl2.v16i8", _QUARTER, [_QUARTER] * 3)
    found = builder.call(look, [*halves, builder.bitcast(place, _QUARTER)])
    return builder.bitcast(found, ir.VectorType(ir.FloatType(), 4))


def _intrinsic(builder: ir.IRBuilder, name: str, result: ir.Type, arguments: list[ir.Type]) -> ir.Function:
    known = builder.module.globals.get(name)
    return known or ir.Function(builder.module, ir.FunctionType(result, arguments), name)


def _is_x86(builder: ir.IRBuilder) -> bool:
    return bool(builder.module.triple.startswith("x86_64"))


def _pick(builder: ir.IRBuilder, vector: ir.Value, lanes: Iterable[int]) -> ir.Value:
    numbers = list(lanes)
    picked = ir.Constant(ir.VectorType(_I32, len(numbers)), numbers)
    return builder.shuffle_vector(vector, ir.Constant(vector.type, ir.Undefined), picked)
