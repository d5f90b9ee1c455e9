"""Loops over contiguous arrays by strips: a few registers side by side, each element by the same instructions.

What is left over is the last strip of the arrays, computed first, before anything is written (in place, source and
target are one array), and stored last. Fewer elements than a strip are copied to a strip on the stack. So is what is
left over beside a mask, whose bits begin at whole bytes alone.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from contextlib import nullcontext
from typing import NamedTuple

from llvmlite import ir

from ..runtime.layout import FETCH, HELD, LINE, PAST
from .instructions import external
from .storage import Storage

_I1, _I8, _I32, _I64 = (ir.IntType(bits) for bits in (1, 8, 32, 64))
_POINTER = _I8.as_pointer()

# Registers of a strip. A chain of 40 operations, each waiting for the one before it, fills the schedulers of a
# processor: 10,000 float32 of sigmoid took 3.9 us by one register, 3.4 by four. By eight, some functions run out.
INTERLEAVE = 4
THROUGH = _I64(0)  # the caches


class Array(NamedTuple):
    """An operand: how its elements lie in memory, and the pointer to the first."""

    storage: Storage
    pointer: ir.Value

    def at(self, builder: ir.IRBuilder, i: ir.Value, lanes: int) -> ir.Value:
        """Return the pointer to elements from `i` on, which of a mask begin a byte."""
        place = builder.lshr(i, _I64(3)) if self.storage.name == "bit" else i
        kind = self.storage.stored_type(lanes).as_pointer()
        return builder.bitcast(builder.gep(self.pointer, [place]), kind)


class Strips:
    """The strips of some arrays.

    Parameters
    ----------
    lanes : int
        Elements of a strip, a power of two.
    width : int
        Elements of a vector, of which there are some in a strip.
    sources, targets : sequence of Array
    n : ir.Value
        How many elements each has.
    evaluate : callable
        Emits the formula: from vectors of what lies in memory, one for each source, to those of the targets.
    held : int
        Which source may be one row that the caches hold, so that it is not fetched.
    """

    def __init__(
        self, builder: ir.IRBuilder, lanes: int, width: int, sources: Sequence[Array], targets: Sequence[Array],
        n: ir.Value, evaluate: Callable[[list[ir.Value]], list[ir.Value]], held: int = -1,
    ) -> None:  # fmt: skip
        self.builder, self.lanes, self.width, self.n, self.evaluate = builder, lanes, width, n, evaluate
        self.arrays, self.targets, self.held = sources, targets, held
        self.has_bits = any(array.storage.name == "bit" for array in (*sources, *targets))
        self.whole = builder.and_(n, _I64(-lanes))
        self.left_over = builder.icmp_unsigned("!=", self.whole, n)
        self.short = builder.icmp_unsigned("==", self.whole, _I64(0))
        self.last = builder.select(self.short, _I64(0), builder.sub(n, _I64(lanes)))
        self.room = [self._room(target) for target in targets]

    def emit(self, how: ir.Value = THROUGH, *, once: bool = True) -> None:
        """Emit the loop, or loops: `once` says that the formula shall be there once, as it is long.

        Parameters
        ----------
        how : ir.Value
            As kernels take it.
        """
        b, lanes = self.builder, self.lanes
        self.sources = self.arrays if self.has_bits else self._wherever()
        past = b.icmp_unsigned("!=", b.and_(how, _I64(PAST)), _I64(0))
        ahead = b.mul(b.ashr(how, _I64(FETCH)), _I64(LINE))
        self.is_held = b.icmp_unsigned("!=", b.and_(how, _I64(HELD)), _I64(0))

        def through_the_caches(i: ir.Value) -> None:
            self._store(self._places(i), self._compute(self.sources, i))

        def past_the_caches(i: ir.Value) -> None:
            self._fetch(i, ahead)
            self._store(self._places(i), self._compute(self.sources, i), past=True)

        def either(i: ir.Value) -> None:
            is_last = b.icmp_signed("<", i, _I64(0))
            results = self._compute(self.sources, b.select(is_last, self.last, i))
            there = [
                target._replace(pointer=b.select(is_last, space.pointer, target.pointer))
                for space, target in zip(self.room, self._places(i), strict=True)
            ]
            with b.if_else(b.and_(past, b.not_(is_last))) as (beyond, within):
                with beyond:
                    self._fetch(i, ahead)
                    self._store(there, results, past=True)
                with within:
                    self._store(there, results)

        if once and not self.has_bits:
            loop(b, b.select(self.left_over, _I64(-lanes), _I64(0)), self.whole, lanes, either)
        else:
            if not self.has_bits:
                with b.if_then(self.left_over):
                    self._store(self.room, self._compute(self.sources, self.last))
            with b.if_else(past) as (beyond, within):
                with beyond:
                    loop(b, _I64(0), self.whole, lanes, past_the_caches)
                with within:
                    loop(b, _I64(0), self.whole, lanes, through_the_caches)
        with b.if_then(self.left_over):
            if self.has_bits:
                self._compute_rest()
            else:
                self._store_last()

    def _store_last(self) -> None:
        """Store the last strip, which was computed before the others."""
        b = self.builder
        with b.if_else(self.short) as (few, many):
            with few:
                for target, space in zip(self.targets, self.room, strict=True):
                    copy_bytes(b, target.pointer, space.pointer, self._bytes(target, self.n))
            with many:
                held = [[load(b, space, start, self.width) for space in self.room] for start in self._starts()]
                self._store(self._places(self.last), held)

    def _starts(self) -> list[ir.Constant]:
        return [_I64(start) for start in range(0, self.lanes, self.width)]

    def _room(self, array: Array) -> Array:
        """Make room for a strip on the stack."""
        space = room(self.builder, array.storage.stored_type(self.lanes))
        with self.builder.goto_entry_block():  # who asks may be in a branch, and use the room behind it
            return array._replace(pointer=self.builder.bitcast(space, array.pointer.type))

    def _padded(self, array: Array, start: ir.Value, count: ir.Value) -> Array:
        """Copy the elements from `start` on, less than a strip, to the stack, and zeros behind them."""
        b, space = self.builder, self._room(array)
        kind = array.storage.stored_type(self.lanes)
        b.store(ir.Constant(kind, None), space.at(b, _I64(0), self.lanes))
        copy_bytes(b, space.pointer, array.at(b, start, self.lanes), self._bytes(array, count))
        return space

    def _places(self, i: ir.Value) -> list[Array]:
        b = self.builder
        return [
            target._replace(pointer=b.bitcast(target.at(b, i, self.lanes), target.pointer.type))
            for target in self.targets
        ]

    def _compute_rest(self) -> None:
        """Compute what is behind the last whole strip, where bits keep a strip from beginning anywhere."""
        b, left = self.builder, self.builder.sub(self.n, self.whole)
        self._store(
            self.room, self._compute([self._padded(source, self.whole, left) for source in self.arrays], _I64(0))
        )
        for target, space in zip(self.targets, self.room, strict=True):
            if target.storage.name == "bit":  # those after the last are 0
                bits = space.at(b, _I64(0), self.lanes)
                kind = bits.type.pointee
                number = left if kind.width == 64 else b.trunc(left, kind)
                b.store(b.and_(b.load(bits), b.sub(b.shl(kind(1), number), kind(1))), bits)
            copy_bytes(b, target.at(b, self.whole, self.lanes), space.pointer, self._bytes(target, left))

    def _bytes(self, array: Array, count: ir.Value) -> ir.Value:
        b = self.builder
        if array.storage.name == "bit":
            return b.lshr(b.add(count, _I64(7)), _I64(3))
        return b.mul(count, _I64(array.storage.size))

    def _wherever(self) -> list[Array]:
        """Return where to load the sources from: from the stack where there is less than a strip."""
        b, spaces = self.builder, []
        with b.if_then(self.short, likely=False):
            spaces = [self._padded(source, _I64(0), self.n) for source in self.arrays]
        return [
            source._replace(pointer=b.select(self.short, space.pointer, source.pointer))
            for source, space in zip(self.arrays, spaces, strict=True)
        ]

    def _compute(self, sources: Sequence[Array], i: ir.Value) -> list[list[ir.Value]]:
        b = self.builder
        return [
            self.evaluate([load(b, source, b.add(i, start), self.width) for source in sources])
            for start in self._starts()
        ]

    def _store(self, places: list[Array], results: list[list[ir.Value]], past: bool = False) -> None:
        b = self.builder
        for start, parts in zip(self._starts(), results, strict=True):
            for target, result in zip(places, parts, strict=True):
                stored = b.store(result, target.at(b, start, self.width))
                stored.align = target.storage.size
                if past and target.storage.name != "bit":
                    stored.align = min(LINE, self.width * target.storage.size)
                    stored.set_metadata("nontemporal", b.module.add_metadata([_I32(1)]))

    def _fetch(self, i: ir.Value, ahead: ir.Value, arrays: Sequence[Array] = ()) -> None:
        """Fetch what a later strip of the sources, or of some arrays, will load."""
        b = self.builder
        fetch = external(b, "llvm.prefetch.p0i8", ir.VoidType(), [_POINTER, _I32, _I32, _I32])
        for k, source in enumerate(arrays or self.arrays):
            if source.storage.name == "bit":
                continue
            with b.if_then(b.not_(self.is_held)) if k == self.held else nullcontext():
                address = b.gep(b.bitcast(b.gep(source.pointer, [i]), _POINTER), [ahead])
                for offset in range(0, self.lanes * source.storage.size, LINE):
                    b.call(fetch, [b.gep(address, [_I64(offset)]), _I32(0), _I32(3), _I32(1)])


def loop(builder: ir.IRBuilder, start: ir.Value, stop: ir.Value, step: int, body: Callable[[ir.Value], None]) -> None:
    """Emit `body` for the numbers from `start` to `stop`, by a step."""
    before, inside, after = builder.block, builder.append_basic_block(), builder.append_basic_block()
    builder.cbranch(builder.icmp_signed("<", start, stop), inside, after)
    builder.position_at_end(inside)
    i = builder.phi(_I64)
    i.add_incoming(start, before)
    body(i)
    following = builder.add(i, _I64(step), flags=("nsw",))
    i.add_incoming(following, builder.block)
    builder.cbranch(builder.icmp_signed("<", following, stop), inside, after)
    builder.position_at_end(after)


def load(builder: ir.IRBuilder, array: Array, i: ir.Value, lanes: int) -> ir.Value:
    """Load a vector of what lies in memory from element i on."""
    stored = builder.load(array.at(builder, i, lanes))
    stored.align = array.storage.size
    return stored


def room(builder: ir.IRBuilder, kind: ir.Type) -> ir.Value:
    """Make room on the stack, aligned to a line, with anything in it."""
    with builder.goto_entry_block():
        space = builder.alloca(kind)
    space.align = LINE
    return space


def copy_bytes(builder: ir.IRBuilder, target: ir.Value, source: ir.Value, size: ir.Value) -> None:
    """Copy memory that does not overlap."""
    copy = external(builder, "llvm.memcpy.p0i8.p0i8.i64", ir.VoidType(), [_POINTER, _POINTER, _I64, _I1])
    builder.call(copy, [builder.bitcast(target, _POINTER), builder.bitcast(source, _POINTER), size, _I1(0)])
