"""Kernels of row-wise functions that select: the first of a row's largest numbers, or what exceeds a threshold.

They are called as those of `rowkernels` are. Backward of a function that selects needs two sums a row.
"""

# mypy: disable-error-code="name-defined"

from __future__ import annotations

from types import FunctionType
from typing import Any

import numpy as np
from llvmlite import ir

from ...formulas import bind
from ...formulas.rows import excess, margin, part_of
from ...functions.specification import Rowwise
from ..runtime.layout import Rows
from ..runtime.structure import Words
from .instructions import Instruction, at, stack
from .kernels import require_instructions
from .optimise import Optimised
from .rowkernels import Vectors, apart, itself, negated
from .strips import copy_bytes, load, loop, room
from .subset import optimised
from .sums import LANES, begin_sum, bits_of, number_of, total_of, two_sum
from .target import Target, host
from .vectors import constant, halve, lane_numbers, spread

_I1, _I32, _I64 = ir.IntType(1), ir.IntType(32), ir.IntType(64)
_DOUBLE = ir.DoubleType()
_VECTOR = ir.VectorType(_DOUBLE, LANES)
_NONE, _ONE = constant(_VECTOR, 0.0), constant(_VECTOR, 1.0)
ZERO, ONE, MINUS_ONE, NAN, MANY = (int(np.float64(x).view(np.int64)) for x in (0.0, 1.0, -1.0, np.nan, np.inf))
NOWHERE = -1  # the place of the largest number of a row with a NaN


