"""Kernels of softmax cross-entropy: the loss of each row, and its gradient, while the row is in the near caches.

They are called as those of `rowkernels`, of whose instructions they are made. A row is loaded from memory once: its
peak, its exponentials and their sum, then the gradient, written once. There a number is the bits of a float64.
"""

# mypy: disable-error-code="name-defined"

from __future__ import annotations

from types import FunctionType
from typing import Any

import numpy as np
from llvmlite import ir

from ...formulas import bind
from ...formulas.rows import exp_of_difference, exponential
from ..runtime.layout import BLOCK, LossOptions, Rows
from ..runtime.structure import Words
from .instructions import Instruction, at, atomic_store, compare_and_swap, load, stack, store
from .kernels import require_instructions
from .optimise import Optimised
from .rowkernels import MINUS_ONE, PIECE, Vectors, apart, itself, one, other, rest_of_row
from .subset import optimised
from .sums import LANES, begin_sum, bits_of, number_of, total_of
from .target import Target, host
from .vectors import constant, spread

_I32, _I64 = ir.IntType(32), ir.IntType(64)
_DOUBLE = ir.DoubleType()
ONE = int(np.float64(1).view(np.int64))


def compile_kernel(gradient: bool, dtype: str, target: Target | None = None) -> Optimised:
    """Compile the kernel of the losses, or of the gradient and the losses, in a dtype.

    Raises
    ------
    NotImplementedError
        If the processor lacks the instructions; NumPy computes the formulas then.
    """
    machine = target or host()
    require_instructions([exp_of_difference], dtype, machine)
    vectors = Vectors(dtype, machine)
    x, double = vectors.x, vectors.double
    small = constant(_DOUBLE, 2.0**-16)

    def of_numbers(name: str, formula: Any, arguments: int) -> Instruction:
        """Make the instruction that computes a formula of some numbers, in one lane of a vector."""

        def write(b: ir.IRBuilder, *values: ir.Value) -> ir.Value:
            lanes = vectors.register // 8
            trace = vectors.trace(b, lanes)
            nodes = [trace.input(spread(b, number_of(b, bits), lanes)) for bits in values]
            return bits_of(b, b.extract_element(bind(formula, trace.primitives())(*nodes).value, _I32(0)))

        return apart(name, arguments, write)

    def number_at(b: ir.IRBuilder, address: ir.Value) -> ir.Value:
        stored = b.load(at(b, address, x.type))
        stored.align = x.size
        return bits_of(b, x.widen(b, stored))

    def put(b: ir.IRBuilder, address: ir.Value, number: ir.Value) -> None:
        node = vectors.trace(b, 0).input(number_of(b, number))
        b.store(x.narrow(b, node), at(b, address, x.type)).align = x.size

    scope: dict[str, Any] = {
        **globals(),
        "MINUS_ONE": MINUS_ONE,
        "PIECE": PIECE,
        "SIZE": x.size,
        "APART": dtype == "float64",
        "GRADIENT": gradient,
        "clear": Instruction(begin_sum),
        "total": apart("total", 2, total_of),
        "is_small": Instruction(lambda b, x: b.zext(b.fcmp_ordered("<", number_of(b, x), small), _I64)),
        "number_at": Instruction(number_at),
        "put": Instruction(put),
        "loss_of_class": of_numbers("loss_of_class", _loss_of_class, 3),
        "loss_of_sums": of_numbers("loss_of_sums", _loss_of_sums, 3),
        "gradient_at_class": of_numbers("gradient_at_class", _gradient_at_class, 4),
        "peak_of": apart("peak_of", 2, vectors.peak),
        "exponentials": vectors.sweep("exponentials", (x,), (double,), 1, exponential),
        "add_up": vectors.summing("add_up", (double,), itself),
        "add_others": vectors.summing("add_others", (double,), other),
        "add_ones": vectors.summing("add_ones", (double,), one),
        "add_targets": vectors.summing("add_targets", (x,), itself),
        "add_below": vectors.summing("add_below", (x, x), _below, 1),
        "gradients_of_class": vectors.sweep("gradients_of_class", (double,), (x,), 2, _gradient_elsewhere),
        "gradients_of_targets": vectors.sweep("gradients_of_targets", (double, x), (x,), 3, _gradient_of_target),
    }  # fmt: skip
    for function in (rest_of_row, _loss_of, _kernel):
        scope[function.__name__] = FunctionType(function.__code__, scope, function.__name__)
    return optimised([scope["_kernel"]], machine, names=["kernel"])


