"""Kernels of row-wise functions: ``void kernel(void **operands, intp n, intp how)`` (`rowwise`)."""

# mypy: disable-error-code="name-defined"

from __future__ import annotations

from typing import Any

import numba
import numpy as np
from llvmlite import ir
from numba import types
from numba.core import cgutils
from numba.extending import intrinsic

from ...formulas import bind
from ...formulas import numba as numba_formulas
from ...formulas.rows import exp_of_difference
from ...functions.specification import Rowwise
from ..runtime.layout import BLOCK
from . import instructions
from .instructions import Instruction, at
from .kernels import INTERLEAVE, SIGNATURE, Storage, declare_iterations_independent, loop
from .optimise import Optimised, optimise
from .target import Target, host

# How a row is summed, whatever its length. Eight lanes each add eight numbers by halves, which rounds three times; and
# what rounding takes from the sum of those sums is summed itself (`add_up`). Plain sums of a row that holds one number
# many times were off by 9 units in the last place at 256 numbers, and by 110 at 300,000.
LANES, DEEP = 8, 8
PIECE = 1024  # numbers that are computed, then summed while they are in the first-level cache
OTHERS = 256
WEIGHTS = 256  # in backward, whose terms cost less than to write them down: by lanes of LLVM's choice, then as above
SHORT = 64  # a row; some of these are computed together: GROUP numbers at most
GROUP = 512
_I64 = ir.IntType(64)


@intrinsic
def address(typingctx, pointer):
    """Return a pointer as an integer."""
    return types.int64(pointer), lambda context, builder, signature, values: builder.ptrtoint(values[0], _I64)


def _intrinsic_of(instruction: Instruction, result: Any, count: int) -> Any:
    """Make an intrinsic of an instruction on so many words."""

    def codegen(context, builder, signature, values):
        emitted = instruction.emit(builder, *values)
        return context.get_dummy_value() if result is types.void else emitted

    made = result(*[types.int64] * count), codegen
    return intrinsic({2: lambda typingctx, x, y: made, 3: lambda typingctx, x, y, z: made}[count])


word = _intrinsic_of(instructions.load, types.int64, 2)
compare_and_swap = _intrinsic_of(instructions.compare_and_swap, types.int64, 3)
atomic_store = _intrinsic_of(instructions.atomic_store, types.void, 2)


def _stack(count: int) -> Any:
    """Make the function that gives the address of so many float64 on the stack, with anything in them.

    Numba's `alloca_once` fills what it gives with zeros: the 48 KiB of short rows took longer than 100 numbers do.
    """

    @intrinsic
    def stack(typingctx):
        def codegen(context, builder, signature, values):
            with builder.goto_entry_block():
                space = builder.alloca(ir.ArrayType(_DOUBLE, count))
            return builder.ptrtoint(space, _I64)

        return types.int64(), codegen

    return stack


_DOUBLE = ir.DoubleType()
_VECTOR = ir.VectorType(_DOUBLE, LANES)


def _vector(builder: ir.IRBuilder, address: ir.Value, k: int | ir.Value) -> ir.Value:
    """Point to vector k at an address."""
    number = _I64(k) if isinstance(k, int) else k
    return builder.gep(at(builder, address, _VECTOR), [number])


def _load_vector(builder: ir.IRBuilder, address: ir.Value, k: int | ir.Value) -> ir.Value:
    loaded = builder.load(_vector(builder, address, k))
    loaded.align = 8
    return loaded


def _store_vector(builder: ir.IRBuilder, address: ir.Value, k: int, value: ir.Value) -> None:
    builder.store(value, _vector(builder, address, k)).align = 8


def _two_sum(builder: ir.IRBuilder, x: ir.Value, y: ir.Value) -> tuple[ir.Value, ir.Value]:
    """Add, and give what rounding took. Without a flag that would let LLVM take it for 0.

    D. E. Knuth, The Art of Computer Programming, volume 2, section 4.2.2.
    """
    total = builder.fadd(x, y)
    y_kept = builder.fsub(total, x)
    x_kept = builder.fsub(total, y_kept)
    return total, builder.fadd(builder.fsub(x, x_kept), builder.fsub(y, y_kept))


