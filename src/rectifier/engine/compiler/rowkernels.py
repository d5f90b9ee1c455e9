"""Kernels of row-wise functions: ``void kernel(void **operands, intp n, intp how)`` (`runtime.rows`).

`_value` and `_backward` walk over rows; they are translated (`subset`), with what computes on vectors as instructions.
There a number is the bits of a float64.
"""

# mypy: disable-error-code="name-defined"

from __future__ import annotations

from collections.abc import Callable
from types import FunctionType
from typing import Any

import numpy as np
from llvmlite import ir

from ...formulas import bind
from ...formulas.llvm import Trace
from ...formulas.rows import exp_of_difference, exponential
from ...formulas.tracing import Node
from ...functions.specification import Rowwise
from ..runtime.layout import BLOCK, Rows
from ..runtime.structure import Words
from .instructions import Instruction, at, atomic_store, compare_and_swap, stack
from .kernels import require_instructions
from .optimise import Optimised
from .storage import FLAG, Storage
from .strips import INTERLEAVE, Array, Strips, copy_bytes, load, loop, room
from .subset import optimised
from .sums import LANES, add_terms, begin_sum, bits_of, number_of, total_of, two_sum
from .target import Target, host
from .vectors import constant, halve, inside, spread

PIECE = 1024  # numbers that are computed, then summed while they are in the first-level cache
SHORT = 64  # a row; some of these are computed together: GROUP numbers at most
GROUP = 512
_I32, _I64 = ir.IntType(32), ir.IntType(64)
_DOUBLE = ir.DoubleType()
_SMALL = constant(_DOUBLE, 2.0**-16)
MINUS_ONE = int(np.float64(-1.0).view(np.int64))


def apart(name: str, arguments: int, write: Callable[..., ir.Value | None]) -> Instruction:
    """Make an instruction that calls a function, which is written once."""

    def emit(builder: ir.IRBuilder, *values: ir.Value) -> ir.Value:
        module = builder.module
        function = module.globals.get(name)
        if function is None:
            function = ir.Function(module, ir.FunctionType(_I64, [_I64] * arguments), name)
            function.linkage = "internal"
            for attribute in ("nounwind", "noinline"):
                function.attributes.add(attribute)
            inner = ir.IRBuilder(function.append_basic_block())
            result = write(inner, *function.args)
            inner.ret(_I64(0) if result is None else result)
        return builder.call(function, values)

    return Instruction(emit, arguments)


