"""Kernels of row-wise functions that reduce, which give one number a row: of the value and of the gradient.

They are called as those of `rowkernels` are, of whose instructions they are made.
"""

# mypy: disable-error-code="name-defined"

from __future__ import annotations

from types import FunctionType
from typing import Any

from llvmlite import ir

from ...formulas.rows import exp_of_difference, exponential, exponential_of_equal
from ...functions.specification import Rowwise
from ..runtime.layout import BLOCK, Rows
from ..runtime.structure import Words
from .instructions import Instruction, stack
from .kernels import require_instructions
from .optimise import Optimised
from .rowkernels import GROUP, SHORT, Vectors, itself, negated, rest_of_row, summing_up
from .subset import optimised
from .sums import LANES, bits_of, number_of
from .target import Target, host


def compile_kernel(spec: Rowwise, backward: bool, dtype: str, target: Target | None = None) -> Optimised:
    """Compile the kernel of an operation in a dtype, as `rowkernels.compile_kernel` does."""
    machine = target or host()
    formulas = [spec.weight, spec.backward] if backward else [spec.value, spec.of_sum]
    require_instructions([*formulas, exp_of_difference], dtype, machine)
    vectors = Vectors(dtype, machine, spec.negated)
    x, double = vectors.x, vectors.double
    # The value is that of its peak where that is infinite, and the gradient is that of softmax, which is NaN there.
    exponentials = FunctionType(
        _exponential.__code__,
        {"exponential": exponential if backward else exponential_of_equal, "of_x": negated if spec.negated else itself},
    )
    scope: dict[str, Any] = {**globals(), **summing_up(vectors, exponentials), "SIZE": x.size}
    if backward:
        gradient = FunctionType(_gradient_of.__code__, {"weight": spec.weight, "backward": spec.backward})

        def number_at(b: Any, address: Any) -> Any:
            return bits_of(b, x.widen(b, b.load(vectors.array(b, x, address).pointer)))

        scope |= {
            "number_at": Instruction(number_at),
            "gradients": vectors.sweep("gradients", (double,), (x,), 2, gradient),
        }
    else:
        value = FunctionType(_value_of.__code__, {"value": spec.value, "of_sum": spec.of_sum})
        exactly = Vectors("float64", machine, spec.negated)
        exactly.x = x
        scope |= {
            "NARROW": vectors.narrow,
            "values": exactly.sweep("values", (double, double), (double,), 0, value),
            "rounded": vectors.sweep("rounded", (double,), (x,), 0, itself),
            "cancels": Instruction(_cancels),
        }
        exact = exactly.sweep("exponentials_exactly", (x,), (double,), 1, exponentials)
        own = {**scope, "exponentials": exact, "APART": True}
        scope["rest_exactly"] = FunctionType(rest_of_row.__code__, own, "rest_exactly")
    for function in (rest_of_row, _rests_of_short_rows, _value, _backward):
        scope[function.__name__] = FunctionType(function.__code__, scope, function.__name__)
    return optimised([scope["_backward" if backward else "_value"]], machine, names=["kernel"])


def _cancels(b: ir.IRBuilder, result: ir.Value, peak: ir.Value) -> ir.Value:
    """Return whether a result is so much less than the largest x that narrow exponentials, good to 2^-29, are seen."""
    fabs = b.module.declare_intrinsic("llvm.fabs", [ir.DoubleType()])
    small, large = (b.call(fabs, [number_of(b, bits)]) for bits in (result, peak))
    return b.zext(b.fcmp_ordered("<", b.fmul(small, ir.Constant(ir.DoubleType(), 8.0)), large), ir.IntType(64))


def _exponential(x, peak):
    return exponential(of_x(x), peak)


def _value_of(peak, rest):
    return value(peak, of_sum(rest))


def _gradient_of(e, dy, rest):
    return backward(dy, e, weight(rest))


def _rests_of_short_rows(x: int, length: int, count: int, peaks: Words, rests: Words, waiting: Words) -> int:
    """Compute those sums of rows side by side, as vectors are longer than they are."""
    each = stack(BLOCK)
    row = 0
    while row < count:
        group = min(GROUP // length, count - row)
        begin = x + row * length * SIZE
        for k in range(group):
            peaks[row + k] = peak_of(begin + k * length * SIZE, length)
            fill(each + 8 * k * length, length, peaks[row + k])
        exponentials_of_each(begin, each, waiting, group * length)
        for k in range(group):
            rests[row + k] = rest_of(waiting + 8 * k * length, length)
        row += group
    return 0


def _value(operands: Words, n: int, how: int) -> int:
    """Compute the numbers of the rows that begin among n elements, from x to y."""
    first, rows, waiting, sums, ones = operands[0], Rows(operands[1]), stack(BLOCK), stack(2 * LANES), stack(2 * LANES)
    peaks, rests, results, length = stack(GROUP + LANES), stack(GROUP + LANES), stack(GROUP + LANES), rows.length
    row, end = (first + length - 1) // length, (first + n + length - 1) // length
    while row < end:
        count = min(GROUP, end - row)
        begin = rows.arrays[0] + row * length * SIZE
        if length <= SHORT:
            _rests_of_short_rows(begin, length, count, peaks, rests, waiting)
        else:
            for k in range(count):
                x = begin + k * length * SIZE
                peak = peak_of(x, length)
                peaks[k] = peak
                rests[k] = rest_of_row(x, length, peak, waiting, BLOCK - 1, sums, ones)
        values(peaks, rests, results, count)
        if NARROW:
            again = 0
            for k in range(count):
                if cancels(results[k], peaks[k]):
                    rests[k] = rest_exactly(begin + k * length * SIZE, length, peaks[k], waiting, BLOCK - 1, sums, ones)
                    again = 1
            if again:
                values(peaks, rests, results, count)
        rounded(results, rows.arrays[1] + row * SIZE, count)
        row += count
    return 0


def _backward(operands: Words, n: int, how: int) -> int:
    """Compute the rows that begin among n elements, from dy, of which a row has one number, and x to dx."""
    first, rows, waiting, sums, ones = operands[0], Rows(operands[1]), stack(BLOCK), stack(2 * LANES), stack(2 * LANES)
    length = rows.length
    for row in range((first + length - 1) // length, (first + n + length - 1) // length):
        x, dx = rows.arrays[1] + row * length * SIZE, rows.arrays[2] + row * length * SIZE
        dy, peak = number_at(rows.arrays[0] + row * SIZE), peak_of(x, length)
        rest = rest_of_row(x, length, peak, waiting, BLOCK - 1, sums, ones)
        begin = 0
        while begin < length:
            count = min(BLOCK, length - begin)
            if length > BLOCK:
                exponentials(x + begin * SIZE, waiting, count, peak)
            gradients(waiting, dx + begin * SIZE, count, dy, rest)
            begin += count
    return 0
