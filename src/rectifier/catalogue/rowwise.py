"""Functions of whole rows, along an axis."""

from __future__ import annotations

from typing import Any

from ..formulas import T, exp, log1p, quotient, unordered_sum_parts, where
from ..functions.define import rowwise

__all__ = ["hardmax", "log_softmax", "softmax", "softmin", "sparsemax"]


def _reciprocal(rest):
    return quotient(T(1), T(0), *unordered_sum_parts(T(1), rest, T(0)))


@rowwise(
    exact=lambda m, x: m.exp(x) / m.exp(x).sum(axis=-1, keepdims=True),
    ulp=(1, 4),
    of_sum=_reciprocal,
    single=True,
    has_options=True,
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
    has_options=True,
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


def _one_hot(m: Any, x: Any) -> Any:
    top = x == x.max(axis=-1, keepdims=True)
    return x * 0 + (top & (top.cumsum(axis=-1) == 1))


@rowwise(exact=_one_hot, ulp=(0, 0), each="first", single=True)
def hardmax(x, peak, e):
    """Hardmax along an axis: 1 for the largest x, the first of several that are equal, and 0 for all others.

    A small change of x changes nothing, so the gradient is 0 wherever there is one, and `backward` gives 0. To train
    through a choice, pass dy on yourself, or give the gradient of `softmax` for it: the straight-through estimator.

    References
    ----------
    Y. Bengio, N. Leonard and A. Courville, "Estimating or propagating gradients through stochastic neurons for
    conditional computation", arXiv 1308.3432 (2013).
    """
    return e


@hardmax.weight
def hardmax_weight(dy, y):
    return y


@hardmax.backward
def hardmax_backward(dy, y, s):
    return where(y == y, T(0), y)


def _projection(m: Any, x: Any) -> Any:
    z = x.copy()
    z.sort(axis=-1)
    z = z[..., ::-1]
    places = (z * 0 + 1).cumsum(axis=-1)
    held = 1 + places * z > z.cumsum(axis=-1)
    threshold = ((z * held).sum(axis=-1, keepdims=True) - 1) / held.sum(axis=-1, keepdims=True)
    return (x - threshold) * (x > threshold)


@rowwise(exact=_projection, ulp=(1, 2), each="excess")
def sparsemax(x, peak, e):
    """Sparsemax along an axis: the probabilities nearest to x, max(x - t, 0), of which t makes the sum 1.

    It is exactly 0 for every x that is by 1 less than the largest, and for others. The gradient is that of those x for
    which it is not 0, less its mean over them.

    References
    ----------
    A. F. T. Martins and R. F. Astudillo, "From softmax to sparsemax: a sparse model of attention and multi-label
    classification", ICML 2016.
    """
    return e


@sparsemax.weight
def sparsemax_weight(dy, y):
    return where(y > T(0), dy, T(0)), where(y > T(0), T(1), T(0))


@sparsemax.backward
def sparsemax_backward(dy, y, s, count):
    return where(y > T(0), dy - s / count, where(y == y, T(0), y))
