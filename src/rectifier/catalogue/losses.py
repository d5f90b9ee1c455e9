"""Losses: a number for each row, of what it is and what it should be."""

from __future__ import annotations

from ..functions.losses import loss
from .rowwise import log_softmax, softmax

__all__ = ["softmax_cross_entropy"]


@loss(
    exact=lambda m, x, target: -(target * (x - m.log(m.exp(x).sum()))).sum(),
    ulp=(1, 4),
    softmax=softmax,
    log_softmax=log_softmax,
)
def softmax_cross_entropy(x, target, axis=-1):
    """Cross-entropy of softmax and a target along an axis, -sum(target * log_softmax(x)).

    It is computed of the largest x and of the sum of the others' exponentials, and right for x of any size: a row that
    is sure of its class has a loss and a gradient near 0 without a difference of numbers near 1. The largest element of
    a row may be 1e4, or 1e300.

    References
    ----------
    J. S. Bridle, "Probabilistic interpretation of feedforward classification network outputs", Neurocomputing, 1990.
    """
