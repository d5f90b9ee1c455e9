"""From a formula to a kernel: machine code for one operation and dtype, over contiguous arrays only.

A kernel is ``void kernel(void **operands, intp n, intp how)``. The operands are the operation's
inputs, the function's parameters, the outputs, each contiguous, aligned and native. In `how`, ALIKE says that
each parameter is one number, PAST that outputs go past the caches: they then begin with a line, n elements are
whole lines, and the bits from FETCH on say how many lines ahead the inputs are fetched. Everything else brings its
data to this kernel (`driver`), so the bits of a result cannot depend on how the data lay in memory.
"""

from __future__ import annotations

from collections.abc import Callable, Collection
from functools import partial
from typing import Any

import numpy as np
from llvmlite import ir

from ...formulas import with_all_called
from ...formulas.llvm import Trace
from ...formulas.smooth import SMOOTH
from ...formulas.tracing import Node
from ...functions.dtypes import rounded
from ...functions.specification import SUMS, OfSum, Operation, Specification, read
from ..runtime.layout import ALIKE
from .instructions import Module
from .optimise import PREFIX, Optimised, optimise
from .storage import Storage
from .strips import INTERLEAVE, Array, Strips
from .target import Target, host
from .vectors import permutation, spread

_I1, _I64 = ir.IntType(1), ir.IntType(64)
MOST_BITS = 64  # of a mask that are a number for the processor
SIGNATURE = ir.FunctionType(ir.VoidType(), [ir.IntType(8).as_pointer().as_pointer(), _I64, _I64])


def storages(spec: Specification, operation: Operation, dtype: str) -> tuple[list[str], int, int]:
    """List the storage of each operand, and where the parameters begin and end among them."""
    inputs, uniform, outputs = spec.operands(operation)
    own = {"mask": "bit"} | dict.fromkeys(SUMS, "float64")
    kinds = [own.get(name, dtype) for name in (*inputs, *uniform, *outputs)]
    return kinds, len(inputs), len(inputs) + len(uniform)


def _storage(stored: str, working: str) -> Storage:
    """Return how an operand lies in memory; float64 stays what it is, also beside what is computed in float32."""
    return Storage(stored, "float64" if stored == "float64" else working)


def require_instructions(formulas: list[Callable[..., object]], dtype: str, target: Target) -> None:
    """Raise NotImplementedError if a processor lacks the instructions of some formulas; NumPy computes them then."""
    if dtype == "float16" and not target.converts_halves:
        raise NotImplementedError("float16 needs the F16C instructions")
    if not target.fuses and any(map(_fuses, formulas)):
        raise NotImplementedError("a formula needs the FMA instructions")


def _fuses(formula: Callable[..., object]) -> bool:
    words = {name for part in with_all_called(formula) for name in part.__code__.co_names}
    return not words.isdisjoint({"fma", *SMOOTH} - {"whole", "sum_parts"})


def compile_kernel(spec: Specification, operation: Operation, dtype: str, target: Target | None = None) -> Optimised:
    """Compile one kernel; `target`, by default this machine, says which instructions there are.

    Raises
    ------
    NotImplementedError
        If the processor lacks the instructions; NumPy computes the formula then.
    """
    machine = target or host()
    require_instructions([getattr(spec, part) for part in operation.parts], dtype, machine)
    module = Module(machine)
    emit_kernel(module, PREFIX + "kernel", spec, operation, dtype, machine)
    return optimise(module, ("kernel",), machine)


