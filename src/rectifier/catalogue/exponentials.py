"""Rectifiers with a smooth bend: exponentials, and roots."""

from __future__ import annotations

from ..formulas import (
    T,
    exp_parts,
    expm1_parts,
    fma,
    largest,
    product_parts,
    quotient,
    quotient_parts,
    sqrt,
    sum_parts,
    where,
    whole,
)
from ..formulas import abs as abs
from ..functions.define import INF, NAN, elementwise
from .sigmoids import _finite, _log_of_sum, _logistic, _sum_of_unlike, _times

__all__ = ["celu", "elu", "selu", "softplus", "squareplus"]


def _over(x, alpha):
    # x / alpha for an exponential, and its tail, where that matters.
    z, tail = quotient_parts(x, T(0), alpha, T(0))
    return z, where(abs(tail) < T(1), tail, T(0))


def _scaled_exp(factor, factor_lost, x, lost):
    m, rest, scale = exp_parts(where(x > T(0), T(0), x), lost)
    # A large factor is scaled before it is multiplied, the product of a small one after it: none overflows too early.
    first, last = where(abs(factor) > T(1e18), scale, T(1)), where(abs(factor) > T(1e18), T(1), scale)
    y = whole(*product_parts(factor * first, factor_lost * first, m, rest))
    return where(abs(factor) > largest(), factor * m, y) * last  # infinity has no tail


def _scaled_expm1(factor, factor_lost, x, lost):
    m, rest = expm1_parts(x, lost)
    y = whole(*product_parts(factor, factor_lost, m, rest))
    return where(abs(factor) > largest(), factor * m, y)


@elementwise(
    exact=lambda m, x, alpha: m.where(x > 0, x, alpha * m.expm1(x)),
    special=((NAN, NAN), (INF, INF), (-INF, -1.0), (-0.0, -0.0)),
    ulp=(1, 2, 1, 2),
    wide=True,
    single=True,
)
def elu(x, alpha=1.0):
    """Exponential linear unit: x where x is positive, alpha * (exp(x) - 1) elsewhere.

    At 0 the derivative is alpha. From y, y + alpha has no digits left where y is near -alpha, and is not offered.

    References
    ----------
    D.-A. Clevert, T. Unterthiner and S. Hochreiter, "Fast and accurate deep network learning by exponential linear
    units (ELUs)", ICLR 2016.
    """
    return where(x >= T(0), x, _scaled_expm1(alpha, T(0), x, T(0)))


@elu.derivative
def elu_derivative(x, alpha):
    return where(x > T(0), T(1), _scaled_exp(alpha, T(0), x, T(0)))


@elementwise(
    exact=lambda m, x: m.where(
        x > 0,
        1.0507009873554805 * x + 3.987484766715415e-17 * x,
        1.7580993408473768 * m.expm1(x) + 1.415351938008446e-17 * m.expm1(x),
    ),
    special=((NAN, NAN), (INF, INF), (-INF, -1.7580993408473768), (-0.0, -0.0)),
    kinks=((0.0, 1.7580993408473768),),
    ulp=(1, 2, 1, 2),
    wide=True,
    single=True,
)
def selu(x):
    """Scaled exponential linear unit, whose mean and variance have a fixed point at 0 and 1.

    1.0507009873554805 * x where x is positive, 1.7580993408473768 * (exp(x) - 1) elsewhere. At 0 the derivative is the
    latter factor.

    References
    ----------
    G. Klambauer, T. Unterthiner, A. Mayr and S. Hochreiter, "Self-normalizing neural networks", NeurIPS 2017.
    """
    # Of half of a large number, since the product alone may be infinite where with its tail it is not.
    half = where(x > T(1), T(0.5), T(1))
    y, tail = product_parts(half * x, T(0), *T(1.0507009873554805, 3.987484766715415e-17))
    factor, factor_tail = T(1.7580993408473768, 1.415351938008446e-17)
    left = _scaled_expm1(factor, factor_tail, x, T(0))
    right = where(y > largest(), y, whole(y, tail)) / half  # infinity has no tail
    return where(x > T(0), right, where(x == T(0), x, left))


@selu.derivative
def selu_derivative(x):
    factor, factor_tail = T(1.7580993408473768, 1.415351938008446e-17)
    left = _scaled_exp(factor, factor_tail, x, T(0))
    return where(x > T(0), T(1.0507009873554805), left)


