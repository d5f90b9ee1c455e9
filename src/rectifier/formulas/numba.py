"""Numba scalars: branch-free, so that LLVM turns a loop over them into vector code.

The smooth primitives compute in float64. Each has two forms: one for float64 results, and one at half the cost, whose
error of 2^-28 is a twentieth of a unit in the last place of float32. They take any x: the results are right in all of
float64, and of the second form in all of float32.
"""

from __future__ import annotations

from typing import Any

import numpy as np
from llvmlite import ir
from numba import njit, types
from numba.extending import intrinsic

from ..functions.dtypes import FLOATS, FORMATS
from . import polynomials

_word = njit(error_model="numpy", nogil=True, no_cpython_wrapper=True, forceinline=True)


@intrinsic
def where(typingctx, condition, x, y):
    """Select `x` or `y`: one instruction, where a conditional expression is a jump until LLVM removes it."""
    result = typingctx.unify_types(x, y)

    def codegen(context, builder, signature, values):
        chosen = context.cast(builder, values[1], x, result)
        other = context.cast(builder, values[2], y, result)
        return builder.select(values[0], chosen, other)

    return result(condition, x, y), codegen


@intrinsic
def fma(typingctx, x, y, z):
    """Return x * y + z, rounded once."""
    return _typed("fma", x, y, z)


@intrinsic
def sqrt(typingctx, x):
    """Return the square root."""
    return _typed("sqrt", x)


@intrinsic
def fabs(typingctx, x):
    """Clear the sign."""
    return _typed("fabs", x)


@intrinsic
def copysign(typingctx, x, y):
    """Return x with the sign of y."""
    return _typed("copysign", x, y)


def _typed(name: str, *operands: Any) -> Any:
    result = operands[0]

    def codegen(context, builder, signature, values):
        kind = context.get_value_type(result)
        numbers = [context.cast(builder, value, given, result) for value, given in zip(values, operands, strict=True)]
        function = builder.module.declare_intrinsic(
            f"llvm.{name}", [kind], ir.FunctionType(kind, [kind] * len(numbers))
        )
        return builder.call(function, numbers)

    return result(*operands), codegen


@intrinsic
def bits(typingctx, x):
    """View a float64 as an integer."""
    return types.int64(types.float64), lambda context, builder, signature, values: builder.bitcast(
        values[0], ir.IntType(64)
    )


@intrinsic
def from_bits(typingctx, n):
    """View an integer as a float64."""
    return types.float64(types.int64), lambda context, builder, signature, values: builder.bitcast(
        values[0], ir.DoubleType()
    )


def polynomial(coefficients: tuple[float, ...]) -> Any:
    """Make a function that evaluates a polynomial by Horner's rule, which takes the fewest operations."""
    text = repr(coefficients[-1])
    for coefficient in coefficients[-2::-1]:
        text = f"fma({text}, x, {coefficient!r})"
    namespace = {"fma": fma}
    exec(f"def evaluate(x):\n    return {text}", namespace)
    return _word(namespace["evaluate"])


exp_narrow_polynomial = polynomial(polynomials.EXP_NARROW)
expm1_narrow_polynomial = polynomial(polynomials.EXPM1_NARROW)
log1p_narrow_polynomial = polynomial(polynomials.LOG1P_NARROW)
erfcx_narrow_polynomial = polynomial(polynomials.ERFCX_NARROW)
exp_polynomial = polynomial(polynomials.EXP)
log_polynomial = polynomial(polynomials.LOG)
erfcx_polynomial = polynomial(polynomials.ERFCX[2:])
ERFCX_0, ERFCX_1 = polynomials.ERFCX[:2]
ERFCX_0_TAIL = polynomials.ERFCX_TAIL

LOG2_E = 1.4426950408889634
LN2_HIGH = 0.6931471805598903  # 42 bits, so that its products with exponents are exact
LN2_LOW = 5.497923018708371e-14
# Added to a number, this leaves its nearest integer in the lowest bits; subtracted again, as a float64.
ROUND = 1.5 * 2.0**52
ONE = np.int64(0x3FF0000000000000)  # the bits of 1.0
SQRT_HALF = np.int64(0x3FE6A09E667F3BCD)  # the bits of sqrt(1/2)
INFINITY = np.inf
NOT_A_NUMBER = np.nan


