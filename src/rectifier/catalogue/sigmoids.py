"""Sigmoids, and what they weigh x with."""

from __future__ import annotations

from ..formulas import T, copysign, erfcx, exp, exp_parts, expm1, fma, log1p, quotient, where, whole
from ..formulas import abs as abs
from ..functions.define import INF, NAN, elementwise
from .double_double import fast_two_sum, two_prod, two_square

__all__ = [
    "gelu",
    "gelu_tanh",
    "log_sigmoid",
    "mish",
    "quick_gelu",
    "sigmoid",
    "silu",
    "softsign",
    "tanh",
]


def _logistic(z, lost):
    # Of exp(-abs(z)), which cannot overflow, on either side.
    e = exp(-abs(z), where(z < T(0), lost, -lost))
    d, lost = fast_two_sum(T(1), e, T(0))
    return quotient(where(z < T(0), e, T(1)), T(0), d, lost)


def _bounded(x):
    # Beyond, a sigmoid is 0 or 1, and an infinite x times 0 would be NaN.
    return where(x < T(-1000), T(-1000), where(x > T(1000), T(1000), x))


def _below(x):
    # The same on the left alone: on the right x stays, as its weight is 1.
    return where(x < T(-1000), T(-1000), x)


def _finite(x):
    # A number in place of an infinite parameter, whose exponentials are 0 however scaled: 0 * inf would be NaN.
    return where(x < T(-1.7976931348623157e308), T(-1e200), where(x > T(1.7976931348623157e308), T(1e200), x))


def _weighted(x, z, lost):
    # x s(z); exp(z) may be subnormal where its product with x is not.
    m, scale = exp_parts(-abs(z), where(z < T(0), lost, -lost))
    d, lost = fast_two_sum(T(1), m * scale, T(0))
    n, more = two_prod(where(z < T(-1400), copysign(T(1000), x), x), where(z < T(0), m, T(1)), T(0))
    return quotient(n, more, d, lost) * where(z < T(0), scale, T(1))


def _weighted_derivative(x, z, lost, slope, slope_lost):
    # (x s(z))' = s(z) (1 + x s(-z) z') = n / d (1 + x z' l / d) = n (d + x z' l) / d^2.
    m, scale = exp_parts(-abs(z), where(z < T(0), lost, -lost))
    e = m * scale
    d, lost = fast_two_sum(T(1), e, T(0))
    y, more = two_prod(where(abs(z) > T(1400), copysign(T(1000), x), x), slope, slope_lost)
    y, more = where(z < T(0), y, y * e), where(z < T(0), more, fma(y, e, -(y * e)) + more * e)
    small = abs(y) < d
    y, more = fast_two_sum(where(small, d, y), where(small, y, d), more + lost)
    y, more = two_prod(where(z < T(0), m, T(1)), y, more)
    h, lost = two_square(d, lost)
    return quotient(y, more, h, lost) * where(z < T(0), scale, T(1))


def _bell(x):
    # exp(-x^2 / 2) as two factors, and the integral of the normal density beyond abs(x), divided by it.
    a = where(x < T(-40), T(-40), where(x > T(40), T(40), x))
    h, lost = two_square(a, T(0))
    m, scale = exp_parts(T(-0.5) * h, T(-0.5) * lost)
    z, lost = two_prod(abs(a), T(0.7071067811865476), T(-4.833646656726457e-17))
    q, lost = erfcx(z, lost)
    return m, scale, T(0.5) * q, T(0.5) * lost


@elementwise(
    exact=lambda m, x: 1 / (1 + m.exp(-x)),
    special=((NAN, NAN), (INF, 1.0), (-INF, 0.0), (0.0, 0.5)),
    ulp=(0.6, 2, 0.6, 2),
    wide=True,
)
def sigmoid(x):
    """Logistic sigmoid, 1 / (1 + exp(-x)).

    Its derivative from y, y (1 - y), has no digits left where y is near 1, and is not offered.
    """
    return _logistic(x, T(0))