@intrinsic
def clear(typingctx, sums):
    """Begin a sum, of two vectors: that of each lane, and what rounding took from it."""

    def codegen(context, builder, signature, values):
        for k in range(2):
            _store_vector(builder, values[0], k, ir.Constant(_VECTOR, [0.0] * LANES))
        return context.get_dummy_value()

    return types.void(types.int64), codegen


@intrinsic
def add_up(typingctx, sums, base, count):
    """Add an array of float64 to a sum; it may be read to the next multiple of `LANES`."""

    def codegen(context, builder, signature, values):
        sums, base, count = values
        group = LANES * DEEP

        # In registers, which nothing else may write to.
        whole, lost = (cgutils.alloca_once_value(builder, _load_vector(builder, sums, k)) for k in range(2))

        def add(numbers: ir.Value) -> None:
            total, more = _two_sum(builder, builder.load(whole), numbers)
            builder.store(total, whole)
            builder.store(builder.fadd(builder.load(lost), more), lost)

        def of_group(number: ir.Value) -> None:
            first = builder.mul(number, _I64(DEEP))
            parts = [_load_vector(builder, base, builder.add(first, _I64(k))) for k in range(DEEP)]
            while len(parts) > 1:
                parts = [builder.fadd(x, y) for x, y in zip(parts[::2], parts[1::2], strict=True)]
            add(parts[0])

        groups = builder.udiv(count, _I64(group))
        loop(builder, groups, of_group)
        rest = builder.sub(count, builder.mul(groups, _I64(group)))
        behind = builder.add(base, builder.mul(groups, _I64(8 * group)))
        zeros = ir.Constant(_VECTOR, [0.0] * LANES)
        part = cgutils.alloca_once_value(builder, zeros)

        def of_rest(number: ir.Value) -> None:
            builder.store(builder.fadd(builder.load(part), _load_vector(builder, behind, number)), part)

        with builder.if_then(builder.icmp_signed(">", rest, _I64(0))):
            vectors = builder.udiv(rest, _I64(LANES))
            loop(builder, vectors, of_rest)
            left = builder.sub(rest, builder.mul(vectors, _I64(LANES)))
            with builder.if_then(builder.icmp_signed(">", left, _I64(0))):
                lanes = ir.Constant(ir.VectorType(_I64, LANES), list(range(LANES)))
                every = builder.insert_element(ir.Constant(lanes.type, ir.Undefined), left, ir.IntType(32)(0))
                first = ir.Constant(ir.VectorType(ir.IntType(32), LANES), [0] * LANES)
                inside = builder.icmp_signed("<", lanes, builder.shuffle_vector(every, every, first))
                numbers = builder.select(inside, _load_vector(builder, behind, vectors), zeros)
                builder.store(builder.fadd(builder.load(part), numbers), part)
            add(builder.load(part))
        for k, variable in enumerate((whole, lost)):
            _store_vector(builder, sums, k, builder.load(variable))
        return context.get_dummy_value()

    return types.void(types.int64, types.int64, types.int64), codegen


@intrinsic
def total(typingctx, sums, begin):
    """Return the sum and a number, rounded once or nearly so; an infinite sum is what it would be without care."""

    def codegen(context, builder, signature, values):
        sums, begin = values
        numbers, lost = (_load_vector(builder, sums, k) for k in range(2))
        lanes = LANES
        while lanes > 1:
            lanes //= 2
            low, high = (
                ir.Constant(ir.VectorType(ir.IntType(32), lanes), list(range(start, start + lanes)))
                for start in (0, lanes)
            )
            numbers, lost = (
                builder.fadd(*(builder.shuffle_vector(vector, vector, half) for half in (low, high)))
                for vector in (numbers, lost)
            )
        numbers, lost = (builder.extract_element(vector, ir.IntType(32)(0)) for vector in (numbers, lost))
        whole, more = _two_sum(builder, numbers, begin)
        lost = builder.fadd(lost, more)
        known = builder.fcmp_ordered("ord", lost, lost)
        return builder.fadd(whole, builder.select(known, lost, ir.Constant(_DOUBLE, 0.0)))

    return types.float64(types.int64, types.float64), codegen


