"""Estimates from few noisy times, and how sure they are."""

from __future__ import annotations

import math
from collections.abc import Sequence
from itertools import accumulate

NARROW, WIDE = 0.01, 0.1  # half of an interval, relative: known well, and not known well enough
# Two processes that run the same code differ, because memory and code lie elsewhere (Mytkowicz et al., "Producing
# wrong data without doing anything obviously wrong!", ASPLOS 2009). The standard deviation of the logarithm of a
# ratio between them, and how many processes' worth of evidence that is beside those that were measured.
PROCESS_DEVIATION, PRIOR_DEGREES = 0.05, 4


def shrink(variance: float, count: int, expected: float) -> tuple[float, float]:
    """Return the variance of few values, drawn towards the expected one, and its degrees of freedom.

    After G. K. Smyth, "Linear models and empirical Bayes methods", Stat. Appl. Genet. Mol. Biol. 3 (2004).
    """
    degrees = PRIOR_DEGREES + count - 1
    return (PRIOR_DEGREES * expected + (count - 1) * variance) / degrees, degrees


def t_bound(degrees: float, confidence: float = 0.95) -> float:
    """Return how far from 0 a variable of Student's t distribution stays with this confidence."""
    from scipy.special import stdtrit  # what `scipy.stats.t.ppf` calls, in a quarter of its time to import

    return float(stdtrit(degrees, (1 + confidence) / 2))


def t_tail(t: float, degrees: float) -> float:
    """Return the probability that a variable of Student's t distribution is at least that far from 0."""
    from scipy.special import stdtr

    return float(2 * stdtr(degrees, -t))


def interval_of_median(values: Sequence[float], confidence: float = 0.95) -> tuple[float, float]:
    """Return two order statistics that hold the median with at least this confidence, if there are enough values.

    A process that measures calls this, so it imports nothing of SciPy.
    """
    ordered, n = sorted(values), len(values)
    tails = accumulate(math.comb(n, k) * 0.5**n for k in range(n // 2))  # the probability of at most k below the median
    below = max(0, sum(2 * tail <= 1 - confidence for tail in tails) - 1)
    return ordered[below], ordered[n - 1 - below]


def half_width(ratios: Sequence[float]) -> float:
    """Return half of the interval of the median, relative."""
    low, high = interval_of_median(ratios)
    return math.log(high / low) / 2