@sigmoid.derivative
def sigmoid_derivative(x):
    e = exp(-abs(x))
    d, lost = fast_two_sum(T(1), e, T(0))
    h, lost = two_square(d, lost)
    return quotient(e, T(0), h, lost)


@elementwise(
    exact=lambda m, x: m.where(x < 0, x, 0) - m.log1p(m.exp(-m.abs(x))),
    special=((NAN, NAN), (INF, -0.0), (-INF, -INF)),
    ulp=(0.6, 2, 0.6, 2),
    wide=True,
)
def log_sigmoid(x):
    """Logarithm of the sigmoid, -log(1 + exp(-x))."""
    return -(log1p(exp(-abs(x))) - where(x < T(0), x, T(0)))


@log_sigmoid.derivative
def log_sigmoid_derivative(x):
    return _logistic(-x, T(0))


@elementwise(
    exact=lambda m, x: m.tanh(x),
    special=((NAN, NAN), (INF, 1.0), (-INF, -1.0), (-0.0, -0.0)),
    ulp=(0.6, 2, 0.6, 2),
    wide=True,
)
def tanh(x):
    """Hyperbolic tangent.

    Its derivative from y, 1 - y^2, has no digits left where y is near 1, and is not offered.
    """
    m = expm1(T(-2) * abs(x))
    d, lost = fast_two_sum(T(2), m, T(0))
    return copysign(quotient(m, T(0), d, lost), x)


@tanh.derivative
def tanh_derivative(x):
    e = exp(T(-2) * abs(x))
    d, lost = fast_two_sum(T(1), e, T(0))
    h, lost = two_square(d, lost)
    return quotient(T(4) * e, T(0), h, lost)


@elementwise(
    exact=lambda m, x: m.where(
        m.abs(x) < 1, x / (1 + m.abs(x)), m.where(x < 0, 1 / (1 + m.abs(x)) - 1, 1 - 1 / (1 + m.abs(x)))
    ),
    special=((NAN, NAN), (INF, 1.0), (-INF, -1.0), (-0.0, -0.0)),
    ulp=(0.6, 2, 0.6, 2),
    wide=True,
)
def softsign(x):
    """Softsign, x / (1 + abs(x)).

    References
    ----------
    J. Bergstra et al., "Quadratic features and deep architectures for chunking", NAACL 2009.
    """
    # Infinity over infinity would be NaN.
    a = where(abs(x) > T(1e300), T(1e300), abs(x))
    d, lost = fast_two_sum(where(a < T(1), T(1), a), where(a < T(1), a, T(1)), T(0))
    return copysign(quotient(a, T(0), d, lost), x)


@softsign.derivative
def softsign_derivative(x):
    a = where(abs(x) > T(1e300), T(1e300), abs(x))
    d, lost = fast_two_sum(where(a < T(1), T(1), a), where(a < T(1), a, T(1)), T(0))
    r = quotient(T(1), T(0), d, lost)
    return r * r


@elementwise(
    exact=lambda m, x, beta: x / (1 + m.exp(-beta * x)),
    special=((NAN, NAN), (INF, INF), (-INF, -0.0), (-0.0, -0.0)),
    zeros=(-1.2784645427610738,),
    ulp=(0.6, 2, 0.6, 2),
    wide=True,
)
def silu(x, beta=1.0):
    """Sigmoid linear unit, x * sigmoid(beta * x), also known as swish.

    References
    ----------
    D. Hendrycks and K. Gimpel, "Gaussian error linear units (GELUs)", arXiv 1606.08415.
    P. Ramachandran, B. Zoph and Q. V. Le, "Searching for activation functions", arXiv 1710.05941 (swish, with beta).
    """
    beta = _finite(beta)
    z = beta * x
    return _weighted(x, z, fma(beta, x, -z))


