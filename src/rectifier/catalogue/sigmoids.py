"""Sigmoids, and what they weigh x with."""

from __future__ import annotations

from ..formulas import (
    T,
    copysign,
    exp_parts,
    expm1_parts,
    fma,
    largest,
    log1p_parts,
    near_zero,
    normal_tail,
    normal_tail_slope,
    product,
    product_parts,
    quotient,
    quotient_parts,
    sum_parts,
    unordered_sum_parts,
    where,
    whole,
)
from ..formulas import abs as abs
from ..functions.define import INF, NAN, elementwise

__all__ = [
    "gelu",
    "gelu_tanh",
    "laplace",
    "log_sigmoid",
    "mish",
    "quick_gelu",
    "sigmoid",
    "silu",
    "softsign",
    "tanh",
    "tanh_shrink",
]


def _exponential(z, tail):
    # exp(-abs(z + tail)), which cannot overflow.
    return exp_parts(-abs(z), where(z < T(0), tail, -tail))


def _one_plus(x, scale):
    # 1 + scale x, and its tail, where that is exact and at most 1.
    s = fma(x, scale, T(1))
    return s, fma(x, scale, T(1) - s)


def _one_plus_sum(m, rest, scale):
    # The same of x = m + rest, whose tail would be seen where the sum is squared.
    x, lost = sum_parts(m, rest, T(0))
    s, more = _one_plus(x, scale)
    return s, fma(lost, scale, more)


def _by_reflection(x, y, scale):
    # scale y on the left, 1 less that on the right.
    return where(x < T(0), y * scale, fma(-y, scale, T(1)))


def _logistic(z, tail):
    # Of e = exp(-abs(z)): e / (1 + e) on the left.
    m, rest, scale = _exponential(z, tail)
    return _by_reflection(z, quotient(m, rest, *_one_plus(whole(m, rest), scale)), scale)


def _log_of_sum(z, tail, factor, more):
    # more + log(1 + exp(-abs(z + tail))) / factor, where more is at least 0.
    m, rest, scale = _exponential(z, tail)
    e, e_lost = sum_parts(m * scale, rest * scale, T(0))
    y, lost = log1p_parts(e, e_lost)
    # Of a small exponential it is that itself, which has lost its digits where it is subnormal.
    small = e < T(1e-20)
    y, lost = quotient_parts(where(small, m, y), where(small, rest, lost), factor, T(0))
    both = where(small, more + whole(y, lost) * scale, whole(*unordered_sum_parts(more, y, lost)))
    both = where(factor == T(0), more + y, both)  # infinity has no tail
    return where(abs(factor) > largest(), more, both)


def _clip(x, least, most):
    return where(x < least, least, where(x > most, most, x))


def _finite(x):
    # A number in place of an infinite one, whose exponentials are 0 however scaled: 0 * inf would be NaN.
    return _clip(x, -largest(), largest())


def _exponent(x, tail):
    # The tail of a large exponent makes no difference, and that of an infinite one is NaN.
    return x, where(abs(tail) < T(1), tail, T(0))


def _times(x, slope, slope_tail):
    return _exponent(*product_parts(x, T(0), slope, slope_tail))


def _weighted(x, z, tail):
    # x s(z); exp(z) may be subnormal where its product with x is not. An infinite x times 0 would be NaN. What stands
    # for it is beyond float32, and small beside the least exponential of float64 in kernels of float32, which is no 0.
    beyond = copysign(where(largest() > T(1e39), T(2.0**256), largest()), x)
    finite = where(abs(x) > largest(), beyond, x)
    m, rest, scale = _exponential(z, tail)
    d, lost = _one_plus(whole(m, rest), scale)
    n, more = product_parts(finite, T(0), where(z < T(0), m, T(1)), where(z < T(0), rest, T(0)))
    return where(z > T(50), x, quotient(n, more, d, lost) * where(z < T(0), scale, T(1)))


def _weighted_derivative(z, tail, w, w_tail):
    # (x s(z))' = s(z) (1 + x z' s(-z)), where w = x z' is at least 0: on the left e (1 + e - w) / (1 + e)^2, and on the
    # right 1 less that.
    m, rest, scale = _exponential(z, tail)
    d, lost = _one_plus_sum(m, rest, scale)
    y, more = unordered_sum_parts(d, -where(w > T(1e30), T(1e30), w), lost - w_tail)
    y, more = product_parts(m, rest, y, more)
    return _by_reflection(z, quotient(y, more, *product_parts(d, lost, d, lost)), scale)


