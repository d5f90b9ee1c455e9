"""Functions of two arrays: x, and what gates it."""

from __future__ import annotations

from ..formulas import (
    T,
    exp_parts,
    expm1_parts,
    largest,
    product,
    product_parts,
    quotient_parts,
    sum_parts,
    unordered_sum_parts,
    where,
    whole,
)
from ..formulas import abs as abs
from ..functions.define import gated
from .sigmoids import (
    _clip,
    _exponential,
    _finite,
    _logistic,
    _one_plus,
    _one_plus_sum,
    _swish_derivative,
    _times,
    _weighted,
    gelu,
    gelu_derivative,
    gelu_tanh,
    gelu_tanh_derivative,
    sigmoid_derivative,
    silu_derivative,
)

__all__ = ["clamped_swiglu", "geglu", "geglu_tanh", "glu", "prelu", "reglu", "situ_glu", "swiglu"]


@gated(exact=lambda m, x, slope: m.where(x > 0, x, slope * x), ulp=0)
def prelu(x, slope):
    """Parametric rectified linear unit: x where x is positive, slope * x elsewhere.

    `leaky_relu` is the same with a slope that is not trained. With one slope a channel, the channels last, `slope`
    has the shape (channels,).

    References
    ----------
    K. He, X. Zhang, S. Ren and J. Sun, "Delving deep into rectifiers", ICCV 2015.
    """
    return where(x <= T(0), where(slope == T(0), T(0), slope * x), x)


@prelu.gradient
def prelu_gradient(x, slope):
    return where(x <= T(0), slope, where(x == x, T(1), x)), where(x > T(0), T(0), x)


@gated(exact=lambda m, x, gate: x / (1 + m.exp(-gate)), ulp=(0.6, 2.5, 0.6, 2.5), wide=True)
def glu(x, gate):
    """Gated linear unit, x * sigmoid(gate).

    PyTorch and JAX split one array into x, the first half, and the gate.

    References
    ----------
    Y. N. Dauphin, A. Fan, M. Auli and D. Grangier, "Language modeling with gated convolutional networks", ICML 2017.
    """
    return x * _logistic(gate, T(0))


@glu.gradient
def glu_gradient(x, gate):
    return _logistic(gate, T(0)), x * sigmoid_derivative(gate)


@gated(exact=lambda m, x, gate: m.where(gate > 0, x * gate, 0), ulp=0)
def reglu(x, gate):
    """Gated linear unit with a ReLU, x * relu(gate).

    References
    ----------
    N. Shazeer, "GLU variants improve transformer", arXiv 2002.05202.
    """
    return where(gate <= T(0), T(0), x * gate)


@reglu.gradient
def reglu_gradient(x, gate):
    return where(gate <= T(0), T(0), gate), where(gate <= T(0), T(0), where(gate == gate, x, gate))


@gated(exact=lambda m, x, gate: x * gate * m.erfc(-gate / m.sqrt(2)) / 2, ulp=(0.6, 3, 0.6, 4), wide=True)
def geglu(x, gate):
    """Gated linear unit with a GELU, x * gelu(gate).

    References
    ----------
    N. Shazeer, "GLU variants improve transformer", arXiv 2002.05202.
    """
    return x * gelu(gate)


@geglu.gradient
def geglu_gradient(x, gate):
    return gelu(gate), x * gelu_derivative(gate)


def _of_geglu_tanh(m, x, gate):
    return x * gate / (1 + m.exp(-2 * m.sqrt(2 / m.pi) * (gate + 8943 * gate * gate * gate / 200000)))


@gated(exact=_of_geglu_tanh, ulp=(0.6, 3, 0.6, 4), wide=True)
def geglu_tanh(x, gate):
    """Gated linear unit with a GELU by the hyperbolic tangent, x * gelu_tanh(gate).

    transformers 5.24.0 calls the activation ``gelu_pytorch_tanh``, as 41 of its models ask for it, and FlashInfer the
    function of packed halves, the gate first, ``gelu_tanh_and_mul``.

    References
    ----------
    N. Shazeer, "GLU variants improve transformer", arXiv 2002.05202.
    """
    return x * gelu_tanh(gate)


@geglu_tanh.gradient
def geglu_tanh_gradient(x, gate):
    return gelu_tanh(gate), x * gelu_tanh_derivative(gate)


@gated(exact=lambda m, x, gate: x * gate / (1 + m.exp(-gate)), ulp=(0.6, 3, 0.6, 4), wide=True)
def swiglu(x, gate):
    """Gated linear unit with a SiLU, x * silu(gate).

    References
    ----------
    N. Shazeer, "GLU variants improve transformer", arXiv 2002.05202.
    """
    return x * _weighted(gate, gate, T(0))


@swiglu.gradient
def swiglu_gradient(x, gate):
    return _weighted(gate, gate, T(0)), x * silu_derivative(gate, T(1))


def _clipped(m, x, limit):
    return m.where(x <= -limit, -limit, m.where(x >= limit, limit, x))


def _of_clamped_swiglu(m, x, gate, limit, alpha, offset):
    g = m.where(gate >= limit, limit, gate)
    return (_clipped(m, x, limit) + offset) * g / (1 + m.exp(-alpha * g))


