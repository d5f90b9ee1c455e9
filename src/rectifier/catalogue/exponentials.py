"""Rectifiers with a smooth bend: exponentials, and roots."""

from __future__ import annotations

from ..formulas import (
    T,
    exp,
    exp_parts,
    expm1_parts,
    fma,
    largest,
    log1p_parts,
    product,
    product_parts,
    quotient,
    quotient_parts,
    sqrt,
    sum_parts,
    unordered_sum_parts,
    where,
    whole,
)
from ..formulas import abs as abs
from ..functions.define import INF, NAN, elementwise
from .sigmoids import _clip, _exponent, _finite, _log_of_sum, _logistic, _times

__all__ = ["celu", "dish", "elu", "exponential", "selu", "softplus", "sqrt_softplus", "squareplus", "xielu"]


def _scaled_exp(factor, factor_lost, x, lost):
    m, rest, scale = exp_parts(where(x > T(0), T(0), x), lost)
    # A large factor is scaled before it is multiplied, the product of a small one after it: none overflows too early.
    first, last = where(abs(factor) > T(1e18), scale, T(1)), where(abs(factor) > T(1e18), T(1), scale)
    y = product(factor * first, factor_lost * first, m, rest)
    return where(abs(factor) > largest(), factor * m, y) * last  # infinity has no tail


def _scaled_expm1(factor, factor_lost, x, lost):
    m, rest = expm1_parts(x, lost)
    y = product(factor, factor_lost, m, rest)
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
    z, tail = _exponent(*quotient_parts(x, T(0), alpha, T(0)))
    y = _scaled_expm1(alpha, T(0), z, tail)
    # Of a small quotient it is x, of which two roundings would be seen where it is subnormal.
    return where((x >= T(0)) | (abs(z) < T(1e-20)) | (abs(alpha) > largest()), x, y)


@celu.derivative
def celu_derivative(x, alpha):
    z, tail = _exponent(*quotient_parts(x, T(0), _finite(alpha), T(0)))
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


def _unit():
    # So large that its fourth power is infinite, and its reciprocal's nothing.
    return where(largest() > T(1e39), T(2.0**256), T(2.0**32))


def _scaled(x, b):
    # x and b in a unit in which x^2 keeps its tail beside b, and that unit.
    u = _unit()
    small, large = (abs(b) * u < T(1) / u) & (b != T(0)), abs(b) / u > u
    scale = where(small, u, where(large, T(1) / u, T(1)))
    return x * scale, b * scale * scale, T(1) / scale


def _root(x, b):
    # Of a large x, in which b is lost, x^2 may be infinite.
    large = ((abs(x) > T(0.25) * _unit() * _unit()) & (abs(b) <= largest())) | (b == T(0))
    a = where(large, T(1), abs(x))
    h, lost = product_parts(a, T(0), a, T(0))
    h, lost = unordered_sum_parts(h, b, lost)
    # Less than nothing may leave of x^2 what rounding took from it.
    s, more = sum_parts(h, lost, T(0))
    h, lost = where(b < T(0), s, h), where(b < T(0), more, lost)
    r = sqrt(h)
    lost = where((b > T(0)) | (r > T(0)), T(0.5) * (fma(-r, r, h) + lost) * (T(1) / r), T(0))
    return large, where(large, abs(x), r), where(large, T(0), lost)


def _half(x, b):
    # (abs(x) + r) / 2, and r.
    large, r, lost = _root(x, b)
    longer, shorter = where(b < T(0), abs(x), r), where(b < T(0), r, abs(x))
    s, more = sum_parts(T(0.5) * longer, T(0.5) * shorter, T(0.5) * lost)
    return large, s, more, r, lost


