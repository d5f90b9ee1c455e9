"""The smooth primitives in float32, for results of 24 bits or fewer.

What rounding takes is carried in a second number where it would be seen. They have no branch, so each lane of a
register takes the same instructions.
"""

from __future__ import annotations

from ..primitives import abs, fma, where
from . import polynomials
from .parts import (
    between,
    bits,
    from_bits,
    is_zero,
    known,
    larger,
    log_at_edges,
    look_up,
    one_plus,
    polynomial,
    power_or_0,
    quotient_parts,
    scaled_minus_one,
    small,
    sum_parts,
    unordered_sum_parts,
    whole,
    with_tail,
)

LOG2_E = 1.4426950408889634
# With 24 bits, its products with exponents less x are exact: their last bit is that of x, or 2^-24.
LN2_HIGH = 0.693147182464599609375
LN2_LOW = -1.904654299957768e-09
# Added to a number, this leaves its nearest integer in the lowest bits; subtracted again, as a float32.
ROUND = 1.5 * 2.0**23
BITS_OF_ROUND = 0x4B400000
ONE = 0x3F800000  # the bits of 1.0
SQRT_HALF = 0x3F3504F3  # the bits of sqrt(1/2)
ZERO_POWER = BITS_OF_ROUND - 64 - 127  # from there on 2^(k + 64) is a normal number


def reduced(x, tail):
    """Take exp(x + tail) apart: 2^k (1 + r + p), where k + ROUND comes first, r is exact and p below r^2."""
    n = fma(x, LOG2_E, ROUND)
    k = n - ROUND
    high, low = fma(k, -LN2_HIGH, x), k * -LN2_LOW
    r = high + low
    p = fma(r * r, polynomial(r, polynomials.EXP_SINGLE), low)
    return n, high, with_tail(high, p, tail)


def power_of_two(n):
    """Return 2^k, where n is k + ROUND."""
    return from_bits((bits(n) << 23) + ONE)


def exp_parts(x, tail):
    n, r, p = reduced(where(x < -1000.0, -1000.0, x), tail)
    scale = power_or_0(n, ZERO_POWER, 23)
    m, rest = one_plus(r, p)
    return known(m * scale, 0.0, 2.0**65), known(rest * scale, -(2.0**51), 2.0**62), 2.0**-64


def reduced_in_row(x, peak):
    """Take exp(x) apart, by a power of two that is less by that of the peak; and 2^64 more, or 0 far below it."""
    x = larger(x, peak - 150.0)
    n = fma(x, LOG2_E, ROUND)
    k = n - ROUND
    high = fma(k, -LN2_HIGH, x)
    return k, high, fma(k, -LN2_LOW, high), power_or_0(n, bits(fma(peak, LOG2_E, ROUND)) - 64 - 127, 23)


def exp_in_row(x, peak):
    k, high, r, scale = reduced_in_row(x, peak)
    m = 1.0 + high
    rest = fma(r * r, polynomial(r, polynomials.EXP_IN_ROW), fma(k, -LN2_LOW, (1.0 - m) + high))
    return m * scale, rest * scale


def scaled(y, n):
    """Multiply by 2^k, where n is k + ROUND, in two steps: 2^k may be infinite where the product is not."""
    k = bits(n) - BITS_OF_ROUND
    half = k >> 1
    return y * from_bits((half << 23) + ONE) * from_bits(((k - half) << 23) + ONE)


def exp(x, tail=0.0):
    n, r, p = reduced(between(x, -110.0, 90.0), small(tail))
    return scaled(whole(*one_plus(r, p)), n)


def expm1_parts(x, tail):
    n, r, p = reduced(where(x < -60.0, -60.0, x), tail)
    high, low = scaled_minus_one(power_of_two(n), r, p, 1.0)
    high, low = known(high, -1.0, 0.0), known(low, -(2.0**-20), 2.0**-20)
    if is_zero(tail):
        return high, low
    # There a tail would be lost in the sum of x and p. From 2^-25 on, one of 0 has to give the bits of none.
    tiny = abs(x) < 2.0**-25
    return where(tiny, x, high), where(tiny, fma(0.5 * x, x, tail), low)


def expm1(x, tail=0.0):
    n, r, p = reduced(between(x, -60.0, 89.0), small(tail))  # of more, 2^(k - 1) would be infinite
    high, low = scaled_minus_one(power_of_two(n - 1.0), r, p, 0.5, any_scale=True)  # in halves, since 2^128 is infinite
    y = high + low
    return where(abs(x) < 2.0**-100, x, y + y)


def log1p_parts(x, tail):
    # 2 atanh(x / (2 + x)).
    s, lost = quotient_parts(x, tail, *sum_parts(2.0, x, tail))
    z = s * s
    return s + s, fma(s * z, polynomial(z, polynomials.LOG_SINGLE), lost + lost)


def near_zero(name, y, x, tail):
    at, at_rest, slope, slope_rest, *others = polynomials.ZEROS[name]
    d = x - at
    rest = -at_rest if is_zero(tail) else tail - at_rest
    near = d * slope
    lost = fma(d, slope, -near) + fma(d, slope_rest, rest * fma(d, 2.0 * others[0], slope))
    return where(abs(d) < polynomials.REACH, near + fma(d * d, polynomial(d, others), lost), y)


def log_parts(x, tail):
    """Compute log(x + tail) for normal numbers, and its tail."""
    n = (bits(x) - SQRT_HALF) >> 23
    # Less 1, exactly; and as much of the tail, or nothing where that is none beside x.
    f, lost = from_bits(bits(x) - (n << 23)) - 1.0, tail * from_bits(ONE - (where(n > 100, 127, n) << 23))
    f, lost = sum_parts(known(f, -0.3, 0.42), known(lost, -(2.0**-10), 2.0**-10), 0.0)
    s, more = quotient_parts(f, lost, *sum_parts(2.0, f, lost))
    z = s * s
    k = from_bits(n + BITS_OF_ROUND) - ROUND
    rest = fma(s * z, polynomial(z, polynomials.LOG_SINGLE), fma(k, LN2_LOW, more + more))
    high = fma(k, LN2_HIGH, s + s)
    return sum_parts(high, (fma(k, LN2_HIGH, -high) + (s + s)) + rest, 0.0)


def log1p(x):
    u, lost = unordered_sum_parts(1.0, x, 0.0)
    return log_at_edges(u, where(abs(x) < 2.0**-100, x, whole(*log_parts(u, lost))), x)


def in_piece(x, constant_and_slope):
    """Return the distance of x to the middle of its piece, and the coefficients there."""
    x = where(x > 14.9, 14.9, x)
    piece = bits(x + 1.0) >> 22
    rows = polynomials.MIDDLES, *constant_and_slope, *polynomials.NORMAL_TAIL_CURVE_SINGLE
    middle, *coefficients = (look_up(piece, row) for row in rows)
    return x - middle, *coefficients


def sum_in_piece(d, high, low, slope, *others):
    y = fma(d, slope, high)
    return sum_parts(y, fma(d * d, polynomial(d, others), fma(d, slope, high - y) + low), 0.0)


def normal_tail(x):
    return sum_in_piece(*in_piece(x, polynomials.NORMAL_TAIL_SINGLE))


def normal_tail_slope(x):
    return sum_in_piece(*in_piece(x, polynomials.NORMAL_TAIL_SLOPE_SINGLE))


def sine_squared(x, tail):
    raise TypeError("there is no sine in float32: leave single=True out of the block")


def one_plus_sine(x, tail):
    raise TypeError("there is no sine in float32: leave single=True out of the block")
