"""The smooth primitives as formulas over exact ones, for whoever writes code of them: LLVM's, or CUDA C++.

They compute in float64. Each has two forms: one for float64 results, and one at half the cost, whose error of 2^-28 is
a twentieth of a unit in the last place of float32. They take any x: the results are right in all of float64, and of the
second form in all of float32. They have no branch, so each lane of a register takes the same instructions.
"""

from __future__ import annotations

import math
from collections.abc import Mapping
from types import FunctionType
from typing import Any

from . import polynomials
from .primitives import abs, copysign, fma, where


def bits(x: Any) -> Any:
    """View a float64 as an integer."""
    raise TypeError("`primitives` binds what views a number as bits")


def from_bits(n: Any) -> Any:
    """View an integer as a float64."""
    raise TypeError("`primitives` binds what views bits as a number")


def primitives(exact: Mapping[str, Any], narrow: bool) -> dict[str, Any]:
    """Bind the smooth primitives to the exact ones of an interpretation, which has `bits` and `from_bits`, too.

    `narrow` says that results are of 24 bits or fewer.
    """
    scope = {**globals(), **exact}
    for name, function in globals().items():
        if isinstance(function, FunctionType) and function.__module__ == __name__ and name not in exact:
            scope[name] = FunctionType(function.__code__, scope, name, function.__defaults__)
    form = "narrow" if narrow else "wide"
    return {name: scope[f"{name}_{form}"] for name in SMOOTH}


SMOOTH = ("whole", "quotient", "exp", "exp_parts", "expm1", "log1p", "erfcx")


def polynomial(x, coefficients):
    """Evaluate by Horner's rule, which takes the fewest operations."""
    y = coefficients[-1]
    for coefficient in coefficients[-2::-1]:
        y = fma(y, x, coefficient)
    return y


LOG2_E = 1.4426950408889634
LN2_HIGH = 0.6931471805598903  # 42 bits, so that its products with exponents are exact
LN2_LOW = 5.497923018708371e-14
# Added to a number, this leaves its nearest integer in the lowest bits; subtracted again, as a float64.
ROUND = 1.5 * 2.0**52
ONE = 0x3FF0000000000000  # the bits of 1.0
SQRT_HALF = 0x3FE6A09E667F3BCD  # the bits of sqrt(1/2)
INFINITY = math.inf
NOT_A_NUMBER = math.nan


def times_power_of_two(y, n):
    """Multiply by 2^k, where n is k + ROUND and the product a normal number."""
    return from_bits(bits(y) + (bits(n) << 52))


def power_of_two(n):
    """Return 2^k, where n is k + ROUND."""
    return from_bits(ONE + (bits(n) << 52))


def between(x, low, high):
    """Clip, and leave NaN; which operand comes first makes one instruction of each line."""
    x = where(x < low, low, x)
    return where(x > high, high, x)


def reduced_narrow(x):
    """Take exp(x) apart: 2^k 2^r, where k + ROUND comes first."""
    x = between(x, -700.0, 700.0)
    n = fma(x, LOG2_E, ROUND)
    return n, fma(x, LOG2_E, -(n - ROUND))


def exp_narrow(x, tail=0.0):
    n, r = reduced_narrow(x)
    return times_power_of_two(polynomial(r, polynomials.EXP_NARROW), n)


def expm1_narrow(x, tail=0.0):
    n, r = reduced_narrow(x)
    scale = power_of_two(n)
    return copysign(fma(scale, r * polynomial(r, polynomials.EXPM1_NARROW), scale - 1.0), x)


def log1p_narrow(x):
    u = x + 1.0
    n = (bits(u) - SQRT_HALF) >> 52
    scale = from_bits(ONE - (n << 52))
    f = fma(x, scale, scale - 1.0)
    y = fma(from_bits(bits(ROUND) + n) - ROUND, LN2_HIGH, f * polynomial(f, polynomials.LOG1P_NARROW))
    return log_at_edges(u, y, x)


def log_at_edges(u, y, x):
    """Return log(u) where y is not."""
    y = where(u > 0.0, y, where(u == 0.0, -INFINITY, NOT_A_NUMBER))
    return where(u < INFINITY, y, x)


