"""Between the formats of floating-point numbers, in LLVM: what its own conversions do not do, or not as fast."""

from __future__ import annotations

from llvmlite import ir

_I16, _I32, _I64 = (ir.IntType(bits) for bits in (16, 32, 64))
_SINGLE, _DOUBLE = ir.FloatType(), ir.DoubleType()
FLOATS = {"float16": ir.HalfType(), "float32": _SINGLE, "float64": _DOUBLE}  # bfloat16 is seen as an integer


class BFloat(ir.types._BaseFloatType):  # type: ignore[misc]
    """LLVM's bfloat, which llvmlite lacks."""

    null = "0.0"
    intrinsic_name = "bf16"

    def __str__(self) -> str:
        return "bfloat"


BFloat._create_instance()


def widen_bfloat(builder: ir.IRBuilder, stored: ir.Value) -> ir.Value:
    """Make float32 of the bits of bfloat16, of one or a vector: its upper half. LLVM vectorises no bfloat."""
    bits, single, sixteen = _I32, _SINGLE, ir.Constant(_I32, 16)
    if isinstance(stored.type, ir.VectorType):
        bits, single = (ir.VectorType(kind, stored.type.count) for kind in (_I32, _SINGLE))
        sixteen = ir.Constant(bits, [16] * stored.type.count)
    return builder.bitcast(builder.shl(builder.zext(stored, bits), sixteen), single)


def round_to_bfloat(builder: ir.IRBuilder, bits: ir.Value) -> ir.Value:
    """Round the bits of a float32 that is not NaN to those of a bfloat16, to even.

    In integers: AVX-512's vcvtneps2bf16 flushes subnormals whatever MXCSR says.
    """
    odd = builder.and_(builder.lshr(bits, ir.Constant(_I32, 16)), ir.Constant(_I32, 1))
    rounded = builder.add(bits, builder.add(odd, ir.Constant(_I32, 0x7FFF)))
    return builder.trunc(builder.lshr(rounded, ir.Constant(_I32, 16)), _I16)


# Round to odd, and a second rounding takes the result for the exact number: S. Boldo and G. Melquiond, "Emulation of
# FMA and correctly rounded sums", IEEE Trans. Computers 57 (2008).


def to_odd(builder: ir.IRBuilder, number: ir.Value) -> ir.Value:
    """Round a float64 to 24 bits, inexact results to the odd neighbour; five instructions, of a vector as well.

    A float32 has as many bits unless it is subnormal.
    """
    lost = _I64((1 << 29) - 1)
    bits = builder.bitcast(number, _I64)
    sticky = builder.add(builder.and_(bits, lost), lost)
    return builder.bitcast(builder.and_(builder.or_(bits, sticky), builder.not_(lost)), _DOUBLE)


def to_odd_single(builder: ir.IRBuilder, number: ir.Value) -> ir.Value:
    """Round a float64 to the bits of a float32, subnormals too, inexact results to the odd neighbour."""
    single = builder.fptrunc(number, _SINGLE)
    back, bits = builder.fpext(single, _DOUBLE), builder.bitcast(single, _I32)
    magnitudes = [builder.and_(builder.bitcast(x, _I64), _I64((1 << 63) - 1)) for x in (back, number)]
    step = builder.select(builder.icmp_unsigned("<", *magnitudes), _I32(1), _I32(-1))
    inexact = builder.fcmp_ordered("!=", back, number)
    even = builder.icmp_unsigned("==", builder.and_(bits, _I32(1)), _I32(0))
    return builder.select(builder.and_(inexact, even), builder.add(bits, step), bits)
