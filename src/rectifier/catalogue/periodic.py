"""Functions with a period."""

from __future__ import annotations

from ..formulas import (
    T,
    largest,
    one_plus_sine,
    product_parts,
    quotient_parts,
    sine_squared,
    unordered_sum_parts,
    where,
    whole,
)
from ..formulas import abs as abs
from ..functions.define import INF, NAN, elementwise

__all__ = ["snake"]


@elementwise(
    exact=lambda m, x, alpha: m.with_slope(
        x + m.sin(alpha * x) * m.sin(alpha * x) / alpha,
        (m.sin(alpha * x) + m.cos(alpha * x)) * (m.sin(alpha * x) + m.cos(alpha * x)),
    ),
    special=((NAN, NAN), (INF, INF), (-INF, -INF), (-0.0, -0.0)),
    kinks=((INF, 1.0), (-INF, 1.0)),
    zeros=(-0.7853981633974483, 2.356194490192345),
    ulp=(1, 2, 1, 2),
    wide=True,
)
def snake(x, alpha=1.0):
    """Snake, x + sin(alpha * x)^2 / alpha. With an alpha of 0 it is x.

    An array of alphas is one a channel. Models add 1e-9 to the divisor; here nothing is needed. The sine is right for
    every x: 1 + sin(2 * alpha * x), the derivative, has a meaning as long as alpha * x is a number of float64. Beyond
    that, and at infinity, where it has no limit, it is 1, its mean.

    References
    ----------
    L. Ziyin, T. Hartwig and M. Ueda, "Neural networks fail to learn periodic functions and how to fix it", NeurIPS
    2020, arXiv 2006.08195.
    """
    t, lost = product_parts(x, T(0), alpha, T(0))
    s, lost = sine_squared(t, lost)
    # The reciprocal of a subnormal alpha may be infinite.
    power = where(abs(alpha) * largest() < T(4), T(2.0**64), T(1))
    q, lost = quotient_parts(s * power, lost * power, alpha * power, T(0))
    y = where(abs(x + q) > largest(), x + q, whole(*unordered_sum_parts(x, q, lost)))
    none = (abs(t) > largest()) | (alpha == T(0)) | (abs(alpha) > largest())
    return where(none | ((x == T(0)) & (alpha == alpha)), x, y)


@snake.derivative
def snake_derivative(x, alpha):
    t, lost = product_parts(x, T(0), alpha, T(0))
    slope = whole(*one_plus_sine(t, lost))
    none = (abs(t) > largest()) | (alpha == T(0)) | (abs(alpha) > largest())
    return where(none, where(x == x, T(1), x), slope)
