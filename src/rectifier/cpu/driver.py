"""The driver: brings data of any layout to a kernel, and sets the floating-point state around it.

It is compiled once and serves every kernel. What it needs to know of a loop stands in a `Plan`, an array
of 64-bit words at the address that NumPy hands to the loop as `data`:

    KERNEL      address of the kernel, 0 until it is compiled
    COUNT       of operands: inputs, parameters, outputs, in this order
    FIRST, LAST the parameters are FIRST <= k < LAST, the outputs LAST <= k < COUNT
    MASK        which operand is a mask, -1 if none is
    SIZE + k    bytes of an element of operand k

An operand that does not lie as the kernel wants it passes through a tile of 2 KiB on the stack.
"""

from __future__ import annotations

import functools
import sys
from typing import Any

import numba
from llvmlite import ir
from llvmlite.binding import get_process_triple
from numba import types
from numba.core import cgutils
from numba.extending import intrinsic

from .kernels import OPERANDS, SIGNATURE
from .plan import COUNT, FIRST, KERNEL, LAST, MASK, MAX_OPERANDS, SIZE

TILE = 2048  # bytes an operand; 512 float32. Five operands of a tile fit a 32 KiB L1 cache twice over.
LOOP = types.void(OPERANDS, types.CPointer(types.intp), types.CPointer(types.intp), types.voidptr)

_I1, _I8, _I16, _I32, _I64 = (ir.IntType(bits) for bits in (1, 8, 16, 32, 64))
_BYTES = _I8.as_pointer()


@intrinsic
def words_at(typingctx, pointer):
    """See what `pointer` points at as 64-bit words."""
    kind = types.CPointer(types.intp)
    return kind(types.voidptr), lambda context, builder, signature, values: builder.bitcast(
        values[0], context.get_value_type(kind)
    )


@intrinsic
def offset(typingctx, pointer, distance):
    """Move a pointer by `distance` bytes."""
    return types.voidptr(types.voidptr, types.intp), lambda context, builder, signature, values: builder.gep(
        values[0], [values[1]]
    )


def _stack(builder: ir.IRBuilder, element: ir.Type, n: int) -> ir.Value:
    """Reserve room on the stack; Numba's own way also fills it with zeros, and took LLVM 26 s to compile."""
    with builder.goto_entry_block():
        space = builder.alloca(ir.ArrayType(element, n))
    space.align = 64
    return space


@intrinsic
def tiles(typingctx):
    """Reserve a tile for each operand on the stack, aligned to a cache line."""

    def codegen(context, builder, signature, values):
        return builder.bitcast(_stack(builder, _I8, TILE * MAX_OPERANDS), _BYTES)

    return types.voidptr(), codegen


@intrinsic
def pointers(typingctx):
    """Reserve a pointer for each operand on the stack."""

    def codegen(context, builder, signature, values):
        return builder.bitcast(_stack(builder, _BYTES, MAX_OPERANDS), context.get_value_type(OPERANDS))

    return OPERANDS(), codegen


@intrinsic
def call_kernel(typingctx, kernel, operands, n, uniform):
    """Call the kernel at address `kernel`."""

    def codegen(context, builder, signature, values):
        kind = ir.FunctionType(ir.VoidType(), [context.get_value_type(OPERANDS), _I64, _I64])
        builder.call(builder.inttoptr(values[0], kind.as_pointer()), values[1:])
        return context.get_dummy_value()

    return types.void(types.intp, *SIGNATURE.args), codegen


def _copier(bits: int) -> Any:
    @intrinsic
    def copy(typingctx, target, source):
        """Copy one element; at no point is it a floating-point number, which could lose a NaN's payload."""

        def codegen(context, builder, signature, values):
            kind = ir.IntType(bits).as_pointer()
            element = builder.load(builder.bitcast(values[1], kind))
            element.align = 1
            builder.store(element, builder.bitcast(values[0], kind)).align = 1
            return context.get_dummy_value()

        return types.void(types.voidptr, types.voidptr), codegen

    return copy


_copy8, _copy16, _copy32, _copy64 = map(_copier, (8, 16, 32, 64))


@intrinsic
def pack64(typingctx, target, source):
    """Pack 64 bytes, each 0 or 1, into 64 bits: one vector compare."""

    def codegen(context, builder, signature, values):
        row = ir.VectorType(_I8, 64)
        flags = builder.load(builder.bitcast(values[1], row.as_pointer()))
        flags.align = 1
        bits = builder.bitcast(builder.icmp_unsigned("!=", flags, ir.Constant(row, [0] * 64)), _I64)
        builder.store(bits, builder.bitcast(values[0], _I64.as_pointer())).align = 1
        return context.get_dummy_value()

    return types.void(types.voidptr, types.voidptr), codegen


