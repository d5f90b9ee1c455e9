"""Kernels of row-wise functions with options: which numbers of a row count, a scale, one more term of the sum.

They are called as those of `rowkernels`, of whose instructions they are made. What does not count is not seen: its
exponential is 0, and its result what the formula gives for -inf. A row is computed to its last number that may count.
There a number is the bits of a float64.
"""

# mypy: disable-error-code="name-defined"

from __future__ import annotations

from collections.abc import Callable
from types import FunctionType
from typing import Any

import numpy as np
from llvmlite import ir

from ...formulas import arrays as array_primitives
from ...formulas import bind
from ...formulas.rows import exp_of_difference, exponential_of_product, of_product
from ...functions.specification import Rowwise
from ..runtime.layout import BLOCK, LINE, RowOptions, Rows
from ..runtime.structure import Words
from .instructions import Instruction, at, atomic_store, compare_and_swap, copy_memory, external, load, stack, store
from .kernels import require_instructions
from .optimise import Optimised
from .rowkernels import GROUP, MINUS_ONE, PIECE, SHORT, Vectors, apart, itself, one, other
from .storage import FLAG
from .strips import loop
from .subset import optimised
from .sums import LANES, begin_sum, bits_of, number_of, total_of
from .target import Target, host
from .vectors import constant, spread

_I1, _I8, _I32, _I64 = (ir.IntType(bits) for bits in (1, 8, 32, 64))
_DOUBLE = ir.DoubleType()
ONE, MINUS_INFINITY = (int(np.float64(number).view(np.int64)) for number in (1.0, -np.inf))
AHEAD = 4096  # bytes of the next row that are fetched
FLAGS, SINK, COUNT = 0, 1, 2  # what `_locate` finds of a row


def compile_kernel(spec: Rowwise, backward: bool, dtype: str, target: Target | None = None) -> Optimised:
    """Compile the kernel of an operation with options in a dtype, as `rowkernels.compile_kernel` does one without.

    Raises
    ------
    NotImplementedError
        If the processor lacks the instructions; NumPy computes the formulas then.
    """
    machine = target or host()
    of_value = [spec.value, spec.of_sum, exp_of_difference]
    require_instructions([spec.weight, spec.backward] if backward else of_value, dtype, machine)
    vectors = Vectors(dtype, machine)
    scope: dict[str, Any] = {
        **globals(),
        "SIZE": vectors.x.size,
        "APART": dtype == "float64",
        "clear": Instruction(begin_sum),
        "total": apart("total", 2, total_of),
        "fetch": Instruction(_fetch),
        "load_flag": Instruction(lambda b, p: b.zext(b.load(at(b, p, _I8)), _I64)),
        "set_flags": Instruction(_set_flags),
    }
    scope |= _of_backward(spec, vectors) if backward else _of_value(spec, vectors)
    for function in (_locate, _fetch_next, _has_none, _flags_of, _top_of, _share_of, _short_rows, _value, _backward):
        scope[function.__name__] = FunctionType(function.__code__, scope, function.__name__)
    kernel = scope["_backward" if backward else "_value"]
    return optimised([kernel], machine, names=["kernel"])


def nothing(spec: Rowwise) -> float:
    """Return what a function is where a number does not count."""
    with np.errstate(all="ignore"):
        numbers = (np.float64(number) for number in (-np.inf, 0, 0, 0))
        return float(bind(spec.value, array_primitives.primitives(np.float64))(*numbers))