class Vectors:
    """The instructions that compute with rows of a dtype, of one kernel."""

    def __init__(self, dtype: str, target: Target, negated: bool = False) -> None:
        self.narrow, self.negated = dtype != "float64", negated
        self.x, self.double = Storage(dtype, "float64"), Storage("float64", "float64")
        self.integer = ir.IntType(8 * self.x.size)
        self.register = target.register
        self.lanes = INTERLEAVE * target.register // 8

    def trace(self, b: ir.IRBuilder, lanes: int, outside: ir.Block | None = None) -> Trace:
        """Begin to trace a formula of vectors."""
        return Trace(b, lanes, "float64", self.narrow, outside=outside)

    def array(self, b: ir.IRBuilder, storage: Storage, address: ir.Value) -> Array:
        """Return what lies at an address as an array."""
        return Array(storage, at(b, address, storage.type))

    def sweep(
        self, name: str, sources: tuple[Storage, ...], targets: tuple[Storage, ...], numbers: int, formula: Any
    ) -> Instruction:
        """Make the instruction that puts formula(elements of the sources, *numbers) into targets, maybe the sources.

        Its arguments are the addresses of sources and targets, how many elements they have, and the numbers.
        """

        def write(b: ir.IRBuilder, *values: ir.Value) -> None:
            arrays = [self.array(b, s, value) for s, value in zip((*sources, *targets), values, strict=False)]
            count, *given = values[len(arrays) :]
            constants, outside = [spread(b, number_of(b, value), self.lanes) for value in given], b.block

            def evaluate(stored: list[ir.Value]) -> list[ir.Value]:
                trace = self.trace(b, self.lanes, outside)
                nodes = [trace.input(s.widen(b, number), s.kind) for s, number in zip(sources, stored, strict=True)]
                nodes += [trace.input(number, varies=False) for number in constants]
                results = bind(formula, trace.primitives())(*nodes)
                results = results if isinstance(results, tuple) else (results,)
                return [target.narrow(b, node) for target, node in zip(targets, results, strict=True)]

            Strips(b, self.lanes, self.lanes, arrays[: len(sources)], arrays[len(sources) :], count, evaluate).emit()

        return apart(name, len(sources) + len(targets) + 1 + numbers, write)

    def summing(self, name: str, sources: tuple[Storage, ...], formula: Any, numbers: int = 0) -> Instruction:
        """Make the instruction that adds formula(elements of the sources, *numbers) of each element to a sum."""

        def write(b: ir.IRBuilder, sums: ir.Value, *values: ir.Value) -> None:
            arrays = [self.array(b, s, value) for s, value in zip(sources, values, strict=False)]
            count, *given = values[len(arrays) :]
            constants = [spread(b, number_of(b, value), LANES) for value in given]

            def term(stored: list[ir.Value]) -> ir.Value:
                trace = self.trace(b, LANES)
                nodes = [trace.input(s.widen(b, number), s.kind) for s, number in zip(sources, stored, strict=True)]
                nodes += [trace.input(number) for number in constants]
                result: Node = bind(formula, trace.primitives())(*nodes)
                return result.value

            add_terms(b, sums, arrays, count, term)

        return apart(name, len(sources) + 2 + numbers, write)

    def fill(self, b: ir.IRBuilder, target: ir.Value, count: ir.Value, number: ir.Value) -> None:
        """Write a number as often, and on to the end of a register."""
        lanes = self.register // 8
        array, every = self.array(b, self.double, target), spread(b, number_of(b, number), lanes)

        def store(i: ir.Value) -> None:
            b.store(every, b.bitcast(b.gep(array.pointer, [i]), every.type.as_pointer())).align = 8

        loop(b, _I64(0), count, lanes, store)

    def sum_of(self, b: ir.IRBuilder, source: ir.Value, count: ir.Value) -> ir.Value:
        """Return the sum of a few float64; the last register is read to its end."""
        lanes = self.register // 8
        array, sums = self.array(b, self.double, source), room(b, ir.VectorType(_DOUBLE, lanes))
        b.store(constant(sums.type.pointee, 0.0), sums)

        def add(i: ir.Value) -> None:
            numbers = inside(b, load(b, array, i, lanes), b.sub(count, i))
            b.store(b.fadd(b.load(sums), numbers), sums)

        loop(b, _I64(0), count, lanes, add)
        return bits_of(b, halve(b, b.load(sums), b.fadd))

    def rest_of(self, b: ir.IRBuilder, source: ir.Value, count: ir.Value) -> ir.Value:
        """Return the sum of a few exponentials, the greatest of which is 1, less 1; the last register is read.

        What is 1 is counted: beside it, rounding would take from the sum what the others are known by.
        """
        lanes = self.register // 8
        array, kind = self.array(b, self.double, source), ir.VectorType(_DOUBLE, lanes)
        sums, lost, ones = (room(b, kind) for _ in range(3))
        none, one = constant(kind, 0.0), constant(kind, 1.0)
        for space in (sums, lost, ones):
            b.store(none, space)

        def add(i: ir.Value) -> None:
            numbers = inside(b, load(b, array, i, lanes), b.sub(count, i))
            is_one = b.fcmp_ordered("==", numbers, one)
            others = b.select(is_one, none, numbers)
            total, more = (b.fadd(b.load(sums), others), none) if self.narrow else two_sum(b, b.load(sums), others)
            b.store(total, sums)
            b.store(b.fadd(b.load(lost), more), lost)
            b.store(b.fadd(b.load(ones), b.select(is_one, one, none)), ones)

        loop(b, _I64(0), count, lanes, add)
        b.store(b.fadd(b.load(sums), b.load(lost)), sums)
        others, counted = (halve(b, b.load(space), b.fadd) for space in (sums, ones))
        return bits_of(b, b.fadd(b.fsub(counted, constant(_DOUBLE, 1.0)), others))

    def _key(self, b: ir.IRBuilder, stored: ir.Value, negated: bool = False) -> ir.Value:
        """Make integers of the same order, or of that of the negated; or of integers what they were made of."""
        bits = b.bitcast(stored, ir.VectorType(self.integer, stored.type.count))
        last = self.integer.width - 1
        bits = b.xor(bits, constant(bits.type, -1 << last)) if negated else bits
        sign = b.ashr(bits, constant(bits.type, last))
        return b.xor(bits, b.and_(sign, constant(bits.type, (1 << last) - 1)))

    def peak(self, b: ir.IRBuilder, x: ir.Value, length: ir.Value, flags: ir.Value | None = None) -> ir.Value:
        """Return the greatest element, or of -x; a NaN is above all others, or below.

        Where there are flags, what has none is -inf.
        """
        lanes = self.register // self.x.size
        array, flagged = self.array(b, self.x, x), None if flags is None else self.array(b, FLAG, flags)
        kind, wide = ir.VectorType(self.integer, lanes), INTERLEAVE * lanes
        top = room(b, kind)
        b.store(constant(kind, -1 << (self.integer.width - 1)), top)

        def key_of(stored: ir.Value, flag: ir.Value | None) -> ir.Value:
            if flag is not None:
                stored = b.select(FLAG.widen(b, flag), stored, self.x.constant(-np.inf, lanes))
            return self._key(b, stored, self.negated)

        def raise_to(*keys: ir.Value) -> None:
            greatest = list(keys)
            while len(greatest) > 1:
                greatest = [self._greater(b, *pair) for pair in zip(greatest[::2], greatest[1::2], strict=True)]
            b.store(self._greater(b, b.load(top), greatest[0]), top)

        def key_at(i: ir.Value, k: int = 0) -> ir.Value:
            place = b.add(i, _I64(k))
            return key_of(load(b, array, place, lanes), flagged and load(b, flagged, place, lanes))

        blocks, vectors = (b.and_(length, _I64(-size)) for size in (wide, lanes))
        loop(b, _I64(0), blocks, wide, lambda i: raise_to(*[key_at(i, k) for k in range(0, wide, lanes)]))
        loop(b, blocks, vectors, lanes, lambda i: raise_to(key_at(i)))
        left, long = b.icmp_signed("<", vectors, length), b.icmp_signed(">", vectors, _I64(0))
        with b.if_then(left), b.if_else(long) as (many, few):
            with many:
                raise_to(key_at(b.sub(length, _I64(lanes))))
            with few:
                one = b.load(array.pointer)
                one.align = self.x.size
                every = spread(b, one, lanes)
                space = room(b, every.type)
                b.store(every, space)
                copy_bytes(b, space, array.pointer, b.mul(length, _I64(self.x.size)))
                raise_to(key_of(b.load(space), flagged and self._padded(b, flagged, length, lanes)))
        greatest = halve(b, b.load(top), lambda x, y: self._greater(b, x, y))
        every = b.insert_element(ir.Constant(ir.VectorType(self.integer, 1), ir.Undefined), greatest, _I32(0))
        stored = b.extract_element(self._key(b, every), _I32(0))
        return bits_of(b, self.x.widen(b, b.bitcast(stored, self.x.type)))

    def _padded(self, b: ir.IRBuilder, array: Array, count: ir.Value, lanes: int) -> ir.Value:
        """Load fewer elements than a vector has, and zeros behind them."""
        space = room(b, array.storage.stored_type(lanes))
        b.store(ir.Constant(space.type.pointee, None), space)
        copy_bytes(b, space, array.pointer, b.mul(count, _I64(array.storage.size)))
        return b.load(space)

    def _greater(self, b: ir.IRBuilder, x: ir.Value, y: ir.Value) -> ir.Value:
        return b.select(b.icmp_signed(">", x, y), x, y)