@elementwise(
    exact=lambda m, x, b: m.where(x < 0, b / (m.sqrt(x * x + b) + m.abs(x)), x + m.sqrt(x * x + b)) / 2,
    special=((NAN, NAN), (INF, INF), (-INF, 0.0)),
    ulp=(1, 2, 1, 2),
    wide=True,
    single=True,
)
def squareplus(x, b=4.0):
    """Squareplus, (x + sqrt(x^2 + b)) / 2. With b = 0 it is the ReLU.

    References
    ----------
    J. T. Barron, "Squareplus: a softplus-like algebraic rectifier", arXiv 2112.11687.
    """
    z, c, unit = _scaled(x, b)
    large, y, lost, _, _ = _half(z, c)
    # On the left b / 4 / y, where nothing cancels.
    left = where((b == T(0)) | (y > largest()), T(0), quotient(T(0.25) * c, T(0), y, lost) * unit)
    right = where(large, abs(x), whole(y, lost) * unit)
    return where(b > largest(), b + x, where(x < T(0), left, right))


@squareplus.derivative
def squareplus_derivative(x, b):
    z, c, _ = _scaled(x, where(b > largest(), largest(), b))
    far = T(0.25) * largest()  # XLA adds before it halves
    _, y, lost, r, more = _half(_clip(z, -far, far), c)
    left, left_lost = quotient_parts(T(0.25) * c, T(0), y, lost)
    slope = quotient(where(x < T(0), left, y), where(x < T(0), left_lost, lost), r, more)
    slope = where((b > largest()) & (abs(x) <= largest()), T(0.5), slope)
    return where(b == T(0), where(x <= T(0), T(0), where(x == x, T(1), x)), slope)


def _dish_parts(x):
    # a = abs(x), or a number beyond which 1 + a^2 is a^2, and whose sixth power is finite; that square, 1 + a^2 and its
    # root, each with its tail.
    far = where(largest() > T(1e39), T(2.0**40), T(2.0**20))
    a = where(abs(x) > far, far, abs(x))
    u, u_lost = product_parts(a, T(0), a, T(0))
    h, h_lost = unordered_sum_parts(u, T(1), u_lost)
    r = sqrt(h)
    return a, u, u_lost, h, h_lost, r, T(0.5) * (fma(-r, r, h) + h_lost) * (T(1) / r)


@elementwise(
    exact=lambda m, x: m.where(
        x < 0,
        x / (2 * m.sqrt(1 + x * x) * (m.sqrt(1 + x * x) + m.abs(x))),
        x / 2 * (1 + x / m.sqrt(1 + x * x)),
    ),
    special=((NAN, NAN), (INF, INF), (-INF, -0.0), (-0.0, -0.0)),
    zeros=(-0.7861513777574233,),
    ulp=(1, 2, 1, 2),
    wide=True,
    single=True,
)
def dish(x):
    """Dish, x * (1 + x / sqrt(1 + x^2)) / 2: near to GELU, without exponentials.

    References
    ----------
    Explosion, Thinc 9.1, ``Ops.dish``, https://github.com/explosion/thinc, 2022.
    """
    # On the left -a / (2 r (r + a)), where nothing cancels, and on the right x more.
    a, _, _, h, h_lost, r, lost = _dish_parts(x)
    d, d_lost = product_parts(r, lost, a, T(0))
    d, d_lost = sum_parts(h, d, h_lost + d_lost)
    y, y_lost = quotient_parts(T(0.5) * a, T(0), d, d_lost)
    right = whole(*sum_parts(a, -y, -y_lost))
    left = where(abs(x) > a, T(0.25) / x, where(x == T(0), x, -whole(y, y_lost)))
    return where(x > T(0), where(abs(x) > a, x, right), left)