class _Selections(Vectors):
    """The instructions that look for what counts in a row."""

    def _each(self, b: ir.IRBuilder, x: ir.Value, length: ir.Value, visit: Any) -> None:
        """Visit vectors of a row, with the number of their first element; behind its end lies what counts nothing."""
        array, vectors = self.array(b, self.x, x), b.and_(length, _I64(-LANES))

        def widened(stored: ir.Value) -> ir.Value:
            numbers = self.x.widen(b, stored)
            return b.fneg(numbers) if self.negated else numbers

        loop(b, _I64(0), vectors, LANES, lambda i: visit(i, widened(load(b, array, i, LANES))))
        with b.if_then(b.icmp_signed("<", vectors, length)):
            kind = ir.VectorType(self.x.type, LANES)
            last = room(b, kind)
            b.store(self.x.constant(np.inf if self.negated else -np.inf, LANES), last)
            size = b.mul(b.sub(length, vectors), _I64(self.x.size))
            copy_bytes(b, last, b.gep(array.pointer, [vectors]), size)
            visit(vectors, widened(b.load(last)))

    def first(self, b: ir.IRBuilder, x: ir.Value, length: ir.Value, peak: ir.Value) -> ir.Value:
        """Return the place of the first element that is the peak; `NOWHERE` if there is a NaN."""
        found, unknown = room(b, _VECTOR), room(b, ir.VectorType(_I1, LANES))
        b.store(constant(_VECTOR, np.inf), found)
        b.store(ir.Constant(unknown.type.pointee, None), unknown)
        peaks = spread(b, number_of(b, peak), LANES)

        def visit(i: ir.Value, numbers: ir.Value) -> None:
            lanes = b.sitofp(lane_numbers(ir.Constant(ir.VectorType(_I64, LANES), None)), _VECTOR)
            places = b.fadd(spread(b, b.sitofp(i, _DOUBLE), LANES), lanes)
            places = b.select(b.fcmp_ordered("==", numbers, peaks), places, constant(_VECTOR, np.inf))
            b.store(self._less(b, b.load(found), places), found)
            b.store(b.or_(b.load(unknown), b.fcmp_unordered("uno", numbers, numbers)), unknown)

        self._each(b, x, length, visit)
        place = halve(b, b.load(found), lambda p, q: self._less(b, p, q))
        unlike = self._any(b, b.load(unknown))
        return b.select(unlike, _I64(NOWHERE), b.fptosi(b.select(unlike, constant(_DOUBLE, 0.0), place), _I64))

    def _less(self, b: ir.IRBuilder, x: ir.Value, y: ir.Value) -> ir.Value:
        return b.select(b.fcmp_ordered("<", y, x), y, x)

    def _any(self, b: ir.IRBuilder, conditions: ir.Value) -> ir.Value:
        bits = b.bitcast(conditions, ir.IntType(LANES))
        return b.icmp_unsigned("!=", bits, bits.type(0))

    def step(self, b: ir.IRBuilder, x: ir.Value, length: ir.Value, peak: ir.Value, threshold: ir.Value) -> ir.Value:
        """Make a step of Newton's method to the threshold, of two numbers; return how many elements exceeded it.

        From the left, the steps fall short of the threshold until the elements above it are those of the step before.
        C. Michelot, "A finite algorithm for finding the projection of a point onto the canonical simplex of R^n",
        Journal of Optimization Theory and Applications 50 (1986). What exceeds the threshold, times how many elements
        do, falls to a quarter at least with each step, so that there are some dozens of steps at most.
        """
        place = at(b, threshold, _DOUBLE)
        places = [b.gep(place, [_I64(k)]) for k in range(2)]
        high, low = (b.load(place) for place in places)
        whole, lost, count = (room(b, _VECTOR) for _ in range(3))
        for space in (whole, lost, count):
            b.store(_NONE, space)
        peaks, highs, lows = (spread(b, number, LANES) for number in (number_of(b, peak), high, low))
        least = b.fsub(highs, constant(_VECTOR, 2.0**-30))

        def visit(i: ir.Value, numbers: ir.Value) -> None:
            near = b.fcmp_unordered(">", b.fsub(numbers, peaks), least)
            with b.if_then(self._any(b, near)):
                trace = self.trace(b, LANES)
                nodes = [trace.input(value) for value in (numbers, peaks, highs)]
                over, rest = (node.value for node in bind(margin, trace.primitives())(*nodes))
                above = b.fcmp_unordered(">", b.fadd(b.fsub(over, lows), rest), _NONE)
                above = b.and_(near, above)
                total, more = two_sum(b, b.load(whole), b.select(above, over, _NONE))
                b.store(total, whole)
                b.store(b.fadd(b.load(lost), b.fadd(more, b.select(above, rest, _NONE))), lost)
                b.store(b.fadd(b.load(count), b.select(above, _ONE, _NONE)), count)

        self._each(b, x, length, visit)
        total, more = self._halved(b, b.load(whole), b.load(lost))
        found = halve(b, b.load(count), b.fadd)
        # What is above sums to 1 at the threshold.
        beyond, rounded = two_sum(b, total, constant(_DOUBLE, -1.0))
        change = b.fdiv(b.fsub(b.fadd(beyond, b.fadd(rounded, more)), b.fmul(found, low)), found)
        for value, space in zip(two_sum(b, high, b.fadd(low, change)), places, strict=True):
            b.store(value, space)
        return bits_of(b, found)

    def _halved(self, b: ir.IRBuilder, whole: ir.Value, lost: ir.Value) -> tuple[ir.Value, ir.Value]:
        """Sum the lanes of a sum, and of what rounding took from it."""
        numbers, more = ([b.extract_element(vector, _I32(k)) for k in range(LANES)] for vector in (whole, lost))
        while len(numbers) > 1:
            pairs = [two_sum(b, *pair) for pair in zip(numbers[::2], numbers[1::2], strict=True)]
            more = [b.fadd(b.fadd(x, y), z) for x, y, (_, z) in zip(more[::2], more[1::2], pairs, strict=True)]
            numbers = [total for total, _ in pairs]
        return numbers[0], more[0]