def _swish_derivative(z, tail):
    return near_zero("silu", _weighted_derivative(z, tail, abs(z), where(z < T(0), -tail, tail)), z, tail)


def _bell(x, tail_of):
    # abs(x), or where exp(-x^2 / 2) is nothing; that as a sum and its scale, and what it is multiplied by.
    most = where(largest() > T(1e39), T(40), T(14.9))
    a = where(abs(x) > most, most, abs(x))
    return a, *exp_parts(*product_parts(T(-0.5) * a, T(0), a, T(0))), *tail_of(a)


@elementwise(
    exact=lambda m, x: 1 / (1 + m.exp(-x)),
    special=((NAN, NAN), (INF, 1.0), (-INF, 0.0), (0.0, 0.5)),
    ulp=(1, 2, 1, 2),
    wide=True,
    single=True,
)
def sigmoid(x):
    """Logistic sigmoid, 1 / (1 + exp(-x)).

    Its derivative from y, y (1 - y), has no digits left where y is near 1, and is not offered.
    """
    return _logistic(x, T(0))


@sigmoid.derivative
def sigmoid_derivative(x):
    m, rest, scale = exp_parts(-abs(x), T(0))
    d, lost = _one_plus_sum(m, rest, scale)
    return quotient(m, rest, *product_parts(d, lost, d, lost)) * scale


@elementwise(
    exact=lambda m, x: m.where(x < 0, x, 0) - m.log1p(m.exp(-m.abs(x))),
    special=((NAN, NAN), (INF, -0.0), (-INF, -INF)),
    ulp=(1, 2, 1, 2),
    wide=True,
    single=True,
)
def log_sigmoid(x):
    """Logarithm of the sigmoid, -log(1 + exp(-x))."""
    return -_log_of_sum(x, T(0), T(1), where(x < T(0), -x, T(0)))


@log_sigmoid.derivative
def log_sigmoid_derivative(x):
    return _logistic(-x, T(0))


@elementwise(
    exact=lambda m, x: m.tanh(x),
    special=((NAN, NAN), (INF, 1.0), (-INF, -1.0), (-0.0, -0.0)),
    ulp=(1, 2, 1, 2),
    wide=True,
    single=True,
)
def tanh(x):
    """Hyperbolic tangent.

    Its derivative from y, 1 - y^2, has no digits left where y is near 1, and is not offered.
    """
    m, rest = expm1_parts(T(-2) * abs(x), T(0))
    d, lost = sum_parts(T(2), m, rest)
    return copysign(quotient(m, rest, d, lost), x)


@tanh.derivative
def tanh_derivative(x):
    m, rest, scale = exp_parts(T(-2) * abs(x), T(0))
    d, lost = _one_plus_sum(m, rest, scale)
    return quotient(m, rest, *product_parts(d, lost, d, lost)) * (T(4) * scale)


def _tanh_parts(a):
    # Whether a is small, and numerator and denominator: of a - tanh(a) there, and of tanh(a) elsewhere.
    # x - x / (1 + z / (3 + z / (5 + ... z / 15))), where z = x^2, is right to 2^-58 up to 0.5, to 2^-50 up to 0.75.
    limit = where(largest() > T(1e39), T(0.5), T(0.75))
    near, b = a < limit, where(a < limit, a, limit)
    z, lost = product_parts(b, T(0), b, T(0))
    d, d_lost = sum_parts(T(2027025), z * fma(z, fma(z, z + T(630), T(51975)), T(945945)), T(945945) * lost)
    n, n_lost = sum_parts(T(675675), z * fma(z, z + T(594), T(45045)), T(45045) * lost)
    z, lost = product_parts(b, T(0), z, lost)
    n, n_lost = product_parts(z, lost, n, n_lost)
    m, rest = expm1_parts(T(-2) * a, T(0))
    s, lost = sum_parts(T(2), m, rest)
    n, n_lost = where(near, n, -m), where(near, n_lost, -rest)
    return near, n, n_lost, where(near, d, s), where(near, d_lost, lost)