@silu.derivative
def silu_derivative(x, beta):
    beta = _finite(beta)
    z = beta * x
    return _weighted_derivative(x, z, fma(beta, x, -z), beta, T(0))


@elementwise(
    exact=lambda m, x: x / (1 + m.exp(-851 * x / 500)),
    special=((NAN, NAN), (INF, INF), (-INF, -0.0), (-0.0, -0.0)),
    zeros=(-0.7511542554,),
    ulp=(0.6, 2, 0.6, 2),
    wide=True,
)
def quick_gelu(x):
    """Sigmoid approximation of GELU, x * sigmoid(1.702 * x).

    References
    ----------
    D. Hendrycks and K. Gimpel, "Gaussian error linear units (GELUs)", arXiv 1606.08415.
    """
    z = T(1.702) * x
    return _weighted(x, z, fma(T(1.702), x, -z) + T(4.263256414560601e-17) * x)


@quick_gelu.derivative
def quick_gelu_derivative(x):
    z = T(1.702) * x
    lost = fma(T(1.702), x, -z) + T(4.263256414560601e-17) * x
    return _weighted_derivative(x, z, lost, T(1.702), T(4.263256414560601e-17))


@elementwise(
    exact=lambda m, x: x * m.erfc(-x / m.sqrt(2)) / 2,
    special=((NAN, NAN), (INF, INF), (-INF, -0.0), (-0.0, -0.0)),
    zeros=(-0.7517915246935645,),
    ulp=(0.6, 2, 0.6, 2),
    wide=True,
)
def gelu(x):
    """Gaussian error linear unit, x times the normal distribution function.

    PyTorch and JAX compute 1 + erf(x / sqrt(2)), which has no digits left for x below -5.

    References
    ----------
    D. Hendrycks and K. Gimpel, "Gaussian error linear units (GELUs)", arXiv 1606.08415.
    """
    m, scale, q, lost = _bell(x)
    w, lost = two_prod(m, q, lost)
    right, more = fast_two_sum(T(1), -(w * scale), -(lost * scale))
    y, lost = two_prod(_bounded(x), where(x < T(0), w, right), where(x < T(0), lost, more))
    return where(x > T(1000), x, whole(y, lost) * where(x < T(0), scale, T(1)))


@gelu.derivative
def gelu_derivative(x):
    m, scale, q, q_lost = _bell(x)
    x = where(x < T(-40), T(-40), where(x > T(40), T(40), x))
    slope, lost = two_prod(x, T(0.3989422804014327), T(-2.49232720227773e-17))
    small = abs(slope) < q
    sign = where(x < T(0), q, -q)
    lost = lost + where(x < T(0), q_lost, -q_lost)
    y, lost = fast_two_sum(where(small, sign, slope), where(small, slope, sign), lost)
    w, more = two_prod(m, y, lost)
    right, lost = fast_two_sum(T(1), w * scale, more * scale)
    return where(x < T(0), whole(w, more) * scale, whole(right, lost))


def _cubic(x):
    # 2 sqrt(2/pi) (x + 0.044715 x^3) and what rounding takes from it, since an exponent's relative error grows with it.
    x = where(x < T(-40), T(-40), where(x > T(40), T(40), x))
    h, lost = two_square(x, T(0))
    a = T(0.044715) * h
    lost = fma(T(0.044715), h, -a) + T(0.044715) * lost + T(2.1960211427085595e-18) * h
    d, lost = fast_two_sum(where(a < T(1), T(1), a), where(a < T(1), a, T(1)), lost)
    v, lost = two_prod(x, d, lost)
    return two_prod(T(1.5957691216057308), v, lost + T(-6.247337834861335e-17) * v)


