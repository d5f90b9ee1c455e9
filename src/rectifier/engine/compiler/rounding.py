"""Between the formats of floating-point numbers, in LLVM: what its own conversions do not do, or not as fast."""

from __future__ import annotations

from llvmlite import ir

from .vectors import constant, like

_I16, _I32, _I64 = (ir.IntType(bits) for bits in (16, 32, 64))
_SINGLE, _DOUBLE = ir.FloatType(), ir.DoubleType()


def widen_bfloat(builder: ir.IRBuilder, stored: ir.Value) -> ir.Value:
    """Make float32 of the bits of bfloat16: its upper half."""
    bits = like(stored.type, _I32)
    return builder.bitcast(builder.shl(builder.zext(stored, bits), constant(bits, 16)), like(bits, _SINGLE))


def round_to_bfloat(builder: ir.IRBuilder, bits: ir.Value) -> ir.Value:
    """Round the bits of a float32 that is not NaN to those of a bfloat16, to even.

    In integers: AVX-512's vcvtneps2bf16 flushes subnormals whatever MXCSR says.
    """
    kind = bits.type
    odd = builder.and_(builder.lshr(bits, constant(kind, 16)), constant(kind, 1))
    rounded = builder.add(bits, builder.add(odd, constant(kind, 0x7FFF)))
    return builder.trunc(builder.lshr(rounded, constant(kind, 16)), like(kind, _I16))


# Round to odd, and a second rounding takes the result for the exact number: S. Boldo and G. Melquiond, "Emulation of
# FMA and correctly rounded sums", IEEE Trans. Computers 57 (2008).


def to_odd(builder: ir.IRBuilder, number: ir.Value) -> ir.Value:
    """Round a float64 to 24 bits, inexact results to the odd neighbour; five instructions.

    A float32 has as many bits unless it is subnormal.
    """
    kind = like(number.type, _I64)
    lost = constant(kind, (1 << 29) - 1)
    bits = builder.bitcast(number, kind)
    sticky = builder.add(builder.and_(bits, lost), lost)
    kept = builder.and_(builder.or_(bits, sticky), constant(kind, -1 << 29))
    return builder.bitcast(kept, number.type)


def to_odd_single(builder: ir.IRBuilder, number: ir.Value) -> ir.Value:
    """Round a float64 to the bits of a float32, subnormals too, inexact results to the odd neighbour."""
    single = builder.fptrunc(number, _SINGLE)
    back, bits = builder.fpext(single, _DOUBLE), builder.bitcast(single, _I32)
    magnitudes = [builder.and_(builder.bitcast(x, _I64), _I64((1 << 63) - 1)) for x in (back, number)]
    step = builder.select(builder.icmp_unsigned("<", *magnitudes), _I32(1), _I32(-1))
    inexact = builder.fcmp_ordered("!=", back, number)
    even = builder.icmp_unsigned("==", builder.and_(bits, _I32(1)), _I32(0))
    return builder.select(builder.and_(inexact, even), builder.add(bits, step), bits)
