"""The smooth primitives in float64, for results of 24 bits or fewer; they have no tails."""

from __future__ import annotations

from ..primitives import copysign, fma, where
from . import polynomials
from .parts import between, bits, from_bits, log_at_edges, polynomial
from .sine import folded, square_narrow
from .wide import DENSITY_AT_0, LN2_HIGH, LOG2_E, ONE, ROUND, SQRT_HALF, SQRT_HALF_HIGH, power_of_two


def times_power_of_two(y, n):
    """Multiply by 2^k, where n is k + ROUND and the product a normal number."""
    return from_bits(bits(y) + (bits(n) << 52))


def reduced(x):
    """Take exp(x) apart: 2^k 2^r, where k + ROUND comes first."""
    x = between(x, -700.0, 700.0)
    n = fma(x, LOG2_E, ROUND)
    return n, fma(x, LOG2_E, -(n - ROUND))


def exp(x, tail=0.0):
    n, r = reduced(x)
    return times_power_of_two(polynomial(r, polynomials.EXP_NARROW), n)


def expm1(x, tail=0.0):
    n, r = reduced(x)
    scale = power_of_two(n)
    return copysign(fma(scale, r * polynomial(r, polynomials.EXPM1_NARROW), scale - 1.0), x)


def log1p(x):
    u = x + 1.0
    n = (bits(u) - SQRT_HALF) >> 52
    scale = from_bits(ONE - (n << 52))
    f = fma(x, scale, scale - 1.0)
    y = fma(from_bits(bits(ROUND) + n) - ROUND, LN2_HIGH, f * polynomial(f, polynomials.LOG1P_NARROW))
    return log_at_edges(u, where(x == 0.0, x, y), x)


def exp_parts(x, tail):
    return exp(x), 0.0, 1.0


def expm1_parts(x, tail):
    return expm1(x), 0.0


def log1p_parts(x, tail):
    return log1p(x), 0.0


def normal_tail(x):
    u = 1.0 / fma(x, SQRT_HALF_HIGH, 3.25)
    return u * polynomial(u, polynomials.ERFCX_NARROW), 0.0


def normal_tail_slope(x):
    return fma(-x, DENSITY_AT_0, normal_tail(x)[0]), 0.0


def sine_squared(x, tail):
    return square_narrow(*folded(x, 0.0, 0.0, 8)), 0.0  # a product of two float32 is below 2^256, and exact


def one_plus_sine(x, tail):
    s = square_narrow(*folded(x, 0.0, 0.25, 8))
    return s + s, 0.0


def near_zero(name, y, x, tail):
    return y
