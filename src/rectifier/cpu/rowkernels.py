"""Kernels of row-wise functions: ``void kernel(void **operands, intp n, intp how)`` (`rowwise`)."""

# mypy: disable-error-code="name-defined"

from __future__ import annotations

import re
from typing import Any

import numba
import numpy as np
from llvmlite import ir
from numba import types
from numba.core import cgutils
from numba.extending import intrinsic

from .._block import RowBlock
from ..words import cpu, rebind
from ..words.text import describe
from .kernels import SIGNATURE, Storage
from .store import Optimised, has, optimise

BLOCK = 2048  # numbers that wait on the stack: exponentials, and results, so that a loop never reads what it writes
PIECE = 256  # numbers whose sum is rounded by itself: 5,000 in one sum were off by 16 units in the last place
_I64 = ir.IntType(64)


@intrinsic
def address(typingctx, pointer):
    """Give a pointer as an integer."""
    return types.int64(pointer), lambda context, builder, signature, values: builder.ptrtoint(values[0], _I64)


@intrinsic
def word(typingctx, base, k):
    """Load a 64-bit word."""

    def codegen(context, builder, signature, values):
        return builder.load(builder.gep(builder.inttoptr(values[0], _I64.as_pointer()), [values[1]]))

    return types.int64(types.int64, types.int64), codegen


@intrinsic
def stack(typingctx):
    """Give the address of `BLOCK` float64 on the stack."""

    def codegen(context, builder, signature, values):
        return builder.ptrtoint(cgutils.alloca_once(builder, ir.ArrayType(ir.DoubleType(), BLOCK)), _I64)

    return types.int64(), codegen


@intrinsic
def add_in_any_order(typingctx, x, y):
    """Add, where LLVM may choose the order of a sum: by lanes of a vector."""
    return types.float64(types.float64, types.float64), lambda context, builder, signature, values: builder.fadd(
        values[0], values[1], flags=("reassoc",)
    )


def _memory(storage: Storage) -> tuple[Any, Any]:
    """Make the functions that load and store element k of an array in a dtype."""

    @intrinsic
    def get(typingctx, base, k):
        def codegen(context, builder, signature, values):
            pointer = builder.gep(builder.inttoptr(values[0], storage.type.as_pointer()), [values[1]])
            stored = builder.load(pointer)
            stored.align = storage.size
            return storage.widen(builder, stored)

        return types.float64(types.int64, types.int64), codegen

    @intrinsic
    def put(typingctx, base, k, number):
        def codegen(context, builder, signature, values):
            pointer = builder.gep(builder.inttoptr(values[0], storage.type.as_pointer()), [values[1]])
            builder.store(storage.narrow(builder, values[2]), pointer).align = storage.size
            return context.get_dummy_value()

        return types.void(types.int64, types.int64, types.float64), codegen

    return get, put


def compile_kernel(block: RowBlock, backward: bool, dtype: str) -> Optimised:
    """Compile the kernel of a direction in a dtype.

    Raises
    ------
    NotImplementedError
        If the processor lacks the instructions; the NumPy reading takes over.
    """
    if not has("fma") or (dtype == "float16" and not has("f16c")):
        raise NotImplementedError("row-wise functions need the FMA and F16C instructions")
    jit = numba.njit(error_model="numpy", nogil=True, no_cpython_wrapper=True, forceinline=True)
    words = cpu.words(np.float64, narrow=dtype != "float64")
    get, put = _memory(Storage(dtype, np.float64, selected=False))
    get_waiting, put_waiting = _memory(Storage("float64", np.float64, selected=False))
    scope = {
        "get": get,
        "put": put,
        "get_waiting": get_waiting,
        "put_waiting": put_waiting,
        "where": cpu.where,
        "bits": cpu.bits,
        "from_bits": cpu.from_bits,
        "exp_of_difference": jit(rebind(_exp_of_difference, {"exp": words["exp"]}, jit)),
        "add": add_in_any_order,
        "address": address,
        "word": word,
        "stack": stack,
        "min": min,
        "range": range,
        "value": jit(rebind(block.value, words, jit)),
        "weight": jit(rebind(block.weight, words, jit)),
        "finish": jit(rebind(block.backward, words, jit)),
        "SIZE": np.dtype("u2" if dtype == "bfloat16" else dtype).itemsize,
        "AGAIN": re.search(r"\be\b", describe(block.value)) is not None,
        "BLOCK": BLOCK,
        "PIECE": PIECE,
        "HIGH": np.int64(0x7FFFFFFFFFFFFFFF),
        "LEAST": np.int64(-(2**63)),
    }
    rows = jit(rebind(_backward if backward else _value, scope))

    def kernel(operands, n, how):
        rows(operands, n)

    return optimise({"kernel": (SIGNATURE, kernel)})