@_word
def times_power_of_two(y, n):
    """Multiply by 2^k, where n is k + ROUND and the product a normal number."""
    return from_bits(bits(y) + (bits(n) << 52))


@_word
def power_of_two(n):
    """Return 2^k, where n is k + ROUND."""
    return from_bits(ONE + (bits(n) << 52))


@_word
def between(x, low, high):
    """Clip, and leave NaN; which operand comes first makes one instruction of each line."""
    x = where(x < low, low, x)
    return where(x > high, high, x)


@_word
def reduced_narrow(x):
    """Take exp(x) apart: 2^k 2^r, where k + ROUND comes first."""
    x = between(x, -700.0, 700.0)
    n = fma(x, LOG2_E, ROUND)
    return n, fma(x, LOG2_E, -(n - ROUND))


@_word
def exp_narrow(x, tail=0.0):
    n, r = reduced_narrow(x)
    return times_power_of_two(exp_narrow_polynomial(r), n)


@_word
def expm1_narrow(x, tail=0.0):
    n, r = reduced_narrow(x)
    scale = power_of_two(n)
    return copysign(fma(scale, r * expm1_narrow_polynomial(r), scale - 1.0), x)


@_word
def log1p_narrow(x):
    u = x + 1.0
    n = (bits(u) - SQRT_HALF) >> 52
    scale = from_bits(ONE - (n << 52))
    f = fma(x, scale, scale - 1.0)
    y = fma(from_bits(bits(ROUND) + n) - ROUND, LN2_HIGH, f * log1p_narrow_polynomial(f))
    return log_at_edges(u, y, x)


@_word
def log_at_edges(u, y, x):
    """Return log(u) where y is not."""
    y = where(u > 0.0, y, where(u == 0.0, -INFINITY, NOT_A_NUMBER))
    return where(u < INFINITY, y, x)


@_word
def exp_parts_narrow(x, tail):
    return exp_narrow(x), 1.0


@_word
def whole_narrow(x, tail):
    return x


@_word
def quotient_narrow(x, x_tail, y, y_tail):
    return x / y


@_word
def erfcx_narrow(x, tail):
    u = 1.0 / (x + 3.25)
    return 2.0 * (u * erfcx_narrow_polynomial(u)), 0.0


@_word
def reduced(x, tail):
    """Take exp(x + tail) apart: 2^k (1 + r + p), where k + ROUND comes first and p is below r^2."""
    n = fma(x, LOG2_E, ROUND)
    k = n - ROUND
    high, low = fma(-k, LN2_HIGH, x), k * LN2_LOW
    r = high - low
    p = fma(r * r, fma(r, exp_polynomial(r), 0.5), (high - r) - low)
    tail = where(fabs(tail) < 1.0, tail, 0.0)  # that of an infinite x is none
    return n, r, fma(tail, 1.0 + r + p, p)


@_word
def exp_parts_wide(x, tail):
    n, r, p = reduced(between(x, -1400.0, 710.0), tail)
    high = 1.0 + r
    y = high + ((1.0 - high) + r + p)
    half = fma(n - ROUND, 0.5, ROUND)
    return y * power_of_two(half), power_of_two((n - ROUND) - (half - ROUND) + ROUND)


@_word
def exp_wide(x, tail=0.0):
    # Of two factors, since 2^k may be subnormal or infinite where the result is not.
    y, scale = exp_parts_wide(x, tail)
    return y * scale


@_word
def whole_wide(x, tail):
    return where(tail == 0.0, x, x + tail)  # -0.0 stays


@_word
def quotient_wide(x, x_tail, y, y_tail):
    r = 1.0 / y
    q = x * r
    rest = fma(-q, y_tail, fma(-q, y, x) + x_tail)
    # The rest of an infinite quotient is NaN, and that of -0.0 would make it 0.0.
    return where((fabs(rest) < INFINITY) & (q != 0.0), fma(r, rest, q), q)