@intrinsic
def add_in_any_order(typingctx, x, y):
    """Add, where LLVM may choose the order of a sum: by lanes of a vector."""
    return types.float64(types.float64, types.float64), lambda context, builder, signature, values: builder.fadd(
        values[0], values[1], flags=("reassoc",)
    )


def _order(storage: Storage) -> tuple[Any, Any, Any]:
    """Make the functions that load element k as an integer of the same order, and give its number; and the least one.

    The maximum of integers is vector code, that of floating-point numbers is not, for the sake of NaN.
    """
    kind = ir.IntType(8 * storage.size)
    integer = getattr(types, f"int{8 * storage.size}")

    def reorder(builder, key):
        sign = builder.ashr(key, kind(8 * storage.size - 1))
        return builder.xor(key, builder.and_(sign, kind((1 << (8 * storage.size - 1)) - 1)))

    @intrinsic
    def key(typingctx, base, k):
        def codegen(context, builder, signature, values):
            loaded = builder.load(builder.gep(at(builder, values[0], kind), [values[1]]))
            loaded.align = storage.size
            return reorder(builder, loaded)

        return integer(types.int64, types.int64), codegen

    @intrinsic
    def number_of(typingctx, key):
        def codegen(context, builder, signature, values):
            return storage.widen(builder, builder.bitcast(reorder(builder, values[0]), storage.type))

        return types.float64(integer), codegen

    return key, number_of, np.dtype(f"i{storage.size}").type(-(1 << (8 * storage.size - 1)))


def _sweep(formula: Any, sources: tuple[Storage, ...], target: Storage) -> Any:
    """Make the loop that puts formula(elements of the sources, *numbers) into a target, which may be a source."""

    @intrinsic
    def sweep(typingctx, addresses, count, numbers):
        function = numba.typeof(formula)
        call = function.get_call_type(typingctx, [types.float64] * (len(sources) + len(numbers)), {})

        def codegen(context, builder, signature, values):
            compute = context.get_function(function, call)
            context.add_linking_libs(getattr(compute, "libs", ()))
            bases = cgutils.unpack_tuple(builder, values[0])
            constants = cgutils.unpack_tuple(builder, values[2])

            def element(k: int, storage: Storage, j: ir.Value) -> ir.Value:
                return builder.gep(at(builder, bases[k], storage.type), [j])

            def body(j: ir.Value) -> None:
                elements = []
                for k, storage in enumerate(sources):
                    loaded = builder.load(element(k, storage, j))
                    loaded.align = storage.size
                    accesses.append(loaded)
                    elements.append(storage.widen(builder, loaded))
                result = target.narrow(builder, compute(builder, [*elements, *constants]))
                accesses.append(builder.store(result, element(len(sources), target, j)))
                accesses[-1].align = target.size

            accesses: list[ir.Instruction] = []
            declare_iterations_independent(builder.module, accesses, loop(builder, values[1], body), wide=True)
            return context.get_dummy_value()

        return types.void(addresses, types.int64, numbers), codegen

    return sweep


def _get(storage: Storage) -> Any:
    """Make the function that loads element k of an array in a dtype."""

    @intrinsic
    def get(typingctx, base, k):
        def codegen(context, builder, signature, values):
            pointer = builder.gep(at(builder, values[0], storage.type), [values[1]])
            stored = builder.load(pointer)
            stored.align = storage.size
            return storage.widen(builder, stored)

        return types.float64(types.int64, types.int64), codegen

    return get


