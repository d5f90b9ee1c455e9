"""Functions of whole rows, along an axis."""

from __future__ import annotations

from ..formulas import T, exp, log1p, quotient, unordered_sum_parts
from ..functions.define import rowwise

__all__ = ["log_softmax", "softmax", "softmin"]


def _reciprocal(rest):
    return quotient(T(1), T(0), *unordered_sum_parts(T(1), rest, T(0)))


@rowwise(
    exact=lambda m, x: m.exp(x) / m.exp(x).sum(axis=-1, keepdims=True),
    ulp=(1, 4),
    of_sum=_reciprocal,
    single=True,
)
def softmax(x, peak, e, reciprocal):
    """Softmax along an axis, exp(x) / sum(exp(x)).

    References
    ----------
    J. S. Bridle, "Probabilistic interpretation of feedforward classification network outputs", Neurocomputing, 1990.
    """
    return e * reciprocal


@softmax.weight
def softmax_weight(dy, y):
    return dy * y


@softmax.backward
def softmax_backward(dy, y, s):
    return y * (dy - s)


@rowwise(
    exact=lambda m, x: x - m.log(m.exp(x).sum(axis=-1, keepdims=True)),
    ulp=(1, 4),
    of_sum=lambda rest: log1p(rest),
    single=True,
)
def log_softmax(x, peak, e, logarithm):
    """Logarithm of the softmax along an axis, x - log(sum(exp(x)))."""
    return (x - peak) - logarithm


@log_softmax.weight
def log_softmax_weight(dy, y):
    return dy


@log_softmax.backward
def log_softmax_backward(dy, y, s):
    return dy - exp(y) * s


@rowwise(
    exact=lambda m, x: m.exp(-x) / m.exp(-x).sum(axis=-1, keepdims=True),
    ulp=(1, 4),
    of_sum=_reciprocal,
    single=True,
    negated=True,
)
def softmin(x, peak, e, reciprocal):
    """Softmin along an axis, exp(-x) / sum(exp(-x)): softmax of -x, bit for bit."""
    return e * reciprocal


@softmin.weight
def softmin_weight(dy, y):
    return dy * y


@softmin.backward
def softmin_backward(dy, y, s):
    return y * (s - dy)
