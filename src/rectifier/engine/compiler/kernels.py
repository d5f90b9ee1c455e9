"""From a formula to a kernel: machine code for one operation and dtype, over contiguous arrays only.

A kernel is ``void kernel(void **operands, intp n, intp how)``. The operands are the operation's
inputs, the function's parameters, the outputs, each contiguous, aligned and native. In `how`, ALIKE says that
each parameter is one number, PAST that outputs go past the caches: they then begin with a line, n elements are
whole lines, and the bits from FETCH on say how many lines ahead the inputs are fetched. Everything else brings its
data to this kernel (`driver`), so the bits of a result cannot depend on how the data lay in memory.
"""

from __future__ import annotations

from collections.abc import Callable
from typing import Any, NamedTuple

import numba
import numpy as np
from llvmlite import ir
from numba import types
from numba.core import cgutils
from numba.extending import intrinsic

from ...formulas import numba as numba_formulas
from ...formulas import with_all_called
from ...functions.dtypes import FORMATS
from ...functions.specification import Operation, Specification, read
from ..runtime.layout import ALIKE, FETCH, LINE, PAST
from .instructions import stream_line_at
from .optimise import Optimised, optimise
from .rounding import FLOATS, BFloat, round_to_bfloat, to_odd, widen_bfloat
from .target import Target, host

_I64 = ir.IntType(64)
_I32 = ir.IntType(32)
_I16 = ir.IntType(16)

FETCHED = 32  # lines
# Lines prefetched at a time, FETCHED before they are used, in float64's backward of a smooth function. LLVM loads dy
# under a mask that depends on the derivative, so without prefetching every line is a serial miss: a million of
# sigmoid's backward took 10 ms, and 0.9 ms with it.
LINES = 8
# Iterations side by side in a smooth function. A chain of 40 operations, each waiting for the one before it, fills the
# schedulers of a processor: 10,000 float32 of sigmoid took 3.9 us alone, 3.4 by four, of softplus 11.3 and 7.9. By
# eight, some functions run out of registers.
INTERLEAVE = 4

OPERANDS = types.CPointer(types.voidptr)
SIGNATURE = types.void(OPERANDS, types.intp, types.intp)


class Storage:
    """How an operand lies in memory, and how it becomes a number to compute with and back.

    `selected` promises that a bfloat16 result is one of the operands, or a constant that bfloat16 holds.
    """

    def __init__(self, name: str, working: type[np.generic], selected: bool) -> None:
        self.name = name
        self.selected = selected
        self.wide = working is np.float64 and name != "float64"
        self.size = 1 if name == "bit" else FORMATS[name].bits // 8
        self.working = types.boolean if name == "bit" else numba.from_dtype(np.dtype(working))
        self.type: ir.Type = FLOATS.get(name) or ir.IntType(8 * self.size)

    def widen(self, builder: ir.IRBuilder, stored: ir.Value) -> ir.Value:
        """Make a number of what lies in memory."""
        if self.name == "bit":
            return builder.icmp_unsigned("!=", stored, ir.Constant(self.type, 0))
        number = stored
        if self.name == "float16":
            number = builder.fpext(stored, ir.FloatType())
        if self.name == "bfloat16" and self.selected:
            number = builder.fpext(builder.bitcast(stored, BFloat()), ir.FloatType())
        elif self.name == "bfloat16":
            number = widen_bfloat(builder, stored)
        return builder.fpext(number, ir.DoubleType()) if self.wide else number

    def narrow(self, builder: ir.IRBuilder, number: ir.Value) -> ir.Value:
        """Round a number to what lies in memory."""
        if self.name == "bit":
            return builder.zext(number, self.type)
        if self.wide:
            number = number if self.name == "float32" else to_odd(builder, number)
            number = builder.fptrunc(number, ir.FloatType())
        if self.name == "float16":
            return builder.fptrunc(number, self.type)
        if self.name == "bfloat16":
            if self.selected:
                return builder.bitcast(builder.fptrunc(number, BFloat()), _I16)
            # A NaN needs no care: it is the default one or has the payload of an operand, so its lower half is 0.
            return round_to_bfloat(builder, builder.bitcast(number, _I32))
        return number