def compile_kernel(spec: Rowwise, backward: bool, dtype: str, target: Target | None = None) -> Optimised:
    """Compile the kernel of an operation in a dtype; `target`, by default this machine, says what instructions it has.

    Raises
    ------
    NotImplementedError
        If the processor lacks the instructions; NumPy computes the formulas then.
    """
    machine = target or host()
    of_value = [spec.value, spec.of_sum, exp_of_difference]
    require_instructions([spec.weight, spec.backward] if backward else of_value, dtype, machine)
    vectors = Vectors(dtype, machine, spec.negated)
    x, double = vectors.x, vectors.double
    scope: dict[str, Any] = {
        **globals(),
        "SIZE": x.size,
        "AGAIN": not backward and spec.uses_exponentials,
        "clear": Instruction(begin_sum),
        "total": apart("total", 2, total_of),
        "fill": Instruction(vectors.fill, 3),
        "sum_of": Instruction(vectors.sum_of, 2),
    }  # fmt: skip
    if backward:
        scope |= {
            "add_weights": vectors.summing("add_weights", (x, x), spec.weight),
            "gradients": vectors.sweep("gradients", (x, x), (x,), 1, spec.backward),
            "weights": vectors.sweep("weights", (x, x), (double,), 0, spec.weight),
            "gradients_of_each": vectors.sweep("gradients_of_each", (x, x, double), (x,), 0, spec.backward),
        }
    else:
        of_x = {"of_x": negated if spec.negated else itself}
        value = {"value": spec.value, "of_sum": spec.of_sum, **of_x}
        exponentials = FunctionType(_exponential.__code__, {"exponential": exponential, **of_x})
        values_of_each = FunctionType(_value_of_each.__code__, value)
        scope |= {
            **summing_up(vectors, exponentials),
            "values": vectors.sweep("values", (x, double), (x,), 2, FunctionType(_value_of.__code__, value)),
            "of_sums": vectors.sweep("of_sums", (double,), (double,), 0, spec.of_sum),
            "values_of_each": vectors.sweep("values_of_each", (x, double, double, double), (x,), 0, values_of_each),
        }
    for function in (_short_rows, _short_rows_back, rest_of_row, _value, _backward):
        scope[function.__name__] = FunctionType(function.__code__, scope, function.__name__)
    kernel = scope["_backward" if backward else "_value"]
    return optimised([kernel], machine, names=["kernel"])