def _of_value(spec: Rowwise, vectors: Vectors) -> dict[str, Any]:
    """Return the instructions of the value."""
    x, double = vectors.x, vectors.double
    narrow = _exponential_of_narrow, _difference_of_narrow
    exponential, difference = narrow if vectors.narrow else (exponential_of_product, of_product)
    of = {"value": spec.value, "of_sum": spec.of_sum, "exponential_of": exponential, "difference": difference}

    def formula(written: Callable[..., Any], **names: Any) -> FunctionType:
        return FunctionType(written.__code__, {**of, **names})

    value = formula(_value_of)
    sums = formula(_with_sum, value_of=value)
    whole = constant(_DOUBLE, 1.0)

    def tail(b: ir.IRBuilder, number: ir.Value, scale: ir.Value, product: ir.Value) -> ir.Value:
        if vectors.narrow:  # the product is exact
            return _I64(0)
        trace = vectors.trace(b, 0)
        nodes = [trace.input(number_of(b, bits)) for bits in (number, scale, product)]
        return bits_of(b, bind(_tail, trace.primitives())(*nodes).value)

    def of_sink(b: ir.IRBuilder, *values: ir.Value) -> ir.Value:
        lanes = vectors.register // 8
        trace = vectors.trace(b, lanes)
        nodes = [trace.input(spread(b, number_of(b, bits), lanes)) for bits in values]
        return bits_of(b, b.extract_element(bind(_exponential_of_sink, trace.primitives())(*nodes).value, _I32(0)))

    def larger(b: ir.IRBuilder, peak: ir.Value, sink: ir.Value) -> ir.Value:
        numbers = number_of(b, peak), number_of(b, sink)
        above = b.fcmp_unordered(">", numbers[1], numbers[0])
        return b.select(b.and_(above, b.fcmp_ordered("ord", numbers[0], numbers[0])), sink, peak)

    def share(b: ir.IRBuilder, e: ir.Value, rest: ir.Value) -> ir.Value:
        return bits_of(b, b.fdiv(number_of(b, e), b.fadd(number_of(b, rest), whole)))

    small = constant(_DOUBLE, 2.0**-16)
    return {
        "AGAIN": spec.uses_exponentials,
        # Where the value is made of e alone, which is 0 of what does not count, so is the value, but in rows of NaN.
        "SEEN": spec.uses("x"),
        "is_nan": Instruction(lambda b, x: b.zext(b.fcmp_unordered("uno", number_of(b, x), number_of(b, x)), _I64)),
        "NOTHING": int(np.float64(nothing(spec)).view(np.int64)),
        "fill": Instruction(vectors.fill, 3),
        "rest_of": Instruction(vectors.rest_of, 2),
        "is_small": Instruction(lambda b, x: b.zext(b.fcmp_ordered("<", number_of(b, x), small), _I64)),
        "times": Instruction(lambda b, x, y: bits_of(b, b.fmul(number_of(b, x), number_of(b, y)))),
        "plus": Instruction(lambda b, x, y: bits_of(b, b.fadd(number_of(b, x), number_of(b, y)))),
        "tail_of": Instruction(tail),
        "larger": Instruction(larger),
        "share": Instruction(share),
        "exponential_of_sink": apart("exponential_of_sink", 3, of_sink),
        "fill_with_nothing": apart("fill_with_nothing", 2, _filling(vectors, nothing(spec))),
        "peak_of": apart("peak_of", 2, vectors.peak),
        "peak_of_flagged": apart("peak_of_flagged", 3, vectors.peak),
        "add_up": vectors.summing("add_up", (double,), itself),
        "add_others": vectors.summing("add_others", (double,), other),
        "add_ones": vectors.summing("add_ones", (double,), one),
        "exponentials": vectors.sweep("exponentials", (x,), (double,), 3, formula(_exponential)),
        "exponentials_flagged": vectors.sweep(
            "exponentials_flagged", (x, FLAG), (double,), 3, formula(_exponential_flagged)
        ),
        "exponentials_of_each": vectors.sweep(
            "exponentials_of_each", (x, FLAG, double, double), (double,), 1, formula(_exponential_of_each)
        ),
        "values": vectors.sweep("values", (x, double), (x,), 5, sums),
        "values_flagged": vectors.sweep("values_flagged", (x, double, FLAG), (x,), 5, formula(_flagged, with_sum=sums)),
        "of_sums": vectors.sweep("of_sums", (double,), (double,), 0, spec.of_sum),
        "values_of_each": vectors.sweep(
            "values_of_each", (x, double, FLAG, double, double, double), (x,), 2,
            formula(_value_of_each, value_of=value),
        ),
    }  # fmt: skip