def _exp_of_difference(x, peak):
    # An exponent's rounding error is a relative one of its exponential: 18 units in the last place at exp(-18).
    d = x - peak
    less = d - x
    return exp(d, (x - (d - less)) - (peak + less))


def _value(operands, n):  # x to y
    first, job, waiting = address(operands[0]), address(operands[1]), stack()
    length = word(job, 0)
    for row in range((first + length - 1) // length, (first + n + length - 1) // length):
        x, y = word(job, 1) + row * length * SIZE, word(job, 2) + row * length * SIZE
        top = LEAST
        for j in range(length):
            key = bits(get(x, j))
            key = key ^ ((key >> 63) & HIGH)  # as integers, numbers are in order, and their maximum is vector code
            top = where(key > top, key, top)
        peak = from_bits(top ^ ((top >> 63) & HIGH))
        rest = -1.0
        for begin in range(0, length, PIECE):
            part, place = 0.0, begin & (BLOCK - 1)
            for j in range(min(PIECE, length - begin)):
                number = get(x, begin + j)
                e = where(
                    number - peak == 0.0, 1.0, exp_of_difference(number, peak)
                )  # infinity's own is NaN, and stays so
                put_waiting(waiting, place + j, e)
                part = add(part, e)
            rest += part
        if length > 1 and rest < 0.5:  # the sum less 1, without its digits that cancel
            rest = 0.0
            peaks = 0.0
            for j in range(length):
                number = get(x, j)
                rest = add(rest, where(number - peak == 0.0, 0.0, exp_of_difference(number, peak)))
                peaks = add(peaks, where(number - peak == 0.0, 1.0, 0.0))
            rest = rest + (peaks - 1.0)
        for begin in range(0, length, BLOCK):
            count = min(BLOCK, length - begin)
            if AGAIN and length > BLOCK:  # only a short row is still there
                for j in range(count):
                    put_waiting(waiting, j, exp_of_difference(get(x, begin + j), peak))
            for j in range(count):
                put_waiting(waiting, j, value(get(x, begin + j), peak, get_waiting(waiting, j), rest))
            for j in range(count):
                put(y, begin + j, get_waiting(waiting, j))


def _backward(operands, n):  # dy and y to dx
    first, job, waiting = address(operands[0]), address(operands[1]), stack()
    length = word(job, 0)
    for row in range((first + length - 1) // length, (first + n + length - 1) // length):
        begin_of_row = row * length * SIZE
        dy, y, dx = word(job, 1) + begin_of_row, word(job, 2) + begin_of_row, word(job, 3) + begin_of_row
        s = 0.0
        for begin in range(0, length, PIECE):
            part = 0.0
            for j in range(min(PIECE, length - begin)):
                part = add(part, weight(get(dy, begin + j), get(y, begin + j)))
            s += part
        for begin in range(0, length, BLOCK):
            count = min(BLOCK, length - begin)
            for j in range(count):
                put_waiting(waiting, j, finish(get(dy, begin + j), get(y, begin + j), s))
            for j in range(count):
                put(dx, begin + j, get_waiting(waiting, j))