def emit_kernel(
    module: ir.Module, name: str, spec: Specification, operation: Operation, dtype: str, target: Target,
    alike: Collection[str] | None = None, loops: Callable[..., Strips] = Strips,
) -> ir.Function:  # fmt: skip
    """Write the code of a kernel into a module.

    `alike` names the operands that are one number each; by default `how` says whether all that may be are. `loops` are
    the loops over the strips.
    """
    working = np.dtype(spec.compiled(dtype)).name
    names, first, last = storages(spec, operation, dtype)
    storage = [_storage(stored, working) for stored in names]
    x = Storage(dtype, working)
    size = np.dtype(working).itemsize if "float" in working else x.size
    lanes, width = INTERLEAVE * target.register // size, target.register // size
    if size > x.size and not spec.wide and _only_selects(spec, operation, dtype):
        width = target.register // x.size
    if "bit" in names:
        lanes, width = min(lanes, MOST_BITS), min(max(width, target.least_bits), MOST_BITS)
    if spec.wide:  # a long formula is written once for all registers of a strip
        width = lanes
    function = ir.Function(module, SIGNATURE, name)
    function.attributes.add("nounwind")
    operands, n, how = function.args
    b = ir.IRBuilder(function.append_basic_block())
    arrays = [
        Array(stored, b.bitcast(b.load(b.gep(operands, [_I64(k)])), stored.type.as_pointer()))
        for k, stored in enumerate(storage)
    ]

    defaults = _defaults(spec, first, dtype)
    held = first - 1 if isinstance(spec, OfSum) else -1  # a bias

    def evaluate(
        spread_out: dict[int, ir.Value], known: Collection[int], outside: ir.Block, loaded: list[ir.Value]
    ) -> list[ir.Value]:
        trace = Trace(
            b, width, working, spec.narrow(dtype), dtype, lambda number: x.constant(number, width),
            partial(_round_trip, b, x), outside, permutation(target),
        )  # fmt: skip
        waiting = iter(loaded)

        def node(k: int) -> Node:
            if k in known:
                return trace.literal(defaults[k], trace.kind)
            varies = k not in spread_out
            number = next(waiting) if varies else spread_out[k]
            with b.goto_block(b.block if varies else outside):
                wide = storage[k].widen(b, number)
            return trace.input(wide, storage[k].kind, None if storage[k].name == "bit" else number, varies=varies)

        results = read(spec, operation, trace.primitives())(*map(node, range(last)))
        results = results if isinstance(results, tuple) else (results,)
        return [stored.narrow(b, node) for stored, node in zip(storage[last:], results, strict=True)]

    def strips(numbers: Collection[int], known: Collection[int] = ()) -> None:
        spread_out, outside = {k: spread(b, _first(b, arrays[k]), width) for k in numbers if k not in known}, b.block
        sources = [array for k, array in enumerate(arrays[:last]) if k not in numbers]
        computed = partial(evaluate, spread_out, known, outside)
        loops(b, lanes, width, sources, arrays[last:], n, computed, held).emit(how, once=spec.wide)

    def strips_of_numbers(numbers: Collection[int]) -> None:
        # A factor of 1 takes nothing by rounding, and what would carry it is half of some formulas.
        if not spec.wide or not defaults or not set(defaults) <= set(numbers):
            strips(numbers)
            return
        are_default = _I1(1)
        for k, number in defaults.items():
            given = _first(b, arrays[k])
            expected = x.constant(number, 0)
            compare = b.icmp_unsigned if isinstance(given.type, ir.IntType) else b.fcmp_ordered
            are_default = b.and_(are_default, compare("==", given, expected))
        with b.if_else(are_default) as (default, other):
            with default:
                strips(numbers, defaults)
            with other:
                strips(numbers)

    if alike is not None:
        strips_of_numbers([first + k for k, operand in enumerate(spec.uniform) if operand in alike])
    elif first == last:
        strips([])
    else:
        with b.if_else(b.icmp_unsigned("!=", b.and_(how, _I64(ALIKE)), _I64(0))) as (one_number_each, arrays_of_them):
            with one_number_each:
                strips_of_numbers(range(first, last))
            with arrays_of_them:
                strips([])
    b.ret_void()
    return function


def _round_trip(builder: ir.IRBuilder, x: Storage, node: Node) -> tuple[ir.Value, ir.Value]:
    """Round a number to what lies in memory; return that, and it in the working type again."""
    stored = x.narrow(builder, node)
    return stored, x.widen(builder, stored)


def _only_selects(spec: Specification, operation: Operation, dtype: str) -> bool:
    """Whether results are selected among numbers as they lie in memory, so that a register holds twice as many.

    A register of float16 is two of float32. Conditions of both are joined for a selection, and taken apart again for
    arithmetic: backward of `relu`, which multiplies, took 1.2 times as long so, and its derivative 0.8 times.
    """
    _, results = of_one_element(spec, operation, dtype)
    return all(node.kind == "bool" or node.stored is not None for node in results)


def of_one_element(
    spec: Specification, operation: Operation, dtype: str, *, with_defaults: bool = False
) -> tuple[ir.Module, tuple[Node, ...]]:
    """Trace what a kernel does with one element: the code of that, and its results."""
    working = np.dtype(spec.compiled(dtype)).name
    names, first, last = storages(spec, operation, dtype)
    storage = [_storage(stored, working) for stored in names]
    kinds = [stored.stored_type(8) if stored.name == "bit" else stored.type for stored in storage[:last]]
    module = ir.Module()
    b = ir.IRBuilder(ir.Function(module, ir.FunctionType(ir.VoidType(), kinds), "dry").append_basic_block())
    x = Storage(dtype, working)
    trace = Trace(
        b, 0, working, spec.narrow(dtype), dtype, lambda number: x.constant(number, 0), partial(_round_trip, b, x)
    )
    nodes = [
        trace.input(b.trunc(number, ir.IntType(1)), "bool") if stored.name == "bit"
        else trace.input(stored.widen(b, number), stored.kind, number)
        for stored, number in zip(storage[:last], b.function.args, strict=True)
    ]  # fmt: skip
    if with_defaults:
        for k, number in _defaults(spec, first, dtype).items():
            nodes[k] = trace.literal(number, trace.kind)
    results = read(spec, operation, trace.primitives())(*nodes)
    return module, results if isinstance(results, tuple) else (results,)


def _defaults(spec: Specification, first: int, dtype: str) -> dict[int, Any]:
    """Return the default parameters by their places among the operands."""
    known = [(k, spec.parameters[name]) for k, name in enumerate(spec.uniform) if name in spec.parameters]
    return {first + k: rounded(number, dtype) for k, number in known}


def _first(builder: ir.IRBuilder, array: Array) -> ir.Value:
    number = builder.load(array.pointer)
    number.align = array.storage.size
    return number