@elementwise(
    # Next to 0, the series of tanh without its first term.
    exact=lambda m, x: m.where(
        m.abs(x) < 0.1,
        x * x * x / 3 - 2 * x * x * x * x * x / 15
        + 17 * x * x * x * x * x * x * x / 315
        - 62 * x * x * x * (x * x * x) * (x * x * x) / 2835
        + 1382 * x * x * x * (x * x * x) * (x * x * x) * (x * x) / 155925
        - 21844 * x * (x * x * x) * (x * x * x) * (x * x * x) * (x * x * x) / 6081075
        + 929569 * (x * x * x) * (x * x * x) * (x * x * x) * (x * x * x) * (x * x * x) / 638512875
        - 6404582 * (x * x) * (x * x * x) * (x * x * x) * (x * x * x) * (x * x * x) * (x * x * x) / 10854718875,
        x - m.tanh(x),
    ),
    special=((NAN, NAN), (INF, INF), (-INF, -INF), (-0.0, -0.0)),
    ulp=(1, 2, 1, 2),
    wide=True,
    single=True,
)  # fmt: skip
def tanh_shrink(x):
    """Hyperbolic tangent shrinkage, x - tanh(x).

    Next to 0 it is x^3 / 3, of which a difference has no digits left.

    References
    ----------
    J. H. Lambert, "Mémoire sur quelques propriétés remarquables des quantités transcendentes circulaires et
    logarithmiques", Histoire de l'Académie de Berlin 17 (1761): the continued fraction that it is made of next to 0.
    The name is that of PyTorch.
    """
    a = where(abs(x) > T(1e20), T(1e20), abs(x))
    near, n, lost, d, d_lost = _tanh_parts(a)
    f, more = product_parts(a, T(0), d, d_lost)
    f, more = unordered_sum_parts(f, -n, more - lost)
    y = quotient(where(near, n, f), where(near, lost, more), d, d_lost)
    return copysign(where(abs(x) > a, abs(x), y), x)


@tanh_shrink.derivative
def tanh_shrink_derivative(x):
    near, n, lost, d, d_lost = _tanh_parts(abs(x))
    y, lost = quotient_parts(n, lost, d, d_lost)
    t, more = sum_parts(abs(x), -y, -lost)
    y, lost = where(near, t, y), where(near, more, lost)
    return product(y, lost, y, lost)


def _one_plus_abs(x):
    # abs(x), and one more and its tail. It is finite: infinity over infinity would be NaN.
    a = where(abs(x) > largest(), largest(), abs(x))
    return a, *sum_parts(where(a < T(1), T(1), a), where(a < T(1), a, T(1)), T(0))


@elementwise(
    exact=lambda m, x: m.where(
        m.abs(x) < 1, x / (1 + m.abs(x)), m.where(x < 0, 1 / (1 + m.abs(x)) - 1, 1 - 1 / (1 + m.abs(x)))
    ),
    special=((NAN, NAN), (INF, 1.0), (-INF, -1.0), (-0.0, -0.0)),
    ulp=(1, 2, 1, 2),
    wide=True,
    single=True,
)
def softsign(x):
    """Softsign, x / (1 + abs(x)).

    References
    ----------
    J. Bergstra et al., "Quadratic features and deep architectures for chunking", NAACL 2009.
    """
    a, d, lost = _one_plus_abs(x)
    return copysign(quotient(a, T(0), d, lost), x)


@softsign.derivative
def softsign_derivative(x):
    _, d, lost = _one_plus_abs(x)
    # 2^32 times the root, so that the square is no subnormal number before it is rounded.
    r, lost = quotient_parts(T(2.0**32), T(0), d, lost)
    return product(r, lost, r, lost) * T(2.0**-64)


@elementwise(
    exact=lambda m, x, beta: x / (1 + m.exp(-beta * x)),
    special=((NAN, NAN), (INF, INF), (-INF, -0.0), (-0.0, -0.0)),
    zeros=(-1.2784645427610738,),
    ulp=(1, 2, 1, 2),
    wide=True,
    single=True,
)
def silu(x, beta=1.0):
    """Sigmoid linear unit, x * sigmoid(beta * x), also known as swish.

    References
    ----------
    D. Hendrycks and K. Gimpel, "Gaussian error linear units (GELUs)", arXiv 1606.08415.
    P. Ramachandran, B. Zoph and Q. V. Le, "Searching for activation functions", arXiv 1710.05941 (swish, with beta).
    """
    return _weighted(x, *_times(x, _finite(beta), T(0)))


@silu.derivative
def silu_derivative(x, beta):
    return _swish_derivative(*_times(x, _finite(beta), T(0)))