@intrinsic
def unpack64(typingctx, target, source):
    """Unpack 64 bits into 64 bytes, each 0 or 1."""

    def codegen(context, builder, signature, values):
        word = builder.load(builder.bitcast(values[1], _I64.as_pointer()))
        word.align = 1
        row = ir.VectorType(_I8, 64)
        flags = builder.zext(builder.bitcast(word, ir.VectorType(_I1, 64)), row)
        builder.store(flags, builder.bitcast(values[0], row.as_pointer())).align = 1
        return context.get_dummy_value()

    return types.void(types.voidptr, types.voidptr), codegen


def _architecture() -> str:
    return str(get_process_triple()).split("-")[0]


@intrinsic
def enter_default_floating_point(typingctx):
    """Save the floating-point control word and set the default: to nearest, subnormals kept, nothing traps."""

    def codegen(context, builder, signature, values):
        module = builder.module
        if _architecture() == "x86_64":
            kind = ir.FunctionType(ir.VoidType(), [_BYTES])
            saved, default = cgutils.alloca_once(builder, _I32), cgutils.alloca_once(builder, _I32)
            builder.store(ir.Constant(_I32, 0x1F80), default)
            read = cgutils.get_or_insert_function(module, kind, "llvm.x86.sse.stmxcsr")
            write = cgutils.get_or_insert_function(module, kind, "llvm.x86.sse.ldmxcsr")
            builder.call(read, [builder.bitcast(saved, _BYTES)])
            builder.call(write, [builder.bitcast(default, _BYTES)])
            return builder.zext(builder.load(saved), _I64)
        read = cgutils.get_or_insert_function(module, ir.FunctionType(_I64, []), "llvm.aarch64.get.fpcr")
        write = cgutils.get_or_insert_function(module, ir.FunctionType(ir.VoidType(), [_I64]), "llvm.aarch64.set.fpcr")
        saved = builder.call(read, [])
        builder.call(write, [_I64(0)])
        return saved

    return types.intp(), codegen


@intrinsic
def leave_default_floating_point(typingctx, saved):
    """Restore the floating-point control word; on x86 the flags are part of it, so no caller sees any raised."""

    def codegen(context, builder, signature, values):
        module = builder.module
        if _architecture() == "x86_64":
            word = cgutils.alloca_once(builder, _I32)
            builder.store(builder.trunc(values[0], _I32), word)
            kind = ir.FunctionType(ir.VoidType(), [_BYTES])
            write = cgutils.get_or_insert_function(module, kind, "llvm.x86.sse.ldmxcsr")
            builder.call(write, [builder.bitcast(word, _BYTES)])
            return context.get_dummy_value()
        kind = ir.FunctionType(ir.VoidType(), [_I64])
        builder.call(cgutils.get_or_insert_function(module, kind, "llvm.aarch64.set.fpcr"), [values[0]])
        builder.call(cgutils.get_or_insert_function(module, kind, "llvm.aarch64.set.fpsr"), [_I64(0)])
        return context.get_dummy_value()

    return types.void(types.intp), codegen


_jit = numba.njit(error_model="numpy", nogil=True, no_cpython_wrapper=True)


@_jit
def _copy_elements(target, target_step, source, source_step, n, size):
    if size == 4:
        for i in range(n):
            _copy32(offset(target, i * target_step), offset(source, i * source_step))
    elif size == 8:
        for i in range(n):
            _copy64(offset(target, i * target_step), offset(source, i * source_step))
    elif size == 2:
        for i in range(n):
            _copy16(offset(target, i * target_step), offset(source, i * source_step))
    else:
        for i in range(n):
            _copy8(offset(target, i * target_step), offset(source, i * source_step))