def _of_backward(spec: Rowwise, vectors: Vectors) -> dict[str, Any]:
    """Return the instructions of the gradient."""
    x, of = vectors.x, {"weight": spec.weight, "backward": spec.backward}
    written = (_gradient, _weight_flagged, _gradient_flagged)
    gradient, weight_flagged, gradient_flagged = (FunctionType(one.__code__, of) for one in written)
    return {
        "fill_with_nothing": apart("fill_with_nothing", 2, _filling(vectors, 0.0)),
        "add_weights": vectors.summing("add_weights", (x, x), spec.weight),
        "add_weights_flagged": vectors.summing("add_weights_flagged", (x, x, FLAG), weight_flagged),
        "gradients": vectors.sweep("gradients", (x, x), (x,), 2, gradient),
        "gradients_flagged": vectors.sweep("gradients_flagged", (x, x, FLAG), (x,), 2, gradient_flagged),
    }


def _fetch(b: ir.IRBuilder, address: ir.Value) -> None:
    fetch = external(b, "llvm.prefetch.p0i8", ir.VoidType(), [_I8.as_pointer(), _I32, _I32, _I32])
    b.call(fetch, [at(b, address, _I8), _I32(0), _I32(3), _I32(1)])


def _set_flags(b: ir.IRBuilder, target: ir.Value, count: ir.Value) -> None:
    """Write as many flags as a short row may have, of which the first are set."""
    kind = ir.VectorType(_I8, SHORT)
    number = spread(b, b.trunc(count, _I8), SHORT)
    flags = b.zext(b.icmp_signed("<", ir.Constant(kind, list(range(SHORT))), number), kind)
    b.store(flags, at(b, target, kind)).align = 1


def _filling(vectors: Vectors, number: float) -> Callable[[ir.IRBuilder, ir.Value, ir.Value], None]:
    """Return what writes a number to elements of x's dtype; libc's memset took as long as half of a row of 1,024."""
    lanes = vectors.register // vectors.x.size
    every: Any = vectors.x.constant(number, lanes)

    def fill(b: ir.IRBuilder, target: ir.Value, count: ir.Value) -> None:
        array = vectors.array(b, vectors.x, target)

        def store_vector(i: ir.Value) -> None:
            b.store(every, b.bitcast(b.gep(array.pointer, [i]), every.type.as_pointer())).align = vectors.x.size

        def store_one(i: ir.Value) -> None:
            b.store(b.extract_element(every, _I32(0)), b.gep(array.pointer, [i])).align = vectors.x.size

        whole = b.and_(count, _I64(-lanes))
        loop(b, _I64(0), whole, lanes, store_vector)
        with b.if_else(b.icmp_signed("==", whole, _I64(0))) as (few, many):
            with few:
                loop(b, _I64(0), count, 1, store_one)
            with many:
                store_vector(b.sub(count, _I64(lanes)))

    return fill


def _difference_of_narrow(x, scale, peak, tail):
    return fma(x, scale, -peak)


def _exponential_of_narrow(x, scale, peak, tail):
    d = fma(x, scale, -peak)
    return where(d == T(0), T(1), exp(d))


def _tail(x, scale, product):
    return where(product - product == T(0), fma(x, scale, -product), T(0))


def _exponential_of_sink(x, peak, tail):
    d = x - peak
    less = d - x
    return where(d == T(0), T(1), exp(d, (x - (d - less)) - (peak + less) - tail))


def _exponential(x, scale, peak, tail):
    return exponential_of(x, scale, peak, tail)


def _exponential_flagged(x, flag, scale, peak, tail):
    return where(flag, exponential_of(x, scale, peak, tail), T(0))


def _exponential_of_each(x, flag, peak, tail, scale):
    return where(flag, exponential_of(x, scale, peak, tail), T(0))


def _value_of(x, e, number, scale, peak, tail):
    return value(difference(x, scale, peak, tail), T(0), e, number)


def _with_sum(x, e, rest, scale, peak, tail, nothing):
    return value_of(x, e, of_sum(rest), scale, peak, tail)


def _flagged(x, e, flag, rest, scale, peak, tail, nothing):
    return where(flag, with_sum(x, e, rest, scale, peak, tail, nothing), nothing)


def _value_of_each(x, e, flag, peak, tail, number, scale, nothing):
    return where(flag, value_of(x, e, number, scale, peak, tail), nothing)


def _gradient(dy, y, s, scale):
    return scale * backward(dy, y, s)


def _weight_flagged(dy, y, flag):
    return where(flag, weight(dy, y), T(0))