@elementwise(
    exact=lambda m, x: x / (1 + m.exp(-851 * x / 500)),
    special=((NAN, NAN), (INF, INF), (-INF, -0.0), (-0.0, -0.0)),
    zeros=(-0.7511542554,),
    ulp=(1, 2, 1, 2),
    wide=True,
    single=True,
)
def quick_gelu(x):
    """Sigmoid approximation of GELU, x * sigmoid(1.702 * x).

    References
    ----------
    D. Hendrycks and K. Gimpel, "Gaussian error linear units (GELUs)", arXiv 1606.08415.
    """
    return _weighted(x, *_times(x, *T(1.702, 4.263256414560601e-17)))


@quick_gelu.derivative
def quick_gelu_derivative(x):
    return _swish_derivative(*_times(x, *T(1.702, 4.263256414560601e-17)))


@elementwise(
    exact=lambda m, x: x * m.erfc(-x / m.sqrt(2)) / 2,
    special=((NAN, NAN), (INF, INF), (-INF, -0.0), (-0.0, -0.0)),
    zeros=(-0.7517915246935645,),
    ulp=(1, 2, 1, 2),
    wide=True,
    single=True,
)
def gelu(x):
    """Gaussian error linear unit, x times the normal distribution function.

    PyTorch and JAX compute 1 + erf(x / sqrt(2)), which has no digits left for x below -5.

    References
    ----------
    D. Hendrycks and K. Gimpel, "Gaussian error linear units (GELUs)", arXiv 1606.08415.
    """
    a, m, rest, scale, q, lost = _bell(x, normal_tail)
    w, lost = product_parts(m, rest, q, lost)
    right, more = _one_plus(-w, scale)
    more = fma(-lost, scale, more)
    y = product(where(x < T(0), -a, x), T(0), where(x < T(0), w, right), where(x < T(0), lost, more))
    return where(x > T(40), x, y * where(x < T(0), scale, T(1)))


@gelu.derivative
def gelu_derivative(x):
    # On the left the derivative of -x ndtr(x), and on the right 1 less that.
    _, m, rest, scale, y, lost = _bell(x, normal_tail_slope)
    return _by_reflection(x, product(m, rest, y, lost), scale)


def _laplace_parts(x):
    # (x - mu) / sigma and its tail.
    a, lost = unordered_sum_parts(
        _clip(x, T(-10.5), T(11.9)), T(-0.7071067811865476), -T(0.7071067811865476, -4.833646656726457e-17)[1]
    )
    return product_parts(a, lost, *T(3.544907701811032, -1.5333172999651597e-16))


@elementwise(
    exact=lambda m, x: m.erfc((1 / m.sqrt(2) - x) * m.sqrt(2 * m.pi)) / 2,
    special=((NAN, NAN), (INF, 1.0), (-INF, 0.0)),
    ulp=(1, 2, 1, 2),
    wide=True,
    single=True,
)
def laplace(x):
    """Laplace attention's function, the normal distribution function of (x - mu) / sigma.

    mu is sqrt(1/2) and sigma sqrt(1 / (4 pi)), which code in circulation cuts to 0.707107 and 0.282095. There value and
    slope are those of a squared ReLU at x = sqrt(2).

    References
    ----------
    X. Ma et al., "Mega: moving average equipped gated attention", ICLR 2023, arXiv 2209.10655.
    """
    z, tail = _laplace_parts(x)
    a, tail = abs(z), where(z < T(0), -tail, tail)
    h, lost = product_parts(a, tail, a, tail)
    m, rest, scale = exp_parts(T(-0.5) * h, T(-0.5) * lost)
    q, lost = normal_tail(a)
    lost = fma(tail, fma(a, q, T(-0.3989422804014327)), lost)
    return _by_reflection(z, whole(*product_parts(m, rest, q, lost)), scale)


@laplace.derivative
def laplace_derivative(x):
    z, tail = _laplace_parts(x)
    h, lost = product_parts(z, tail, z, tail)
    m, rest, scale = exp_parts(T(-0.5) * h, T(-0.5) * lost)
    return product(m, rest, *T(1.4142135623730951, -9.667293313452913e-17)) * scale


def _cubic(x, factor, factor_tail):
    # (2 sqrt(2/pi) + factor x^2) x, and its tail.
    constant, constant_tail = T(1.5957691216057308, -9.96930880911092e-17)
    a, lost = product_parts(factor, factor_tail, *product_parts(x, T(0), x, T(0)))
    return product_parts(x, T(0), *unordered_sum_parts(constant, a, lost + constant_tail))


