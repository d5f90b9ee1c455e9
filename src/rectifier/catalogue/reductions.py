"""Functions of whole rows that give one number each."""

from __future__ import annotations

from ..formulas import T, log1p, quotient, unordered_sum_parts, where
from ..functions.define import rowwise

__all__ = ["logsumexp"]


@rowwise(
    exact=lambda m, x: m.log(m.exp(x).sum(axis=-1, keepdims=True)),
    ulp=(1, 4),
    of_sum=lambda rest: log1p(rest),
    single=True,
    reduces=True,
)
def logsumexp(peak, logarithm):
    """Logarithm of the sum of exponentials along an axis, log(sum(exp(x))), whatever the largest x.

    A row in which nothing counts, and one of nothing but -inf, gives -inf; a row with inf gives inf; one with NaN is
    NaN. The gradient of a row is ``dy * softmax(x)``, and 0 for what does not count.

    References
    ----------
    P. Blanchard, D. J. Higham and N. J. Higham, "Accurately computing the log-sum-exp and softmax functions", IMA
    Journal of Numerical Analysis 41 (2021).
    """
    return peak + logarithm


@logsumexp.weight
def logsumexp_weight(rest):
    return quotient(T(1), T(0), *unordered_sum_parts(T(1), rest, T(0)))


@logsumexp.backward
def logsumexp_backward(dy, e, reciprocal):
    p = e * reciprocal
    return where(p == T(0), T(0), dy * p)