class _DistinctMetadata(ir.MDValue):
    """A metadata node equal to no other; llvmlite writes only nodes that LLVM may merge."""

    __eq__, __hash__ = object.__eq__, object.__hash__

    def descr(self, buf: list[str]) -> None:
        buf.append(f"distinct !{{ {', '.join(operand.get_reference() for operand in self.operands)} }}\n")


def declare_iterations_independent(
    module: ir.Module, accesses: list[ir.Instruction], back_edge: ir.Instruction, *,
    wide: bool, line: bool = False, width: int = 0,
) -> None:  # fmt: skip
    """Declare to LLVM that no iteration reads what another wrote.

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
    """Emit `body` for each number from 0 to n; return the jump back."""
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


def storages(spec: Specification, operation: Operation, dtype: str) -> tuple[list[str], int, int]:
    """List the storage of each operand, and where the parameters begin and end among them."""
    inputs, uniform, outputs = spec.operands(operation)
    kinds = ["bit" if name == "mask" else dtype for name in (*inputs, *uniform, *outputs)]
    return kinds, len(inputs), len(inputs) + len(uniform)


def compile_kernel(spec: Specification, operation: Operation, dtype: str, target: Target | None = None) -> Optimised:
    """Compile one kernel; `target`, by default this machine, says which instructions there are.

    Raises
    ------
    NotImplementedError
        If the processor lacks the instructions; the NumPy reading takes over.
    """
    machine = target or host()
    # An x86-64 without bfloat16 of its own selects by widening again (10,000 of relu: 7.6 us, 1.6 by rounding), or
    # calls a library for it.
    if dtype == "bfloat16" and spec.selects and machine.selects_bfloats:
        kernel = _compile(spec, operation, dtype, machine, selected=True)
        # LLVM sees that narrowing undoes widening and selects the 16 bits themselves, 2.5 times as fast.
        # Where it does not, as behind a product, the result must be rounded.
        if "fptrunc" not in str(kernel.module):
            return kernel
    if dtype == "float16" and not machine.converts_halves:
        raise NotImplementedError("float16 needs the F16C instructions")
    if not machine.fuses and any("fma" in _words_of(getattr(spec, part)) for part in operation.parts):
        raise NotImplementedError("a formula needs the FMA instructions")
    return _compile(spec, operation, dtype, machine, selected=False)


def _words_of(formula: Any) -> set[str]:
    """List the words of a formula, with those that some of them are made of."""
    used = {name for part in with_all_called(formula) for name in part.__code__.co_names}
    return used | {"fma"} if used & {"exp", "exp_parts", "expm1", "log1p", "erfcx"} else used


class _Sweep:
    """The loops of one kernel around its formula.

    Parameters
    ----------
    operands : list of Storage
        Inputs, parameters from `first`, outputs from `last`.
    evaluate : callable
        Emits the formula: from the numbers that it takes to those that it gives.
    arrays : list of ir.Value
        Pointers to the operands.
    n, how : ir.Value
        As the kernel is called.
    """

    def __init__(
        self, kernel: _Kernel, builder: ir.IRBuilder, evaluate: Callable[[list[ir.Value]], list[ir.Value]],
        arrays: list[ir.Value], n: ir.Value, how: ir.Value,
    ) -> None:  # fmt: skip
        self.kernel, self.builder, self.evaluate = kernel, builder, evaluate
        self.arrays, self.n, self.how = arrays, n, how
        self.operands, self.first, self.last = kernel.operands, kernel.first, kernel.last
        self.outputs = self.operands[self.last :]
        self.hoisted: dict[int, ir.Value] = {}  # parameters of which each is one number

    def emit(self) -> None:
        """Emit a loop for each way in which the kernel may be called."""
        if self.first == self.last:
            self._through_or_past()
            return
        with self._if_asked(ALIKE) as (one_number_each, arrays_of_them):
            with one_number_each:
                self.hoisted = {k: self._load(k, _I64(0))[1] for k in range(self.first, self.last)}
                self._through_or_past()
            with arrays_of_them:
                self.hoisted = {}
                self._through_or_past()

    def _through_or_past(self) -> None:
        with self._if_asked(PAST) as (past_the_caches, through_them):
            with past_the_caches:
                self._past()
            with through_them:
                self._through()

    def _if_asked(self, bit: int) -> Any:
        return self.builder.if_else(self.builder.icmp_signed("!=", self.builder.and_(self.how, _I64(bit)), _I64(0)))

    def _load(self, k: int, i: ir.Value) -> tuple[ir.Instruction, ir.Value]:
        """Load element i of an operand; return the access to memory and the number."""
        stored = self.builder.load(self.builder.gep(self.arrays[k], [i], inbounds=True))
        stored.align = self.operands[k].size
        return stored, self.operands[k].widen(self.builder, stored)

    def _compute(self, i: ir.Value, targets: list[ir.Value], j: ir.Value) -> list[ir.Instruction]:
        """Compute element i, and put it where the targets have index j; return the accesses to memory."""
        accesses, numbers = [], []
        for k in range(self.last):
            if k in self.hoisted:
                numbers.append(self.hoisted[k])
            else:
                access, number = self._load(k, i)
                accesses.append(access)
                numbers.append(number)
        results = self.evaluate(numbers)
        for target, operand, number in zip(targets, self.outputs, results, strict=True):
            stored = operand.narrow(self.builder, number)
            access = self.builder.store(stored, self.builder.gep(target, [j], inbounds=True))
            access.align = operand.size
            accesses.append(access)
        return accesses

    def _loop(self, start: ir.Value, count: ir.Value, targets: list[ir.Value] | None = None, width: int = 0) -> None:
        """Compute elements from `start` on: into the outputs, or from the first element of the targets on."""

        def body(j: ir.Value) -> None:
            i = self.builder.add(start, j)
            accesses.extend(
                self._compute(i, self.arrays[self.last :], i) if into is None else self._compute(i, into, j)
            )

        accesses: list[ir.Instruction] = []
        into = targets
        back_edge = loop(self.builder, count, body)
        declare_iterations_independent(
            self.builder.module, accesses, back_edge, wide=self.kernel.wide, line=into is not None, width=width
        )

    def _through(self) -> None:
        """Store the results through the caches."""
        builder, done = self.builder, _I64(0)
        if self.kernel.waits:
            elements = LINES * LINE // self.operands[0].size

            def fetching(number: ir.Value) -> None:
                start = builder.mul(number, _I64(elements))
                for array in self.arrays[: self.first]:
                    for line in range(LINES):
                        ahead = _I64((FETCHED + line) * elements // LINES)
                        _fetch(builder, builder.gep(array, [builder.add(start, ahead)]))
                self._loop(start, _I64(elements))

            blocks = builder.udiv(self.n, _I64(elements))
            loop(builder, blocks, fetching)
            done = builder.mul(blocks, _I64(elements))
        self._loop(done, builder.sub(self.n, done))

    def _past(self) -> None:
        """Store each line of the outputs from a buffer, which LLVM keeps in a register."""
        builder = self.builder
        elements = LINE // max(operand.size for operand in self.outputs)
        ahead = builder.mul(builder.ashr(self.how, _I64(FETCH)), _I64(elements))
        buffers = [None if operand.name == "bit" else self._buffer(operand, elements) for operand in self.outputs]
        # Of NEON's registers a line takes four. In a loop over them it would go to the stack and be read back: 37
        # instructions, where one vector of them all takes 16 (AVX2 is as fast either way; and where vectors scale, LLVM
        # remarks on a width, on the user's stderr).
        neon = self.kernel.machine.architecture == "aarch64" and not self.kernel.machine.scales
        width = elements if neon and not self.kernel.wide else 0

        def line(number: ir.Value) -> None:
            start = builder.mul(number, _I64(elements))
            for array, operand in zip(self.arrays[: self.first], self.operands, strict=False):
                if operand.name != "bit":
                    _fetch(builder, builder.gep(array, [builder.add(start, ahead)]))
            places = list(zip(self.arrays[self.last :], buffers, strict=True))
            targets = [
                builder.gep(array, [start], inbounds=True) if buffer is None else buffer for array, buffer in places
            ]
            self._loop(start, _I64(elements), targets, width)
            for array, buffer in places:
                if buffer is not None:
                    stream_line_at(builder, builder.gep(array, [start], inbounds=True), buffer, LINE)

        loop(builder, builder.udiv(self.n, _I64(elements)), line)

    def _buffer(self, operand: Storage, elements: int) -> ir.Value:
        """Make room for a line on the stack."""
        buffer = cgutils.alloca_once(self.builder, ir.ArrayType(operand.type, elements))
        buffer.align = LINE
        return self.builder.bitcast(buffer, operand.type.as_pointer())


class _Kernel(NamedTuple):
    """A kernel, as far as it is known before its formula is compiled."""

    operands: list[Storage]
    first: int  # of the parameters
    last: int  # of the outputs
    machine: Target
    wide: bool  # a smooth function
    waits: bool  # for dy, which is loaded where the derivative is not 0


def _compile(spec: Specification, operation: Operation, dtype: str, machine: Target, selected: bool) -> Optimised:
    jit = numba.njit(error_model="numpy", nogil=True, no_cpython_wrapper=True, forceinline=True)
    working = spec.working(dtype)
    primitives = numba_formulas.primitives(working, narrow=dtype != "float64", dtype=dtype)
    scalar = jit(read(spec, operation, primitives, compile_primitive=jit))
    names, first, last = storages(spec, operation, dtype)
    operands = [Storage(name, working, selected) for name in names]
    waits = spec.wide and dtype == "float64" and "dy" in operation.inputs
    kernel = _Kernel(operands, first, last, machine, spec.wide, waits)

    @intrinsic
    def sweep(typingctx, pointers, n, how):
        function = numba.typeof(scalar)
        call = function.get_call_type(typingctx, [operand.working for operand in operands[:last]], {})
        several = isinstance(call.return_type, types.BaseTuple)
        kinds = tuple(call.return_type.types) if several else (call.return_type,)

        def codegen(context, builder, signature, arguments):
            formula = context.get_function(function, call)
            context.add_linking_libs(getattr(formula, "libs", ()))
            pointers, n, how = arguments
            arrays = [
                builder.bitcast(builder.load(builder.gep(pointers, [_I64(k)])), operand.type.as_pointer())
                for k, operand in enumerate(operands)
            ]

            def evaluate(numbers: list[ir.Value]) -> list[ir.Value]:
                parameters = context.make_tuple(builder, call.args[-1], numbers[first:])
                result = formula(builder, [*numbers[:first], parameters])
                results = [builder.extract_value(result, k) for k in range(len(kinds))] if several else [result]
                return [
                    context.cast(builder, number, kind, operand.working)
                    for number, kind, operand in zip(results, kinds, operands[last:], strict=True)
                ]

            _Sweep(kernel, builder, evaluate, arrays, n, how).emit()
            return context.get_dummy_value()

        return types.void(OPERANDS, types.intp, types.intp), codegen

    def call_sweep(operands, n, how):
        sweep(operands, n, how)

    return optimise({"kernel": (SIGNATURE, call_sweep)}, machine)