def compile_kernel(spec: Rowwise, backward: bool, dtype: str, target: Target | None = None) -> Optimised:
    """Compile the kernel of an operation in a dtype, as `rowkernels.compile_kernel` does."""
    machine = target or host()
    require_instructions([spec.weight, spec.backward] if backward else [spec.value], dtype, machine)
    vectors = _Selections(dtype, machine, spec.negated)
    x = vectors.x
    scope: dict[str, Any] = {**globals(), "SIZE": x.size}
    if backward:
        scope |= {
            "clear": Instruction(begin_sum),
            "total": apart("total", 2, total_of),
            "add_weights": vectors.summing("add_weights", (x, x), part_of(spec.weight, 0)),
            "add_others": vectors.summing("add_others", (x, x), part_of(spec.weight, 1)),
            "gradients": vectors.sweep("gradients", (x, x), (x,), 2, spec.backward),
        }
        kernel = _backward
    else:
        words = {"value": spec.value, "of_x": negated if spec.negated else itself, "excess": excess}
        of_excess, of_number = (FunctionType(f.__code__, words) for f in (_value_of_excess, _value_of_number))
        scope |= {
            "peak_of": apart("peak_of", 2, vectors.peak),
            "first": apart("first", 3, vectors.first),
            "step": apart("step", 4, vectors.step),
            "exceeding": vectors.sweep("exceeding", (x,), (x,), 3, of_excess),
            "values": vectors.sweep("values", (x,), (x,), 2, of_number),
            "copied": vectors.sweep("copied", (x,), (x,), 0, itself),
        }
        kernel = {"excess": _excess, "first": _first}[spec.each]
    return optimised([FunctionType(kernel.__code__, scope, kernel.__name__)], machine, names=["kernel"])


def _value_of_excess(x, peak, threshold, rest):
    return value(of_x(x), peak, excess(of_x(x), peak, threshold, rest))


def _value_of_number(x, peak, e):
    return value(of_x(x), peak, e)


def _excess(operands: Words, n: int, how: int) -> int:
    """Compute the rows that begin among n elements, of what exceeds the threshold of each."""
    first, rows, threshold = operands[0], Rows(operands[1]), stack(2)
    length = rows.length
    for row in range((first + length - 1) // length, (first + n + length - 1) // length):
        x, y = rows.arrays[0] + row * length * SIZE, rows.arrays[1] + row * length * SIZE
        peak = peak_of(x, length)
        threshold[0] = MINUS_ONE
        threshold[1] = ZERO
        before = MANY
        above = step(x, length, peak, threshold)
        while above < before:
            before = above
            above = step(x, length, peak, threshold)
        exceeding(x, y, length, peak, threshold[0], threshold[1])
    return 0


def _first(operands: Words, n: int, how: int) -> int:
    """Compute the rows that begin among n elements, of which the first of the largest is apart."""
    begin, rows, chosen = operands[0], Rows(operands[1]), stack(1)
    length = rows.length
    for row in range((begin + length - 1) // length, (begin + n + length - 1) // length):
        x, y = rows.arrays[0] + row * length * SIZE, rows.arrays[1] + row * length * SIZE
        peak = peak_of(x, length)
        place = first(x, length, peak)
        if place == NOWHERE:
            values(x, y, length, peak, NAN)
        else:
            values(x + place * SIZE, chosen + 0, 1, peak, ONE)
            values(x, y, length, peak, ZERO)
            copied(chosen + 0, y + place * SIZE, 1)
    return 0


def _backward(operands: Words, n: int, how: int) -> int:
    """Compute the rows that begin among n elements, from dy and y to dx, by two sums of each."""
    first, rows, sums, others = operands[0], Rows(operands[1]), stack(2 * LANES), stack(2 * LANES)
    length = rows.length
    for row in range((first + length - 1) // length, (first + n + length - 1) // length):
        begin = row * length * SIZE
        dy, y, dx = rows.arrays[0] + begin, rows.arrays[1] + begin, rows.arrays[2] + begin
        clear(sums)
        clear(others)
        add_weights(sums, dy, y, length)
        add_others(others, dy, y, length)
        gradients(dy, y, dx, length, total(sums, 0), total(others, 0))
    return 0