@dish.derivative
def dish_derivative(x):
    # (1 - u - u^2) / (2 r^3 (r^3 + a (u + 2))) on the left, where u = a^2, and 1 less that on the right. Its zero is
    # the root of (sqrt(5) - 1) / 2; the other factor of 1 - u - u^2 is u + (sqrt(5) + 1) / 2.
    a, u, u_lost, h, h_lost, r, lost = _dish_parts(x)
    zero, zero_lost = T(0.7861513777574233, 1.0764187905699136e-17)
    golden, golden_lost = T(1.618033988749895, -5.432115203682506e-17)
    n, more = unordered_sum_parts(zero, -a, T(0))
    n, more = sum_parts(n, more + zero_lost, T(0))  # next to the zero its tail is all there is, in 16 bits, too
    n, more = product_parts(n, more, *unordered_sum_parts(zero, a, zero_lost))
    n, more = product_parts(n, more, *unordered_sum_parts(u, golden, u_lost + golden_lost))
    cube, cube_lost = product_parts(r, lost, h, h_lost)
    d, d_lost = product_parts(a, T(0), *unordered_sum_parts(u, T(2), u_lost))
    d, d_lost = unordered_sum_parts(cube, d, cube_lost + d_lost)
    y = quotient(T(0.5) * n, T(0.5) * more, *product_parts(cube, cube_lost, d, d_lost))
    # Far away it is -1 / (4 a^2), of 2^32 times the root of which the square is no subnormal number.
    far, far_lost = quotient_parts(T(2.0**31), T(0), where(abs(x) > largest(), largest(), abs(x)), T(0))
    y = where(abs(x) > a, -product(far, far_lost, far, far_lost) * T(2.0**-64), y)
    return where(x < T(0), y, T(1) - y)


@elementwise(
    exact=lambda m, x: m.exp(x),
    special=((NAN, NAN), (INF, INF), (-INF, 0.0), (0.0, 1.0)),
    ulp=(1, 2, 1, 2),
    wide=True,
    single=True,
)
def exponential(x):
    """Exponential function, e^x, under the name that Keras has for it as an activation.

    Where it is infinite, so is the gradient: `backward` multiplies by it.
    """
    return exp(x)


@exponential.derivative
def exponential_derivative(x):
    return exp(x)


def _sqrt_softplus_parts(x):
    # f = exp(-abs(x) / 2) as a sum and its scale; e = f^2 and its tail; the root of log(1 + e) / e on the left, and of
    # x + log(1 + e) on the right, and its tail.
    m, rest, scale = exp_parts(T(-0.5) * abs(x), T(0))
    f, lost = sum_parts(m * scale, rest * scale, T(0))
    e, e_lost = product_parts(f, lost, f, lost)
    y, lost = log1p_parts(e, e_lost)
    y, lost = sum_parts(y, lost, T(0))
    small = e < T(1e-20)
    left, left_lost = quotient_parts(where(small, T(1), y), where(small, T(0), lost), where(small, T(1), e), e_lost)
    right, right_lost = unordered_sum_parts(where(x < T(0), T(0), _finite(x)), y, lost)
    h, lost = where(x < T(0), left, right), where(x < T(0), where(small, T(0), left_lost), right_lost)
    r = sqrt(h)
    return m, rest, scale, e, e_lost, r, T(0.5) * (fma(-r, r, h) + lost) * (T(1) / r)


@elementwise(
    exact=lambda m, x: m.sqrt(m.where(x > 0, x + m.log1p(m.exp(-x)), m.log1p(m.exp(x)))),
    special=((NAN, NAN), (INF, INF), (-INF, 0.0)),
    ulp=(1, 2, 1, 2),
    wide=True,
    single=True,
)
def sqrt_softplus(x):
    """Root of softplus, sqrt(log(1 + exp(x))). It is a number where the softplus itself is too small to be one.

    References
    ----------
    DeepSeek-AI, "DeepSeek-V4", 2026 (scores of its router; ``sqrtsoftplus`` in Hugging Face's Transformers 5.24).
    """
    m, rest, scale, _, _, r, lost = _sqrt_softplus_parts(x)
    y = product(where(x < T(0), m, T(1)), where(x < T(0), rest, T(0)), r, lost)
    return where(x > largest(), x, y * where(x < T(0), scale, T(1)))


