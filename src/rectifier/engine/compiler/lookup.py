"""Kernels that look bytes up in a table: of one byte, or of two, which are an index of 16 bits.

Where the processor permutes bytes over registers (AVX-512 VBMI), a table of 256 lies in four of them, and 64 bytes take
two permutations and a selection. Where not, every byte is a load of its own, as is every pair of them.
"""

from __future__ import annotations

from llvmlite import ir

from ..runtime.layout import LINE
from .instructions import Module, external
from .kernels import SIGNATURE
from .optimise import PREFIX, Optimised, optimise
from .storage import Storage
from .strips import Array, Strips, loop
from .target import Target, host
from .vectors import constant

_I8, _I64 = ir.IntType(8), ir.IntType(64)
_LINE = ir.VectorType(_I8, LINE)
UNROLLED = 8  # bytes of a step of loads


def compile_kernel(inputs: int, target: Target | None = None) -> Optimised:
    """Compile a kernel, whose operands are one or two arrays of bytes, the table, and the array of results."""
    machine = target or host()
    module = Module(machine)
    function = ir.Function(module, SIGNATURE, PREFIX + "kernel")
    function.attributes.add("nounwind")
    operands, n, how = function.args
    b = ir.IRBuilder(function.append_basic_block())
    pointers = [b.bitcast(b.load(b.gep(operands, [_I64(k)])), _I8.as_pointer()) for k in range(inputs + 2)]
    if inputs == 1 and machine.permutes_bytes:
        _permute(b, pointers, n, how)
    else:
        _load(b, pointers, n)
    b.ret_void()
    return optimise(module, ("kernel",), machine)


def _permute(b: ir.IRBuilder, pointers: list[ir.Value], n: ir.Value, how: ir.Value) -> None:
    x, table, y = pointers
    byte = Storage("uint8", "uint8")
    quarters = []
    for k in range(4):
        quarter = b.load(b.bitcast(b.gep(table, [_I64(k * LINE)]), _LINE.as_pointer()))
        quarter.align = 1
        quarters.append(quarter)
    permute = external(b, "llvm.x86.avx512.vpermi2var.qi.512", _LINE, [_LINE] * 3)

    def evaluate(loaded: list[ir.Value]) -> list[ir.Value]:
        (index,) = loaded
        low, high = (b.call(permute, [quarters[k], index, quarters[k + 1]]) for k in (0, 2))
        return [b.select(b.icmp_signed("<", index, constant(_LINE, 0)), high, low)]

    Strips(b, 2 * LINE, LINE, [Array(byte, x)], [Array(byte, y)], n, evaluate).emit(how, once=False)


def _load(b: ir.IRBuilder, pointers: list[ir.Value], n: ir.Value) -> None:
    *inputs, table, y = pointers

    def look_up(i: ir.Value) -> None:
        index = _I64(0)
        for k, pointer in enumerate(inputs):
            index = b.or_(index, b.shl(b.zext(b.load(b.gep(pointer, [i])), _I64), _I64(8 * k)))
        b.store(b.load(b.gep(table, [index])), b.gep(y, [i]))

    def several(i: ir.Value) -> None:
        for k in range(UNROLLED):
            look_up(b.add(i, _I64(k)))

    whole = b.and_(n, _I64(-UNROLLED))
    loop(b, _I64(0), whole, UNROLLED, several)
    loop(b, whole, n, 1, look_up)