@intrinsic
def put_waiting(typingctx, base, k, number):
    """Store element k of an array of float64."""

    def codegen(context, builder, signature, values):
        builder.store(values[2], builder.gep(at(builder, values[0], ir.DoubleType()), [values[1]]))
        return context.get_dummy_value()

    return types.void(types.int64, types.int64, types.float64), codegen


def compile_kernel(spec: Rowwise, backward: bool, dtype: str, target: Target | None = None) -> Optimised:
    """Compile the kernel of an operation in a dtype; `target`, by default this machine, says what instructions it has.

    Raises
    ------
    NotImplementedError
        If the processor lacks the instructions; the NumPy reading takes over.
    """
    machine = target or host()
    if not machine.fuses or (dtype == "float16" and not machine.converts_halves):
        raise NotImplementedError("row-wise functions need the FMA and F16C instructions")
    jit = numba.njit(error_model="numpy", nogil=True, no_cpython_wrapper=True, forceinline=True)
    words = numba_formulas.primitives(np.float64, narrow=dtype != "float64")
    storage, waiting = Storage(dtype, np.float64, selected=False), Storage("float64", np.float64, selected=False)
    key, number_of, least = _order(storage)
    value, weight, finish = (jit(bind(formula, words, jit)) for formula in (spec.value, spec.weight, spec.backward))
    scope = {
        "get": _get(storage),
        "get_waiting": _get(waiting),
        "put_waiting": put_waiting,
        "key": key,
        "number_of": number_of,
        "where": numba_formulas.where,
        "exp_of_difference": jit(bind(exp_of_difference, {"exp": words["exp"]}, jit)),
        "add": add_in_any_order,
        "address": address,
        "word": word,
        "stack": _stack(BLOCK),
        "stack_of_others": _stack(OTHERS),
        "stack_of_sums": _stack(2 * LANES),
        "clear": clear,
        "add_up": add_up,
        "total": total,
        "compare_and_swap": compare_and_swap,
        "atomic_store": atomic_store,
        "min": min,
        "range": range,
        "weight": weight,
        "WEIGHTS": WEIGHTS,
        "give_values": _sweep(jit(bind(_value_of, {"value": value})), (storage, waiting), storage),
        "give_all": _sweep(value, (storage, *[waiting] * 3), storage),
        "give_gradients": _sweep(finish, (storage, storage), storage),
        "SIZE": storage.size,
        "AGAIN": spec.uses_exponentials,
        "BLOCK": BLOCK,
        "GROUP": GROUP,
        "SHORT": SHORT,
        "PIECE": PIECE,
        "OTHERS": OTHERS,
        "BESIDE": LANES * INTERLEAVE,
        "LEAST": least,
    }
    scope["exponential"] = exponential = jit(bind(_exponential, scope))
    scope["give_exponentials_of"] = _sweep(exponential, (storage,), waiting)
    scope["give_exponentials"] = _sweep(exponential, (storage, waiting), waiting)
    scope["peak_of"], scope["rest_of"] = jit(bind(_peak, scope)), jit(bind(_rest, scope))
    scope["short_rows"] = jit(bind(_short_rows, scope))
    rows = jit(bind(_backward if backward else _value, scope))

    def kernel(operands, n, how):
        rows(operands, n)

    return optimise({"kernel": (SIGNATURE, kernel)}, machine)


def _value_of(x, e, peak, rest):  # arrays come first
    return value(x, peak, e, rest)


def _exponential(x, peak):
    return where(x - peak == 0.0, 1.0, exp_of_difference(x, peak))  # infinity's own is NaN, and stays so


def _peak(x, length):
    top = LEAST
    for j in range(length):
        top = where(key(x, j) > top, key(x, j), top)
    return number_of(top)


def _rest(x, length, peak):  # the sum less 1, without its digits that cancel
    sums, others, peaks = stack_of_sums(), stack_of_others(), 0.0
    clear(sums)
    for begin in range(0, length, OTHERS):
        count = min(OTHERS, length - begin)
        for j in range(count):
            number = get(x, begin + j)
            put_waiting(others, j, where(number - peak == 0.0, 0.0, exp_of_difference(number, peak)))
            peaks = add(peaks, where(number - peak == 0.0, 1.0, 0.0))
        add_up(sums, others, count)
    return total(sums, peaks - 1.0)