@sqrt_softplus.derivative
def sqrt_softplus_derivative(x):
    # exp(x) / (1 + exp(x)) is divided by twice the root.
    m, rest, scale, e, e_lost, r, lost = _sqrt_softplus_parts(x)
    d, d_lost = sum_parts(T(1), e, e_lost)
    d, d_lost = product_parts(d, d_lost, r, lost)
    y = quotient(where(x < T(0), T(0.5) * m, T(0.5)), where(x < T(0), T(0.5) * rest, T(0)), d, d_lost)
    return where(x > largest(), T(0), y * where(x < T(0), scale, T(1)))


def _or_nan(x, parameter):
    return where(parameter == parameter, x, parameter)


@elementwise(
    exact=lambda m, x, alpha_p, alpha_n, beta, eps: m.where(
        x > 0, alpha_p * x * x + beta * x, alpha_n * (m.expm1(m.where(x > eps, eps, x)) - x) + beta * x
    ),
    # At 0 and at eps, where the derivative jumps, it is that on the left, of parameters as they are rounded.
    special=((NAN, NAN), (INF, INF), (-INF, INF)),
    zeros=(-0.9808292530117262,),
    crossings=(-2.4324842769314482,),
    ulp=(1, 2, 1, 2),
    wide=True,
    full=True,
)
def xielu(x, alpha_p=0.8, alpha_n=0.8, beta=0.5, eps=-1e-6):
    """xIELU, the expanded integral of the ELU: the activation of Apertus. On the right it is a parabola.

    alpha_p * x^2 + beta * x where x is positive, alpha_n * (exp(min(x, eps)) - 1 - x) + beta * x elsewhere. The alphas
    are what models have after their softplus, alpha_n with beta added. The derivative is that of this formula, as
    autograd has it: between `eps` and 0, at 0 as well, it is beta - alpha_n, where the authors' own kernels have
    beta. With an `eps` of 0 it is beta.

    At the default parameters the value is 0 for x = -2.432 as well. Next to that, as near 0 of the derivative, it is
    right to 2^-52 in float64, and to its last place in float32.

    References
    ----------
    A. H. Huang and I. Schlag, "Deriving activation functions using integration", arXiv 2411.13010.
    """
    finite = _finite(x)
    right = x * fma(alpha_p, finite, beta)
    s, lost = product_parts(alpha_p, T(0), finite, T(0))
    s, lost = unordered_sum_parts(s, beta, lost)
    right = where(abs(right) > largest(), right, product(x, T(0), s, lost))
    t = _or_nan(where(x > eps, eps, x), eps)
    e, e_lost = expm1_parts(where(t > T(0), T(0), t), T(0))
    infinite = alpha_n * (e - x)
    e, e_lost = product_parts(alpha_n, T(0), e, e_lost)
    # What beta and alpha_n leave of x: their difference may be nothing, and x infinite, or the other way round.
    a, lost = unordered_sum_parts(beta, -alpha_n, T(0))
    none = (a == T(0)) | (x == T(0))
    s, lost = product_parts(a, lost, x, T(0))
    s, lost = where(none, T(0), s), where(none, T(0), lost)
    left = where(abs(s) > largest(), s, whole(*unordered_sum_parts(e, s, lost + e_lost)))
    left = where(abs(alpha_n) > largest(), infinite, left)
    return where(x > T(0), right, left)


@xielu.derivative
def xielu_derivative(x, alpha_p, alpha_n, beta, eps):
    # The factor of 2 goes to the smaller number, which it makes infinite only where the product is.
    large = abs(alpha_p) > T(1)
    slope = fma(where(large, alpha_p, T(2) * alpha_p), where(large, x + x, x), beta)
    right = where(alpha_p == T(0), beta, slope)
    t = where(x > T(0), T(0), x)
    e, lost = expm1_parts(t, T(0))
    e, lost = product_parts(alpha_n, T(0), where(x > eps, T(-1), e), where(x > eps, T(0), lost))
    e = _or_nan(e, eps)
    left = where(abs(e + beta) > largest(), e + beta, whole(*unordered_sum_parts(e, beta, lost)))
    return where(x > T(0), right, left)
