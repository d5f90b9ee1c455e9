"""The smooth primitives in float32, for results of 16 bits; they have no tails."""

from __future__ import annotations

from ..primitives import abs, fma, where
from . import polynomials
from .parts import between, bits, from_bits, known, log_at_edges, polynomial, power_or_0
from .single import (
    BITS_OF_ROUND,
    LN2_HIGH,
    LN2_LOW,
    LOG2_E,
    ONE,
    ROUND,
    SQRT_HALF,
    ZERO_POWER,
    in_piece,
    power_of_two,
    reduced_in_row,
    scaled,
)


def reduced(x):
    """Take exp(x) apart: 2^k exp(r), where k + ROUND comes first."""
    n = fma(x, LOG2_E, ROUND)
    k = n - ROUND
    return n, fma(k, -LN2_LOW, fma(k, -LN2_HIGH, x))


def significand(r):
    return fma(fma(polynomial(r, polynomials.EXP_SINGLE), r, 1.0), r, 1.0)


def exp(x, tail=0.0):
    n, r = reduced(between(x, -110.0, 90.0))
    return scaled(significand(r), n)


def exp_parts(x, tail):
    n, r = reduced(where(x < -1000.0, -1000.0, x))
    return known(significand(r) * power_or_0(n, ZERO_POWER, 23), 0.0, 2.0**65), 0.0, 2.0**-64


def exp_in_row(x, peak):
    _, _, r, scale = reduced_in_row(x, peak)
    return fma(fma(polynomial(r, polynomials.EXP_IN_ROW), r, 1.0), r, 1.0) * scale, 0.0


def expm1_parts(x, tail):
    n, r = reduced(where(x < -60.0, -60.0, x))
    scale = power_of_two(n)
    return known(fma(scale, fma(polynomial(r, polynomials.EXP_SINGLE) * r, r, r), scale - 1.0), -1.0, 0.0), 0.0


def expm1(x, tail=0.0):
    n, r = reduced(between(x, -60.0, 89.0))  # of more, 2^(k - 1) would be infinite
    scale = power_of_two(n - 1.0)  # in halves, since 2^128 is infinite
    y = fma(scale, fma(polynomial(r, polynomials.EXP_SINGLE) * r, r, r), scale - 0.5)
    return where(abs(x) < 2.0**-100, x, y + y)


def log1p_parts(x, tail):
    s = x / (2.0 + x)
    z = s * s
    return fma(s * z, polynomial(z, polynomials.LOG_SINGLE), s + s), 0.0


def log_parts(x, tail):
    n = (bits(x) - SQRT_HALF) >> 23
    f = known(from_bits(bits(x) - (n << 23)) - 1.0, -0.3, 0.42) + tail * from_bits(ONE - (where(n > 100, 127, n) << 23))
    s = f / (2.0 + f)
    z = s * s
    k = from_bits(n + BITS_OF_ROUND) - ROUND
    return fma(k, LN2_HIGH, fma(s * z, polynomial(z, polynomials.LOG_SINGLE), s + s)), 0.0


def log1p(x):
    u = 1.0 + x
    y, _ = log_parts(u, where(x < 1.0, (1.0 - u) + x, 0.0))
    return log_at_edges(u, where(x == 0.0, x, y), x)


def normal_tail(x):
    d, high, _, *others = in_piece(x, polynomials.NORMAL_TAIL_SINGLE)
    return fma(polynomial(d, others), d, high), 0.0


def normal_tail_slope(x):
    # The last piece has a constant in the second number alone.
    d, high, low, *others = in_piece(x, polynomials.NORMAL_TAIL_SLOPE_SINGLE)
    return fma(polynomial(d, others), d, low) + high, 0.0


def near_zero(name, y, x, tail):
    at, at_rest, slope, _, *others = polynomials.ZEROS[name]
    d = (x - at) - at_rest
    return where(abs(d) < polynomials.REACH, d * polynomial(d, (slope, *others)), y)


def sine_squared(x, tail):
    raise TypeError("there is no sine in float32: leave single=True out of the block")


def one_plus_sine(x, tail):
    raise TypeError("there is no sine in float32: leave single=True out of the block")