def _gradient_flagged(dy, y, flag, s, scale):
    return where(flag, scale * backward(dy, y, s), T(0))


def _locate(options: RowOptions, row: int, length: int, here: Words) -> int:
    """Find the flags of a row, or 0 where it has none, the address of its sink, and how many numbers may count."""
    flags, sink, left, d = options.flags, options.sink, row, options.dimensions - 1
    while d >= 0:
        extent = options.extents[d]
        k = left
        if d:
            k = left % extent
            left = left // extent
        flags += k * options.flag_strides[d]
        sink += k * options.sink_strides[d]
        d -= 1
    count = length
    if options.rows:
        count = max(0, min(length, row % options.rows + 1 + length - options.rows))
    if flags != 0 and options.step == 0:
        if load_flag(flags) == 0:
            count = 0
        flags = 0
    here[FLAGS] = flags
    here[SINK] = sink
    here[COUNT] = count
    return 0


def _fetch_next(row: int, length: int, count: int) -> int:
    """Fetch what lies one row on: where rows end early, the processor fetches what follows them in vain."""
    for place in range(0, min(count * SIZE, AHEAD), LINE):
        fetch(row + length * SIZE + place)
    return 0


def _has_none(flags: int, count: int) -> int:
    for k in range(count):
        if load_flag(flags + k):
            return 0
    return 1


def _flags_of(here: Words, target: int) -> int:
    """Write the flags of a short row, and others behind them."""
    flags, count = here[FLAGS], here[COUNT]
    if flags:
        set_flags(target, 0)
        copy_memory(target, flags, count)
    else:
        set_flags(target, count)
    return 0


def _top_of(options: RowOptions, here: Words, number: int, tops: Words) -> int:
    """Write the largest term's exponent and its tail, of the largest number of a row and its sink."""
    peak = times(number, options.scale)
    top = larger(peak, load(here[SINK], 0))
    tops[0] = top
    tops[1] = 0
    if top == peak:
        tops[1] = tail_of(number, options.scale, peak)
    return 0


def _share_of(here: Words, tops: Words) -> int:
    """Return the exponential of the sink."""
    sink = load(here[SINK], 0)
    share = 0
    if sink != MINUS_INFINITY:
        share = exponential_of_sink(sink, tops[0], tops[1])
    return share