@gated(exact=_of_clamped_swiglu, ulp=(0.6, 3, 0.6, 4), wide=True)
def clamped_swiglu(x, gate, limit=7.0, alpha=1.702, offset=1.0):
    """Gated linear unit with a SiLU whose arrays are clamped: (clip(x, -limit, limit) + offset) g sigmoid(alpha g).

    Here g is the gate, and `limit` where that is larger; `limit` is not negative. Beyond a clamp, and at it, the
    derivative is 0.

    The defaults are those of gpt-oss, whose packed arrays are interleaved with the gate at even places. Halves with
    the same numbers are in MiniMax-M3-VL and OpenAI's privacy filter. With limit=10, alpha=1 and offset=0, halves with
    the gate first, it is that of DeepSeek-V4, HY-V4 and GLM5-next. (All as in transformers 5.24.0.) Step-3.7 clamps
    after the SiLU, which is another function.

    References
    ----------
    OpenAI, "gpt-oss-120b & gpt-oss-20b model card", arXiv 2508.10925.
    """
    g = where(gate > limit, limit, gate)
    return (_clip(x, -limit, limit) + offset) * _weighted(g, *_times(g, _finite(alpha), T(0)))


@clamped_swiglu.gradient
def clamped_swiglu_gradient(x, gate, limit, alpha, offset):
    g = where(gate > limit, limit, gate)
    z, tail = _times(g, _finite(alpha), T(0))
    by_x = where(abs(x) >= limit, T(0), where(x == x, _weighted(g, z, tail), x))
    by_gate = (_clip(x, -limit, limit) + offset) * _swish_derivative(z, tail)
    return by_x, where(gate >= limit, T(0), by_gate)


def _twice_in_bounds(x, bound):
    # -2 abs(x) / bound and its tail, and no more than makes a difference.
    t, tail = quotient_parts(T(2) * abs(x), T(0), bound, T(0))
    far = t > T(800)
    return where(far, T(-800), -t), where(far, T(0), -tail)


def _bounded(x, bound):
    # bound tanh(x / bound), and its tail; x where that is none beside the bound, whose quotient may be subnormal.
    z, lost = _twice_in_bounds(x, bound)
    m, rest = expm1_parts(z, lost)
    y, tail = quotient_parts(-m, -rest, *sum_parts(T(2), m, rest))
    y, tail = product_parts(y, tail, bound, T(0))
    is_free = (bound > largest()) | (z > T(-1e-20))
    return where(is_free, x, where(x < T(0), -y, y)), where(is_free, T(0), where(x < T(0), -tail, tail))


def _short(y, tail, scale):
    # A quotient and its tail, which may be a tenth of it: two such tails would be seen in a product.
    y, tail = sum_parts(y, tail, T(0))
    return y * scale, tail * scale


def _bounded_slope(x, bound):
    # 1 less the square of the tangent, and its tail; 1 where the bound is infinite.
    m, rest, scale = exp_parts(*_twice_in_bounds(x, bound))
    d, lost = _one_plus_sum(m, rest, scale)
    y, tail = quotient_parts(m, rest, *product_parts(d, lost, d, lost))
    y, tail = _short(y, tail, T(4) * scale)
    is_free = bound > largest()
    return where(is_free, T(1), y), where(is_free, T(0), tail)


def _both_logistics(z):
    # s(z) and s(-z), and their tails.
    m, rest, scale = _exponential(z, T(0))
    y, tail = quotient_parts(m, rest, *_one_plus(whole(m, rest), scale))
    y, tail = _short(y, tail, scale)
    other, lost = sum_parts(T(1), -y, -tail)
    left = z < T(0)
    return where(left, y, other), where(left, tail, lost), where(left, other, y), where(left, lost, tail)


def _of_situ_glu(m, x, gate, beta, linear_beta):
    return beta * m.tanh(gate / beta) / (1 + m.exp(-gate)) * linear_beta * m.tanh(x / linear_beta)


@gated(exact=_of_situ_glu, ulp=(0.6, 2, 0.6, 2), wide=True, full=True)
def situ_glu(x, gate, beta=4.0, linear_beta=25.0):
    """Gated linear unit of two bounded arrays: beta tanh(gate/beta) sigmoid(gate) linear_beta tanh(x/linear_beta).

    Both betas are above 0; an infinite one leaves its array as it is. The defaults are those of Kimi K3 (2026), which
    packs halves with the gate first; NVIDIA's TransformerEngine computes it since pull request 3402.
    """
    s, tail, _, _ = _both_logistics(gate)
    y, lost = _bounded(gate, beta)
    weight, weight_tail = product_parts(y, lost, s, tail)
    y, lost = _bounded(x, linear_beta)
    return product(y, lost, weight, weight_tail)


@situ_glu.gradient
def situ_glu_gradient(x, gate, beta, linear_beta):
    s, tail, other, other_tail = _both_logistics(gate)
    a, lost = _bounded(gate, beta)
    weight, weight_tail = product_parts(a, lost, s, tail)
    slope, more = _bounded_slope(x, linear_beta)
    by_x = product(weight, weight_tail, slope, more)
    down, down_tail = product_parts(a, lost, other, other_tail)
    slope, more = _bounded_slope(gate, beta)
    d, lost = unordered_sum_parts(slope, down, more + down_tail)
    d, lost = product_parts(d, lost, s, tail)
    y, tail = _bounded(x, linear_beta)
    return by_x, product(y, tail, d, lost)