@elementwise(
    exact=lambda m, x: x / (1 + m.exp(-2 * m.sqrt(2 / m.pi) * (x + 8943 * x * x * x / 200000))),
    special=((NAN, NAN), (INF, INF), (-INF, -0.0), (-0.0, -0.0)),
    zeros=(-0.7524614220710162,),
    ulp=(1, 2, 1, 2),
    wide=True,
    single=True,
)
def gelu_tanh(x):
    """Gaussian error linear unit by the hyperbolic tangent, x * (1 + tanh(sqrt(2/pi) (x + 0.044715 x^3))) / 2.

    It is computed as x times a sigmoid, since 1 + tanh has no digits left for x below -5. JAX means this one by
    ``gelu``.

    References
    ----------
    D. Hendrycks and K. Gimpel, "Gaussian error linear units (GELUs)", arXiv 1606.08415.
    """
    z, tail = _cubic(_clip(x, T(-40), T(40)), *T(0.07135481627260025, -6.175149918155315e-19))
    return _weighted(x, z, tail)


@gelu_tanh.derivative
def gelu_tanh_derivative(x):
    a = _clip(x, T(-40), T(40))
    z, tail = _cubic(a, *T(0.07135481627260025, -6.175149918155315e-19))
    w, w_tail = _cubic(abs(a), *T(0.21406444881780073, 1.2025242832367862e-17))
    return near_zero("gelu_tanh", _weighted_derivative(z, tail, w, w_tail), x, T(0))


def _mish_parts(x):
    # tanh(log(1 + e^x)) = n / d = e^x (e^x + 2) / ((1 + e^x)^2 + 1), both divided by e^2x where x is positive.
    m, rest, scale = exp_parts(-abs(x), T(0))
    e, e_lost = sum_parts(m * scale, rest * scale, T(0))
    d, lost = sum_parts(T(1), e, e_lost)
    h, lost = product_parts(d, lost, d, lost)
    d, lost = sum_parts(h, where(x < T(0), T(1), e * e), lost)
    factor = where(x < T(0), T(1), T(2))
    n, more = sum_parts(where(x < T(0), T(2), T(1)), factor * e, factor * e_lost)
    n, more = product_parts(where(x < T(0), m, T(1)), where(x < T(0), rest, T(0)), n, more)
    return m, rest, scale, e, e_lost, n, more, d, lost


@elementwise(
    exact=lambda m, x: x * m.tanh(m.where(x > 0, x, 0) + m.log1p(m.exp(-m.abs(x)))),
    special=((NAN, NAN), (INF, INF), (-INF, -0.0), (-0.0, -0.0)),
    zeros=(-1.1924312145154952,),
    ulp=(1, 2, 1, 2),
    wide=True,
    single=True,
)
def mish(x):
    """Mish, x * tanh(softplus(x)).

    References
    ----------
    D. Misra, "Mish: a self regularized non-monotonic activation function", BMVC 2020.
    """
    _, _, scale, _, _, n, more, d, lost = _mish_parts(x)
    n, more = product_parts(where(x < T(-1000), T(-1000), x), T(0), n, more)
    return where(x > T(1000), x, quotient(n, more, d, lost) * where(x < T(0), scale, T(1)))


@mish.derivative
def mish_derivative(x):
    # (n d + 4 x e^x (1 + e^x)) / d^2, with all but e^x (e^x + 2) = n divided by e^x where x is negative.
    m, rest, scale, e, e_lost, n, more, d, lost = _mish_parts(x)
    x = _clip(x, T(-1000), T(1000))
    left, left_lost = product_parts(T(4) * x, T(0), *sum_parts(T(1), e, e_lost))
    two, two_lost = sum_parts(T(2), e, e_lost)
    a, a_lost = product_parts(where(x < T(0), two, n), where(x < T(0), two_lost, more), d, lost)
    b = where(x < T(0), left, left * (e * e))
    b_lost = where(x < T(0), left_lost, left_lost * (e * e))
    y, y_lost = unordered_sum_parts(a, b, a_lost + b_lost)
    y, y_lost = product_parts(where(x < T(0), m, T(1)), where(x < T(0), rest, T(0)), y, y_lost)
    y = quotient(y, y_lost, *product_parts(d, lost, d, lost)) * where(x < T(0), scale, T(1))
    return near_zero("mish", y, x, T(0))
