"""Kernels that compute some rows of a gradient, and add them to totals, one after the other.

A kernel is ``void kernel(void **operands, intp n, intp how)`` as in `kernels`, for n elements of each row. Behind the
operands are the bytes from row to row of each, and behind those is the number of rows. The totals of a strip stay in
registers while its rows are added: one row at a time would take them through the second-level cache, which took three
times as long as to compute 4,096 float32 (Zen 5).
"""

from __future__ import annotations

from collections.abc import Callable
from functools import partial
from typing import Any

from llvmlite import ir

from ...functions.specification import Operation, Specification
from ..runtime.layout import FETCH, LINE, PAST
from .instructions import Module
from .kernels import emit_kernel, require_instructions
from .optimise import PREFIX, Optimised, optimise
from .strips import THROUGH, Array, Strips, copy_bytes, load, loop
from .target import Target, host

_I8, _I64 = ir.IntType(8), ir.IntType(64)


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
    count = sum(map(len, spec.operands(operation)))
    loops = partial(_SumStrips, count)
    emit_kernel(module, PREFIX + "kernel", spec, operation, dtype, machine, alike=spec.uniform, loops=loops)
    return optimise(module, ("kernel",), machine)


class _SumStrips(Strips):
    """Strips of some rows of dy and x, which come first, and of b and the totals, which are one row each."""

    def __init__(self, count: int, *arguments: Any) -> None:
        super().__init__(*arguments)
        b = self.builder
        operands = b.function.args[0]

        def word(k: int) -> ir.Value:
            return b.ptrtoint(b.load(b.gep(operands, [_I64(k)])), _I64)

        self.steps = [word(count), word(count + 1), word(2 * count - 2)]
        self.rows = word(2 * count)

    def emit(self, how: ir.Value = THROUGH, *, once: bool = True) -> None:
        """Emit the loop over the strips."""
        b = self.builder
        self.past = b.icmp_unsigned("!=", b.and_(how, _I64(PAST)), _I64(0))
        self.ahead = b.mul(b.ashr(how, _I64(FETCH)), _I64(LINE))
        loop(b, _I64(0), self.whole, self.lanes, self._whole)
        with b.if_then(self.left_over):
            self._rest()

    def _row(self, array: Array, step: ir.Value, g: ir.Value) -> Array:
        b = self.builder
        address = b.gep(b.bitcast(array.pointer, _I8.as_pointer()), [b.mul(g, step)])
        return array._replace(pointer=b.bitcast(address, array.pointer.type))

    def _whole(self, i: ir.Value) -> None:
        """Compute a strip of all rows."""
        b = self.builder
        *rows_of, bias, totals = self.arrays
        ahead = [self._ahead(i, array, step) for array, step in zip(rows_of, self.steps, strict=False)]

        def compute(g: ir.Value, sums: list[ir.Value]) -> list[ir.Value]:
            rows = [self._row(array, step, g) for array, step in zip(rows_of, self.steps, strict=False)]
            results, sums = self._strip(rows, i, biases, sums)
            target = self._row(self.targets[0], self.steps[2], g)
            place = [target._replace(pointer=b.bitcast(target.at(b, i, self.lanes), target.pointer.type))]
            for row, there in zip(rows, ahead, strict=True):
                self._fetch(i, there, [row])
            with b.if_else(self.past) as (beyond, within):
                with beyond:
                    self._store(place, results, past=True)
                with within:
                    self._store(place, results)
            return sums

        biases, before = (self._load(array, i) for array in (bias, totals))
        self._put(totals._replace(pointer=totals.at(b, i, 1)), self._down(before, compute))

    def _ahead(self, i: ir.Value, array: Array, step: ir.Value) -> ir.Value:
        """Return how many bytes ahead to fetch: behind the end of a row, in those that come after these."""
        b, size = self.builder, array.storage.size
        behind = b.icmp_signed(">=", b.add(b.mul(i, _I64(size)), self.ahead), b.mul(self.n, _I64(size)))
        onward = b.sub(b.mul(self.rows, step), b.mul(self.n, _I64(size)))
        return b.add(self.ahead, b.select(behind, onward, _I64(0)))

    def _rest(self) -> None:
        """Compute what is behind the last whole strip, on the stack."""
        b, left = self.builder, self.builder.sub(self.n, self.whole)
        bias, totals = (self._padded(array, self.whole, left) for array in self.arrays[2:])

        def compute(g: ir.Value, sums: list[ir.Value]) -> list[ir.Value]:
            rows = [self._row(array, step, g) for array, step in zip(self.arrays[:2], self.steps, strict=False)]
            results, sums = self._strip([self._padded(row, self.whole, left) for row in rows], _I64(0), biases, sums)
            self._store(self.room[:1], results)
            target = self._row(self.targets[0], self.steps[2], g)
            copy_bytes(b, target.at(b, self.whole, 1), self.room[0].pointer, self._bytes(target, left))
            return sums

        biases, before = (self._load(array, _I64(0)) for array in (bias, totals))
        self._put(self.room[1], self._down(before, compute))
        target = self.targets[1]
        copy_bytes(b, target.at(b, self.whole, 1), self.room[1].pointer, self._bytes(target, left))

    def _load(self, array: Array, i: ir.Value) -> list[ir.Value]:
        return [load(self.builder, array, self.builder.add(i, start), self.width) for start in self._starts()]

    def _put(self, target: Array, sums: list[ir.Value]) -> None:
        self._store([target], [[vector] for vector in sums])

    def _strip(
        self, rows: list[Array], i: ir.Value, biases: list[ir.Value], sums: list[ir.Value]
    ) -> tuple[list[list[ir.Value]], list[ir.Value]]:
        """Compute a strip of one row; return its results, and the totals with them."""
        loaded = zip(*(self._load(row, i) for row in rows), biases, sums, strict=True)
        made = [self.evaluate([*vectors]) for vectors in loaded]
        return [[dx] for dx, _ in made], [total for _, total in made]

    def _down(
        self, sums: list[ir.Value], compute: Callable[[ir.Value, list[ir.Value]], list[ir.Value]]
    ) -> list[ir.Value]:
        """Emit a loop over the rows, of which there is one at least; return the totals behind it."""
        b = self.builder
        before, inside, after = b.block, b.append_basic_block(), b.append_basic_block()
        b.branch(inside)
        b.position_at_end(inside)
        g, carried = b.phi(_I64), [b.phi(vector.type) for vector in sums]
        g.add_incoming(_I64(0), before)
        for phi, vector in zip(carried, sums, strict=True):
            phi.add_incoming(vector, before)
        following, made = b.add(g, _I64(1), flags=("nsw",)), compute(g, carried)
        g.add_incoming(following, b.block)
        for phi, vector in zip(carried, made, strict=True):
            phi.add_incoming(vector, b.block)
        b.cbranch(b.icmp_signed("<", following, self.rows), inside, after)
        b.position_at_end(after)
        return made
