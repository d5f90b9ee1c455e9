"""Sums of rows in float64, as instructions: a sum is two vectors, what each lane adds and what rounding took from it.

In translated code a number is the bits of a float64.
"""

from __future__ import annotations

from collections.abc import Callable

from llvmlite import ir

from .instructions import at
from .strips import Array, copy_bytes, load, loop, room
from .vectors import constant, halve, lane_numbers, spread, zero

# How a row is summed, whatever its length. Eight lanes each add eight numbers by halves, which rounds three times; and
# what rounding takes from the sum of those sums is summed itself (`add_terms`). Plain sums of a row that holds one
# number many times were off by 9 units in the last place at 256 numbers, and by 110 at 300,000.
LANES, DEEP = 8, 8
_I64 = ir.IntType(64)
_DOUBLE = ir.DoubleType()
_VECTOR = ir.VectorType(_DOUBLE, LANES)
_ZEROS = constant(_VECTOR, 0.0)


def number_of(builder: ir.IRBuilder, bits: ir.Value) -> ir.Value:
    """Return the float64 of translated code's bits."""
    return builder.bitcast(bits, _DOUBLE)


def bits_of(builder: ir.IRBuilder, number: ir.Value) -> ir.Value:
    """Return the bits of a float64."""
    return builder.bitcast(number, _I64)


def two_sum(b: ir.IRBuilder, x: ir.Value, y: ir.Value) -> tuple[ir.Value, ir.Value]:
    """Add, and give what rounding took.

    D. E. Knuth, The Art of Computer Programming, volume 2, section 4.2.2.
    """
    total = b.fadd(x, y)
    y_kept = b.fsub(total, x)
    x_kept = b.fsub(total, y_kept)
    return total, b.fadd(b.fsub(x, x_kept), b.fsub(y, y_kept))


def begin_sum(b: ir.IRBuilder, sums: ir.Value) -> None:
    """Begin a sum, of two vectors: that of each lane, and what rounding took from it."""
    for k in range(2):
        _store(b, sums, k, _ZEROS)


def _store(b: ir.IRBuilder, address: ir.Value, k: int, value: ir.Value) -> None:
    b.store(value, b.gep(at(b, address, _VECTOR), [_I64(k)])).align = 8


def _load(b: ir.IRBuilder, address: ir.Value, k: int) -> ir.Value:
    loaded = b.load(b.gep(at(b, address, _VECTOR), [_I64(k)]))
    loaded.align = 8
    return loaded


def add_terms(
    b: ir.IRBuilder, sums: ir.Value, arrays: list[Array], count: ir.Value,
    term: Callable[[list[ir.Value]], ir.Value],
) -> None:  # fmt: skip
    """Add a term for each element of some arrays to a sum; the term of zeros is 0."""
    # In registers, which nothing else may write to.
    whole, lost, part = (room(b, _VECTOR) for _ in range(3))
    for k, variable in enumerate((whole, lost)):
        b.store(_load(b, sums, k), variable)

    def term_at(i: ir.Value) -> ir.Value:
        return term([load(b, array, i, LANES) for array in arrays])

    def add(numbers: ir.Value) -> None:
        total, more = two_sum(b, b.load(whole), numbers)
        b.store(total, whole)
        b.store(b.fadd(b.load(lost), more), lost)

    def of_group(i: ir.Value) -> None:
        parts = [term_at(b.add(i, _I64(k * LANES))) for k in range(DEEP)]
        while len(parts) > 1:
            parts = [b.fadd(x, y) for x, y in zip(parts[::2], parts[1::2], strict=True)]
        add(parts[0])

    def of_rest(i: ir.Value) -> None:
        b.store(b.fadd(b.load(part), term_at(i)), part)

    groups, vectors = (b.and_(count, _I64(-size)) for size in (LANES * DEEP, LANES))
    loop(b, _I64(0), groups, LANES * DEEP, of_group)
    with b.if_then(b.icmp_signed("<", groups, count)):
        b.store(_ZEROS, part)
        loop(b, groups, vectors, LANES, of_rest)
        with b.if_then(b.icmp_signed("<", vectors, count)):
            b.store(b.fadd(b.load(part), term(_last(b, arrays, count))), part)
        add(b.load(part))
    for k, variable in enumerate((whole, lost)):
        _store(b, sums, k, b.load(variable))


def _last(b: ir.IRBuilder, arrays: list[Array], count: ir.Value) -> list[ir.Value]:
    """Load the last elements of some arrays, those behind the last whole vector, and zeros."""
    left, rooms = b.and_(count, _I64(LANES - 1)), [room(b, ir.VectorType(a.storage.type, LANES)) for a in arrays]
    with b.if_else(b.icmp_signed("<", count, _I64(LANES))) as (few, many):
        with few:
            for array, space in zip(arrays, rooms, strict=True):
                b.store(ir.Constant(space.type.pointee, None), space)
                copy_bytes(b, space, array.pointer, b.mul(left, _I64(array.storage.size)))
        with many:
            for array, space in zip(arrays, rooms, strict=True):
                stored = load(b, array, b.sub(count, _I64(LANES)), LANES)
                before = b.icmp_signed("<", lane_numbers(stored), spread(b, b.sub(_I64(LANES), left), LANES))
                b.store(b.select(before, zero(stored), stored), space)
    return [b.load(space) for space in rooms]


def total_of(b: ir.IRBuilder, sums: ir.Value, begin: ir.Value) -> ir.Value:
    """Return the sum and a number, rounded once or nearly so; an infinite sum is what it would be without care."""
    numbers, lost = (halve(b, _load(b, sums, k), b.fadd) for k in range(2))
    whole, more = two_sum(b, numbers, number_of(b, begin))
    lost = b.fadd(lost, more)
    known = b.fcmp_ordered("ord", lost, lost)
    return bits_of(b, b.fadd(whole, b.select(known, lost, constant(_DOUBLE, 0.0))))