def exp_parts_narrow(x, tail):
    return exp_narrow(x), 1.0


def whole_narrow(x, tail):
    return x


def quotient_narrow(x, x_tail, y, y_tail):
    return x / y


def erfcx_narrow(x, tail):
    u = 1.0 / (x + 3.25)
    return 2.0 * (u * polynomial(u, polynomials.ERFCX_NARROW)), 0.0


def reduced(x, tail):
    """Take exp(x + tail) apart: 2^k (1 + r + p), where k + ROUND comes first and p is below r^2."""
    n = fma(x, LOG2_E, ROUND)
    k = n - ROUND
    high, low = fma(-k, LN2_HIGH, x), k * LN2_LOW
    r = high - low
    p = fma(r * r, fma(r, polynomial(r, polynomials.EXP), 0.5), (high - r) - low)
    tail = where(abs(tail) < 1.0, tail, 0.0)  # that of an infinite x is none
    return n, r, fma(tail, 1.0 + r + p, p)


def exp_parts_wide(x, tail):
    n, r, p = reduced(between(x, -1400.0, 710.0), tail)
    high = 1.0 + r
    y = high + ((1.0 - high) + r + p)
    half = fma(n - ROUND, 0.5, ROUND)
    return y * power_of_two(half), power_of_two((n - ROUND) - (half - ROUND) + ROUND)


def exp_wide(x, tail=0.0):
    # Of two factors, since 2^k may be subnormal or infinite where the result is not.
    y, scale = exp_parts_wide(x, tail)
    return y * scale


def whole_wide(x, tail):
    return where(tail == 0.0, x, x + tail)  # -0.0 stays


def quotient_wide(x, x_tail, y, y_tail):
    r = 1.0 / y
    q = x * r
    rest = fma(-q, y_tail, fma(-q, y, x) + x_tail)
    # The rest of an infinite quotient is NaN, and that of -0.0 would make it 0.0.
    return where((abs(rest) < INFINITY) & (q != 0.0), fma(r, rest, q), q)


def expm1_wide(x, tail=0.0):
    n, r, p = reduced(between(x, -746.0, 710.0), tail)
    # 2^k in two steps, as above; 2^1024 would be infinite.
    m = where(n - ROUND > 1023.0, n - 1.0, n)
    scale = power_of_two(where(m - ROUND < -1000.0, ROUND - 1000.0, m))
    high = fma(scale, r, scale - 1.0)
    y = high + (fma(scale, r, (scale - 1.0) - high) + scale * p)
    return copysign(where(n - ROUND > 1023.0, y * 2.0, y), x)


def log1p_wide(x):
    u = x + 1.0
    n = (bits(u) - SQRT_HALF) >> 52
    scale = from_bits(ONE - (where(n > 60, 60, n) << 52))
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
    y = k * LN2_HIGH - (half - fma(s, half + z * polynomial(z, polynomials.LOG), fma(k, LN2_LOW, lost)) - f)
    return log_at_edges(u, where(abs(x) < 2.0**-54, x, y), x)


def erfcx_wide(x, tail):
    high, low = x + 4.0, x - 4.0
    r = 1.0 / high
    t = low * r
    # What rounding took from t, for a polynomial that is steep at -1.
    rest = fma(-t, high, low) + ((x - (low + 4.0) + tail) - t * (x - (high - 4.0) + tail))
    last = fma(t, polynomial(t, polynomials.ERFCX[2:]), polynomials.ERFCX[1])
    term = t * last
    y = polynomials.ERFCX[0] + term
    d = fma(2.0, x, 1.0)
    e = y / d
    steep = fma(2.0, e, d * fma(2.0 * x, e, -1.1283791670955126)) * (high * high * 0.125)
    lost = ((polynomials.ERFCX[0] - y) + term) + fma(steep, rest * r, fma(t, last, -term) + polynomials.ERFCX_TAIL)
    d_lost = fma(2.0, x, 1.0 - d) + 2.0 * tail
    return e, fma(-e, d_lost, fma(-e, d, y) + lost) / d