def _short_rows(x: int, y: int, length: int, row: int, end: int, options: RowOptions, waiting: Words) -> int:
    """Compute rows side by side, as vectors are longer than they are."""
    peaks, tails, rests, of_row = stack(BLOCK), stack(BLOCK), stack(BLOCK), stack(GROUP)
    sinks, own, here, tops = stack(GROUP), stack((GROUP + SHORT) // 8), stack(4), stack(2)
    flags = own + 0
    while row < end:
        group = min(GROUP // length, end - row)
        begin_x, begin_y = x + row * length * SIZE, y + row * length * SIZE
        for k in range(group):
            place = k * length
            _locate(options, row + k, length, here)
            _flags_of(here, flags + place)
            _top_of(options, here, peak_of_flagged(begin_x + place * SIZE, length, flags + place), tops)
            fill(peaks + 8 * place, length, tops[0])
            if APART:
                fill(tails + 8 * place, length, tops[1])
            sinks[k] = _share_of(here, tops)
        exponentials_of_each(begin_x, flags, peaks, tails, waiting, group * length, options.scale)
        for k in range(group):
            of_row[k] = plus(rest_of(waiting + 8 * k * length, length), sinks[k])
            if options.extra:
                extra = options.extra + 8 * (row + k)
                store(extra, 0, share(sinks[k], of_row[k]))
        of_sums(of_row, of_row, group)
        for k in range(group):
            fill(rests + 8 * k * length, length, of_row[k])
        values_of_each(begin_x, waiting, flags, peaks, tails, rests, begin_y, group * length, options.scale, NOTHING)
        row += group
    return 0


def _value(operands: Words, n: int, how: int) -> int:
    """Compute the rows that begin among n elements, from x to y."""
    first, rows, own, sums, ones = operands[0], Rows(operands[1]), stack(BLOCK), stack(2 * LANES), stack(2 * LANES)
    length, room, within, taken, here, tops = rows.length, BLOCK, BLOCK - 1, -1, stack(4), stack(2)
    source, target, places, options = rows.arrays[0], rows.arrays[1], rows.arrays[2], RowOptions(rows.options)
    waiting, scale = own + 0, options.scale
    row, end = (first + length - 1) // length, (first + n + length - 1) // length
    if length <= SHORT:
        _short_rows(source, target, length, row, end, options, own)
        row = end
    if places != 0 and row < end:
        taken = 0
        while compare_and_swap(places + 8 * taken, 0, 1) == 0:
            taken = 0 if taken + 1 == rows.arrays[3] else taken + 1
        waiting, room, within = rows.arrays[4] + 8 * taken * length, length, -1
    while row < end:
        x, y = source + row * length * SIZE, target + row * length * SIZE
        _locate(options, row, length, here)
        flags, count, number, sink, rest = here[FLAGS], here[COUNT], MINUS_INFINITY, ONE, 0
        if count < length:
            _fetch_next(x, length, count)
            _fetch_next(y, length, length)
        if count:
            if flags:
                number = peak_of_flagged(x, count, flags)
                if number == MINUS_INFINITY and _has_none(flags, count):
                    count = 0
            else:
                number = peak_of(x, count)
        if count:
            _top_of(options, here, number, tops)
            peak, tail = tops[0], tops[1]
            sink = _share_of(here, tops)
            alone, again = APART, 1
            while again:
                clear(sums)
                clear(ones)
                for begin in range(0, count, PIECE):
                    number, place = min(PIECE, count - begin), waiting + 8 * (begin & within)
                    if flags:
                        exponentials_flagged(x + begin * SIZE, flags + begin, place, number, scale, peak, tail)
                    else:
                        exponentials(x + begin * SIZE, place, number, scale, peak, tail)
                    if alone:
                        add_others(sums, place, number)
                        add_ones(ones, place, number)
                    else:
                        add_up(sums, place, number)
                rest = plus(total(sums, total(ones, MINUS_ONE)), sink)
                again = 0
                if alone == 0:
                    again = is_small(rest)
                alone = 1
        begin = 0
        while begin < count:
            number = min(room, count - begin)
            if AGAIN and count > room:
                if flags:
                    exponentials_flagged(x + begin * SIZE, flags + begin, waiting, number, scale, peak, tail)
                else:
                    exponentials(x + begin * SIZE, waiting, number, scale, peak, tail)
            if flags and (SEEN or is_nan(rest)):
                values_flagged(
                    x + begin * SIZE, waiting, flags + begin, y + begin * SIZE, number, rest, scale, peak, tail, NOTHING
                )
            else:
                values(x + begin * SIZE, waiting, y + begin * SIZE, number, rest, scale, peak, tail, NOTHING)
            begin += room
        if count < length:
            fill_with_nothing(y + count * SIZE, length - count)
        if options.extra:
            store(options.extra + 8 * row, 0, share(sink, rest))
        row += 1
    if taken >= 0:
        atomic_store(places + 8 * taken, 0)
    return 0


def _backward(operands: Words, n: int, how: int) -> int:
    """Compute the rows that begin among n elements, from dy and y to dx."""
    first, rows, sums, here = operands[0], Rows(operands[1]), stack(2 * LANES), stack(4)
    length, options = rows.length, RowOptions(rows.options)
    row, end = (first + length - 1) // length, (first + n + length - 1) // length
    for k in range(row, end):
        begin = k * length * SIZE
        dy, y, dx = rows.arrays[0] + begin, rows.arrays[1] + begin, rows.arrays[2] + begin
        _locate(options, k, length, here)
        flags, count = here[FLAGS], here[COUNT]
        if count < length:
            _fetch_next(dy, length, count)
            _fetch_next(y, length, count)
            _fetch_next(dx, length, length)
        clear(sums)
        if flags:
            add_weights_flagged(sums, dy, y, flags, count)
        elif count:
            add_weights(sums, dy, y, count)
        s = total(sums, 0)
        if flags:
            gradients_flagged(dy, y, flags, dx, count, s, options.scale)
        elif count:
            gradients(dy, y, dx, count, s, options.scale)
        if count < length:
            fill_with_nothing(dx + count * SIZE, length - count)
        if options.extra:
            store(options.extra + 8 * k, 0, s)
    return 0