def summing_up(vectors: Vectors, exponentials: Any) -> dict[str, Any]:
    """Return the instructions that sum the exponentials of a row, by their formula of x and the peak."""
    x, double = vectors.x, vectors.double
    return {
        "PIECE": PIECE,
        "MINUS_ONE": MINUS_ONE,
        "clear": Instruction(begin_sum),
        "total": apart("total", 2, total_of),
        # Beside ones, rounding takes from a sum of float64 what the others are known by: softmax was off by 4.7 units.
        # Of 24 bits it takes nothing until the others are small.
        "APART": not vectors.narrow,
        "is_small": Instruction(lambda b, x: b.zext(b.fcmp_ordered("<", number_of(b, x), _SMALL), _I64)),
        "fill": Instruction(vectors.fill, 3),
        "rest_of": Instruction(vectors.rest_of, 2),
        "peak_of": apart("peak_of", 2, vectors.peak),
        "add_up": vectors.summing("add_up", (double,), itself),
        "add_others": vectors.summing("add_others", (double,), other),
        "add_ones": vectors.summing("add_ones", (double,), one),
        "exponentials": vectors.sweep("exponentials", (x,), (double,), 1, exponentials),
        "exponentials_of_each": vectors.sweep("exponentials_of_each", (x, double), (double,), 0, exponentials),
    }


def itself(e):
    """Return a number: a formula."""
    return e


def other(e):
    """Return what is not 1, and 0 for that: a formula."""
    return where(e == T(1), T(0), e)


def one(e):
    """Return 1 for 1, and 0 for all others: a formula."""
    return where(e == T(1), T(1), T(0))


def negated(x):
    """Negate: a formula."""
    return -x


def _exponential(x, peak):
    return exponential(of_x(x), peak)


def _value_of(x, e, peak, rest):  # arrays come first
    return value(of_x(x), peak, e, of_sum(rest))


def _value_of_each(x, peak, e, number):
    return value(of_x(x), peak, e, number)