@elementwise(
    exact=lambda m, x: x / (1 + m.exp(-2 * m.sqrt(2 / m.pi) * (x + 8943 * x * x * x / 200000))),
    special=((NAN, NAN), (INF, INF), (-INF, -0.0), (-0.0, -0.0)),
    zeros=(-0.7524614220710162,),
    ulp=(0.6, 2, 0.6, 2),
    wide=True,
)
def gelu_tanh(x):
    """Gaussian error linear unit by the hyperbolic tangent, x * (1 + tanh(sqrt(2/pi) (x + 0.044715 x^3))) / 2.

    It is computed as x times a sigmoid, since 1 + tanh has no digits left for x below -5. JAX means this one by
    ``gelu``.

    References
    ----------
    D. Hendrycks and K. Gimpel, "Gaussian error linear units (GELUs)", arXiv 1606.08415.
    """
    z, tail = _cubic(x)
    return _weighted(x, z, tail)


@gelu_tanh.derivative
def gelu_tanh_derivative(x):
    z, tail = _cubic(x)
    x = where(x < T(-40), T(-40), where(x > T(40), T(40), x))
    h, lost = two_square(x, T(0))
    a = T(0.134145) * h
    lost = fma(T(0.134145), h, -a) + T(0.134145) * lost + T(1.3526957332032908e-17) * h
    d, lost = fast_two_sum(where(a < T(1), T(1), a), where(a < T(1), a, T(1)), lost)
    slope, lost = two_prod(T(1.5957691216057308), d, lost + T(-6.247337834861335e-17) * d)
    return _weighted_derivative(x, z, tail, slope, lost)


def _mish_parts(x):
    # tanh(log(1 + e^x)) = n / d = e^x (e^x + 2) / ((1 + e^x)^2 + 1), both divided by e^2x where x is positive.
    m, scale = exp_parts(-abs(x), T(0))
    e = m * scale
    one, lost = fast_two_sum(T(1), e, T(0))
    h, lost = two_square(one, lost)
    d, lost = fast_two_sum(h, where(x < T(0), T(1), e * e), lost)
    n, more = fast_two_sum(where(x < T(0), T(2), T(1)), where(x < T(0), e, T(2) * e), T(0))
    n, more = where(x < T(0), m * n, n), where(x < T(0), fma(m, n, -(m * n)) + m * more, more)
    return m, scale, e, n, more, d, lost


@elementwise(
    exact=lambda m, x: x * m.tanh(m.where(x > 0, x, 0) + m.log1p(m.exp(-m.abs(x)))),
    special=((NAN, NAN), (INF, INF), (-INF, -0.0), (-0.0, -0.0)),
    zeros=(-1.1924312145154952,),
    ulp=(0.6, 2, 0.9, 2),
    wide=True,
)
def mish(x):
    """Mish, x * tanh(softplus(x)).

    References
    ----------
    D. Misra, "Mish: a self regularized non-monotonic activation function", BMVC 2020.
    """
    _, scale, _, n, more, d, lost = _mish_parts(x)
    n, more = two_prod(_below(x), n, more)
    return quotient(n, more, d, lost) * where(x < T(0), scale, T(1))


@mish.derivative
def mish_derivative(x):
    # (n d + 4 x e^x (1 + e^x)) / d^2, with all but e^x (e^x + 2) = n divided by e^x where x is negative.
    m, scale, e, n, more, d, lost = _mish_parts(x)
    x = _bounded(x)
    left, left_lost = two_prod(T(4) * x, T(1) + e, (T(1) - (T(1) + e)) + e)
    a, a_lost = two_prod(where(x < T(0), T(2) + e, n), d, lost)
    a_lost = a_lost + where(x < T(0), (T(2) - (T(2) + e)) + e, more) * d
    b = where(x < T(0), left, left * (e * e))
    b_lost = where(x < T(0), left_lost, left_lost * (e * e))
    small = abs(b) < abs(a)
    y, y_lost = fast_two_sum(where(small, a, b), where(small, b, a), a_lost + b_lost)
    y, y_lost = two_prod(where(x < T(0), m, T(1)), y, y_lost)
    h, lost = two_square(d, lost)
    return quotient(y, y_lost, h, lost) * where(x < T(0), scale, T(1))