@_word
def expm1_wide(x, tail=0.0):
    n, r, p = reduced(between(x, -746.0, 710.0), tail)
    # 2^k in two steps, as above; 2^1024 would be infinite.
    m = where(n - ROUND > 1023.0, n - 1.0, n)
    scale = power_of_two(where(m - ROUND < -1000.0, ROUND - 1000.0, m))
    high = fma(scale, r, scale - 1.0)
    y = high + (fma(scale, r, (scale - 1.0) - high) + scale * p)
    return copysign(where(n - ROUND > 1023.0, y * 2.0, y), x)


@_word
def log1p_wide(x):
    u = x + 1.0
    n = (bits(u) - SQRT_HALF) >> 52
    scale = from_bits(ONE - (where(n > 60, np.int64(60), n) << 52))
    f = fma(x, scale, scale - 1.0)
    lost = fma(x, scale, (scale - 1.0) - f)
    large = n > 60
    f = where(large, from_bits(bits(u) - (n << 52)) - 1.0, f)
    lost = where(large, 0.0, lost)
    s = f / (2.0 + f)
    z = s * s
    half = 0.5 * f * f
    k = from_bits(bits(ROUND) + n) - ROUND
    # FreeBSD's e_log.c has this order of the sum.
    y = k * LN2_HIGH - (half - fma(s, half + z * log_polynomial(z), fma(k, LN2_LOW, lost)) - f)
    return log_at_edges(u, where(fabs(x) < 2.0**-54, x, y), x)


@_word
def erfcx_wide(x, tail):
    high, low = x + 4.0, x - 4.0
    r = 1.0 / high
    t = low * r
    # What rounding took from t, for a polynomial that is steep at -1.
    rest = fma(-t, high, low) + ((x - (low + 4.0) + tail) - t * (x - (high - 4.0) + tail))
    last = fma(t, erfcx_polynomial(t), ERFCX_1)
    term = t * last
    y = ERFCX_0 + term
    d = fma(2.0, x, 1.0)
    e = y / d
    steep = fma(2.0, e, d * fma(2.0 * x, e, -1.1283791670955126)) * (high * high * 0.125)
    lost = ((ERFCX_0 - y) + term) + fma(steep, rest * r, fma(t, last, -term) + ERFCX_0_TAIL)
    d_lost = fma(2.0, x, 1.0 - d) + 2.0 * tail
    return e, fma(-e, d_lost, fma(-e, d, y) + lost) / d


def rounding(T: type[np.generic], dtype: str) -> Any:
    """Make the function that rounds a literal to a dtype and gives it the working type; LLVM makes a constant of it."""
    dropped = np.int64(53 - (FORMATS[dtype].significand if dtype in FLOATS else 53))
    if dropped == 0:
        return T
    below = (np.int64(1) << (dropped - np.int64(1))) - np.int64(1)  # half of the last place, less 1

    @_word
    def stored(x):
        n = bits(x)
        return T(from_bits((n + below + ((n >> dropped) & np.int64(1))) >> dropped << dropped))

    return stored


def primitives(T: type[np.generic], narrow: bool = False, dtype: str = "float64") -> dict[str, Any]:
    """Return the primitives for scalars of the working type `T`.

    `narrow` says that results are of 24 bits or fewer, `dtype` to what parameters were rounded.
    """
    exact = {
        "T": T,
        "stored": rounding(T, dtype),
        "where": where,
        "abs": fabs,
        "sqrt": sqrt,
        "fma": fma,
        "copysign": copysign,
    }
    smooth = _NARROW if narrow else _WIDE
    return exact | smooth


_NARROW = {
    "whole": whole_narrow,
    "quotient": quotient_narrow,
    "exp": exp_narrow,
    "exp_parts": exp_parts_narrow,
    "expm1": expm1_narrow,
    "log1p": log1p_narrow,
    "erfcx": erfcx_narrow,
}
_WIDE = {
    "whole": whole_wide,
    "quotient": quotient_wide,
    "exp": exp_wide,
    "exp_parts": exp_parts_wide,
    "expm1": expm1_wide,
    "log1p": log1p_wide,
    "erfcx": erfcx_wide,
}
