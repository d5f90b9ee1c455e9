"""The smooth primitives in float64, for float64 results."""

from __future__ import annotations

from ..primitives import abs, fma, where
from . import polynomials
from .parts import (
    between,
    bits,
    from_bits,
    log_at_edges,
    one_plus,
    polynomial,
    power_or_0,
    product_parts,
    scaled_minus_one,
    small,
    unordered_sum_parts,
    whole,
    with_tail,
)
from .sine import folded, square

LOG2_E = 1.4426950408889634
LN2_HIGH = 0.6931471805598903  # 42 bits, so that its products with exponents are exact
LN2_LOW = 5.497923018708371e-14
# Added to a number, this leaves its nearest integer in the lowest bits; subtracted again, as a float64.
ROUND = 1.5 * 2.0**52
ONE = 0x3FF0000000000000  # the bits of 1.0
SQRT_HALF = 0x3FE6A09E667F3BCD  # the bits of sqrt(1/2)
SQRT_HALF_HIGH, SQRT_HALF_LOW = 0.7071067811865476, -4.833646656726457e-17
BITS_OF_ROUND = 0x4338000000000000
DENSITY_AT_0, DENSITY_AT_0_LOW = 0.3989422804014327, -2.49232720227773e-17  # 1 / sqrt(2 pi)


def power_of_two(n):
    """Return 2^k, where n is k + ROUND."""
    return from_bits(ONE + (bits(n) << 52))


def reduced(x, tail):
    """Take exp(x + tail) apart: 2^k (1 + r + p), where k + ROUND comes first and p is below r^2."""
    n = fma(x, LOG2_E, ROUND)
    k = n - ROUND
    high, low = fma(-k, LN2_HIGH, x), k * LN2_LOW
    r = high - low
    p = fma(r * r, fma(r, polynomial(r, polynomials.EXP), 0.5), (high - r) - low)
    return n, r, with_tail(r, p, tail)


def exp_parts(x, tail):
    n, r, p = reduced(where(x < -10000.0, -10000.0, x), tail)
    scale = power_or_0(n, BITS_OF_ROUND - 512 - 1023, 52)  # 2^(k + 512), where it is a normal number
    m, rest = one_plus(r, p)
    return m * scale, rest * scale, 2.0**-512


def exp(x, tail=0.0):
    n, r, p = reduced(between(x, -750.0, 710.0), small(tail))
    y = whole(*one_plus(r, p))
    # In two steps, since 2^k may be subnormal or infinite where the result is not.
    half = fma(n - ROUND, 0.5, ROUND)
    rest = power_of_two((n - ROUND) - (half - ROUND) + ROUND)
    return y * power_of_two(half) * rest


def expm1_parts(x, tail):
    n, r, p = reduced(where(x < -60.0, -60.0, x), tail)
    return scaled_minus_one(power_of_two(n), r, p, 1.0)


def expm1(x, tail=0.0):
    n, r, p = reduced(between(x, -60.0, 710.0), small(tail))
    # In halves, since 2^1024 is infinite.
    high, low = scaled_minus_one(power_of_two(n - 1.0), r, p, 0.5, any_scale=True)
    y = high + low
    return where(abs(x) < 2.0**-1000, x, y + y)


def log1p_parts(x, tail):
    return log1p(x), tail / (1.0 + x)


def log1p(x):
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


def normal_tail(x):
    q, lost = erfcx(*product_parts(x, 0.0, SQRT_HALF_HIGH, SQRT_HALF_LOW))
    return 0.5 * q, 0.5 * lost


def normal_tail_slope(x):
    y, tail = normal_tail(x)
    less, less_tail = product_parts(x, 0.0, DENSITY_AT_0, DENSITY_AT_0_LOW)
    return unordered_sum_parts(y, -less, tail - less_tail)


def erfcx(x, tail):
    """Compute exp(z^2) erfc(z) for z = x + tail, and its tail."""
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


def sine_squared(x, tail):
    return square(*folded(x, tail, 0.0, 32))


def one_plus_sine(x, tail):
    s, lost = square(*folded(x, tail, 0.25, 32))
    return s + s, lost + lost


def near_zero(name, y, x, tail):
    return y
