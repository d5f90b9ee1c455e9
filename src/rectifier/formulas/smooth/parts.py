"""Arithmetic that the forms of smooth primitives share, the same in float32 and float64."""

from __future__ import annotations

import math
from typing import Any

from ..primitives import abs, fma, where

INFINITY, NOT_A_NUMBER = math.inf, math.nan


def bits(x: Any) -> Any:
    """View a float as an integer of its size."""
    raise TypeError("`primitives` binds what views a number as bits")


def from_bits(n: Any) -> Any:
    """View an integer as a float of its size."""
    raise TypeError("`primitives` binds what views bits as a number")


def look_up(index: Any, table: Any) -> Any:
    """Return the number of a table of eight float32 that the last three bits of an integer say."""
    raise TypeError("`primitives` binds what looks a number up")


def known(x: Any, least: float, most: float) -> Any:
    """Return a number that is known to lie between two, or to be NaN."""
    raise TypeError("`primitives` binds what keeps what is known")


def larger(x: Any, y: Any) -> Any:
    """Return the larger of two float32, and the other one of a NaN."""
    raise TypeError("`primitives` binds what compares two numbers")


def polynomial(x, coefficients):
    """Evaluate by Horner's rule, which takes the fewest operations."""
    y = coefficients[-1]
    for coefficient in coefficients[-2::-1]:
        y = fma(y, x, coefficient)
    return y


def between(x, low, high):
    """Clip, and leave NaN; which operand comes first makes one instruction of each line."""
    x = where(x < low, low, x)
    return where(x > high, high, x)


def is_zero(tail: Any) -> bool:
    """Whether it is known, when a formula is traced, that rounding took nothing."""
    if getattr(tail, "name", "") in ("where", "neg"):
        return all(map(is_zero, tail.operands[-2:]))
    if getattr(tail, "name", "") == "mul":
        return any(map(is_zero, tail.operands))
    return bool(getattr(tail, "number", tail) == 0)


def small(tail):
    """Return a tail, and nothing for that of infinity, which is NaN."""
    return 0.0 if is_zero(tail) else where(abs(tail) < 1.0, tail, 0.0)


def is_one(x, tail):
    """Whether a number is known to be 1."""
    return getattr(x, "number", x) == 1 and is_zero(tail)


def whole(x, tail):
    return x + tail


def sum_parts(x, y, tail):
    s = x + y
    lost = (x - s) + y
    return s, lost if is_zero(tail) else lost + tail


def unordered_sum_parts(x, y, tail):
    # D. E. Knuth, The Art of Computer Programming, volume 2, section 4.2.2.
    s = x + y
    kept = s - x
    lost = (x - (s - kept)) + (y - kept)
    return s, lost if is_zero(tail) else lost + tail


def product_parts(x, x_tail, y, y_tail):
    if is_one(x, x_tail) or is_one(y, y_tail):
        return (y, y_tail) if is_one(x, x_tail) else (x, x_tail)
    p = x * y
    lost = fma(-x, y, p)
    if x is y and x_tail is y_tail and not is_zero(x_tail):
        return p, -fma(-(x + x), x_tail, lost)
    if not is_zero(y_tail):
        lost = fma(-x, y_tail, lost)
    if not is_zero(x_tail):
        lost = fma(-y, x_tail, lost)
    return p, -lost


def product(x, x_tail, y, y_tail):
    if is_one(x, x_tail) or is_one(y, y_tail):
        return whole(y, y_tail) if is_one(x, x_tail) else whole(x, x_tail)
    lost = 0.0  # its zero has this sign, so that a product of zero keeps its own
    for number, tail in ((y, x_tail), (x, y_tail)):
        lost = lost if is_zero(tail) else fma(-number, tail, lost)
    return x * y if is_zero(lost) else fma(x, y, -lost)


def quotient(x, x_tail, y, y_tail):
    # By both parts, where the second may be a tenth of the first: what it misses of y_tail would be seen.
    r, q, excess = divided(x, x_tail, y, y_tail, x if is_zero(x_tail) else x + x_tail)
    return fma(-r, excess, q)


def quotient_parts(x, x_tail, y, y_tail):
    if is_one(y, y_tail):
        return x, x_tail
    r, q, excess = divided(x, x_tail, y, y_tail, x)
    return q, -(r * excess)


def divided(x, x_tail, y, y_tail, nearly):
    """Return the reciprocal, the quotient of nearly x, and by how much that times y is more: of a zero by 0.0."""
    r = 1.0 / y
    q = nearly * r
    excess = fma(q, y, -x)
    # The tails together first: a shorter chain.
    if is_zero(y_tail):
        return r, q, excess if is_zero(x_tail) else excess - x_tail
    return r, q, excess + (q * y_tail if is_zero(x_tail) else fma(q, y_tail, -x_tail))


def power_or_0(n, zero, places):
    """Return 2^k of a number whose bits are those of `zero` and k, by as many places as a significand has; 0 below."""
    k = bits(n) - zero
    return from_bits(where(k < 0, 0, k) << places)


def with_tail(r, p, tail):
    """Return the p of exp(r + tail) = 1 + r + p, from that of exp(r)."""
    return p if is_zero(tail) else fma(tail, 1.0 + r + p, p)


def one_plus(r, p):
    """Return 1 + r, and what that lacks of 1 + r + p."""
    m = 1.0 + r
    return m, ((1.0 - m) + r) + p


def scaled_minus_one(scale, r, p, one, any_scale=False):
    """Return scale (1 + r + p) - one, and its tail; the scale is at most 1, or any."""
    m = 1.0 + r
    y = fma(scale, m, -one)
    lost = fma(scale, m, -one - y)
    if any_scale:  # that sum of one and y is rounded where y is large
        lost = where(scale > 1.0, fma(scale, m, -y) - one, lost)
    lost = fma(scale, ((1.0 - m) + r) + p, lost)
    high = y + lost
    return high, (y - high) + lost


def log_at_edges(u, y, x):
    """Return log(u) where y is not."""
    # Each selection has y in it, whose type its literal takes.
    y = where(u == 0.0, -INFINITY, where(u > 0.0, y, NOT_A_NUMBER))
    return where(u < INFINITY, y, x)