def _short_rows(x, y, length, count, waiting):  # side by side, as vectors are longer than they are
    peaks, rests = stack(), stack()
    row = 0
    while row < count:
        group = min(GROUP // length, count - row)
        begin_x, begin_y = x + row * length * SIZE, y + row * length * SIZE
        for k in range(group):
            peak = peak_of(begin_x + k * length * SIZE, length)
            for j in range(length):
                put_waiting(peaks, k * length + j, peak)
        give_exponentials((begin_x, peaks, waiting), group * length, ())
        for k in range(group):
            rest = -1.0
            for j in range(length):
                rest = add(rest, get_waiting(waiting, k * length + j))
            if length > 1 and rest < 0.5:
                rest = rest_of(begin_x + k * length * SIZE, length, get_waiting(peaks, k * length))
            for j in range(length):
                put_waiting(rests, k * length + j, rest)
        give_all((begin_x, peaks, waiting, rests, begin_y), group * length, ())
        row += group


def _value(operands, n):  # x to y
    first, job, waiting, sums = address(operands[0]), address(operands[1]), stack(), stack_of_sums()
    length, room, within, taken = word(job, 0), BLOCK, BLOCK - 1, -1
    row, end = (first + length - 1) // length, (first + n + length - 1) // length
    if length <= SHORT:
        begin = row * length * SIZE
        short_rows(word(job, 1) + begin, word(job, 2) + begin, length, end - row, waiting)
        row = end
    if word(job, 3) != 0 and row < end:
        taken = 0
        while compare_and_swap(word(job, 3) + 8 * taken, 0, 1) == 0:
            taken = where(taken + 1 == word(job, 4), 0, taken + 1)
        waiting, room, within = word(job, 5) + 8 * taken * length, length, -1
    while row < end:
        x, y = word(job, 1) + row * length * SIZE, word(job, 2) + row * length * SIZE
        peak = peak_of(x, length)
        clear(sums)
        for begin in range(0, length, PIECE):
            count, place = min(PIECE, length - begin), begin & within
            give_exponentials_of((x + begin * SIZE, waiting + 8 * place), count & -BESIDE, (peak,))
            for j in range(count & -BESIDE, count):
                put_waiting(waiting, place + j, exponential(get(x, begin + j), peak))
            add_up(sums, waiting + 8 * place, count)
        rest = total(sums, -1.0)
        if rest < 0.5:
            rest = rest_of(x, length, peak)
        begin = 0
        while begin < length:  # a range of a step that varies could raise
            count = min(room, length - begin)
            if AGAIN and length > room:
                for j in range(count):
                    put_waiting(waiting, j, exponential(get(x, begin + j), peak))
            give_values((x + begin * SIZE, waiting, y + begin * SIZE), count, (peak, rest))
            begin += room
        row += 1
    if taken >= 0:
        atomic_store(word(job, 3) + 8 * taken, 0)


def _backward(operands, n):  # dy and y to dx
    first, job = address(operands[0]), address(operands[1])
    length = word(job, 0)
    for row in range((first + length - 1) // length, (first + n + length - 1) // length):
        begin_of_row = row * length * SIZE
        dy, y, dx = word(job, 1) + begin_of_row, word(job, 2) + begin_of_row, word(job, 3) + begin_of_row
        s, lost = 0.0, 0.0
        for begin in range(0, length, WEIGHTS):
            part = 0.0
            for j in range(min(WEIGHTS, length - begin)):
                part = add(part, weight(get(dy, begin + j), get(y, begin + j)))
            whole = s + part
            kept = whole - s
            s, lost = whole, lost + ((s - (whole - kept)) + (part - kept))  # as in `_two_sum`
        give_gradients((dy, y, dx), length, (s + where(lost == lost, lost, 0.0),))
