"""Functions of two arrays: x, and what gates it."""

from __future__ import annotations

from ..formulas import T, where
from ..functions.define import gated
from .sigmoids import _logistic, _weighted, gelu, gelu_derivative, sigmoid_derivative, silu_derivative

__all__ = ["geglu", "glu", "prelu", "reglu", "swiglu"]


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