def _short_rows(x: int, y: int, length: int, count: int, waiting: Words) -> int:
    """Compute rows side by side, as vectors are longer than they are."""
    peaks, rests, of_row = stack(BLOCK), stack(BLOCK), stack(GROUP)
    row = 0
    while row < count:
        group = min(GROUP // length, count - row)
        begin_x, begin_y = x + row * length * SIZE, y + row * length * SIZE
        for k in range(group):
            fill(peaks + 8 * k * length, length, peak_of(begin_x + k * length * SIZE, length))
        exponentials_of_each(begin_x, peaks, waiting, group * length)
        for k in range(group):
            of_row[k] = rest_of(waiting + 8 * k * length, length)
        of_sums(of_row, of_row, group)
        for k in range(group):
            fill(rests + 8 * k * length, length, of_row[k])
        values_of_each(begin_x, peaks, waiting, rests, begin_y, group * length)
        row += group
    return 0


def _short_rows_back(dy: int, y: int, dx: int, length: int, count: int) -> int:
    terms, totals = stack(BLOCK), stack(BLOCK)
    row = 0
    while row < count:
        group = min(GROUP // length, count - row)
        begin = row * length * SIZE
        weights(dy + begin, y + begin, terms, group * length)
        for k in range(group):
            place = 8 * k * length
            fill(totals + place, length, sum_of(terms + place, length))
        gradients_of_each(dy + begin, y + begin, totals, dx + begin, group * length)
        row += group
    return 0


def rest_of_row(x: int, length: int, peak: int, waiting: int, within: int, sums: int, ones: int) -> int:
    """Return the sum of a row's exponentials, less 1; they stay in the places whose bits `within` has."""
    apart, again, rest = APART, 1, 0
    while again:
        clear(sums)
        clear(ones)
        for begin in range(0, length, PIECE):
            count, place = min(PIECE, length - begin), waiting + 8 * (begin & within)
            exponentials(x + begin * SIZE, place, count, peak)
            if apart:
                add_others(sums, place, count)
                add_ones(ones, place, count)
            else:
                add_up(sums, place, count)
        rest = total(sums, total(ones, MINUS_ONE))
        again = 0
        if apart == 0:
            again = is_small(rest)
        apart = 1
    return rest


def _value(operands: Words, n: int, how: int) -> int:
    """Compute the rows that begin among n elements, from x to y."""
    first, rows, own, sums, ones = operands[0], Rows(operands[1]), stack(BLOCK), stack(2 * LANES), stack(2 * LANES)
    length, room, within, taken = rows.length, BLOCK, BLOCK - 1, -1
    source, target, places = rows.arrays[0], rows.arrays[1], rows.arrays[2]
    waiting = own + 0  # an address, whose place may change
    row, end = (first + length - 1) // length, (first + n + length - 1) // length
    if length <= SHORT:
        begin = row * length * SIZE
        _short_rows(source + begin, target + begin, length, end - row, own)
        row = end
    if places != 0 and row < end:
        taken = 0
        while compare_and_swap(places + 8 * taken, 0, 1) == 0:
            taken = 0 if taken + 1 == rows.arrays[3] else taken + 1
        waiting, room, within = rows.arrays[4] + 8 * taken * length, length, -1
    while row < end:
        x, y = source + row * length * SIZE, target + row * length * SIZE
        peak = peak_of(x, length)
        rest = rest_of_row(x, length, peak, waiting, within, sums, ones)
        begin = 0
        while begin < length:
            count = min(room, length - begin)
            if AGAIN and length > room:
                exponentials(x + begin * SIZE, waiting, count, peak)
            values(x + begin * SIZE, waiting, y + begin * SIZE, count, peak, rest)
            begin += room
        row += 1
    if taken >= 0:
        atomic_store(places + 8 * taken, 0)
    return 0


def _backward(operands: Words, n: int, how: int) -> int:
    """Compute the rows that begin among n elements, from dy and y to dx."""
    first, rows, sums = operands[0], Rows(operands[1]), stack(2 * LANES)
    length = rows.length
    row, end = (first + length - 1) // length, (first + n + length - 1) // length
    if length <= SHORT:
        begin = row * length * SIZE
        _short_rows_back(rows.arrays[0] + begin, rows.arrays[1] + begin, rows.arrays[2] + begin, length, end - row)
        row = end
    for k in range(row, end):
        begin = k * length * SIZE
        dy, y, dx = rows.arrays[0] + begin, rows.arrays[1] + begin, rows.arrays[2] + begin
        clear(sums)
        add_weights(sums, dy, y, length)
        gradients(dy, y, dx, length, total(sums, 0))
    return 0