@elementwise(
    exact=lambda m, x, alpha: m.where(x > 0, x, alpha * m.expm1(x / alpha)),
    special=((NAN, NAN), (INF, INF), (-INF, -1.0), (-0.0, -0.0)),
    ulp=(1, 2, 1, 2),
    wide=True,
    single=True,
)
def celu(x, alpha=1.0):
    """Continuously differentiable exponential linear unit.

    x where x is positive, alpha * (exp(x / alpha) - 1) elsewhere.

    References
    ----------
    J. T. Barron, "Continuously differentiable exponential linear units", arXiv 1704.07483.
    """
    # An infinite alpha leaves x, and 0 * inf would be NaN; one of 0 leaves the ReLU.
    z, tail = _over(x, alpha)
    y = _scaled_expm1(alpha, T(0), z, tail)
    # Of a small quotient it is x, of which two roundings would be seen where it is subnormal.
    return where((x >= T(0)) | (abs(z) < T(1e-20)) | (abs(alpha) > largest()), x, y)


@celu.derivative
def celu_derivative(x, alpha):
    z, tail = _over(x, _finite(alpha))
    return where(x >= T(0), T(1), _scaled_exp(T(1), T(0), z, tail))


@elementwise(
    exact=lambda m, x, beta: m.where(
        beta * x > 0, x + m.log1p(m.exp(-beta * x)) / beta, m.log1p(m.exp(beta * x)) / beta
    ),
    special=((NAN, NAN), (INF, INF), (-INF, 0.0)),
    ulp=(1, 2, 1, 2),
    wide=True,
    single=True,
)
def softplus(x, beta=1.0):
    """Softplus, log(1 + exp(beta * x)) / beta.

    There is no threshold beyond which it is x, as in PyTorch: none is needed.

    References
    ----------
    C. Dugas et al., "Incorporating second-order functional knowledge for better option pricing", NeurIPS 2000.
    """
    z, tail = _times(x, _finite(beta), T(0))
    return _log_of_sum(z, tail, beta, where(z > T(0), x, T(0)))


@softplus.derivative
def softplus_derivative(x, beta):
    return _logistic(*_times(x, _finite(beta), T(0)))


def _root(x, b):
    # x^2 may be infinite where its root is not, and b is lost in it long before.
    a = where(abs(x) > T(1e150), T(1e150), abs(x))
    h, lost = product_parts(a, T(0), a, T(0))
    h, lost = _sum_of_unlike(h, b, lost)
    r = sqrt(h)
    lost = where(r > T(0), T(0.5) * (fma(-r, r, h) + lost) / r, T(0))
    large = (abs(x) > T(1e150)) | (b == T(0))
    return where(large, abs(x), r), where(large, T(0), lost)


def _half(x, b):
    # (abs(x) + r) / 2, and r.
    r, lost = _root(x, b)
    s, more = sum_parts(T(0.5) * r, T(0.5) * abs(x), T(0.5) * lost)
    return s, more, r, lost


@elementwise(
    exact=lambda m, x, b: m.where(x < 0, b / (m.sqrt(x * x + b) + m.abs(x)), x + m.sqrt(x * x + b)) / 2,
    special=((NAN, NAN), (INF, INF), (-INF, 0.0)),
    ulp=(0.6, 2, 0.6, 2),
    wide=True,
)
def squareplus(x, b=4.0):
    """Squareplus, (x + sqrt(x^2 + b)) / 2. With b = 0 it is the ReLU.

    References
    ----------
    J. T. Barron, "Squareplus: a softplus-like algebraic rectifier", arXiv 2112.11687.
    """
    y, lost, _, _ = _half(x, b)
    # On the left b / 4 / y, where nothing cancels.
    left = where((b == T(0)) | (y > largest()), T(0), quotient(T(0.25) * b, T(0), y, lost))
    right = where(x > T(1e300), x, where(b == T(0), abs(x), whole(y, lost)))
    # Of an infinite b; b + x would be the same, and LLVM would add it in float32 beside all the float64.
    infinite = T(0.5) * b + x
    return where(b > largest(), infinite, where(x < T(0), left, right))


@squareplus.derivative
def squareplus_derivative(x, b):
    b = where(b > largest(), T(1e200), b)
    y, lost, r, more = _half(where(x > T(1e300), T(1e300), where(x < T(-1e300), T(-1e300), x)), b)
    left = quotient(T(0.25) * b, T(0), y, lost)
    slope = quotient(where(x < T(0), left, y), where(x < T(0), T(0), lost), r, more)
    return where(b == T(0), where(x <= T(0), T(0), where(x == x, T(1), x)), slope)