# What comes near 0 is made of the others' sum, and no difference: of a row that is sure of its class, the loss and the
# gradient there.
def _loss_of_class(x, peak, rest):
    return (peak - x) + log1p(rest)


def _loss_of_sums(below, whole, rest):
    return below + whole * log1p(rest)


def _below(x, target, peak):
    return where(target == T(0), T(0), target * (peak - x))


def _gradient_elsewhere(e, rest, g):
    return g * (e * (T(1) / (T(1) + rest)))


def _gradient_at_class(x, peak, rest, g):
    e = exponential(x, peak)
    return g * (((e - T(1)) - rest) / (T(1) + rest))


def _gradient_of_target(e, target, rest, whole, g):
    return g * (e * (whole / (T(1) + rest)) - target)


def _loss_of(options: LossOptions, row: int, x: int, targets: int, length: int, peak: int, rest: int, sums: int) -> int:
    """Write the loss of a row, and return the sum of its target."""
    whole = ONE
    if options.classes:
        number = number_at(x + load(options.classes, row) * SIZE)
        loss = loss_of_class(number, peak, rest)
    else:
        clear(sums)
        add_targets(sums, targets, length)
        whole = total(sums, 0)
        clear(sums)
        add_below(sums, x, targets, length, peak)
        loss = loss_of_sums(total(sums, 0), whole, rest)
    if options.losses:
        store(options.losses, row, loss)
    return whole


def _kernel(operands: Words, n: int, how: int) -> int:
    """Compute the rows that begin among n elements, from x to the gradient, if there is one."""
    first, rows, own, sums, ones = operands[0], Rows(operands[1]), stack(BLOCK), stack(2 * LANES), stack(2 * LANES)
    length, room, within, taken, options = rows.length, BLOCK, BLOCK - 1, -1, LossOptions(rows.options)
    source, target, places = rows.arrays[0], rows.arrays[1], rows.arrays[2]
    waiting = own + 0
    row, end = (first + length - 1) // length, (first + n + length - 1) // length
    if GRADIENT and places != 0 and row < end:
        taken = 0
        while compare_and_swap(places + 8 * taken, 0, 1) == 0:
            taken = 0 if taken + 1 == rows.arrays[3] else taken + 1
        waiting, room, within = rows.arrays[4] + 8 * taken * length, length, -1
    while row < end:
        place = row * length * SIZE
        x, dx, targets = source + place, target + place, options.targets + place
        peak = peak_of(x, length)
        rest = rest_of_row(x, length, peak, waiting, within, sums, ones)
        whole = _loss_of(options, row, x, targets, length, peak, rest, sums)
        if GRADIENT:
            g, at_class, class_place = ONE, 0, 0
            if options.upstream:
                g = load(options.upstream, row)
            if options.classes:
                class_place = load(options.classes, row) * SIZE
                at_class = gradient_at_class(number_at(x + class_place), peak, rest, g)
            begin = 0
            while begin < length:
                count = min(room, length - begin)
                if length > room:
                    exponentials(x + begin * SIZE, waiting, count, peak)
                if options.classes:
                    gradients_of_class(waiting, dx + begin * SIZE, count, rest, g)
                else:
                    gradients_of_targets(waiting, targets + begin * SIZE, dx + begin * SIZE, count, rest, whole, g)
                begin += room
            if options.classes:
                put(dx + class_place, at_class)
        row += 1
    if taken >= 0:
        atomic_store(places + 8 * taken, 0)
    return 0