@_jit
def _pack(mask, tile, n):
    flags = tiles_as_bytes(tile)
    for i in range(n, (n + 63) // 64 * 64):
        flags[i] = 0  # the bits after the last are 0, so that equal masks have equal bytes
    whole = n // 64
    for i in range(whole):
        pack64(offset(mask, 8 * i), offset(tile, 64 * i))
    if n % 64:
        word = pointers()
        last = untyped(word)
        pack64(last, offset(tile, 64 * whole))
        _copy_elements(offset(mask, 8 * whole), 1, last, 1, (n % 64 + 7) // 8, 1)


@_jit
def _unpack(tile, mask, n):
    whole = n // 64
    for i in range(whole):
        unpack64(offset(tile, 64 * i), offset(mask, 8 * i))
    if n % 64:
        last = untyped(pointers())
        _copy_elements(last, 1, offset(mask, 8 * whole), 1, (n % 64 + 7) // 8, 1)
        unpack64(offset(tile, 64 * whole), last)


@intrinsic
def address(typingctx, pointer):
    """Give a pointer as a number."""
    return types.intp(types.voidptr), lambda context, builder, signature, values: builder.ptrtoint(values[0], _I64)


@intrinsic
def tiles_as_bytes(typingctx, tile):
    """See a tile as bytes that can be indexed."""
    kind = types.CPointer(types.uint8)
    return kind(types.voidptr), lambda context, builder, signature, values: builder.bitcast(
        values[0], context.get_value_type(kind)
    )


@intrinsic
def untyped(typingctx, pointer):
    """Forget what a pointer points at."""
    return types.voidptr(OPERANDS), lambda context, builder, signature, values: builder.bitcast(values[0], _BYTES)


@_jit
def _drive(plan, arrays, steps, n):
    """Run the kernel over `n` elements, `steps` bytes apart, a tile at a time."""
    count, first, last, mask = plan[COUNT], plan[FIRST], plan[LAST], plan[MASK]
    uniform, largest = 1, 1
    for k in range(count):
        largest = max(largest, plan[SIZE + k])
        if first <= k < last and steps[k] != 0:
            uniform = 0
    length = TILE // largest // 64 * 64  # whole mask words
    space, pieces = tiles(), pointers()
    start = 0
    while start < n:
        m = min(length, n - start)
        for k in range(count):
            size, step = plan[SIZE + k], steps[k]
            here, tile = offset(arrays[k], start * step), offset(space, k * TILE)
            if k == mask:
                pieces[k] = tile
                if k < last:
                    _unpack(tile, offset(arrays[k], start // 8), m)
            elif step == size or (first <= k < last and uniform):
                pieces[k] = here
            else:
                pieces[k] = tile
                if k < last and (step != 0 or start == 0):
                    _copy_elements(tile, size, here, step, m, size)
        call_kernel(plan[KERNEL], pieces, m, uniform)
        for k in range(last, count):
            size, step = plan[SIZE + k], steps[k]
            if k == mask:
                _pack(offset(arrays[k], start // 8), pieces[k], m)
            elif step != size:
                _copy_elements(offset(arrays[k], start * step), step, pieces[k], size, m, size)
        start += m


@_jit
def _fold(plan, arrays, steps, n):
    """Run the kernel element by element: in ``reduce`` and ``accumulate`` each result is an operand of the next."""
    here = pointers()
    for i in range(n):
        for k in range(plan[COUNT]):
            here[k] = offset(arrays[k], i * steps[k])
        call_kernel(plan[KERNEL], here, 1, 1)


def _elementwise_loop(arrays, dims, steps, data):
    """Be the inner loop of a ufunc: one dimension, `steps` bytes from element to element."""
    plan, n = words_at(data), dims[0]
    first, last = plan[FIRST], plan[LAST]
    contiguous, one_number_each, arrays_of_them = True, True, True
    for k in range(plan[COUNT]):
        if first <= k < last:
            one_number_each &= steps[k] == 0
            arrays_of_them &= steps[k] == plan[SIZE + k]
        else:
            contiguous &= steps[k] == plan[SIZE + k]
    saved = enter_default_floating_point()
    if n > 1 and address(arrays[0]) + steps[0] == address(arrays[last]):
        _fold(plan, arrays, steps, n)
    elif n == 1 or (n > 1 and contiguous and (one_number_each or arrays_of_them)):
        call_kernel(plan[KERNEL], arrays, n, n == 1 or one_number_each)
    else:
        _drive(plan, arrays, steps, n)
    leave_default_floating_point(saved)


def _mask_loop(arrays, dims, steps, data):
    """Be the inner loop of a generalised ufunc whose every operand has one core dimension.

    `dims` are the outer length and the core lengths, in the order in which the signature names them: up
    to the parameters, that of operand k is dims[1 + k]. `steps` are the outer ones, then the inner.
    """
    plan, outer, n = words_at(data), dims[0], dims[1]
    count, first, last = plan[COUNT], plan[FIRST], plan[LAST]
    here, inner = pointers(), words_at(untyped(pointers()))
    for k in range(count):
        one_number = first <= k < last and dims[1 + k] == 1
        inner[k] = 0 if one_number else steps[count + k]
    saved = enter_default_floating_point()
    for i in range(outer):
        for k in range(count):
            here[k] = offset(arrays[k], i * steps[k])
        _drive(plan, here, inner, n)
    leave_default_floating_point(saved)


@functools.cache
def elementwise_loop() -> Any:
    """Compile the inner loop of every elementwise ufunc."""
    return _compile(_elementwise_loop)


@functools.cache
def mask_loop() -> Any:
    """Compile the inner loop of every ufunc that makes or reads a mask."""
    return _compile(_mask_loop)


def _compile(loop: Any) -> Any:
    if sys.byteorder != "little" or _architecture() not in ("x86_64", "aarch64", "arm64"):
        raise NotImplementedError(f"no driver for {sys.byteorder}-endian {_architecture()}")
    return numba.cfunc(LOOP, error_model="numpy")(loop)
